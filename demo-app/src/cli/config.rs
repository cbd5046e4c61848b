//! `demo-app config`.

use clap::Subcommand;
use serde::Serialize;

use super::{
    CommandError,
    output::{Format, Report, note, table},
};
use crate::{
    config::{Config, Origin, Setting},
    start,
};

#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Shows each setting, its value and where the value came from. Secrets are left out.
    Show,
}

#[derive(Serialize)]
struct Settings {
    settings: Vec<Setting>,
}

pub(super) fn run(command: ConfigCommand, config: &Config, format: Format) -> Result<(), CommandError> {
    match command {
        ConfigCommand::Show => {
            format.print(&Settings { settings: Config::effective().unwrap_or_else(|error| error.exit()) })?;
            // After the settings, which show why.
            if let Err(error) = start::check_flags(config) {
                note(&format!("The program would not start: {error}"));
            }
            Ok(())
        }
    }
}

impl Report for Settings {
    fn text(&self) -> String {
        let rows = self.settings.iter().map(|setting| {
            let origin = match setting.origin {
                Origin::Flag => "flag".to_owned(),
                Origin::Variable => format!("variable {}", setting.variable),
                Origin::File => "file".to_owned(),
                Origin::Default => "default".to_owned(),
            };
            let value = if setting.values.is_empty() { "(not set)".to_owned() } else { setting.values.join(",") };
            [setting.name.clone(), value, origin]
        });
        table(["SETTING", "VALUE", "FROM"], rows)
    }
}
