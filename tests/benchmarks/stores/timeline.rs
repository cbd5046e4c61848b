//! Records one revocation on two nodes under steady requests, and draws it over time.

use std::{
    ops::Range,
    thread,
    time::{Duration, Instant},
};

use auth_layer::{AuthError, Authority, keys::Algorithm};
use plotters::{
    chart::ChartBuilder,
    element::{EmptyElement, PathElement, Text},
    series::AreaSeries,
    style::{Color, text_anchor::HPos},
};
use tests::servers;
use tokio::{
    runtime::Handle,
    task::{self, JoinHandle},
    time,
};

use crate::{
    key::{Key, PeerClaims},
    news, plot,
    plot::{Size, text},
    report::{head, progress, row},
    sign_in,
};

/// The recorded revocations after those that warm up. The one with the median time is drawn.
const REVOCATIONS: usize = 21;
const WARM_UP: usize = 20;

/// The requests to each node. They begin before the revocation.
const EVERY: Duration = Duration::from_micros(200);
const REQUESTS: u32 = 500;
const BEFORE: Duration = Duration::from_millis(30);

/// The milliseconds that are drawn, the revocation being at 0.
const DRAWN: Range<i32> = -20..60;

/// The requests in a millisecond, and the height of a row in the plot.
const PER_MILLISECOND: f64 = 5.0;
const TOP: f64 = 1.3 * PER_MILLISECOND;

/// When requests were accepted, in milliseconds after the revocation was asked for.
struct Recording {
    revoking: Vec<f64>,
    other: Vec<f64>,
    /// By a check of signature and claims alone.
    plain: Vec<f64>,
    /// When the call that revokes returned.
    returned: f64,
}

impl Recording {
    /// Returns when the last request was accepted on either node.
    fn last_accepted(&self) -> f64 {
        last(&self.revoking).max(last(&self.other))
    }
}

fn last(accepted: &[f64]) -> f64 {
    accepted.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

/// Records revocations, prints the one with the median time as a table and draws it.
pub(crate) async fn plot(file: &str) {
    let key = Key::new(Algorithm::EdDsa);
    let (database, keys) = (servers::mongodb().await, servers::redis().await);
    let nodes = [news::node(&key, &database, Some(&keys)).await, news::node(&key, &database, Some(&keys)).await];
    progress(&format!("timeline: {WARM_UP} revocations to warm up, {REVOCATIONS} that count"));
    let mut recordings = Vec::new();
    for round in 0..WARM_UP + REVOCATIONS {
        let recording = record(&key, &nodes).await;
        if round >= WARM_UP {
            recordings.push(recording);
        }
    }
    recordings.sort_by(|one, other| one.last_accepted().total_cmp(&other.last_accepted()));
    let median = &recordings[REVOCATIONS / 2];
    head(&["one revocation, the median of 21", "ms after it was asked for"]);
    row(&["the revoking node's last accepted request", &format!("{:.2}", last(&median.revoking))]);
    row(&["the other node's last accepted request", &format!("{:.2}", last(&median.other))]);
    row(&["the call that revokes has returned", &format!("{:.2}", median.returned)]);
    draw(file, median);
}

/// Revokes a token while both nodes and a plain check are asked about it.
async fn record(key: &Key, nodes: &[Authority; 2]) -> Recording {
    let token = sign_in(&nodes[0]).await.1;
    let mut id = None;
    for node in nodes {
        id = node.verify(&token).await.expect("the token is good").token_id();
    }
    let begin = Instant::now();
    let on_node = |node: &Authority| {
        let (node, token, runtime) = (node.clone(), token.clone(), Handle::current());
        steady_requests(begin, move || match runtime.block_on(node.verify(&token)) {
            Ok(_) => true,
            Err(AuthError::InvalidToken(_)) => false,
            Err(error) => panic!("{error}"),
        })
    };
    let (revoking, other) = (on_node(&nodes[0]), on_node(&nodes[1]));
    let (decoding, validation) = key.decoding();
    let plain =
        steady_requests(begin, move || jsonwebtoken::decode::<PeerClaims>(&token, &decoding, &validation).is_ok());
    time::sleep_until((begin + BEFORE).into()).await;
    let asked = Instant::now();
    nodes[0].revoke_token(id.expect("it is ours")).await.expect("the stores serve");
    let returned = milliseconds(asked, Instant::now());
    let mut accepted = Vec::new();
    for requests in [revoking, other, plain] {
        let times = requests.await.expect("no request panics");
        accepted.push(times.into_iter().map(|at| milliseconds(asked, at)).collect());
    }
    let [revoking, other, plain] = accepted.try_into().expect("there are three");
    Recording { revoking, other, plain, returned }
}

/// Sends requests at a steady pace, and returns when they were accepted.
fn steady_requests(begin: Instant, accepts: impl Fn() -> bool + Send + 'static) -> JoinHandle<Vec<Instant>> {
    task::spawn_blocking(move || {
        let mut accepted = Vec::new();
        for number in 0..REQUESTS {
            thread::sleep((begin + EVERY * number).saturating_duration_since(Instant::now()));
            if accepts() {
                accepted.push(Instant::now());
            }
        }
        accepted
    })
}

/// Returns the milliseconds from `from` to `to`; negative if `to` is earlier.
fn milliseconds(from: Instant, to: Instant) -> f64 {
    (to.saturating_duration_since(from).as_secs_f64() - from.saturating_duration_since(to).as_secs_f64()) * 1e3
}

fn draw(file: &str, recording: &Recording) {
    let within = recording.last_accepted().max(0.0).ceil();
    let title = format!("Revoked on one node, refused on both within {within:.0} ms");
    let subtitle = "Accepted requests with one token; each row is sent 5,000 a second";
    let strips = [
        ("node A", "revokes the token at 0 ms", &recording.revoking, Some(last(&recording.revoking))),
        ("node B", "hears of it", &recording.other, Some(last(&recording.other))),
        ("a plain JWT", "signature and expiry alone", &recording.plain, None),
    ];
    plot::draw(file, (830, 360), &title, subtitle, |canvas, theme| {
        let (rows, axis) = canvas.split_vertically(canvas.dim_in_pixel().1 - 30);
        let rows = rows.split_evenly((3, 1));
        let chart = |area| {
            ChartBuilder::on(area)
                .margin_left(200)
                .margin_right(14)
                .build_cartesian_2d(f64::from(DRAWN.start)..f64::from(DRAWN.end), 0.0..TOP)
        };
        for (area, (name, note, accepted, refused)) in rows.iter().zip(&strips) {
            let colour = if refused.is_some() { theme.ours } else { theme.others };
            let mut strip = chart(area)?;
            // Each millisecond is a step.
            let steps = DRAWN.flat_map(|start| {
                let (start, end) = (f64::from(start), f64::from(start + 1));
                let count: f64 = accepted.iter().filter(|at| (start..end).contains(*at)).map(|_| 1.0).sum();
                [(start, count), (end, count)]
            });
            strip.draw_series(AreaSeries::new(steps, 0.0, colour.mix(0.45)).border_style(colour.stroke_width(2)))?;
            strip.draw_series([PathElement::new([(0.0, 0.0), (0.0, TOP)], theme.ink)])?;
            strip.draw_series([EmptyElement::at((f64::from(DRAWN.start), PER_MILLISECOND / 2.0))
                + Text::new(*name, (-16, -9), text(Size::Label, theme.ink, HPos::Right))
                + Text::new(*note, (-16, 10), text(Size::Note, theme.muted, HPos::Right))])?;
            let said = if refused.is_some() { "refused: 401" } else { "still accepted, until it expires" };
            strip.draw_series([EmptyElement::at((40.0, PER_MILLISECOND / 2.0))
                + Text::new(said, (0, 0), text(Size::Label, theme.ink, HPos::Center))])?;
        }
        let mut axis = chart(&axis)?;
        for tick in DRAWN.step_by(20).chain([DRAWN.end]) {
            let label = format!("{tick} ms");
            axis.draw_series([EmptyElement::at((f64::from(tick), TOP))
                + Text::new(label, (0, 12), text(Size::Note, theme.muted, HPos::Center))])?;
        }
        Ok(())
    });
}
