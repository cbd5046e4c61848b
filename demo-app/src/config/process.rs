//! Merges arguments, variables and the file into the settings.
//!
//! `figment` merges such sources too, but it bypasses clap, whose rules and errors name the flag.

use std::{env, ffi::OsString};

use clap::{
    Arg, ArgMatches, Command, CommandFactory, FromArgMatches, Id,
    builder::Resettable,
    error::{ContextKind, ContextValue, ErrorKind},
    parser::ValueSource,
};

use super::{
    Config,
    effective::{Origin, Setting},
    file,
};

/// The flags whose values hold secrets.
const SECRET: [&str; 3] = ["--clients", "--mongodb-uri", "--redis-url"];

/// The text that replaces a secret.
const HIDDEN: &str = "[hidden]";

/// The settings as they were read.
struct Reading {
    config: Config,
    matches: ArgMatches,
    /// The flags that the file sets.
    in_file: Vec<Id>,
}

/// Parses the settings. A flag wins over its variable, the variable over the file, the file over
/// the default. No error repeats a secret.
pub(super) fn parse(arguments: &[OsString]) -> Result<Config, clap::Error> {
    Ok(read(arguments)?.config)
}

/// Returns every setting with its value and where the value came from.
pub(super) fn effective(arguments: &[OsString]) -> Result<Vec<Setting>, clap::Error> {
    let Reading { matches, in_file, .. } = read(arguments)?;
    let command = Config::command();
    let settings = command.get_arguments().filter_map(|arg| {
        let variable = arg.get_env()?.to_string_lossy().into_owned();
        let origin = match matches.value_source(arg.get_id().as_str()) {
            Some(ValueSource::CommandLine) => Origin::Flag,
            Some(ValueSource::EnvVariable) => Origin::Variable,
            Some(_) if in_file.contains(arg.get_id()) => Origin::File,
            _ => Origin::Default,
        };
        let values = matches.get_raw(arg.get_id().as_str()).into_iter().flatten();
        let values = values.map(|value| value.to_string_lossy().into_owned()).collect();
        Some(Setting::new(arg.get_long()?.to_owned(), values, origin, variable))
    });
    Ok(settings.collect())
}

fn read(arguments: &[OsString]) -> Result<Reading, clap::Error> {
    let command = || without_empty_variables(Config::command());
    let given = match command().try_get_matches_from(arguments) {
        // The help must show the empty variables too.
        Err(error) if error.kind() == ErrorKind::DisplayHelp => {
            return Err(Config::command().try_get_matches_from(arguments).err().unwrap_or(error));
        }
        given => given.map_err(|error| without_secrets(error, arguments))?,
    };
    let config = from_matches(&given, arguments)?;
    let Some(path) = &config.config else { return Ok(Reading { config, matches: given, in_file: Vec::new() }) };
    let refused = |what: String| Config::command().error(ErrorKind::Io, what);
    let settings = file::read(path, &Config::command()).map_err(refused)?;
    // The file is checked alone first, so that its errors name the file.
    let alone = Config::command().mut_args(without_variable);
    let flags = settings.iter().flat_map(file::Setting::as_flags).map(OsString::from);
    let flags: Vec<OsString> = std::iter::once("demo-app".into()).chain(flags).collect();
    alone.try_get_matches_from(&flags).map_err(|error| {
        let message = without_secrets(error, &flags).to_string();
        let message = message.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        refused(format!("`--config {}`: {message}", path.display()))
    })?;
    let in_file = settings.iter().map(|setting| setting.id.clone()).collect();
    let merged = settings.into_iter().fold(command(), |command, setting| {
        command.mut_arg(setting.id, |arg| arg.default_values(setting.values).hide_default_value(true))
    });
    let matches = merged.try_get_matches_from(arguments).map_err(|error| without_secrets(error, arguments))?;
    Ok(Reading { config: from_matches(&matches, arguments)?, matches, in_file })
}

fn from_matches(matches: &ArgMatches, arguments: &[OsString]) -> Result<Config, clap::Error> {
    Config::from_arg_matches(matches).map_err(|error| without_secrets(error, arguments))
}

/// Makes clap ignore variables that are set to nothing.
fn without_empty_variables(command: Command) -> Command {
    command.mut_args(|arg| {
        let value = arg.get_env().and_then(env::var_os);
        if value.is_some_and(|value| value.is_empty()) { without_variable(arg) } else { arg }
    })
}

fn without_variable(arg: Arg) -> Arg {
    arg.env(Resettable::Reset)
}

/// Removes values that may be secret from an error: clap quotes the refused value.
fn without_secrets(mut error: clap::Error, arguments: &[OsString]) -> clap::Error {
    let text = |error: &clap::Error, kind| error.get(kind).map(ToString::to_string).unwrap_or_default();
    if error.kind() == ErrorKind::InvalidSubcommand {
        let suggested = text(&error, ContextKind::SuggestedSubcommand);
        return unexpected_word(&text(&error, ContextKind::InvalidSubcommand), &suggested, arguments);
    }
    let argument = text(&error, ContextKind::InvalidArg);
    if error.kind() == ErrorKind::UnknownArgument && !is_flag(&argument) {
        return unexpected_word(&argument, "", arguments);
    }
    if SECRET.iter().any(|flag| argument.starts_with(flag)) && error.get(ContextKind::InvalidValue).is_some() {
        error.insert(ContextKind::InvalidValue, ContextValue::String(HIDDEN.to_owned()));
    }
    error
}

/// Returns the error for a word that no flag or command takes. It may be the rest of an unquoted
/// secret, so the error does not repeat it. `suggested` is a similar command, or empty.
fn unexpected_word(word: &str, suggested: &str, arguments: &[OsString]) -> clap::Error {
    // For a word that begins with one hyphen, clap names only the first letter.
    let is_word = |argument: &OsString| {
        argument == word || (word.len() == 2 && argument.to_str().is_some_and(|argument| argument.starts_with(word)))
    };
    let mut places = arguments.iter().enumerate().skip(1).filter(|(_, argument)| is_word(argument));
    let place = match (places.next(), places.next()) {
        (Some((place, _)), None) => format!("word {place} after the program's name"),
        _ => "a word".to_owned(),
    };
    let before = arguments.iter().position(is_word).and_then(|place| {
        arguments[..place].iter().rev().find_map(|argument| argument.to_str().filter(|name| is_flag(name)))
    });
    let hint =
        before.map(|flag| format!(" A value of {flag} that has spaces in it must be quoted.")).unwrap_or_default();
    let suggestion =
        if suggested.is_empty() { String::new() } else { format!(" There is a similar command, `{suggested}`.") };
    let message = format!(
        "unexpected argument: {place} is neither a command nor a flag nor the value of one. It is not shown, since it may be \
         part of a secret.{suggestion}{hint} Settings are flags, --name VALUE; lists are separated by commas, without spaces."
    );
    Config::command().error(ErrorKind::UnknownArgument, message)
}

/// Returns whether the argument has the form of a flag's name, known or not, and nothing else.
fn is_flag(argument: &str) -> bool {
    argument
        .strip_prefix("--")
        .is_some_and(|name| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'))
}
