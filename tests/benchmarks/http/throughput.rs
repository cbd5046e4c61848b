//! Draws the throughput of six ways to let requests in.

use auth_layer::keys::Algorithm;
use plotters::{
    chart::ChartBuilder,
    element::{EmptyElement, Rectangle, Text},
    style::{Color, text_anchor::HPos},
};

use crate::{
    plot::{self, Size, text},
    report::thousands,
    row_name,
    serve::{Place, Way},
};

const WITHIN_LEASE: (Way, Algorithm) = (Way::Lease(Place::Inside), Algorithm::EdDsa);
const BY_HAND: (Way, Algorithm) = (Way::ByHand, Algorithm::EdDsa);

/// The bars, from the top: a server, its name in the plot, a note, and whether it is this crate.
const BARS: [((Way, Algorithm), &str, &str, bool); 6] = [
    ((Way::Bare, Algorithm::EdDsa), "bare router", "no check at all", false),
    (WITHIN_LEASE, "auth-layer, within the lease", "EdDSA, revocable", true),
    ((Way::ByHand, Algorithm::Hs256), "jsonwebtoken by hand", "HS256, not revocable", false),
    ((Way::Redis, Algorithm::Hs256), "auth-layer, asks Redis each time", "HS256, revocable", true),
    ((Way::ByHandAndRedis, Algorithm::Hs256), "by hand, asks Redis each time", "HS256, revocable, a pool", false),
    (BY_HAND, "jsonwebtoken by hand", "EdDSA, not revocable", false),
];

/// Returns the requests per second in the row of this name in a table that this benchmark has
/// printed.
pub(crate) fn figure(table: &str, name: &str) -> f64 {
    let cells = table.lines().find_map(|line| line.strip_prefix("| ")?.strip_prefix(name)?.strip_prefix(" | "));
    let rate = cells.and_then(|cells| cells.split(" | ").next()?.replace(',', "").parse().ok());
    rate.unwrap_or_else(|| panic!("the table has no row `{name}` with a number"))
}

/// Draws the bars to `file`; `rate` returns the requests per second of a row of the table.
pub(crate) fn draw(file: &str, rate: impl Fn(&str) -> f64) {
    let bars = BARS.map(|(server, name, note, ours)| (rate(&row_name(server)), name, note, ours));
    let times = rate(&row_name(WITHIN_LEASE)) / rate(&row_name(BY_HAND));
    let title = format!("Revocable, and {times:.0} times as fast as verifying each EdDSA signature");
    let longest = bars.iter().map(|(rate, ..)| *rate).fold(1.0, f64::max);
    plot::draw(file, (830, 400), &title, "HTTP requests per second on one core", |canvas, theme| {
        let mut chart = ChartBuilder::on(canvas)
            .set_left_and_bottom_label_area_size(0)
            .margin_left(256)
            .margin_right(80)
            .build_cartesian_2d(0.0..longest, 0.0..6.0)?;
        let mut middle = 5.5;
        for (rate, name, note, ours) in bars {
            let colour = if ours { theme.ours } else { theme.others };
            chart.draw_series([Rectangle::new([(0.0, middle + 0.34), (rate, middle - 0.34)], colour.filled())])?;
            chart.draw_series([EmptyElement::at((0.0, middle))
                + Text::new(name, (-12, -9), text(Size::Label, theme.ink, HPos::Right))
                + Text::new(note, (-12, 10), text(Size::Note, theme.muted, HPos::Right))])?;
            chart.draw_series([EmptyElement::at((rate, middle))
                + Text::new(thousands(rate), (10, 0), text(Size::Label, theme.ink, HPos::Left))])?;
            middle -= 1.0;
        }
        Ok(())
    });
}
