//! Time as an argument.

use std::time::Duration;

use chrono::{DateTime, TimeZone, Utc};

/// A moment, in UTC.
pub type Timestamp = DateTime<Utc>;

/// Where the time comes from. Everything that depends on time takes it from here or as an argument, so that tests turn
/// the clock instead of waiting.
pub trait Clock: Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;
}

/// The operating system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Utc::now()
    }
}

impl<F: Fn() -> Timestamp + Send + Sync + 'static> Clock for F {
    fn now(&self) -> Timestamp {
        self()
    }
}

/// `moment + duration`, held at the end of representable time.
pub(crate) fn later(moment: Timestamp, duration: Duration) -> Timestamp {
    chrono::TimeDelta::from_std(duration)
        .ok()
        .and_then(|delta| moment.checked_add_signed(delta))
        .unwrap_or(Timestamp::MAX_UTC)
}

/// `moment - duration`, held at the beginning of representable time.
pub(crate) fn earlier(moment: Timestamp, duration: Duration) -> Timestamp {
    chrono::TimeDelta::from_std(duration)
        .ok()
        .and_then(|delta| moment.checked_sub_signed(delta))
        .unwrap_or(Timestamp::MIN_UTC)
}

/// The moment without its fraction of a second: what a NumericDate (RFC 7519 §2) of ours can say.
pub(crate) fn whole_seconds(moment: Timestamp) -> Timestamp {
    Utc.timestamp_opt(moment.timestamp(), 0).single().unwrap_or(moment)
}
