//! Taking tokens back.

use std::sync::Arc;

use tracing::Instrument;
use uuid::Uuid;

use super::Authority;
use crate::{
    claims::Claims,
    id::{SessionId, Subject, TokenId},
    kind::TokenKind,
    store::{ErasedStore, Revoked, StoreError},
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
impl Authority {
    /// Revokes one token. With a refresh token dies its whole session (RFC 7009 §2.1). An unknown token is no error (§2.2).
    pub async fn revoke_token(&self, id: TokenId) -> Result<(), StoreError> {
        let since = self.inner.trust.accepted_since();
        self.to_the_end(move |authority| async move {
            let revoked = authority.store().revoke_token(id, since).await;
            authority.inner.trust.forget(id.into());
            let revoked = revoked?;
            // With a refresh token die access tokens that were never named here.
            for (id, _) in &revoked.access_tokens {
                authority.inner.trust.forget((*id).into());
            }
            authority.inner.trust.settle(revoked.unsettled);
            Ok(())
        })
        .await
    }

    /// Revokes the session of these claims and all its tokens: a sign-out. Claims of another issuer's token have none.
    pub async fn sign_out(&self, claims: &Claims) -> Result<(), StoreError> {
        match claims.session_id() {
            Some(session) => self.revoke_session(session).await,
            None => Ok(()),
        }
    }

    /// Revokes the token with this text (RFC 7009 §2.1), and with a refresh token its session. A token that is not of this
    /// issuer, or of no kind of its tokens, is no error (§2.2): there is nothing to revoke.
    pub async fn revoke(&self, token: &str) -> Result<(), StoreError> {
        for kind in [TokenKind::Refresh, TokenKind::Access, TokenKind::SingleUse] {
            if let Ok(claims) = self.genuine(kind, token) {
                return self.revoke_token(claims.jti).await;
            }
        }
        Ok(())
    }

    /// Revokes a session and all its tokens. An unknown session is no error.
    pub async fn revoke_session(&self, session: SessionId) -> Result<(), StoreError> {
        let since = self.inner.trust.accepted_since();
        self.revoke_by(session.into(), move |store| async move { store.revoke_session(session, since).await }).await
    }

    /// Revokes all that the user has, but for the session `except`, and refuses every sign-in that has begun and not ended.
    pub async fn revoke_user(&self, user: impl Into<Subject>, except: Option<SessionId>) -> Result<(), StoreError> {
        let (user, since) = (user.into(), self.inner.trust.accepted_since());
        self.revoke_by(user.tag(), move |store| async move { store.revoke_user(user, except, since).await }).await
    }

    /// Disables a user, which revokes all that the user has and refuses every sign-in until the user is enabled again.
    /// Enabling brings nothing back.
    pub async fn set_user_disabled(&self, user: impl Into<Subject>, disabled: bool) -> Result<(), StoreError> {
        let (user, since) = (user.into(), self.inner.trust.accepted_since());
        self.revoke_by(user.tag(), move |store| async move { store.set_user_disabled(user, disabled, since).await })
            .await
    }

    /// Has the store revoke what this identifies, and ends this node's trust in it when that is done or has failed.
    async fn revoke_by<F>(&self, id: Uuid, operation: impl FnOnce(Arc<dyn ErasedStore>) -> F) -> Result<(), StoreError>
    where
        F: Future<Output = Result<Revoked, StoreError>> + Send + 'static,
    {
        let revoked = operation(Arc::clone(self.store()));
        self.to_the_end(move |authority| async move {
            let revoked = revoked.await;
            authority.inner.trust.forget(id);
            authority.inner.trust.settle(revoked?.unsettled);
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
        self.inner.trust.bounded(joined).await
    }
}
