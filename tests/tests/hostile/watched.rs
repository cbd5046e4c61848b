//! A store that counts what it is asked.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use auth_layer::{
    SessionId, TokenId, UserId,
    clock::Timestamp,
    store::{
        ActiveToken, Admission, Consumed, MemoryStore, Purged, Revoked, Rotated, Rotation, Session, StoreError,
        StoreErrorKind, TokenRecord, TokenStatus, TokenStore, UserFence,
    },
};

/// A [`MemoryStore`] that knows how often it was read and how often it was, or may have been, written.
#[derive(Default)]
pub(crate) struct Watched {
    store: MemoryStore,
    reads: AtomicUsize,
    writes: AtomicUsize,
    down: AtomicBool,
}

/// How often a store was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) reads: usize,
    pub(crate) writes: usize,
}

impl Watched {
    pub(crate) fn asked(&self) -> Asked {
        Asked { reads: self.reads.load(Ordering::SeqCst), writes: self.writes.load(Ordering::SeqCst) }
    }

    /// From now on it cannot be reached.
    pub(crate) fn go_down(&self) {
        self.down.store(true, Ordering::SeqCst);
    }

    fn reading(&self) -> Result<&MemoryStore, StoreError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.reached()
    }

    fn writing(&self) -> Result<&MemoryStore, StoreError> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        self.reached()
    }

    fn reached(&self) -> Result<&MemoryStore, StoreError> {
        if self.down.load(Ordering::SeqCst) {
            Err(StoreError::new(StoreErrorKind::Unavailable, "the store is down"))
        } else {
            Ok(&self.store)
        }
    }
}

impl TokenStore for Watched {
    async fn token_status(&self, id: TokenId) -> Result<TokenStatus, StoreError> {
        let store = self.reading()?;
        // As a store does that has to be asked: whoever else may come comes in between.
        tokio::task::yield_now().await;
        store.token_status(id).await
    }

    async fn user_fence(&self, user: UserId) -> Result<UserFence, StoreError> {
        self.reading()?.user_fence(user).await
    }

    async fn open_session(
        &self,
        session: Session,
        tokens: Vec<TokenRecord>,
        epoch: u64,
    ) -> Result<Admission, StoreError> {
        self.writing()?.open_session(session, tokens, epoch).await
    }

    async fn presented(
        &self,
        session: SessionId,
        refresh: TokenId,
        now: Timestamp,
    ) -> Result<Option<(Session, TokenStatus)>, StoreError> {
        self.reading()?.presented(session, refresh, now).await
    }

    async fn rotate(&self, rotation: Rotation) -> Result<Rotated, StoreError> {
        self.writing()?.rotate(rotation).await
    }

    async fn confirm(&self, session: SessionId, current: TokenId) -> Result<Rotated, StoreError> {
        self.reading()?.confirm(session, current).await
    }

    async fn note_delivered(&self, session: SessionId, current: TokenId, now: Timestamp) -> Result<(), StoreError> {
        self.writing()?.note_delivered(session, current, now).await
    }

    async fn record_token(&self, token: TokenRecord) -> Result<Admission, StoreError> {
        self.writing()?.record_token(token).await
    }

    /// Only a use that was accepted has written anything.
    async fn consume(&self, id: TokenId, says: ActiveToken, now: Timestamp) -> Result<Consumed, StoreError> {
        let consumed = self.reading()?.consume(id, says, now).await?;
        if consumed == Consumed::Accepted {
            self.writing()?;
        }
        Ok(consumed)
    }

    async fn revoke_token(&self, id: TokenId, now: Timestamp) -> Result<Revoked, StoreError> {
        self.writing()?.revoke_token(id, now).await
    }

    async fn revoke_session(&self, session: SessionId, now: Timestamp) -> Result<Revoked, StoreError> {
        self.writing()?.revoke_session(session, now).await
    }

    async fn punish(
        &self,
        session: SessionId,
        current: TokenId,
        since: Timestamp,
    ) -> Result<Option<Revoked>, StoreError> {
        self.writing()?.punish(session, current, since).await
    }

    async fn revoke_user(
        &self,
        user: UserId,
        except: Option<SessionId>,
        now: Timestamp,
    ) -> Result<Revoked, StoreError> {
        self.writing()?.revoke_user(user, except, now).await
    }

    async fn set_user_disabled(&self, user: UserId, disabled: bool, now: Timestamp) -> Result<Revoked, StoreError> {
        self.writing()?.set_user_disabled(user, disabled, now).await
    }

    async fn sessions(&self, user: UserId, now: Timestamp) -> Result<Vec<Session>, StoreError> {
        self.reading()?.sessions(user, now).await
    }

    async fn purge_expired(&self, before: Timestamp) -> Result<Purged, StoreError> {
        self.writing()?.purge_expired(before).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.reading()?.ping().await
    }
}
