//! Prometheus' checker of rules, configurations and metrics.
//!
//! Debian's package `prometheus` has it. A test that needs it is ignored where it is missing, unless
//! `REQUIRE_CLIENTS=1` is set:
//!
//! ```text
//! #[cfg_attr(not(has_promtool), ignore = "promtool is not on the PATH")]
//! ```

use std::time::Duration;

use crate::{
    command::{CommandOutput, run_to_end},
    process::Program,
};

/// The time in which it must end.
const LIMIT: Duration = Duration::from_mins(1);

/// Runs `promtool` with these arguments and this standard input.
///
/// # Panics
///
/// If it cannot be started, or takes longer than a minute.
pub async fn promtool(args: &[&str], input: &str) -> CommandOutput {
    let program = Program {
        path: "promtool".into(),
        args: args.iter().map(Into::into).collect(),
        env: Vec::new(),
        env_removed: &[],
        scratch: None,
    };
    run_to_end(&program, input, LIMIT).await
}
