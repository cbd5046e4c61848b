//! Time as an argument.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, SubsecRound, Utc};

/// A moment, in UTC.
pub type Timestamp = DateTime<Utc>;

/// Where the time comes from. Everything that depends on time takes it from here or as an argument, so that tests turn
/// the clock instead of waiting.
pub trait Clock: Send + Sync + 'static {
    /// The time of day now, which tokens are stamped with and judged by.
    fn now(&self) -> Timestamp;

    /// The time since a moment of the clock's choice, which never goes back: what leases are counted in. It should count on
    /// while the machine sleeps.
    fn monotonic(&self) -> Duration;
}

/// The operating system's clock.
///
/// Elsewhere than on Linux its [`monotonic`](Clock::monotonic) is [`Instant`](std::time::Instant), which may stand still while the machine
/// sleeps: a lease then lasts longer by that sleep.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    #[cfg(not(target_os = "linux"))]
    start: std::time::Instant,
}

impl SystemClock {
    /// The operating system's clock.
    pub fn new() -> Self {
        Self {
            #[cfg(not(target_os = "linux"))]
            start: std::time::Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Utc::now()
    }

    /// With Linux that is the time since it started, sleep included, which `Instant` leaves out: a lease that ended while the
    /// machine slept is over when it wakes.
    #[cfg(target_os = "linux")]
    fn monotonic(&self) -> Duration {
        // Never negative.
        rustix::time::clock_gettime(rustix::time::ClockId::Boottime).try_into().unwrap_or(Duration::MAX)
    }

    #[cfg(not(target_os = "linux"))]
    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A clock that stands still until it is turned. Its clones are the same clock.
#[derive(Clone, Debug)]
pub struct ManualClock {
    start: Timestamp,
    elapsed: Arc<AtomicU64>,
}

impl ManualClock {
    /// A clock that shows `start`.
    pub fn starting_at(start: Timestamp) -> Self {
        Self { start, elapsed: Arc::default() }
    }

    /// Turns the clock on, by whole milliseconds.
    pub fn advance(&self, by: Duration) {
        let millis = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.elapsed.fetch_add(millis, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        later(self.start, self.monotonic())
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.elapsed.load(Ordering::SeqCst))
    }
}

impl<T: Clock> Clock for Arc<T> {
    fn now(&self) -> Timestamp {
        T::now(self)
    }

    fn monotonic(&self) -> Duration {
        T::monotonic(self)
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
    moment.trunc_subsecs(0)
}

/// The moment without what is finer than a millisecond: what every store can keep.
pub(crate) fn whole_millis(moment: Timestamp) -> Timestamp {
    moment.trunc_subsecs(3)
}
