//! A shared store is a store.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use super::{
    ActiveToken, Admission, Consumed, Purged, Resumed, Revocation, RevocationListener, Revoked, Rotated, Rotation,
    Session, StoreError, TokenRecord, TokenStatus, TokenStore, UserFence,
};
use crate::{
    clock::Timestamp,
    id::{SessionId, TokenId, UserId},
};

impl<S: TokenStore> TokenStore for Arc<S> {
    async fn token_status(&self, id: TokenId) -> Result<TokenStatus, StoreError> {
        S::token_status(self, id).await
    }

    async fn user_fence(&self, user: UserId) -> Result<UserFence, StoreError> {
        S::user_fence(self, user).await
    }

    async fn open_session(
        &self,
        session: Session,
        tokens: Vec<TokenRecord>,
        epoch: u64,
    ) -> Result<Admission, StoreError> {
        S::open_session(self, session, tokens, epoch).await
    }

    async fn presented(
        &self,
        session: SessionId,
        refresh: TokenId,
        now: Timestamp,
    ) -> Result<Option<(Session, TokenStatus)>, StoreError> {
        S::presented(self, session, refresh, now).await
    }

    async fn rotate(&self, rotation: Rotation) -> Result<Rotated, StoreError> {
        S::rotate(self, rotation).await
    }

    async fn confirm(&self, session: SessionId, current: TokenId) -> Result<Rotated, StoreError> {
        S::confirm(self, session, current).await
    }

    async fn note_delivered(&self, session: SessionId, current: TokenId, now: Timestamp) -> Result<(), StoreError> {
        S::note_delivered(self, session, current, now).await
    }

    async fn record_token(&self, token: TokenRecord) -> Result<Admission, StoreError> {
        S::record_token(self, token).await
    }

    async fn consume(&self, id: TokenId, says: ActiveToken, now: Timestamp) -> Result<Consumed, StoreError> {
        S::consume(self, id, says, now).await
    }

    async fn revoke_token(&self, id: TokenId, since: Timestamp) -> Result<Revoked, StoreError> {
        S::revoke_token(self, id, since).await
    }

    async fn revoke_session(&self, session: SessionId, since: Timestamp) -> Result<Revoked, StoreError> {
        S::revoke_session(self, session, since).await
    }

    async fn punish(
        &self,
        session: SessionId,
        current: TokenId,
        since: Timestamp,
    ) -> Result<Option<Revoked>, StoreError> {
        S::punish(self, session, current, since).await
    }

    async fn revoke_user(
        &self,
        user: UserId,
        except: Option<SessionId>,
        since: Timestamp,
    ) -> Result<Revoked, StoreError> {
        S::revoke_user(self, user, except, since).await
    }

    async fn set_user_disabled(&self, user: UserId, disabled: bool, since: Timestamp) -> Result<Revoked, StoreError> {
        S::set_user_disabled(self, user, disabled, since).await
    }

    async fn resume(&self, since: Timestamp) -> Result<Vec<Resumed>, StoreError> {
        S::resume(self, since).await
    }

    async fn settle(&self, revocation: Revocation) -> Result<(), StoreError> {
        S::settle(self, revocation).await
    }

    fn revokes_in_steps(&self) -> bool {
        S::revokes_in_steps(self)
    }

    async fn sessions(&self, user: UserId, now: Timestamp) -> Result<Vec<Session>, StoreError> {
        S::sessions(self, user, now).await
    }

    async fn surplus_sessions(
        &self,
        user: UserId,
        new: SessionId,
        keep: usize,
        now: Timestamp,
    ) -> Result<Vec<SessionId>, StoreError> {
        S::surplus_sessions(self, user, new, keep, now).await
    }

    async fn purge_expired(&self, before: Timestamp) -> Result<Purged, StoreError> {
        S::purge_expired(self, before).await
    }

    fn answers_within(&self) -> Option<Duration> {
        S::answers_within(self)
    }

    fn expires_by_itself(&self) -> bool {
        S::expires_by_itself(self)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        S::ping(self).await
    }

    fn subscribe(&self, listener: Weak<dyn RevocationListener>) {
        S::subscribe(self, listener);
    }
}
