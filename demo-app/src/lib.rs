//! A sign-in service on `auth-layer` that can be deployed as it is.
//!
//! [`run`] is the whole program. [`app::app`] is the router, for tests without a socket.
//! [`grpc::pb`] has the messages of the gRPC service, and a client.

pub mod app;
pub mod audit;
mod body;
mod cli;
mod clients;
pub mod config;
mod cookies;
mod cors;
mod csrf;
mod data_dir;
mod deadline;
mod error;
mod first_bytes;
pub mod grpc;
mod json;
mod keys_dir;
mod logging;
mod methods;
mod mongo;
mod oauth;
mod open_streams;
mod openapi;
mod pages;
mod password;
mod rate_limit;
mod readiness;
mod request_id;
mod routes;
mod serve;
mod shutdown;
mod start;
pub mod state;
mod telemetry;
mod text;
mod tls;
#[cfg_attr(feature = "otel", path = "traces/otlp.rs")]
#[cfg_attr(not(feature = "otel"), path = "traces/off.rs")]
mod traces;
mod trusted_proxies;
mod unread;
mod users;

use std::{fmt::Display, process::ExitCode};

use auth_layer::clock::{Clock, SystemClock};
use clap::error::ErrorKind;

use crate::{config::Config, logging::Logging, traces::Traces};

pub use logging::LogFormat;
pub use password::PasswordCost;

/// Runs the program with the arguments and the environment of the process.
pub fn run() -> ExitCode {
    run_with(SystemClock::new(), PasswordCost::default())
}

/// Runs the program with another clock and another password cost, for tests.
pub fn run_with(clock: impl Clock, passwords: PasswordCost) -> ExitCode {
    let mut config = Config::from_process();
    let command = config.command.take();
    // A command's own output is its result. What goes well is not logged beside it, but audited.
    let default_filter = if command.is_some() { "warn,audit=info" } else { "info" };
    let refuse =
        |error: &dyn Display| -> ! { clap::Error::raw(ErrorKind::ValueValidation, format!("{error}\n")).exit() };
    // A command has no requests to trace.
    let traces = if command.is_none() { Traces::start(&config) } else { Ok(Traces::default()) };
    let traces = traces.unwrap_or_else(|error| refuse(&error));
    let logging = Logging::start(config.log_format, default_filter, traces);
    // Lives until the end, so that the last lines and spans are written.
    let _logging = logging.unwrap_or_else(|error| refuse(&error));

    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "the tokio runtime cannot be started");
            return ExitCode::FAILURE;
        }
    };
    match command {
        Some(command) => runtime.block_on(cli::run(command, &config, clock, passwords)),
        None => match runtime.block_on(start::serve(config, clock, passwords)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the server cannot start");
                ExitCode::FAILURE
            }
        },
    }
}
