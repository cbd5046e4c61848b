//! Taking tokens back.

use std::sync::Arc;

use tracing::Instrument;
use uuid::Uuid;

use super::{Authority, Inner};
use crate::{
    claims::CustomClaims,
    id::{SessionId, TokenId, UserId},
    store::{ErasedStore, Revocation, RevocationListener, Revoked, StoreError, within},
};

/// Revocation. Once one of these returned success no node accepts what it covers: at once with the in-process caches off,
/// within their lease with them on, and at once on this node.
///
/// # Errors
///
/// Where that cannot be promised, since the store of record or the shared cache could not be told,
/// they fail. What was recorded stays recorded, and calling again is safe. One that has begun goes
/// on to its end though its caller goes away or the deadline passes. What was recorded is finished
/// within 15 s of the stores' return, on another node if this one has died.
impl<C: CustomClaims> Authority<C> {
    /// Revokes one token. With a refresh token dies its whole session (RFC 7009 §2.1). An unknown token is no error (§2.2).
    pub async fn revoke_token(&self, id: TokenId) -> Result<(), StoreError> {
        let since = self.accepted_since();
        self.to_the_end(move |authority| async move {
            let revoked = authority.inner.store.revoke_token(id, since).await;
            authority.forget(id.into());
            let revoked = revoked?;
            // With a refresh token die access tokens that were never named here.
            for (id, _) in &revoked.access_tokens {
                authority.forget((*id).into());
            }
            authority.settle(revoked.unsettled);
            Ok(())
        })
        .await
    }

    /// Revokes a session and all its tokens. An unknown session is no error.
    pub async fn revoke_session(&self, session: SessionId) -> Result<(), StoreError> {
        let since = self.accepted_since();
        self.revoke(session.into(), move |store| async move { store.revoke_session(session, since).await }).await
    }

    /// Revokes all that the user has, but for the session `except`, and refuses every sign-in that has begun and not ended.
    pub async fn revoke_user(&self, user: UserId, except: Option<SessionId>) -> Result<(), StoreError> {
        let since = self.accepted_since();
        self.revoke(user.into(), move |store| async move { store.revoke_user(user, except, since).await }).await
    }

    /// Disables a user, which revokes all that the user has and refuses every sign-in until the user is enabled again.
    /// Enabling brings nothing back.
    pub async fn set_user_disabled(&self, user: UserId, disabled: bool) -> Result<(), StoreError> {
        let since = self.accepted_since();
        self.revoke(user.into(), move |store| async move { store.set_user_disabled(user, disabled, since).await }).await
    }

    /// Has the store revoke what this identifies, and ends this node's trust in it when that is done or has failed.
    async fn revoke<F>(&self, id: Uuid, operation: impl FnOnce(Arc<dyn ErasedStore>) -> F) -> Result<(), StoreError>
    where
        F: Future<Output = Result<Revoked, StoreError>> + Send + 'static,
    {
        let revoked = operation(Arc::clone(&self.inner.store));
        self.to_the_end(move |authority| async move {
            let revoked = revoked.await;
            authority.forget(id);
            authority.settle(revoked?.unsettled);
            Ok(())
        })
        .await
    }

    /// Waits for an operation no longer than the deadline, and never breaks it off.
    pub(super) async fn to_the_end<T, F>(&self, operation: impl FnOnce(Self) -> F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let task = tokio::spawn(operation(self.clone()).in_current_span());
        let joined = async { task.await.map_err(|error| StoreError::unavailable("the revocation broke off", error))? };
        self.bounded(joined).await
    }

    /// Ends the trust that this node's own cache has in the token, session or user with this id.
    pub(super) fn forget(&self, id: Uuid) {
        self.inner.revoked(id);
    }

    /// Notes that a revocation is finished. Nobody waits for that: it may be lost.
    pub(super) fn settle(&self, revocation: Option<Revocation>) {
        let Some(revocation) = revocation else { return };
        let (store, deadline) = (Arc::clone(&self.inner.store), self.inner.settings.deadline);
        let note = async move {
            if let Err(error) = within(deadline, store.settle(revocation)).await {
                tracing::debug!(error = &error as &dyn std::error::Error, "not noted that a revocation is finished");
            }
        };
        tokio::spawn(note.in_current_span());
    }
}

/// What is heard of other nodes. A check that began before it was heard leaves nothing to believe, and one that begins after it
/// sees the revocation in the store.
impl<C: CustomClaims> RevocationListener for Inner<C> {
    fn revoked(&self, id: Uuid) {
        if let Some(local) = &self.local {
            local.revoke(id, self.clock.monotonic());
        }
    }

    fn gap(&self) {
        if let Some(local) = &self.local {
            local.revoke_all(self.clock.monotonic());
        }
    }
}
