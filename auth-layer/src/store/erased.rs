//! A [`TokenStore`] behind a pointer, so that the types above need not name it.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Weak},
    time::Duration,
};

use super::{
    ActiveToken, Admission, Consumed, Purged, Resumed, Revocation, RevocationListener, Revoked, Rotated, Rotation,
    Session, StoreError, StoreErrorKind, TokenRecord, TokenStatus, TokenStore, UserFence,
};
use crate::{
    clock::Timestamp,
    id::{SessionId, TokenId, UserId},
};

pub(crate) type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// What the layer asks of a store about one token.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Question {
    /// Is it good?
    Status(TokenId),
    /// Is it good, and use it up with that: a single-use token that says this of itself, at this time.
    Consume(TokenId, ActiveToken, Timestamp),
}

/// What the store answers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Standing {
    Status(TokenStatus),
    Consumed(Consumed),
}

/// One boxed future per operation; for the layer's question, too, with its time limit in that same box.
pub(crate) trait ErasedStore: Send + Sync {
    fn ask(self: Arc<Self>, question: Question, limit: Duration) -> Answer<'static, Standing>;
    fn user_fence(&self, user: UserId) -> Answer<'_, UserFence>;
    fn open_session(&self, session: Session, tokens: Vec<TokenRecord>, epoch: u64) -> Answer<'_, Admission>;
    fn presented(
        &self,
        session: SessionId,
        refresh: TokenId,
        now: Timestamp,
    ) -> Answer<'_, Option<(Session, TokenStatus)>>;
    fn rotate(&self, rotation: Rotation) -> Answer<'_, Rotated>;
    fn confirm(&self, session: SessionId, current: TokenId) -> Answer<'_, Rotated>;
    fn note_delivered(&self, session: SessionId, current: TokenId, now: Timestamp) -> Answer<'_, ()>;
    fn record_token(&self, token: TokenRecord) -> Answer<'_, Admission>;
    fn revoke_token(&self, id: TokenId, since: Timestamp) -> Answer<'_, Revoked>;
    fn revoke_session(&self, session: SessionId, since: Timestamp) -> Answer<'_, Revoked>;
    fn punish(&self, session: SessionId, current: TokenId, since: Timestamp) -> Answer<'_, Option<Revoked>>;
    fn revoke_user(&self, user: UserId, except: Option<SessionId>, since: Timestamp) -> Answer<'_, Revoked>;
    fn set_user_disabled(&self, user: UserId, disabled: bool, since: Timestamp) -> Answer<'_, Revoked>;
    fn resume(&self, since: Timestamp) -> Answer<'_, Vec<Resumed>>;
    fn settle(&self, revocation: Revocation) -> Answer<'_, ()>;
    fn revokes_in_steps(&self) -> bool;
    fn sessions(&self, user: UserId, now: Timestamp) -> Answer<'_, Vec<Session>>;
    fn surplus_sessions(&self, user: UserId, new: SessionId, keep: usize, now: Timestamp)
    -> Answer<'_, Vec<SessionId>>;
    fn purge_expired(&self, before: Timestamp) -> Answer<'_, Purged>;
    fn expires_by_itself(&self) -> bool;
    fn ping(&self) -> Answer<'_, ()>;
    fn subscribe(&self, listener: Weak<dyn RevocationListener>);
}

impl<S: TokenStore> ErasedStore for S {
    fn ask(self: Arc<Self>, question: Question, limit: Duration) -> Answer<'static, Standing> {
        // A box each, so that the question that every request asks has the smallest.
        match question {
            // One timer less for each request.
            Question::Status(id) if self.answers_within().is_some_and(|bound| bound <= limit) => {
                Box::pin(async move { self.token_status(id).await.map(Standing::Status) })
            }
            Question::Status(id) => {
                Box::pin(async move { within(limit, self.token_status(id)).await.map(Standing::Status) })
            }
            Question::Consume(id, token, now) => {
                Box::pin(async move { within(limit, self.consume(id, token, now)).await.map(Standing::Consumed) })
            }
        }
    }

    fn user_fence(&self, user: UserId) -> Answer<'_, UserFence> {
        Box::pin(TokenStore::user_fence(self, user))
    }

    fn open_session(&self, session: Session, tokens: Vec<TokenRecord>, epoch: u64) -> Answer<'_, Admission> {
        Box::pin(TokenStore::open_session(self, session, tokens, epoch))
    }

    fn presented(
        &self,
        session: SessionId,
        refresh: TokenId,
        now: Timestamp,
    ) -> Answer<'_, Option<(Session, TokenStatus)>> {
        Box::pin(TokenStore::presented(self, session, refresh, now))
    }

    fn rotate(&self, rotation: Rotation) -> Answer<'_, Rotated> {
        Box::pin(TokenStore::rotate(self, rotation))
    }

    fn confirm(&self, session: SessionId, current: TokenId) -> Answer<'_, Rotated> {
        Box::pin(TokenStore::confirm(self, session, current))
    }

    fn note_delivered(&self, session: SessionId, current: TokenId, now: Timestamp) -> Answer<'_, ()> {
        Box::pin(TokenStore::note_delivered(self, session, current, now))
    }

    fn record_token(&self, token: TokenRecord) -> Answer<'_, Admission> {
        Box::pin(TokenStore::record_token(self, token))
    }

    fn revoke_token(&self, id: TokenId, since: Timestamp) -> Answer<'_, Revoked> {
        Box::pin(TokenStore::revoke_token(self, id, since))
    }

    fn revoke_session(&self, session: SessionId, since: Timestamp) -> Answer<'_, Revoked> {
        Box::pin(TokenStore::revoke_session(self, session, since))
    }

    fn punish(&self, session: SessionId, current: TokenId, since: Timestamp) -> Answer<'_, Option<Revoked>> {
        Box::pin(TokenStore::punish(self, session, current, since))
    }

    fn revoke_user(&self, user: UserId, except: Option<SessionId>, since: Timestamp) -> Answer<'_, Revoked> {
        Box::pin(TokenStore::revoke_user(self, user, except, since))
    }

    fn set_user_disabled(&self, user: UserId, disabled: bool, since: Timestamp) -> Answer<'_, Revoked> {
        Box::pin(TokenStore::set_user_disabled(self, user, disabled, since))
    }

    fn resume(&self, since: Timestamp) -> Answer<'_, Vec<Resumed>> {
        Box::pin(TokenStore::resume(self, since))
    }

    fn settle(&self, revocation: Revocation) -> Answer<'_, ()> {
        Box::pin(TokenStore::settle(self, revocation))
    }

    fn revokes_in_steps(&self) -> bool {
        TokenStore::revokes_in_steps(self)
    }

    fn sessions(&self, user: UserId, now: Timestamp) -> Answer<'_, Vec<Session>> {
        Box::pin(TokenStore::sessions(self, user, now))
    }

    fn surplus_sessions(
        &self,
        user: UserId,
        new: SessionId,
        keep: usize,
        now: Timestamp,
    ) -> Answer<'_, Vec<SessionId>> {
        Box::pin(TokenStore::surplus_sessions(self, user, new, keep, now))
    }

    fn purge_expired(&self, before: Timestamp) -> Answer<'_, Purged> {
        Box::pin(TokenStore::purge_expired(self, before))
    }

    fn expires_by_itself(&self) -> bool {
        TokenStore::expires_by_itself(self)
    }

    fn ping(&self) -> Answer<'_, ()> {
        Box::pin(TokenStore::ping(self))
    }

    fn subscribe(&self, listener: Weak<dyn RevocationListener>) {
        TokenStore::subscribe(self, listener);
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
