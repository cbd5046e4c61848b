//! What measurements are told with: medians, a table, a plot.

use std::fmt::Write as _;

/// The middle one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Prints a row of a Markdown table.
#[expect(clippy::print_stdout, reason = "its purpose")]
pub(crate) fn row(cells: &[&str]) {
    println!("| {} |", cells.join(" | "));
}

/// Prints the head of a Markdown table whose first column is text and whose others are numbers.
pub(crate) fn head(cells: &[&str]) {
    row(cells);
    let lines: Vec<&str> = cells.iter().enumerate().map(|(at, _)| if at == 0 { "---" } else { "---:" }).collect();
    row(&lines);
}

/// A whole number with its thousands apart.
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

/// A picture of horizontal bars, as SVG: what each is, how long, and whether it is one of ours.
pub(crate) fn bars(title: &str, bars: &[(String, f64, bool)]) -> String {
    const ROW: usize = 30;
    const LEFT: u32 = 320;
    const WIDTH: f64 = 360.0;
    let longest = bars.iter().map(|(_, value, _)| *value).fold(1.0, f64::max);
    let height = 60 + ROW * bars.len();
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"780\" height=\"{height}\" font-family=\"sans-serif\" \
         font-size=\"14\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"16\" y=\"30\" font-size=\"16\" font-weight=\"bold\">{title}</text>\n"
    );
    for (at, (label, value, ours)) in bars.iter().enumerate() {
        let (top, length) = (50 + ROW * at, value / longest * WIDTH);
        let colour = if *ours { "#2f6f4f" } else { "#b9bec4" };
        let middle = top + 15;
        let end = f64::from(LEFT) + length + 8.0;
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{middle}\" text-anchor=\"end\">{label}</text>\
             <rect x=\"{LEFT}\" y=\"{top}\" width=\"{length:.1}\" height=\"20\" fill=\"{colour}\"/>\
             <text x=\"{end:.1}\" y=\"{middle}\">{}</text>",
            LEFT - 10,
            thousands(*value)
        );
    }
    svg + "</svg>\n"
}
