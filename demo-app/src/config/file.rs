//! The file of `--config`: TOML whose names are those of the flags.

use std::{fmt::Display, fs, path::Path};

use clap::{Command, Id};
use toml::{Table, Value};

/// A flag and the values that the file gives it.
pub(super) struct Setting {
    pub(super) id: Id,
    pub(super) values: Vec<String>,
    name: String,
}

impl Setting {
    /// As they would be written on a command line.
    pub(super) fn as_flags(&self) -> impl Iterator<Item = String> {
        self.values.iter().map(|value| format!("--{}={value}", self.name))
    }
}

/// What the file sets. An error names the file and what in it is wrong, and repeats no value.
pub(super) fn read(path: &Path, command: &Command) -> Result<Vec<Setting>, String> {
    let wrong = |what: &dyn Display| format!("--config {}: {what}", path.display());
    let text = fs::read_to_string(path).map_err(|error| wrong(&error))?;
    let table: Table = text.parse().map_err(|error| wrong(&place(&text, &error)))?;
    let settings = table.into_iter().map(|(name, value)| setting(name, value, command));
    settings.collect::<Result<_, _>>().map_err(|error| wrong(&error))
}

/// Where the file is no TOML. The parser's own words quote the line.
fn place(text: &str, error: &toml::de::Error) -> String {
    match error.span().and_then(|span| text.get(..span.start)) {
        Some(before) => format!("line {} is not TOML: {}", before.matches('\n').count() + 1, error.message()),
        None => format!("not TOML: {}", error.message()),
    }
}

fn setting(name: String, value: Value, command: &Command) -> Result<Setting, String> {
    let known = command.get_arguments().find(|arg| arg.get_long() == Some(&name) && arg.get_env().is_some());
    let id = match known {
        Some(arg) if arg.get_id() != "config" => arg.get_id().clone(),
        _ => return Err(format!("unknown name {name:?}; the names are those of the flags, see --help")),
    };
    let values = match value {
        Value::Array(values) => values.into_iter().map(text).collect::<Option<_>>(),
        value => text(value).map(|value| vec![value]),
    };
    match values {
        Some(values) => Ok(Setting { id, values, name }),
        None => Err(format!("{name} must be a text, a whole number, or a list of these")),
    }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Integer(number) => Some(number.to_string()),
        _ => None,
    }
}
