//! A [`TokenStore`] behind a pointer, so that the types above need not name it.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use super::{
    Admission, Consumed, Purged, Revoked, Rotated, Rotation, Session, StoreError, StoreErrorKind, TokenRecord,
    TokenStatus, TokenStore, UserFence,
};
use crate::{
    clock::Timestamp,
    id::{SessionId, TokenId, UserId},
};

pub(crate) type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// One boxed future per operation, and for a whole status check, its time limit included, one box as well.
pub(crate) trait ErasedStore: Send + Sync {
    fn token_status(self: Arc<Self>, id: TokenId, limit: Duration) -> Answer<'static, TokenStatus>;
    fn user_fence(&self, user: UserId) -> Answer<'_, UserFence>;
    fn open_session(&self, session: Session, tokens: Vec<TokenRecord>, epoch: u64) -> Answer<'_, Admission>;
    fn presented(&self, session: SessionId, refresh: TokenId) -> Answer<'_, Option<(Session, TokenStatus)>>;
    fn rotate(&self, rotation: Rotation) -> Answer<'_, Rotated>;
    fn record_token(&self, token: TokenRecord) -> Answer<'_, Admission>;
    fn consume(self: Arc<Self>, id: TokenId, now: Timestamp, limit: Duration) -> Answer<'static, Consumed>;
    fn revoke_token(&self, id: TokenId, now: Timestamp) -> Answer<'_, Revoked>;
    fn revoke_session(&self, session: SessionId, now: Timestamp) -> Answer<'_, Revoked>;
    fn revoke_user(&self, user: UserId, except: Option<SessionId>, now: Timestamp) -> Answer<'_, Revoked>;
    fn set_user_disabled(&self, user: UserId, disabled: bool, now: Timestamp) -> Answer<'_, Revoked>;
    fn sessions(&self, user: UserId, now: Timestamp) -> Answer<'_, Vec<Session>>;
    fn purge_expired(&self, before: Timestamp) -> Answer<'_, Purged>;
    fn ping(&self) -> Answer<'_, ()>;
}

impl<S: TokenStore> ErasedStore for S {
    fn token_status(self: Arc<Self>, id: TokenId, limit: Duration) -> Answer<'static, TokenStatus> {
        Box::pin(async move { within(limit, TokenStore::token_status(&*self, id)).await })
    }

    fn user_fence(&self, user: UserId) -> Answer<'_, UserFence> {
        Box::pin(TokenStore::user_fence(self, user))
    }

    fn open_session(&self, session: Session, tokens: Vec<TokenRecord>, epoch: u64) -> Answer<'_, Admission> {
        Box::pin(TokenStore::open_session(self, session, tokens, epoch))
    }

    fn presented(&self, session: SessionId, refresh: TokenId) -> Answer<'_, Option<(Session, TokenStatus)>> {
        Box::pin(TokenStore::presented(self, session, refresh))
    }

    fn rotate(&self, rotation: Rotation) -> Answer<'_, Rotated> {
        Box::pin(TokenStore::rotate(self, rotation))
    }

    fn record_token(&self, token: TokenRecord) -> Answer<'_, Admission> {
        Box::pin(TokenStore::record_token(self, token))
    }

    fn consume(self: Arc<Self>, id: TokenId, now: Timestamp, limit: Duration) -> Answer<'static, Consumed> {
        Box::pin(async move { within(limit, TokenStore::consume(&*self, id, now)).await })
    }

    fn revoke_token(&self, id: TokenId, now: Timestamp) -> Answer<'_, Revoked> {
        Box::pin(TokenStore::revoke_token(self, id, now))
    }

    fn revoke_session(&self, session: SessionId, now: Timestamp) -> Answer<'_, Revoked> {
        Box::pin(TokenStore::revoke_session(self, session, now))
    }

    fn revoke_user(&self, user: UserId, except: Option<SessionId>, now: Timestamp) -> Answer<'_, Revoked> {
        Box::pin(TokenStore::revoke_user(self, user, except, now))
    }

    fn set_user_disabled(&self, user: UserId, disabled: bool, now: Timestamp) -> Answer<'_, Revoked> {
        Box::pin(TokenStore::set_user_disabled(self, user, disabled, now))
    }

    fn sessions(&self, user: UserId, now: Timestamp) -> Answer<'_, Vec<Session>> {
        Box::pin(TokenStore::sessions(self, user, now))
    }

    fn purge_expired(&self, before: Timestamp) -> Answer<'_, Purged> {
        Box::pin(TokenStore::purge_expired(self, before))
    }

    fn ping(&self) -> Answer<'_, ()> {
        Box::pin(TokenStore::ping(self))
    }
}

/// What `operation` answers, or an error when `limit` has passed.
pub(crate) async fn within<T>(
    limit: Duration,
    operation: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    match tokio::time::timeout(limit, operation).await {
        Ok(answer) => answer,
        Err(_) => Err(StoreError::new(StoreErrorKind::Unavailable, "the store did not answer in time")),
    }
}
