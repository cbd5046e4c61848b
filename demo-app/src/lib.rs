//! A sign-in service on `auth-layer` that can be deployed as it is.
//!
//! [`run`] is the whole program. [`app::app`] is the router alone, for tests that need no socket.

pub mod app;
mod body;
pub mod config;
mod deadline;
mod error;
mod json;
mod keys_dir;
mod password;
mod prompt;
mod rate_limit;
mod routes;
mod serve;
mod start;
pub mod state;
mod users;

use std::{io::IsTerminal, process::ExitCode};

use auth_layer::clock::{Clock, SystemClock};
use tracing_subscriber::EnvFilter;

use crate::config::Config;

pub use password::PasswordCost;

/// Runs the program with the arguments and the environment of the process.
pub fn run() -> ExitCode {
    run_by(SystemClock::new(), PasswordCost::default())
}

/// The same by another clock, as a host has whose time is wrong, and with passwords that cost so much to hash.
pub fn run_by(clock: impl Clock, passwords: PasswordCost) -> ExitCode {
    let config = Config::of_process();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr).init();

    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "the runtime cannot be started");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(start::serve(config, clock, passwords)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "cannot serve");
            ExitCode::FAILURE
        }
    }
}
