//! Denials in a store and in the cache before it.
//!
//! A cache may forget, and of two denials the later one alone. So what goes into the cache is always
//! what the store has *after* the cache has answered: see the laws of [`StatusCache`].
//!
//! Whether a denial has expired is judged by the node that asks. A node whose clock is ahead must
//! not tell the others, through the cache, that a denial is over.

use std::{error::Error, sync::Arc};

use tokio::time::Instant;

use super::{Cached, retry::DueDenial};
use crate::{
    cache::{CacheError, DenialAnswer, StatusCache},
    clock::Timestamp,
    store::{Denial, HashedKey, StoreError, StoreErrorKind, TokenStore},
    tier::{self, Tier},
};

/// How many denials wait for the cache, or for the store. Of those that the store did not record,
/// one more is not retried.
const MAX_DUE: usize = 4_096;

/// A time at which no denial has expired.
const ANY_TIME: Timestamp = Timestamp::UNIX_EPOCH;

impl<S: TokenStore, C: StatusCache> Cached<S, C> {
    /// Has the store record a denial, then puts it in the cache. What fails is retried in the
    /// background.
    pub(super) async fn record_denial(&self, key: HashedKey, denial: Denial) -> Result<(), StoreError> {
        if let Err(error) = self.store.deny(key, denial).await {
            if error.kind() == StoreErrorKind::Unavailable {
                self.retry_unrecorded(key, denial);
            }
            return Err(error);
        }
        let told = tell_cache(&*self.store, &*self.cache, &[(key, denial)]).await;
        told.inspect_err(|_| self.retry_denial(key, DueDenial { denial, recorded: Some(Instant::now()) }))
    }

    fn retry_unrecorded(&self, key: HashedKey, denial: Denial) {
        if self.denials.len() < MAX_DUE {
            self.retry_denial(key, DueDenial { denial, recorded: None });
        } else {
            tracing::error!(most = MAX_DUE, "too many denials wait for the store: one that failed is not tried again");
        }
    }

    fn retry_denial(&self, key: HashedKey, due: DueDenial) {
        let (store, cache) = (Arc::downgrade(&self.store), Arc::downgrade(&self.cache));
        self.denials.add([(key, due)], self.cache.bound(), move |due| {
            let stores = store.upgrade().zip(cache.upgrade());
            async move {
                match stores {
                    Some((store, cache)) => retry(&*store, &*cache, due).await,
                    // Nobody uses the store any more.
                    None => true,
                }
            }
        });
    }

    /// Returns the denials of these keys, also those that have expired. Asks the cache, and the
    /// store for all keys that the cache does not know.
    pub(super) async fn all_denials(&self, keys: Vec<HashedKey>) -> Result<Vec<Option<Denial>>, StoreError> {
        if keys.is_empty() || !self.breaker.allows() {
            return self.store.denials(keys, ANY_TIME).await;
        }
        let (answers, miss) = match self.cache.denials(&keys).await {
            Ok(found) => found,
            Err(error) => {
                self.cache_failed(&error);
                return self.store.denials(keys, ANY_TIME).await;
            }
        };
        let is_missed = |&(_, answer): &(HashedKey, DenialAnswer)| answer == DenialAnswer::Miss;
        let missed = keys.into_iter().zip(answers.iter().copied()).filter(is_missed);
        let missed: Vec<HashedKey> = missed.map(|(key, _)| key).collect();
        let mut read = Vec::new();
        if missed.is_empty() {
            self.breaker.reset();
            tier::note(Tier::Shared);
        } else {
            // Boxed, so that nearly all checks have a small future.
            read = Box::pin(self.read_and_fill(missed, miss)).await?;
        }
        let mut read = read.into_iter();
        let denial = |answer| match answer {
            DenialAnswer::Denied(denial) => Some(denial),
            DenialAnswer::NotDenied => None,
            DenialAnswer::Miss => read.next().flatten(),
        };
        Ok(answers.into_iter().map(denial).collect())
    }

    /// Reads the store after a miss, and fills the cache.
    async fn read_and_fill(&self, keys: Vec<HashedKey>, miss: C::Miss) -> Result<Vec<Option<Denial>>, StoreError> {
        let read = self.store.denials(keys.clone(), ANY_TIME).await?;
        let fills: Vec<_> = keys.into_iter().zip(read.iter().copied()).collect();
        match self.cache.put_denials_if_absent(miss, &fills).await {
            Ok(()) => self.breaker.reset(),
            Err(error) => self.cache_failed(&error),
        }
        Ok(read)
    }
}

/// Puts denials in the cache that the store has recorded.
async fn tell_cache(
    store: &impl TokenStore,
    cache: &impl StatusCache,
    denials: &[(HashedKey, Denial)],
) -> Result<(), StoreError> {
    let keys: Vec<HashedKey> = denials.iter().map(|(key, _)| *key).collect();
    let (_, miss) = cache.denials(&keys).await.map_err(not_told)?;
    let held = store.denials(keys, ANY_TIME).await?;
    let held = held.into_iter().zip(denials);
    let denials: Vec<(HashedKey, Denial)> =
        held.map(|(held, &(key, denial))| (key, held.map_or(denial, |held| held.extended_by(denial)))).collect();
    cache.put_denials(miss, &denials).await.map_err(not_told)
}

fn not_told(error: CacheError) -> StoreError {
    StoreError::unavailable("recorded as denied, but the shared cache could not be told", error)
}

/// Does what is left to do of these denials. Returns whether that succeeded.
async fn retry(store: &impl TokenStore, cache: &impl StatusCache, due: Vec<(HashedKey, DueDenial)>) -> bool {
    for (key, due) in &due {
        if due.recorded.is_some() {
            continue;
        }
        match store.deny(*key, due.denial).await {
            Ok(()) => {}
            Err(error) if error.kind() == StoreErrorKind::Unavailable => return false,
            Err(error) => tracing::error!(
                error = &error as &dyn Error,
                "a denial that had failed cannot be recorded, and is not tried again"
            ),
        }
    }
    let denials: Vec<_> = due.into_iter().map(|(key, due)| (key, due.denial)).collect();
    tell_cache(store, cache, &denials).await.is_ok()
}
