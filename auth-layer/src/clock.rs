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

/// Tells the time. Everything that depends on time takes a clock or a moment, so tests need not
/// wait.
///
/// ```
/// use std::time::Duration;
///
/// use auth_layer::clock::{Clock, ManualClock, Timestamp};
///
/// let clock = ManualClock::starting_at(Timestamp::UNIX_EPOCH);
/// clock.advance(Duration::from_secs(5));
/// assert_eq!(clock.now().timestamp(), 5);
/// ```
pub trait Clock: Send + Sync + 'static {
    /// Returns the time of day. Tokens are stamped and judged by it.
    fn now(&self) -> Timestamp;

    /// Returns the time since a fixed moment of the clock's choice. It never goes back.
    ///
    /// Leases are measured by it. It should continue while the machine sleeps.
    fn monotonic(&self) -> Duration;
}

/// The operating system's clock.
///
/// On Linux its [`monotonic`](Clock::monotonic) continues while the machine sleeps. Elsewhere it is
/// [`Instant`](std::time::Instant), which may stop then: a lease then lasts longer by the sleep.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    #[cfg(not(target_os = "linux"))]
    start: std::time::Instant,
}

impl SystemClock {
    /// Creates a clock.
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

    /// Uses `CLOCK_BOOTTIME`, which includes sleep; `Instant` does not. A lease that ended during
    /// sleep is over on waking.
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

/// A clock that moves only when it is advanced. Its clones are the same clock.
///
/// ```
/// use std::time::Duration;
///
/// use auth_layer::clock::{Clock, ManualClock, Timestamp};
///
/// let clock = ManualClock::starting_at(Timestamp::UNIX_EPOCH);
/// let same = clock.clone();
/// clock.advance(Duration::from_mins(1));
/// assert_eq!(same.monotonic(), Duration::from_mins(1));
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock {
    start: Timestamp,
    elapsed: Arc<AtomicU64>,
}

impl ManualClock {
    /// Creates a clock that shows `start`.
    pub fn starting_at(start: Timestamp) -> Self {
        Self { start, elapsed: Arc::default() }
    }

    /// Advances the clock, by whole milliseconds.
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

/// Returns `moment + duration`, at most the end of representable time.
pub(crate) fn later(moment: Timestamp, duration: Duration) -> Timestamp {
    chrono::TimeDelta::from_std(duration)
        .ok()
        .and_then(|delta| moment.checked_add_signed(delta))
        .unwrap_or(Timestamp::MAX_UTC)
}

/// Returns `moment - duration`, at least the beginning of representable time.
pub(crate) fn earlier(moment: Timestamp, duration: Duration) -> Timestamp {
    chrono::TimeDelta::from_std(duration)
        .ok()
        .and_then(|delta| moment.checked_sub_signed(delta))
        .unwrap_or(Timestamp::MIN_UTC)
}

/// Drops the fraction of a second, for a NumericDate (RFC 7519 §2).
pub(crate) fn whole_seconds(moment: Timestamp) -> Timestamp {
    moment.trunc_subsecs(0)
}

/// Drops what is finer than a millisecond: every store can keep the rest.
pub(crate) fn whole_millis(moment: Timestamp) -> Timestamp {
    moment.trunc_subsecs(3)
}
