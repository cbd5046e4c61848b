//! A token store that writes down what is asked of it, and fails on demand.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use auth_layer::{
    SessionId, TokenId, UserId,
    clock::Timestamp,
    store::{
        ActiveToken, Admission, Consumed, MemoryStore, Purged, Revoked, Rotated, Rotation, Session, StoreError,
        StoreErrorKind, TokenRecord, TokenStatus, TokenStore, UserFence,
    },
};

use crate::users::Asked;

#[derive(Clone, Default)]
pub(super) struct WatchedStore {
    store: Arc<MemoryStore>,
    pub(super) asked: Asked,
    pub(super) fence_down: Arc<AtomicBool>,
    /// Revocations are recorded, and then it fails to say so everywhere.
    pub(super) half_done: Arc<AtomicBool>,
}

impl WatchedStore {
    fn told(&self, revoked: Revoked) -> Result<Revoked, StoreError> {
        failing(&self.half_done)?;
        Ok(revoked)
    }
}

fn failing(down: &AtomicBool) -> Result<(), StoreError> {
    if down.load(Ordering::SeqCst) {
        return Err(StoreError::new(StoreErrorKind::Unavailable, "down, as the test wants it"));
    }
    Ok(())
}

impl TokenStore for WatchedStore {
    async fn token_status(&self, id: TokenId) -> Result<TokenStatus, StoreError> {
        self.store.token_status(id).await
    }

    async fn user_fence(&self, user: UserId) -> Result<UserFence, StoreError> {
        self.asked.lock().unwrap().push("fence");
        failing(&self.fence_down)?;
        self.store.user_fence(user).await
    }

    async fn open_session(
        &self,
        session: Session,
        tokens: Vec<TokenRecord>,
        epoch: u64,
    ) -> Result<Admission, StoreError> {
        self.store.open_session(session, tokens, epoch).await
    }

    async fn presented(
        &self,
        session: SessionId,
        refresh: TokenId,
        now: Timestamp,
    ) -> Result<Option<(Session, TokenStatus)>, StoreError> {
        self.store.presented(session, refresh, now).await
    }

    async fn rotate(&self, rotation: Rotation) -> Result<Rotated, StoreError> {
        self.store.rotate(rotation).await
    }

    async fn confirm(&self, session: SessionId, current: TokenId) -> Result<Rotated, StoreError> {
        self.store.confirm(session, current).await
    }

    async fn note_delivered(&self, session: SessionId, current: TokenId, now: Timestamp) -> Result<(), StoreError> {
        self.store.note_delivered(session, current, now).await
    }

    async fn record_token(&self, token: TokenRecord) -> Result<Admission, StoreError> {
        self.store.record_token(token).await
    }

    async fn consume(&self, id: TokenId, says: ActiveToken, now: Timestamp) -> Result<Consumed, StoreError> {
        self.store.consume(id, says, now).await
    }

    async fn punish(
        &self,
        session: SessionId,
        current: TokenId,
        now: Timestamp,
    ) -> Result<Option<Revoked>, StoreError> {
        self.store.punish(session, current, now).await
    }

    async fn revoke_token(&self, id: TokenId, now: Timestamp) -> Result<Revoked, StoreError> {
        self.store.revoke_token(id, now).await
    }

    async fn revoke_session(&self, session: SessionId, now: Timestamp) -> Result<Revoked, StoreError> {
        let revoked = self.store.revoke_session(session, now).await?;
        self.told(revoked)
    }

    async fn revoke_user(
        &self,
        user: UserId,
        except: Option<SessionId>,
        now: Timestamp,
    ) -> Result<Revoked, StoreError> {
        self.store.revoke_user(user, except, now).await
    }

    async fn set_user_disabled(&self, user: UserId, disabled: bool, now: Timestamp) -> Result<Revoked, StoreError> {
        self.store.set_user_disabled(user, disabled, now).await
    }

    async fn sessions(&self, user: UserId, now: Timestamp) -> Result<Vec<Session>, StoreError> {
        self.store.sessions(user, now).await
    }

    async fn purge_expired(&self, before: Timestamp) -> Result<Purged, StoreError> {
        self.store.purge_expired(before).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.store.ping().await
    }
}
