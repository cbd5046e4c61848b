//! Programs that check the files in `deploy` without running them.
//!
//! hadolint and check-jsonschema are packages of `tests/clients/python`. systemd-analyze belongs to
//! systemd. A test that needs it is ignored where it is missing, unless `REQUIRE_CLIENTS=1` is set:
//!
//! ```text
//! #[cfg_attr(not(has_systemd_analyze), ignore = "systemd-analyze is not on the PATH")]
//! ```

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    clients::{python_packages, python_program},
    command::{CommandOutput, run_to_end},
    process::Program,
};

/// The time in which a linter must end.
const LIMIT: Duration = Duration::from_mins(1);

/// Runs `hadolint` on this text of a Dockerfile. A finding of any level makes it fail.
///
/// # Panics
///
/// If it cannot be installed, or takes longer than a minute.
pub async fn hadolint(dockerfile: &str) -> CommandOutput {
    let path = python_packages().await.join("bin/hadolint");
    run_to_end(&program(path, ["--no-color", "-"].map(OsString::from)), dockerfile, LIMIT).await
}

/// Compares a file with the schema of the Compose Specification, which check-jsonschema carries.
///
/// # Panics
///
/// If it cannot be installed, or takes longer than a minute.
pub async fn compose_schema(file: &Path) -> CommandOutput {
    let args = ["-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"].map(OsString::from);
    let program = python_program(args.into_iter().chain([file.into()]).collect()).await;
    run_to_end(&program, "", LIMIT).await
}

/// Runs `systemd-analyze` with these arguments.
///
/// # Panics
///
/// If it cannot be started, or takes longer than a minute.
pub async fn systemd_analyze(args: &[&str]) -> CommandOutput {
    run_to_end(&program("systemd-analyze".into(), args.iter().map(OsString::from)), "", LIMIT).await
}

fn program(path: PathBuf, args: impl IntoIterator<Item = OsString>) -> Program {
    Program {
        path,
        args: args.into_iter().collect(),
        env: Vec::new(),
        env_removed: &["HADOLINT_", "SYSTEMD_"],
        scratch: None,
    }
}
