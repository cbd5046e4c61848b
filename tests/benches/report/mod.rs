//! Medians and tables for measurements.

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
