//! Prints results, notes and errors.

use std::{
    error::Error,
    fmt::Write as _,
    io::{self, Write},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::CommandError;
use crate::logging::error_text;

/// How a command prints its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Text,
    Json,
}

/// A command's result. Its serialised form is the JSON.
pub(super) trait Report: Serialize {
    /// Returns the text for people.
    fn text(&self) -> String;
}

impl Format {
    pub(super) fn new(json: bool) -> Self {
        if json { Self::Json } else { Self::Text }
    }

    /// Prints a result to standard output.
    pub(super) fn print(self, report: &impl Report) -> Result<(), CommandError> {
        let mut text = match self {
            Self::Text => report.text(),
            Self::Json => serde_json::to_string_pretty(report).map_err(|error| CommandError::Output(error.into()))?,
        };
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        write(text.as_bytes())
    }
}

/// Writes to standard output.
pub(super) fn write(text: &[u8]) -> Result<(), CommandError> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text).and_then(|()| stdout.flush()) {
        // The reader, such as `head`, has read enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(CommandError::Output),
    }
}

/// Prints an error with its causes to standard error.
pub(super) fn print_error(error: &(dyn Error + 'static)) {
    note(&format!("error: {}", error_text(error)));
}

/// Prints a line to standard error, beside the result.
pub(super) fn note(text: &str) {
    // Nobody reads it if standard error is closed.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Shows that long work goes on, if standard error is a terminal.
pub(super) fn spinner(text: &'static str) -> ProgressBar {
    let spinner = ProgressBar::new_spinner().with_message(text);
    spinner.enable_steady_tick(Duration::from_millis(120));
    spinner
}

/// Shows how much of `bytes` is read, if standard error is a terminal. Without a length, that it goes
/// on.
pub(super) fn bar(bytes: Option<u64>) -> ProgressBar {
    match bytes {
        Some(bytes) => ProgressBar::new(bytes).with_style(ProgressStyle::default_bar()),
        None => spinner("reading"),
    }
}

/// Lays the members of a report out, one a line. Those that are null are left out.
pub(super) fn fields(report: &impl Serialize) -> String {
    let Ok(serde_json::Value::Object(members)) = serde_json::to_value(report) else { return String::new() };
    let rows = members.into_iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| match value {
        serde_json::Value::String(text) => [name, text],
        serde_json::Value::Array(items) => {
            [name, items.iter().filter_map(|item| item.as_str()).collect::<Vec<_>>().join(" ")]
        }
        other => [name, other.to_string()],
    });
    table(["FIELD", "VALUE"], rows)
}

/// Lays rows out in columns, two spaces apart.
///
/// Control characters are replaced: a text that a client sent must not command the terminal.
pub(super) fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let printable = |text: String| text.replace(|character: char| character.is_control(), "\u{fffd}");
    let rows = rows.into_iter().map(|row| row.map(printable));
    let rows: Vec<[String; N]> = std::iter::once(header.map(str::to_owned)).chain(rows).collect();
    let widths: [usize; N] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default());
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            // Writing to a string cannot fail.
            let _ = write!(line, "{cell:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cli_table_is_aligned_and_has_no_control_characters() {
        let rows = [["ada", "\u{e9}t\u{e9}", ""], ["a longer name", "x\u{1b}[2J\u{9b}1m\n", "last"]];
        let text = table(["NAME", "B", "C"], rows.map(|row| row.map(str::to_owned)));
        let expected = "NAME           B          C\n\
                        ada            \u{e9}t\u{e9}\n\
                        a longer name  x\u{fffd}[2J\u{fffd}1m\u{fffd}  last\n";
        assert_eq!(text, expected);
    }
}
