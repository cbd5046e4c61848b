//! Removes what has expired, for stores that do not do it themselves.
//!
//! Records grow only where tokens are issued. So issuing a token checks whether a purge is due, and
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

/// When the next purge is due, in milliseconds of the authority's monotonic clock.
///
/// The first is due at once: a process may not live until a second.
#[derive(Debug)]
pub(super) struct PurgeSchedule {
    every: Duration,
    due: AtomicU64,
}

/// Means that a purge is running, or that purges are off.
const RUNNING_OR_OFF: u64 = u64::MAX;

/// A running purge. Its drop schedules the next one, whether it succeeded or not.
struct RunningPurge {
    schedule: Arc<PurgeSchedule>,
    next: u64,
}

impl Drop for RunningPurge {
    fn drop(&mut self) {
        self.schedule.due.store(self.next, Ordering::Relaxed);
    }
}

impl PurgeSchedule {
    /// Creates a schedule of one purge per `every`; none if that is zero.
    pub(super) fn new(every: Duration) -> Arc<Self> {
        Arc::new(Self { every, due: AtomicU64::new(if every.is_zero() { RUNNING_OR_OFF } else { 0 }) })
    }

    fn try_start(self: &Arc<Self>, now: Duration) -> Option<RunningPurge> {
        let due = self.due.load(Ordering::Relaxed);
        if due == RUNNING_OR_OFF || millis(now) < due {
            return None;
        }
        self.due.compare_exchange(due, RUNNING_OR_OFF, Ordering::Relaxed, Ordering::Relaxed).ok()?;
        Some(RunningPurge { schedule: Arc::clone(self), next: millis(now.saturating_add(self.every)) })
    }
}

/// Always below [`RUNNING_OR_OFF`].
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(RUNNING_OR_OFF).min(RUNNING_OR_OFF - 1)
}

impl Authority {
    /// Starts a purge in the background if one is due. Call it after something was recorded.
    pub(super) fn purge_when_due(&self) {
        let Some(running) = self.inner.purges.try_start(self.inner.trust.monotonic()) else { return };
        let (store, before) = (Arc::downgrade(self.store()), self.inner.trust.accepted_since());
        tokio::spawn(async move {
            let _running = running;
            // A purge must not keep the store open once all its users are gone.
            let Some(store) = store.upgrade() else { return };
            match store.purge_expired(before).await {
                Ok(purged) => {
                    tracing::debug!(tokens = purged.tokens, sessions = purged.sessions, "removed what had expired");
                }
                // The next purge removes what is left.
                Err(error) => {
                    tracing::warn!(error = &error as &dyn Error, "what has expired cannot be removed");
                }
            }
        });
    }
}
