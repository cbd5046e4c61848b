//! Logs outages of the stores.
//!
//! An outage refuses every request that needs a store. It is logged when it begins, every
//! [`WINDOW`] with a count of refusals, and when it is over.

use std::{
    error::Error,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crate::store::StoreError;

/// How often refusals are logged, and how long none must come until an outage is over.
const WINDOW: Duration = Duration::from_secs(30);

/// The outages of one layer.
#[derive(Debug)]
pub(super) struct Outage {
    started: Instant,
    /// Read after every check that asked a store. The rest is used in outages only. It is set under
    /// the lock of `refusals`.
    is_active: AtomicBool,
    refusals: Mutex<Refusals>,
}

#[derive(Debug, Default)]
struct Refusals {
    last: Duration,
    /// When the next line may be written.
    due: Duration,
    unlogged: u64,
    total: u64,
}

impl Outage {
    pub(super) fn new() -> Self {
        Self { started: Instant::now(), is_active: AtomicBool::new(false), refusals: Mutex::default() }
    }

    /// Logs a refusal, as a warning unless one was logged a moment ago.
    pub(super) fn refused(&self, error: &StoreError) {
        let due = {
            let mut refusals = self.refusals();
            self.is_active.store(true, Ordering::Relaxed);
            refusals.count(self.started.elapsed())
        };
        match due {
            Some(1) => tracing::warn!(error = error as &dyn Error, "the state of a token cannot be learnt"),
            Some(refusals) => {
                tracing::warn!(error = error as &dyn Error, refusals, "the state of tokens still cannot be learnt");
            }
            None => tracing::debug!(error = error as &dyn Error, "the state of a token cannot be learnt"),
        }
    }

    /// Records that a token's state was learnt.
    ///
    /// Caches may know some tokens during an outage. So an outage is over only when no request was
    /// refused for a while.
    pub(super) fn learnt(&self) {
        if self.is_active.load(Ordering::Relaxed)
            && let Some(refusals) = self.end()
        {
            tracing::info!(refusals, "the state of tokens can be learnt again");
        }
    }

    /// Returns the count of refusals if an outage is over and nobody has logged that.
    fn end(&self) -> Option<u64> {
        let mut refusals = self.refusals();
        let ended = refusals.take_if_over(self.started.elapsed())?;
        self.is_active.store(false, Ordering::Relaxed);
        Some(ended)
    }

    fn refusals(&self) -> MutexGuard<'_, Refusals> {
        // No code panics while it is locked.
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Refusals {
    /// Counts a refusal at `now`. If a line is due, returns the count since the last one.
    fn count(&mut self, now: Duration) -> Option<u64> {
        self.last = now;
        self.unlogged += 1;
        self.total += 1;
        if now < self.due {
            return None;
        }
        self.due = now + WINDOW;
        Some(std::mem::take(&mut self.unlogged))
    }

    /// Returns the count of refusals if an outage is over at `now` and nobody has logged that.
    fn take_if_over(&mut self, now: Duration) -> Option<u64> {
        if self.total == 0 || now < self.last + WINDOW {
            return None;
        }
        let ended = std::mem::take(self);
        Some(ended.total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn outage_is_logged_at_its_start_every_window_and_at_its_end() {
        let mut refusals = Refusals::default();
        assert_eq!(refusals.take_if_over(SECOND), None, "there was none");
        assert_eq!(refusals.count(SECOND), Some(1));
        for _ in 0..39 {
            assert_eq!(refusals.count(2 * SECOND), None);
        }
        assert_eq!(refusals.take_if_over(20 * SECOND), None, "a cache may have known the token");
        assert_eq!(refusals.count(31 * SECOND), Some(40));
        assert_eq!(refusals.count(32 * SECOND), None);
        assert_eq!(refusals.take_if_over(61 * SECOND), None);
        assert_eq!(refusals.take_if_over(62 * SECOND), Some(42));
        assert_eq!(refusals.take_if_over(62 * SECOND), None, "said once");
        assert_eq!(refusals.count(63 * SECOND), Some(1), "a new outage");
    }
}
