//! Removes what has expired, for stores that do not do it themselves.
//!
//! Records grow only where tokens are issued. So issuing a token checks whether a sweep is due, and
//! starts it in the background. No task has to be stopped with the authority.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::Authority;

/// When the next sweep is due, in milliseconds of the authority's monotonic clock.
///
/// The first is due at once: a process may not live until a second.
#[derive(Debug)]
pub(super) struct Sweeps {
    every: Duration,
    due: AtomicU64,
}

/// Means that a sweep is running, or that sweeps are off.
const RUNNING: u64 = u64::MAX;

/// A running sweep. Its drop schedules the next one, whether it succeeded or not.
struct Turn {
    sweeps: Arc<Sweeps>,
    next: u64,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.sweeps.due.store(self.next, Ordering::Release);
    }
}

impl Sweeps {
    /// Creates a schedule of one sweep per `every`; none if that is zero.
    pub(super) fn new(every: Duration) -> Arc<Self> {
        Arc::new(Self { every, due: AtomicU64::new(if every.is_zero() { RUNNING } else { 0 }) })
    }

    fn begin(self: &Arc<Self>, now: Duration) -> Option<Turn> {
        let due = self.due.load(Ordering::Relaxed);
        if due == RUNNING || millis(now) < due {
            return None;
        }
        self.due.compare_exchange(due, RUNNING, Ordering::Acquire, Ordering::Relaxed).ok()?;
        Some(Turn { sweeps: Arc::clone(self), next: millis(now.saturating_add(self.every)) })
    }
}

/// Always below [`RUNNING`].
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(RUNNING).min(RUNNING - 1)
}

impl Authority {
    /// Starts a sweep in the background if one is due. Call it after something was recorded.
    pub(super) fn sweep_when_due(&self) {
        let Some(turn) = self.inner.sweeps.begin(self.inner.trust.monotonic()) else { return };
        let (store, before) = (Arc::downgrade(self.store()), self.inner.trust.accepted_since());
        tokio::spawn(async move {
            let _turn = turn;
            // A sweep must not keep the store open once all its users are gone.
            let Some(store) = store.upgrade() else { return };
            match store.purge_expired(before).await {
                Ok(purged) => {
                    tracing::debug!(tokens = purged.tokens, sessions = purged.sessions, "removed what had expired");
                }
                // The next sweep removes what is left.
                Err(error) => {
                    tracing::warn!(error = &error as &dyn Error, "what has expired cannot be removed");
                }
            }
        });
    }
}
