//! The operator's commands: keys, users, clients and tokens.
//!
//! A command prints its result to standard output, as a table or with `--json` as JSON, and exits
//! with 0. An error is one sentence on standard error, and exits with 1. Wrong usage exits with 2.

mod clients;
mod error;
mod keys;
mod output;
mod password;
mod tokens;
mod users;

use std::process::ExitCode;

use auth_layer::clock::Clock;
use clap::Subcommand;

use self::{
    clients::ClientsCommand,
    error::CommandError,
    keys::KeysCommand,
    output::{Format, print_error},
    tokens::TokensCommand,
    users::UsersCommand,
};
use crate::{config::Config, password::PasswordCost, start};

/// What to do in place of serving.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// Makes, lists and retires signing keys. Running nodes see a change within 5 seconds.
    Keys {
        #[command(subcommand)]
        command: KeysCommand,
        /// Prints JSON.
        #[arg(long, global = true)]
        json: bool,
    },
    /// Creates, lists and changes users.
    Users {
        #[command(subcommand)]
        command: UsersCommand,
        /// Prints JSON.
        #[arg(long, global = true)]
        json: bool,
    },
    /// Registers and deletes OAuth clients. Running nodes know a new client within 5 seconds.
    Clients {
        #[command(subcommand)]
        command: ClientsCommand,
        /// Prints JSON.
        #[arg(long, global = true)]
        json: bool,
    },
    /// Shows and revokes sessions and tokens, by their ids.
    Tokens {
        #[command(subcommand)]
        command: TokensCommand,
        /// Prints JSON.
        #[arg(long, global = true)]
        json: bool,
    },
}

/// Runs a command, prints its result or its error, and returns the exit code.
pub(crate) async fn run(command: Command, config: &Config, clock: impl Clock, passwords: PasswordCost) -> ExitCode {
    match execute(command, config, clock, passwords).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print_error(&error);
            ExitCode::FAILURE
        }
    }
}

async fn execute(
    command: Command,
    config: &Config,
    clock: impl Clock,
    passwords: PasswordCost,
) -> Result<(), CommandError> {
    start::check_flags(config)?;
    match command {
        Command::Keys { command, json } => keys::run(command, config, Format::new(json)),
        Command::Users { command, json } => users::run(command, config, Format::new(json), clock, passwords).await,
        Command::Clients { command, json } => clients::run(command, config, Format::new(json), clock).await,
        Command::Tokens { command, json } => tokens::run(command, config, Format::new(json), clock).await,
    }
}
