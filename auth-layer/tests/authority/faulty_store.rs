//! A store that fails on demand, in the ways a replicated store does.

use std::{
    collections::VecDeque,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use auth_layer::{
    SessionId, TokenId,
    clock::Timestamp,
    store::{
        MemoryStore, Purged, Revoked, Rotated, Rotation, Session, StoreDecorator, StoreError, StoreErrorKind,
        TokenStatus, TokenStore,
    },
};

/// A [`MemoryStore`] with faults.
#[derive(Debug, Default)]
pub(crate) struct FaultyStore {
    pub(crate) store: MemoryStore,
    /// Writes that decide a pair are done, and their answers are lost.
    pub(crate) loses_answers: AtomicBool,
    /// The next answers of [`session_for_refresh`](TokenStore::session_for_refresh): what a deposed
    /// primary had read.
    pub(crate) stale: Mutex<VecDeque<Option<(Session, TokenStatus)>>>,
    /// Writes that decide a pair are done, and their calls never return.
    pub(crate) hangs: AtomicBool,
    /// Reads of a token's status wait before they return.
    pub(crate) statuses_wait: AtomicBool,
    /// The number of calls that revoke a session.
    pub(crate) revocations: AtomicUsize,
    pub(crate) revocation_fails: AtomicBool,
    /// The bound of each purge so far.
    pub(crate) purges: Mutex<Vec<Timestamp>>,
    pub(crate) purge_fails: AtomicBool,
    pub(crate) purge_hangs: AtomicBool,
    pub(crate) retention_margin: Option<Duration>,
}

impl FaultyStore {
    /// The answer to a write that is done: lost, never given, or `done`.
    async fn answer<T>(&self, done: T) -> Result<T, StoreError> {
        if self.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if self.loses_answers.load(Ordering::SeqCst) {
            return Err(StoreError::new(StoreErrorKind::Unavailable, "the primary died before it answered"));
        }
        Ok(done)
    }
}

impl StoreDecorator for FaultyStore {
    type Inner = MemoryStore;

    fn inner(&self) -> &MemoryStore {
        &self.store
    }

    async fn token_status(&self, id: TokenId) -> Result<TokenStatus, StoreError> {
        let status = self.store.token_status(id).await;
        while self.statuses_wait.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
        status
    }

    async fn session_for_refresh(
        &self,
        session: SessionId,
        refresh: TokenId,
        now: Timestamp,
    ) -> Result<Option<(Session, TokenStatus)>, StoreError> {
        let stale = self.stale.lock().unwrap().pop_front();
        match stale {
            Some(read) => Ok(read),
            None => self.store.session_for_refresh(session, refresh, now).await,
        }
    }

    async fn rotate(&self, rotation: Rotation) -> Result<Rotated, StoreError> {
        let done = self.store.rotate(rotation).await?;
        self.answer(done).await
    }

    async fn confirm(&self, session: SessionId, current: TokenId) -> Result<Rotated, StoreError> {
        let done = self.store.confirm(session, current).await?;
        self.answer(done).await
    }

    async fn revoke_session(&self, session: SessionId, since: Timestamp) -> Result<Revoked, StoreError> {
        self.revocations.fetch_add(1, Ordering::SeqCst);
        if self.revocation_fails.load(Ordering::SeqCst) {
            return Err(StoreError::new(StoreErrorKind::Unavailable, "nothing can be revoked"));
        }
        self.store.revoke_session(session, since).await
    }

    async fn purge_expired(&self, before: Timestamp) -> Result<Purged, StoreError> {
        self.purges.lock().unwrap().push(before);
        if self.purge_hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if self.purge_fails.load(Ordering::SeqCst) {
            return Err(StoreError::new(StoreErrorKind::Unavailable, "nothing can be removed"));
        }
        self.store.purge_expired(before).await
    }

    fn retention_margin(&self) -> Option<Duration> {
        self.retention_margin
    }

    /// None: the store has no timer, so the deadline of the authority bounds each call.
    fn answers_within(&self) -> Option<Duration> {
        None
    }
}
