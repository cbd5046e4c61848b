//! Tombstones that could not be written yet.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use crate::{background::again_after_panics, cache::StatusCache, clock::Timestamp, id::TokenId};

/// How often writing is retried.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// How many are written in one call, so that even a slow cache works off a long list.
const BATCH: usize = 256;

/// Tombstones to write once the cache can be reached. One task at a time retries them.
///
/// Each is dropped when the cache's bound has passed since its revocation: no entry then says
/// "active" any more.
#[derive(Clone, Debug, Default)]
pub(super) struct TombstoneRetries(Arc<Mutex<RetryState>>);

#[derive(Debug, Default)]
struct RetryState {
    due: HashMap<TokenId, Tombstone>,
    running: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Tombstone {
    expires_at: Timestamp,
    added: Instant,
}

impl TombstoneRetries {
    /// Adds tombstones, and starts the task if none runs. Must be called within a Tokio runtime.
    pub(super) fn add<C: StatusCache>(&self, cache: &Arc<C>, tokens: &[(TokenId, Timestamp)], since: Timestamp) {
        let added = Instant::now();
        let mut state = self.state();
        state.due.extend(tokens.iter().map(|&(id, expires_at)| (id, Tombstone { expires_at, added })));
        if !state.running {
            state.running = true;
            let (retries, cache) = (self.clone(), Arc::clone(cache));
            let retry = move || retries.clone().retry(Arc::clone(&cache), since);
            tokio::spawn(again_after_panics("tombstones that are due", retry));
        }
    }

    async fn retry<C: StatusCache>(self, cache: Arc<C>, since: Timestamp) {
        loop {
            sleep(RETRY_INTERVAL).await;
            let due: Vec<(TokenId, Tombstone)> = {
                let mut state = self.state();
                state.due.retain(|_, tombstone| tombstone.added.elapsed() < cache.bound());
                if state.due.is_empty() {
                    state.running = false;
                    return;
                }
                state.due.iter().map(|(&id, &tombstone)| (id, tombstone)).collect()
            };
            for batch in due.chunks(BATCH) {
                let tokens: Vec<_> = batch.iter().map(|&(id, tombstone)| (id, tombstone.expires_at)).collect();
                // With an old `since` a tombstone only lives longer.
                if cache.put_tombstones(&tokens, since).await.is_err() {
                    break;
                }
                tracing::info!(count = batch.len(), "tombstones written that had been due");
                let mut state = self.state();
                for (id, written) in batch {
                    // Keep a newer tombstone of the same token: the cache may have lost the one
                    // just written.
                    if state.due.get(id) == Some(written) {
                        state.due.remove(id);
                    }
                }
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, RetryState> {
        // Recovering from a poisoned lock is safe: no change of the state can panic half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
