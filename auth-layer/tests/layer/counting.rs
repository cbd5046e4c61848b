//! A store that counts its calls and fails on demand.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use auth_layer::{
    TokenId,
    clock::Timestamp,
    store::{HashedKey, MemoryStore, StoreDecorator, StoreError, StoreErrorKind, TokenStatus, TokenStore},
};

/// A [`MemoryStore`] that counts lookups of tokens and reservations.
#[derive(Debug, Default)]
pub(crate) struct CountingStore {
    store: MemoryStore,
    lookups: AtomicUsize,
    reservations: AtomicUsize,
    fails: AtomicBool,
}

impl CountingStore {
    /// Returns the number of reservations that were asked for.
    pub(crate) fn reservations(&self) -> usize {
        self.reservations.load(Ordering::SeqCst)
    }

    /// Returns the number of counted calls.
    pub(crate) fn calls(&self) -> usize {
        self.lookups.load(Ordering::SeqCst) + self.reservations()
    }

    /// Sets whether counted calls fail.
    pub(crate) fn fail(&self, fails: bool) {
        self.fails.store(fails, Ordering::SeqCst);
    }

    fn count(&self, calls: &AtomicUsize) -> Result<(), StoreError> {
        calls.fetch_add(1, Ordering::SeqCst);
        if self.fails.load(Ordering::SeqCst) {
            return Err(StoreError::new(StoreErrorKind::Unavailable, "the store is away"));
        }
        Ok(())
    }
}

impl StoreDecorator for CountingStore {
    type Inner = MemoryStore;

    fn inner(&self) -> &MemoryStore {
        &self.store
    }

    async fn token_status(&self, id: TokenId) -> Result<TokenStatus, StoreError> {
        self.count(&self.lookups)?;
        self.store.token_status(id).await
    }

    async fn reserve(&self, key: HashedKey, expires_at: Timestamp, now: Timestamp) -> Result<bool, StoreError> {
        self.count(&self.reservations)?;
        self.store.reserve(key, expires_at, now).await
    }
}
