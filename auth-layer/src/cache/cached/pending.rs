//! Tombstones that could not be written yet.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::{cache::StatusCache, clock::Timestamp, id::TokenId};

/// How often the tombstones are tried again.
const EVERY: Duration = Duration::from_millis(500);

/// Tombstones to write as soon as the cache can be reached, tried by one task at a time. Each is dropped when the cache's
/// bound has passed since its revocation: by then no entry says "active" any more.
#[derive(Debug, Default)]
pub(super) struct Pending(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    tombstones: HashMap<TokenId, (Timestamp, Instant)>,
    running: bool,
}

impl Pending {
    pub(super) fn add<C: StatusCache>(&self, cache: &Arc<C>, tokens: &[(TokenId, Timestamp)], now: Timestamp) {
        let since = Instant::now();
        let mut state = lock(&self.0);
        state.tombstones.extend(tokens.iter().map(|&(id, expires_at)| (id, (expires_at, since))));
        if !state.running {
            state.running = true;
            tokio::spawn(retry(Arc::clone(&self.0), Arc::clone(cache), now));
        }
    }
}

async fn retry<C: StatusCache>(pending: Arc<Mutex<State>>, cache: Arc<C>, now: Timestamp) {
    loop {
        tokio::time::sleep(EVERY).await;
        let due: Vec<(TokenId, Timestamp)> = {
            let mut state = lock(&pending);
            state.tombstones.retain(|_, (_, since)| since.elapsed() < cache.bound());
            if state.tombstones.is_empty() {
                state.running = false;
                return;
            }
            state.tombstones.iter().map(|(&id, &(expires_at, _))| (id, expires_at)).collect()
        };
        // With a `now` that has grown old a tombstone only lives the longer.
        if cache.bury(&due, now).await.is_ok() {
            tracing::info!(count = due.len(), "tombstones written that had been due");
            let mut state = lock(&pending);
            for (id, _) in &due {
                state.tombstones.remove(id);
            }
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
