//! Bounds the number of lines about one cause.
//!
//! When a store is down, each request fails and logs. The first line of a cause is written, then a
//! count every [`WINDOW`], and a last line after a window without repeats.
//!
//! A cause is one place in the code with the same fields, so events of two sessions are two causes.
//! The message and the error may differ.
//!
//! Bounded are all warnings and errors, and the `info` lines of libraries. Debug lines and the
//! application's own `info` lines, such as its request lines, are not.
//!
//! `tracing-throttle` tells causes apart by the message, which may contain an error here.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{BuildHasher, Hash, Hasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tracing::{Event, Level, Metadata, Subscriber};
use tracing_log::NormalizeEvent;
use tracing_subscriber::{Layer, layer::Context};

use super::line::Fields;

/// The target of the log's lines about itself, which are never counted.
pub(super) const REPORTS: &str = "demo_app::log";

/// The time for which repeats are counted before a report.
const WINDOW: Duration = Duration::from_secs(30);

/// The maximum number of causes. Beyond it, events that differ only in fields are one cause.
const CAUSES: usize = 512;

/// The number of `info` lines of one cause in a window.
const INFO_LINES: u32 = 5;

/// The targets that are never bounded: each theft of a token gets a line.
const NEVER_A_REPEAT: [&str; 2] = [REPORTS, "auth_layer::security"];

/// Libraries that count as one cause. When a Redis cluster is down, the driver writes ten lines for
/// each attempt.
const ONE_CAUSE: [&str; 1] = ["redis"];

/// A layer that bounds the lines of each cause. All clones share one count.
#[derive(Clone)]
pub(super) struct Repeats {
    started: Instant,
    hasher: RandomState,
    causes: Arc<Mutex<Causes>>,
}

impl Repeats {
    pub(super) fn new(started: Instant) -> Self {
        Self { started, hasher: RandomState::new(), causes: Arc::default() }
    }

    /// Logs the reports that are due at `now`.
    pub(super) fn report(&self, now: Instant) {
        let due = self.causes().due(now.saturating_duration_since(self.started));
        due.iter().for_each(Report::log);
    }

    /// Logs every repeat that was not reported yet.
    pub(super) fn report_all(&self) {
        let rest = self.causes().rest();
        rest.iter().for_each(Report::log);
    }

    fn causes(&self) -> MutexGuard<'_, Causes> {
        // A panic cannot leave the map half changed.
        self.causes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn admits(&self, event: &Event<'_>, now: Instant) -> bool {
        let normalized = event.normalized_metadata();
        let metadata = normalized.as_ref().unwrap_or_else(|| event.metadata());
        if !is_counted(metadata) {
            return true;
        }
        // Before the lock, because formatting a field may log.
        let mut fields = Fields::default();
        event.record(&mut fields);
        let library = ONE_CAUSE.iter().find(|library| crate_of(metadata.target()) == **library);
        let place = match library {
            Some(library) => self.hasher.hash_one(library),
            None => self.hasher.hash_one((metadata.target(), metadata.file(), metadata.line(), metadata.level())),
        };
        let exact = if library.is_some() {
            place
        } else {
            let mut hasher = self.hasher.build_hasher();
            place.hash(&mut hasher);
            fields.hash_all_but_error(&mut hasher);
            hasher.finish()
        };
        let seen = Seen { level: *metadata.level(), target: metadata.target(), fields };
        self.causes().admit(exact, place, seen, now.saturating_duration_since(self.started))
    }
}

impl<S: Subscriber> Layer<S> for Repeats {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        self.admits(event, Instant::now())
    }
}

fn is_counted(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    let level = *metadata.level();
    !NEVER_A_REPEAT.contains(&target)
        && (level <= Level::WARN || (level == Level::INFO && crate_of(target) != env!("CARGO_CRATE_NAME")))
}

fn crate_of(target: &str) -> &str {
    target.split("::").next().unwrap_or(target)
}

/// An event that was logged.
struct Seen<'a> {
    level: Level,
    target: &'a str,
    fields: Fields,
}

/// The causes of recent events.
#[derive(Default)]
struct Causes(HashMap<u64, Cause>);

struct Cause {
    level: Level,
    target: String,
    message: String,
    /// The error of the last event.
    error: Option<String>,
    window_ends: Duration,
    written: u32,
    /// The repeats since the last report.
    repeats: u64,
    /// The repeats reported so far.
    told: u64,
}

impl Causes {
    /// Returns whether to write this event at `now`. `exact` is its cause; `place` is shared by all
    /// events of the same place.
    fn admit(&mut self, exact: u64, place: u64, seen: Seen<'_>, now: Duration) -> bool {
        let key = if self.0.len() < CAUSES || self.0.contains_key(&exact) { exact } else { place };
        let lines = if seen.level == Level::INFO { INFO_LINES } else { 1 };
        match self.0.entry(key) {
            Entry::Vacant(vacant) => {
                vacant.insert(Cause {
                    level: seen.level,
                    target: seen.target.to_owned(),
                    message: seen.fields.message,
                    error: None,
                    window_ends: now + WINDOW,
                    written: 1,
                    repeats: 0,
                    told: 0,
                });
                true
            }
            Entry::Occupied(mut occupied) => {
                let cause = occupied.get_mut();
                if cause.written < lines {
                    cause.written += 1;
                    return true;
                }
                cause.repeats += 1;
                cause.error = seen.fields.error();
                false
            }
        }
    }

    /// Returns the reports that are due at `now`, and forgets causes that are over.
    fn due(&mut self, now: Duration) -> Vec<Report> {
        let mut reports = Vec::new();
        self.0.retain(|_, cause| {
            if now < cause.window_ends {
                return true;
            }
            cause.window_ends = now + WINDOW;
            cause.written = 0;
            let goes_on = cause.repeats > 0;
            if goes_on || cause.told > 0 {
                reports.push(cause.report());
            }
            // The report is this window's line.
            cause.written = u32::from(goes_on);
            goes_on
        });
        reports
    }

    /// Returns the reports of repeats not reported yet.
    fn rest(&mut self) -> Vec<Report> {
        self.0.values_mut().filter(|cause| cause.repeats > 0).map(Cause::report).collect()
    }
}

impl Cause {
    fn report(&mut self) -> Report {
        let repeats = std::mem::take(&mut self.repeats);
        self.told += repeats;
        Report {
            level: self.level,
            target: self.target.clone(),
            message: self.message.clone(),
            error: self.error.take(),
            repeats,
            in_all: self.told,
        }
    }
}

/// The report about a cause.
#[derive(Debug, PartialEq)]
struct Report {
    level: Level,
    target: String,
    message: String,
    error: Option<String>,
    /// Zero when the cause is over.
    repeats: u64,
    in_all: u64,
}

impl Report {
    fn log(&self) {
        macro_rules! log {
            ($level:ident) => {
                match self.repeats {
                    0 => tracing::info!(
                        target: REPORTS,
                        from = self.target,
                        repeats = self.in_all,
                        "over, not seen for {} s: {}",
                        WINDOW.as_secs(),
                        self.message
                    ),
                    repeats => tracing::$level!(
                        target: REPORTS,
                        from = self.target,
                        repeats,
                        error = self.error,
                        "repeated: {}",
                        self.message
                    ),
                }
            };
        }
        match self.level {
            Level::ERROR => log!(error),
            Level::WARN => log!(warn),
            _ => log!(info),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn seen(message: &str) -> Seen<'_> {
        let mut fields = Fields::default();
        message.clone_into(&mut fields.message);
        Seen { level: Level::WARN, target: "here", fields }
    }

    fn told(reports: &[Report]) -> Vec<(u64, u64)> {
        reports.iter().map(|report| (report.repeats, report.in_all)).collect()
    }

    #[test]
    fn log_of_one_cause_is_its_first_line_a_count_each_window_and_its_end() {
        let mut causes = Causes::default();
        assert!(causes.admit(1, 0, seen("away"), Duration::ZERO));
        for _ in 0..39 {
            assert!(!causes.admit(1, 0, seen("away"), SECOND));
        }
        assert!(causes.admit(2, 0, seen("another"), SECOND));
        assert_eq!(told(&causes.due(29 * SECOND)), []);
        let first = causes.due(WINDOW);
        assert_eq!((told(&first), first[0].message.as_str()), (vec![(39, 39)], "away"));
        assert!(!causes.admit(1, 0, seen("away"), WINDOW + SECOND), "its line was that of the repeats");
        assert_eq!(told(&causes.due(WINDOW + SECOND)), [], "what came once is not told of again");
        assert_eq!(told(&causes.due(2 * WINDOW)), [(1, 40)]);
        assert_eq!(told(&causes.due(3 * WINDOW)), [(0, 40)], "over");
        assert_eq!(told(&causes.due(4 * WINDOW)), [], "said once");
        assert!(causes.admit(1, 0, seen("away"), 4 * WINDOW), "a new beginning");
    }

    #[test]
    fn log_of_repeats_that_were_not_told_of_comes_at_the_end_of_the_program() {
        let mut causes = Causes::default();
        for _ in 0..3 {
            causes.admit(1, 0, seen("away"), Duration::ZERO);
        }
        assert_eq!(told(&causes.rest()), [(2, 2)]);
        assert_eq!(told(&causes.rest()), []);
    }

    #[test]
    fn log_of_many_causes_from_one_place_is_bounded() {
        let mut causes = Causes::default();
        let written = (1..=10_000).filter(|&exact| causes.admit(exact, 0, seen("away"), Duration::ZERO)).count();
        assert_eq!(written, CAUSES + 1);
        assert_eq!(causes.0.len(), CAUSES + 1);
        assert_eq!(told(&causes.due(WINDOW)).iter().map(|(repeats, _)| repeats).sum::<u64>(), 9_999 - CAUSES as u64);
    }

    #[test]
    fn log_of_what_happened_lets_a_few_lines_through_each_window() {
        let mut causes = Causes::default();
        let mut connected = |now| causes.admit(1, 0, Seen { level: Level::INFO, ..seen("connected") }, now);
        let written = (0..20).filter(|_| connected(Duration::ZERO)).count();
        assert_eq!(written, INFO_LINES as usize);
    }
}
