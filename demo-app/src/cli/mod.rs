//! The operator's commands: keys, users, clients, tokens and settings.
//!
//! A command prints its result to standard output, as a table or with `--json` as JSON, and exits
//! with 0. An error is one sentence on standard error, and exits with 1. Wrong usage exits with 2.

mod clients;
mod completions;
mod config;
mod doctor;
mod error;
mod import;
mod keys;
mod output;
mod password;
mod tokens;
mod users;

use std::process::ExitCode;

use auth_layer::clock::Clock;
use clap::Subcommand;
use clap_complete::Shell;

use self::{
    clients::ClientsCommand,
    config::ConfigCommand,
    error::CommandError,
    keys::KeysCommand,
    output::{Format, print_error, write},
    tokens::TokensCommand,
    users::UsersCommand,
};
use crate::{config::Config, openapi, password::PasswordCost, start};

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
    /// Shows the settings.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
        /// Prints JSON.
        #[arg(long, global = true)]
        json: bool,
    },
    /// Checks whether a node would start and work: settings, files, keys, stores, clocks.
    ///
    /// Fails if a node would not start or not keep its promises. Run it as the user of the nodes,
    /// with their settings.
    Doctor {
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Prints the description of the API, in the form of OpenAPI 3.1, for `--issuer`.
    Openapi,
    /// Prints a script that makes a shell complete the commands and flags.
    ///
    /// For bash: `source <(demo-app completions bash)`.
    Completions {
        /// The shell that will run the script.
        shell: Shell,
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
    match command {
        // The first two say themselves what does not work together, and the others open no store.
        Command::Config { .. } | Command::Doctor { .. } | Command::Openapi | Command::Completions { .. } => {}
        _ => start::check_flags(config)?,
    }
    match command {
        Command::Keys { command, json } => keys::run(command, config, Format::new(json)),
        Command::Users { command, json } => users::run(command, config, Format::new(json), clock, passwords).await,
        Command::Clients { command, json } => clients::run(command, config, Format::new(json), clock).await,
        Command::Tokens { command, json } => tokens::run(command, config, Format::new(json), clock).await,
        Command::Config { command, json } => config::run(command, config, Format::new(json)),
        Command::Doctor { json } => doctor::run(config, Format::new(json), clock).await,
        Command::Openapi => write(openapi::printed(&config.issuer).as_bytes()),
        Command::Completions { shell } => completions::print(shell),
    }
}
