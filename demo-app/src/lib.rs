//! A sign-in service on `auth-layer` that can be deployed as it is.
//!
//! [`run`] is the whole program. [`app::app`] is the router alone, for tests that need no socket.

pub mod app;
mod body;
pub mod config;
mod error;
mod keys_dir;
mod password;
mod rate_limit;
mod routes;
mod serve;
mod start;
pub mod state;
mod users;

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::config::Config;

/// Runs the program with the arguments and the environment of the process.
pub fn run() -> ExitCode {
    let config = Config::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();

    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "the runtime cannot be started");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(start::serve(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "cannot serve");
            ExitCode::FAILURE
        }
    }
}
