//! Tombstones that could not be written yet.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use crate::{background::again_after_panics, cache::StatusCache, clock::Timestamp, id::TokenId};

/// How often the tombstones are tried again.
const EVERY: Duration = Duration::from_millis(500);

/// How many are written in one call, so that a slow cache gets through a long list bit by bit.
const BATCH: usize = 256;

/// Tombstones to write as soon as the cache can be reached, tried by one task at a time. Each is dropped when the cache's
/// bound has passed since its revocation: by then no entry says "active" any more.
#[derive(Clone, Debug, Default)]
pub(super) struct Pending(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    due: HashMap<TokenId, Tombstone>,
    running: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Tombstone {
    expires_at: Timestamp,
    added: Instant,
}

impl Pending {
    /// Takes the tombstones over. Must be called within a Tokio runtime.
    pub(super) fn add<C: StatusCache>(&self, cache: &Arc<C>, tokens: &[(TokenId, Timestamp)], since: Timestamp) {
        let added = Instant::now();
        let mut state = self.state();
        state.due.extend(tokens.iter().map(|&(id, expires_at)| (id, Tombstone { expires_at, added })));
        if !state.running {
            state.running = true;
            let (pending, cache) = (self.clone(), Arc::clone(cache));
            let retry = move || pending.clone().retry(Arc::clone(&cache), since);
            tokio::spawn(again_after_panics("tombstones that are due", retry));
        }
    }

    async fn retry<C: StatusCache>(self, cache: Arc<C>, since: Timestamp) {
        loop {
            sleep(EVERY).await;
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
                // With a `since` that has grown old a tombstone only lives the longer.
                if cache.bury(&tokens, since).await.is_err() {
                    break;
                }
                tracing::info!(count = batch.len(), "tombstones written that had been due");
                let mut state = self.state();
                for (id, written) in batch {
                    // One that was added since is younger than what was written, and may have been forgotten with it.
                    if state.due.get(id) == Some(written) {
                        state.due.remove(id);
                    }
                }
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change of the state is a whole one where it could panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
