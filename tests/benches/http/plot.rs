//! Draws a plot as SVG.

use std::fmt::Write as _;

use crate::report::thousands;

/// Draws horizontal bars as SVG; each has a label, a length and whether it is ours.
pub(crate) fn bars(title: &str, bars: &[(String, f64, bool)]) -> String {
    const ROW: usize = 30;
    const LEFT: u32 = 450;
    const WIDTH: f64 = 360.0;
    let longest = bars.iter().map(|(_, value, _)| *value).fold(1.0, f64::max);
    let height = 60 + ROW * bars.len();
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"910\" height=\"{height}\" font-family=\"sans-serif\" \
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
