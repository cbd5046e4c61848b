//! Limits how often the same event is logged.
//!
//! When a store is down, each request fails and logs. The first event of a group is written, then a
//! count every [`WINDOW`], and a last line after a window without repeats.
//!
//! A group has one place in the code and the same fields, so events of two sessions are in two
//! groups. The message and the error may differ.
//!
//! All warnings and errors are limited, and the `info` lines of libraries. Debug lines and the
//! application's own `info` lines, such as its request lines, are not.
//!
//! `tracing-throttle` groups events by the message, which may contain an error here.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{BuildHasher, Hash, Hasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tracing::{Event, Level, Metadata, Subscriber};
use tracing_log::NormalizeEvent;
use tracing_subscriber::{Layer, layer::Context};

use super::line::EventFields;
use crate::audit;

/// The target of the log's lines about itself, which are never limited.
pub(super) const REPORT_TARGET: &str = "demo_app::log";

/// The time for which repeats are counted before a report.
const WINDOW: Duration = Duration::from_secs(30);

/// The maximum number of groups. Beyond it, events that differ only in fields are one group.
const MAX_GROUPS: usize = 512;

/// The number of `info` lines of one group in a window.
const INFO_LINES: u32 = 5;

/// The targets that are never limited: each theft of a token gets a line, and each audit event.
const UNLIMITED_TARGETS: [&str; 3] = [REPORT_TARGET, "auth_layer::security", audit::TARGET];

/// Libraries whose events are one group. When a Redis cluster is down, the driver writes ten lines
/// for each attempt.
const SINGLE_GROUP_LIBRARIES: [&str; 1] = ["redis"];

/// A layer that limits the lines of each group. All clones share one count.
#[derive(Clone)]
pub(super) struct RepeatLimiter {
    started: Instant,
    hasher: RandomState,
    groups: Arc<Mutex<EventGroups>>,
}

impl RepeatLimiter {
    pub(super) fn new(started: Instant) -> Self {
        Self { started, hasher: RandomState::new(), groups: Arc::default() }
    }

    /// Logs the reports that are due at `now`.
    pub(super) fn report(&self, now: Instant) {
        let due = self.groups().take_due_reports(now.saturating_duration_since(self.started));
        due.iter().for_each(RepeatReport::log);
    }

    /// Logs every repeat that was not reported yet.
    pub(super) fn report_all(&self) {
        let rest = self.groups().take_remaining_reports();
        rest.iter().for_each(RepeatReport::log);
    }

    fn groups(&self) -> MutexGuard<'_, EventGroups> {
        // A panic cannot leave the map half changed.
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn should_log(&self, event: &Event<'_>, now: Instant) -> bool {
        let normalized = event.normalized_metadata();
        let metadata = normalized.as_ref().unwrap_or_else(|| event.metadata());
        if !is_limited(metadata) {
            return true;
        }
        // Before the lock, because formatting a field may log.
        let mut fields = EventFields::default();
        event.record(&mut fields);
        let library = SINGLE_GROUP_LIBRARIES.iter().find(|library| crate_of(metadata.target()) == **library);
        let callsite_key = match library {
            Some(library) => self.hasher.hash_one(library),
            None => self.hasher.hash_one((metadata.target(), metadata.file(), metadata.line(), metadata.level())),
        };
        let group_key = if library.is_some() {
            callsite_key
        } else {
            let mut hasher = self.hasher.build_hasher();
            callsite_key.hash(&mut hasher);
            fields.hash_all_but_error(&mut hasher);
            hasher.finish()
        };
        let logged = LoggedEvent { level: *metadata.level(), target: metadata.target(), fields };
        self.groups().should_log(group_key, callsite_key, logged, now.saturating_duration_since(self.started))
    }
}

impl<S: Subscriber> Layer<S> for RepeatLimiter {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        self.should_log(event, Instant::now())
    }
}

fn is_limited(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    let level = *metadata.level();
    !UNLIMITED_TARGETS.contains(&target)
        && (level <= Level::WARN || (level == Level::INFO && crate_of(target) != env!("CARGO_CRATE_NAME")))
}

fn crate_of(target: &str) -> &str {
    target.split("::").next().unwrap_or(target)
}

/// An event that was logged.
struct LoggedEvent<'a> {
    level: Level,
    target: &'a str,
    fields: EventFields,
}

/// The groups of recent events, by their hash.
#[derive(Default)]
struct EventGroups(HashMap<u64, EventGroup>);

struct EventGroup {
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
    reported: u64,
}

impl EventGroups {
    /// Returns whether to write this event at `now`. All events of one place in the code share the
    /// `callsite_key`; those with the same fields also share the `group_key`.
    fn should_log(&mut self, group_key: u64, callsite_key: u64, logged: LoggedEvent<'_>, now: Duration) -> bool {
        let key = if self.0.len() < MAX_GROUPS || self.0.contains_key(&group_key) { group_key } else { callsite_key };
        let lines = if logged.level == Level::INFO { INFO_LINES } else { 1 };
        match self.0.entry(key) {
            Entry::Vacant(vacant) => {
                vacant.insert(EventGroup {
                    level: logged.level,
                    target: logged.target.to_owned(),
                    message: logged.fields.message,
                    error: None,
                    window_ends: now + WINDOW,
                    written: 1,
                    repeats: 0,
                    reported: 0,
                });
                true
            }
            Entry::Occupied(mut occupied) => {
                let group = occupied.get_mut();
                if group.written < lines {
                    group.written += 1;
                    return true;
                }
                group.repeats += 1;
                group.error = logged.fields.error();
                false
            }
        }
    }

    /// Returns the reports that are due at `now`, and forgets groups that are over.
    fn take_due_reports(&mut self, now: Duration) -> Vec<RepeatReport> {
        let mut reports = Vec::new();
        self.0.retain(|_, group| {
            if now < group.window_ends {
                return true;
            }
            group.window_ends = now + WINDOW;
            group.written = 0;
            let goes_on = group.repeats > 0;
            if goes_on || group.reported > 0 {
                reports.push(group.report());
            }
            // The report is this window's line.
            group.written = u32::from(goes_on);
            goes_on
        });
        reports
    }

    /// Returns the reports of repeats not reported yet.
    fn take_remaining_reports(&mut self) -> Vec<RepeatReport> {
        self.0.values_mut().filter(|group| group.repeats > 0).map(EventGroup::report).collect()
    }
}

impl EventGroup {
    fn report(&mut self) -> RepeatReport {
        let repeats = std::mem::take(&mut self.repeats);
        self.reported += repeats;
        RepeatReport {
            level: self.level,
            target: self.target.clone(),
            message: self.message.clone(),
            error: self.error.take(),
            repeats,
            total: self.reported,
        }
    }
}

/// The report about a group.
#[derive(Debug, PartialEq)]
struct RepeatReport {
    level: Level,
    target: String,
    message: String,
    error: Option<String>,
    /// Zero when the group is over.
    repeats: u64,
    total: u64,
}

impl RepeatReport {
    fn log(&self) {
        macro_rules! log {
            ($level:ident) => {
                match self.repeats {
                    0 => tracing::info!(
                        target: REPORT_TARGET,
                        from = self.target,
                        repeats = self.total,
                        "resolved, not seen for {} s: {}",
                        WINDOW.as_secs(),
                        self.message
                    ),
                    repeats => tracing::$level!(
                        target: REPORT_TARGET,
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

    fn event(message: &str) -> LoggedEvent<'_> {
        let mut fields = EventFields::default();
        message.clone_into(&mut fields.message);
        LoggedEvent { level: Level::WARN, target: "here", fields }
    }

    fn counts(reports: &[RepeatReport]) -> Vec<(u64, u64)> {
        reports.iter().map(|report| (report.repeats, report.total)).collect()
    }

    #[test]
    fn log_repeats_are_counted_each_window_until_resolved() {
        let mut groups = EventGroups::default();
        assert!(groups.should_log(1, 0, event("away"), Duration::ZERO));
        for _ in 0..39 {
            assert!(!groups.should_log(1, 0, event("away"), SECOND));
        }
        assert!(groups.should_log(2, 0, event("another"), SECOND));
        assert_eq!(counts(&groups.take_due_reports(29 * SECOND)), []);
        let first = groups.take_due_reports(WINDOW);
        assert_eq!((counts(&first), first[0].message.as_str()), (vec![(39, 39)], "away"));
        assert!(!groups.should_log(1, 0, event("away"), WINDOW + SECOND), "its line was that of the repeats");
        assert_eq!(counts(&groups.take_due_reports(WINDOW + SECOND)), [], "a single event is not reported again");
        assert_eq!(counts(&groups.take_due_reports(2 * WINDOW)), [(1, 40)]);
        assert_eq!(counts(&groups.take_due_reports(3 * WINDOW)), [(0, 40)], "over");
        assert_eq!(counts(&groups.take_due_reports(4 * WINDOW)), [], "reported once");
        assert!(groups.should_log(1, 0, event("away"), 4 * WINDOW), "a new beginning");
    }

    #[test]
    fn log_repeats_are_reported_at_program_end() {
        let mut groups = EventGroups::default();
        for _ in 0..3 {
            groups.should_log(1, 0, event("away"), Duration::ZERO);
        }
        assert_eq!(counts(&groups.take_remaining_reports()), [(2, 2)]);
        assert_eq!(counts(&groups.take_remaining_reports()), []);
    }

    #[test]
    fn log_repeats_of_many_groups_are_bounded() {
        let mut groups = EventGroups::default();
        let written =
            (1..=10_000).filter(|&group_key| groups.should_log(group_key, 0, event("away"), Duration::ZERO)).count();
        assert_eq!(written, MAX_GROUPS + 1);
        assert_eq!(groups.0.len(), MAX_GROUPS + 1);
        assert_eq!(
            counts(&groups.take_due_reports(WINDOW)).iter().map(|(repeats, _)| repeats).sum::<u64>(),
            9_999 - MAX_GROUPS as u64
        );
    }

    #[test]
    fn log_repeats_at_info_level_allow_a_few_lines() {
        let mut groups = EventGroups::default();
        let mut connected =
            |now| groups.should_log(1, 0, LoggedEvent { level: Level::INFO, ..event("connected") }, now);
        let written = (0..20).filter(|_| connected(Duration::ZERO)).count();
        assert_eq!(written, INFO_LINES as usize);
    }
}
