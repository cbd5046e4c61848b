//! What could not be written to the cache yet.

use std::{
    collections::HashMap,
    future::Future,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use crate::{background::again_after_panics, clock::Timestamp, store::Denial};

/// How often writing is retried.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// How many are written in one call, so that even a slow cache works off a long list.
const BATCH: usize = 256;

/// What is to be written, by its key, until that succeeds or is no longer needed. One task at a time
/// writes.
#[derive(Debug)]
pub(super) struct Retries<K, D>(Arc<Mutex<RetryState<K, D>>>);

#[derive(Debug)]
struct RetryState<K, D> {
    due: HashMap<K, D>,
    running: bool,
}

/// Something to write under its key.
pub(super) trait Due: Copy + PartialEq + Send + Sync + 'static {
    /// Its name in a log, in the plural.
    const NAME: &'static str;

    /// Returns what is to be written after both were added.
    fn and(self, newer: Self) -> Self;

    /// Returns whether it need not be written any more.
    fn is_over(self, bound: Duration) -> bool;
}

/// A tombstone to write.
///
/// It is over when the cache's bound has passed since its revocation: no entry then says "active"
/// any more.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct DueTombstone {
    pub(super) expires_at: Timestamp,
    pub(super) added: Instant,
}

impl Due for DueTombstone {
    const NAME: &'static str = "tombstones";

    fn and(self, newer: Self) -> Self {
        newer
    }

    fn is_over(self, bound: Duration) -> bool {
        self.added.elapsed() >= bound
    }
}

/// A denial to write.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct DueDenial {
    pub(super) denial: Denial,
    /// When the store recorded it. `None` if the store failed, and must record it first.
    pub(super) recorded: Option<Instant>,
}

impl Due for DueDenial {
    const NAME: &'static str = "denials";

    fn and(self, newer: Self) -> Self {
        let recorded = self.recorded.and(newer.recorded);
        Self { denial: self.denial.extended_by(newer.denial), recorded }
    }

    fn is_over(self, bound: Duration) -> bool {
        self.recorded.is_some_and(|recorded| recorded.elapsed() >= bound)
    }
}

impl<K: Copy + Eq + Hash + Send + Sync + 'static, D: Due> Retries<K, D> {
    /// Adds what is due, and starts the task if none runs. Must be called within a Tokio runtime.
    ///
    /// `write` returns whether it succeeded. `bound` is the cache's.
    pub(super) fn add<F>(
        &self,
        due: impl IntoIterator<Item = (K, D)>,
        bound: Duration,
        write: impl Fn(Vec<(K, D)>) -> F + Clone + Send + Sync + 'static,
    ) where
        F: Future<Output = bool> + Send + 'static,
    {
        let mut state = self.state();
        for (key, due) in due {
            state.due.entry(key).and_modify(|older| *older = older.and(due)).or_insert(due);
        }
        if !state.running {
            state.running = true;
            let retries = self.clone();
            let retry = move || retries.clone().retry(bound, write.clone());
            tokio::spawn(again_after_panics("what is due to the cache", retry));
        }
    }

    /// Returns how many are due.
    pub(super) fn len(&self) -> usize {
        self.state().due.len()
    }

    async fn retry<F: Future<Output = bool> + Send>(self, bound: Duration, write: impl Fn(Vec<(K, D)>) -> F) {
        loop {
            sleep(RETRY_INTERVAL).await;
            let due: Vec<(K, D)> = {
                let mut state = self.state();
                state.due.retain(|_, due| !due.is_over(bound));
                if state.due.is_empty() {
                    state.running = false;
                    return;
                }
                state.due.iter().map(|(&key, &due)| (key, due)).collect()
            };
            for batch in due.chunks(BATCH) {
                if !write(batch.to_vec()).await {
                    break;
                }
                tracing::info!(count = batch.len(), "{} written that had been due", D::NAME);
                let mut state = self.state();
                for (key, written) in batch {
                    // Keep what was added meanwhile: the cache may have lost what was just written.
                    if state.due.get(key) == Some(written) {
                        state.due.remove(key);
                    }
                }
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, RetryState<K, D>> {
        // Recovering from a poisoned lock is safe: no change of the state can panic half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// Not derived: a derive would require it of the key.
impl<K, D> Clone for Retries<K, D> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K, D> Default for Retries<K, D> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(RetryState { due: HashMap::new(), running: false })))
    }
}
