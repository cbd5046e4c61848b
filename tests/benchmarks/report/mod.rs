//! Arguments, progress, medians and tables of measurements.

use std::num::NonZero;

/// Returns the argument after `name`.
pub(crate) fn value_of<'a>(arguments: &'a [String], name: &str) -> Option<&'a str> {
    let at = arguments.iter().position(|argument| argument == name)?;
    Some(arguments.get(at + 1).unwrap_or_else(|| panic!("`{name}` takes a value")))
}

/// Returns the number after `name`.
pub(crate) fn number_of(arguments: &[String], name: &str) -> Option<NonZero<u16>> {
    let value = value_of(arguments, name)?;
    Some(value.parse().unwrap_or_else(|_| panic!("`{name} {value}`: use a whole number from 1 to 65535")))
}

/// Says on standard error what is being done.
#[expect(clippy::print_stderr, reason = "its purpose")]
pub(crate) fn progress(step: &str) {
    eprintln!("{step}");
}

/// Names a round; round 0 warms up.
pub(crate) fn round_name(round: usize, of: usize) -> String {
    if round == 0 { "warm-up".into() } else { format!("round {round} of {of}") }
}

/// Returns the median.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Prints a row of a Markdown table.
#[expect(clippy::print_stdout, reason = "its purpose")]
pub(crate) fn row(cells: &[&str]) {
    println!("| {} |", cells.join(" | "));
}

/// Prints the head of a Markdown table with one text column and then columns of numbers.
pub(crate) fn head(cells: &[&str]) {
    row(cells);
    let lines: Vec<&str> = cells.iter().enumerate().map(|(at, _)| if at == 0 { "---" } else { "---:" }).collect();
    row(&lines);
}

/// Formats a whole number with thousands separators.
pub(crate) fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
