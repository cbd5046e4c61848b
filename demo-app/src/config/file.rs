//! Reads the `--config` file: TOML whose keys are the names of the flags.

use std::{fmt::Display, fs, path::Path};

use clap::{Command, Id};
use toml::{Table, Value};

/// A flag and its values from the file.
pub(super) struct Setting {
    pub(super) id: Id,
    pub(super) values: Vec<String>,
    name: String,
}

impl Setting {
    /// Returns the values as command-line arguments.
    pub(super) fn as_flags(&self) -> impl Iterator<Item = String> {
        self.values.iter().map(|value| format!("--{}={value}", self.name))
    }
}

/// Reads the settings of the file. An error names the file and the fault, and repeats no value.
pub(super) fn read(path: &Path, command: &Command) -> Result<Vec<Setting>, String> {
    let in_file = |what: &dyn Display| format!("`--config {}`: {what}", path.display());
    let text = fs::read_to_string(path).map_err(|error| in_file(&format_args!("cannot be read: {error}")))?;
    let table: Table = text.parse().map_err(|error| in_file(&describe_syntax_error(&text, &error)))?;
    let settings = table.into_iter().map(|(name, value)| read_setting(name, value, command));
    settings.collect::<Result<_, _>>().map_err(|error| in_file(&error))
}

/// Describes a TOML syntax error by its line. The parser's own text quotes the line, which may hold
/// a secret.
fn describe_syntax_error(text: &str, error: &toml::de::Error) -> String {
    match error.span().and_then(|span| text.get(..span.start)) {
        Some(before) => format!("line {} is not valid TOML: {}", before.matches('\n').count() + 1, error.message()),
        None => format!("not valid TOML: {}", error.message()),
    }
}

fn read_setting(name: String, value: Value, command: &Command) -> Result<Setting, String> {
    let known = command.get_arguments().find(|arg| arg.get_long() == Some(&name) && arg.get_env().is_some());
    let id = match known {
        Some(arg) if arg.get_id() != "config" => arg.get_id().clone(),
        _ => {
            return Err(format!(
                "unknown name {name:?}; use the name of a flag other than --config, without the leading -- (see --help)"
            ));
        }
    };
    let values = match value {
        Value::Array(values) => values.into_iter().map(scalar).collect::<Option<_>>(),
        value => scalar(value).map(|value| vec![value]),
    };
    match values {
        Some(values) => Ok(Setting { id, values, name }),
        None => Err(format!("`{name}` must be a string, an integer or a list of these; write a duration as \"15m\"")),
    }
}

fn scalar(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Integer(number) => Some(number.to_string()),
        _ => None,
    }
}
