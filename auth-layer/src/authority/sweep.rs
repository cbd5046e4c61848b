//! Removing what has expired, where the store does not see to that by itself.
//!
//! Records are made where tokens are issued, so whoever issues one looks whether a sweep is due, and starts it beside the answer.
//! That needs no task that would have to be ended with the authority, and where nobody issues anything nothing grows.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::Authority;

/// When the next sweep is due, in milliseconds of the authority's monotonic clock: the first at once, for a process may not live
/// until a second.
#[derive(Debug)]
pub(super) struct Sweeps {
    every: Duration,
    due: AtomicU64,
}

/// Stands for a sweep that is under way.
const RUNNING: u64 = u64::MAX;

/// A sweep under way: its end, whatever that is, lets the next one be due.
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
    /// One each `every`; none where that is zero.
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

/// Below [`RUNNING`].
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(RUNNING).min(RUNNING - 1)
}

impl Authority {
    /// To be called when something was recorded. Starts a sweep if one is due, and waits for nothing.
    pub(super) fn sweep_when_due(&self) {
        let Some(turn) = self.inner.sweeps.begin(self.inner.trust.monotonic()) else { return };
        let (store, before) = (Arc::downgrade(self.store()), self.inner.trust.accepted_since());
        tokio::spawn(async move {
            let _turn = turn;
            // Where everybody is gone by now, it is not for this to keep a file open.
            let Some(store) = store.upgrade() else { return };
            match store.purge_expired(before).await {
                Ok(purged) => {
                    tracing::debug!(tokens = purged.tokens, sessions = purged.sessions, "removed what had expired");
                }
                // What is left is removed the next time.
                Err(error) => {
                    tracing::warn!(error = &error as &dyn Error, "what has expired cannot be removed");
                }
            }
        });
    }
}
