//! `demo-app completions`.

use clap::CommandFactory;
use clap_complete::Shell;

use super::{CommandError, output::write};
use crate::config::Config;

pub(super) fn print(shell: Shell) -> Result<(), CommandError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Config::command(), "demo-app", &mut script);
    write(&script)
}
