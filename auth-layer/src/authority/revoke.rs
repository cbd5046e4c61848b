//! Revokes tokens, sessions and users.

use std::sync::Arc;

use tracing::Instrument;
use uuid::Uuid;

use super::Authority;
use crate::{
    claims::{Claims, RegisteredClaims},
    id::{SessionId, Subject, TokenId},
    kind::TokenKind,
    store::{ErasedStore, Revoked, StoreError},
    telemetry::{self, REVOCATIONS},
};

/// What [`Authority::revoke_as`] found.
///
/// ```
/// use auth_layer::authority::RevokeOutcome;
///
/// /// Tells whether the client's request was carried out (RFC 7009 §2.2).
/// fn is_done(outcome: RevokeOutcome) -> bool {
///     outcome != RevokeOutcome::OtherClient
/// }
///
/// assert!(is_done(RevokeOutcome::Unknown));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RevokeOutcome {
    /// The token is revoked, now or since before.
    Revoked,
    /// The text is not a valid token of this issuer. There is nothing to revoke.
    Unknown,
    /// The token was issued to another client. Nothing was revoked.
    OtherClient,
}

/// Revocation.
///
/// After success no node accepts what was revoked: at once on this node and with in-process caches
/// off, otherwise within their lease.
///
/// # Errors
///
/// A call fails if it cannot promise that, because the store of record or the shared cache cannot
/// be reached. What was recorded stays recorded, and a retry is safe. A revocation that has begun
/// continues when its caller goes away or the deadline passes. What was recorded is finished within
/// 15 s of the stores' return, by another node if this one has died.
impl Authority {
    /// Revokes one token. A refresh token takes its whole session with it (RFC 7009 §2.1).
    ///
    /// An unknown token is no error (§2.2).
    ///
    /// ```
    /// # use auth_layer::{Authority, Claims, store::StoreError};
    /// // This access token alone; its session goes on.
    /// async fn revoke(authority: &Authority, claims: &Claims) -> Result<(), StoreError> {
    ///     match claims.token_id() {
    ///         Some(id) => authority.revoke_token(id).await,
    ///         None => Ok(()),
    ///     }
    /// }
    /// ```
    pub async fn revoke_token(&self, id: TokenId) -> Result<(), StoreError> {
        let since = self.inner.trust.accepted_since();
        self.run_detached(move |authority| async move {
            let revoked = authority.store().revoke_token(id, since).await;
            authority.inner.trust.forget(id.into());
            count("token", &revoked);
            let revoked = revoked?;
            // Revoking a refresh token also revokes access tokens that were not named here.
            for (id, _) in &revoked.access_tokens {
                authority.inner.trust.forget((*id).into());
            }
            // It also ends the session, whose streams may have expired tokens.
            if let Some(revocation) = &revoked.unsettled {
                authority.inner.trust.forget(revocation.news_id());
            }
            authority.inner.trust.settle_in_background(revoked.unsettled);
            Ok(())
        })
        .await
    }

    /// Signs out: revokes the session of these claims and all its tokens.
    ///
    /// Does nothing for claims of another issuer's token, which have no session here.
    ///
    /// ```
    /// # use auth_layer::{Authority, Claims, Rejection};
    /// # use axum::extract::State;
    /// # use http::StatusCode;
    /// async fn logout(
    ///     State(authority): State<Authority>,
    ///     claims: Claims,
    /// ) -> Result<StatusCode, Rejection> {
    ///     authority.sign_out(&claims).await?;
    ///     Ok(StatusCode::NO_CONTENT)
    /// }
    /// ```
    pub async fn sign_out(&self, claims: &Claims) -> Result<(), StoreError> {
        match claims.session_id() {
            Some(session) => self.revoke_session(session).await,
            None => Ok(()),
        }
    }

    /// Revokes a token, given as text (RFC 7009 §2.1). A refresh token takes its session with it.
    ///
    /// Any other text than a valid token of this issuer is no error (§2.2): it has nothing to
    /// revoke.
    ///
    /// ```
    /// # use auth_layer::{Authority, Rejection};
    /// # use axum::extract::State;
    /// async fn revoke(
    ///     State(authority): State<Authority>,
    ///     token: String,
    /// ) -> Result<(), Rejection> {
    ///     Ok(authority.revoke(&token).await?)
    /// }
    /// ```
    pub async fn revoke(&self, token: &str) -> Result<(), StoreError> {
        match self.verify_any(token) {
            Some(claims) => self.revoke_token(claims.jti).await,
            None => Ok(()),
        }
    }

    /// Revokes a token for a client, if it was issued to that client (RFC 7009 §2.1).
    ///
    /// The client has authenticated, if it has a secret. Otherwise as [`revoke`](Self::revoke).
    ///
    /// ```
    /// # use auth_layer::{Authority, Rejection};
    /// use auth_layer::{
    ///     authority::RevokeOutcome,
    ///     oauth::{Client, RevocationRequest, TokenError, TokenErrorKind},
    /// };
    ///
    /// // At a revocation endpoint.
    /// async fn revoke(
    ///     authority: &Authority,
    ///     client: &Client,
    ///     request: &RevocationRequest,
    /// ) -> Result<Result<(), TokenError>, Rejection> {
    ///     Ok(match authority.revoke_as(request.token.expose(), client.id()).await? {
    ///         RevokeOutcome::OtherClient => Err(TokenErrorKind::InvalidGrant.into()),
    ///         _ => Ok(()),
    ///     })
    /// }
    /// ```
    pub async fn revoke_as(&self, token: &str, client_id: &str) -> Result<RevokeOutcome, StoreError> {
        let Some(claims) = self.verify_any(token) else { return Ok(RevokeOutcome::Unknown) };
        //= RFC 7009 §2.1
        if claims.client_id != client_id {
            return Ok(RevokeOutcome::OtherClient);
        }
        self.revoke_token(claims.jti).await?;
        Ok(RevokeOutcome::Revoked)
    }

    /// Returns the claims of a token of any kind that this authority signed and that has not
    /// expired.
    fn verify_any(&self, token: &str) -> Option<RegisteredClaims> {
        let kinds = [TokenKind::Refresh, TokenKind::Access, TokenKind::SingleUse];
        kinds.into_iter().find_map(|kind| self.verify_jwt(kind, token).ok())
    }

    /// Revokes a session and all its tokens. An unknown session is no error.
    ///
    /// ```
    /// # use auth_layer::{Authority, Claims, SessionId, store::StoreError};
    /// // Users end sessions of their own, from a list of devices.
    /// async fn end(
    ///     authority: &Authority,
    ///     claims: &Claims,
    ///     id: SessionId,
    /// ) -> Result<bool, StoreError> {
    ///     let session = authority.session(id).await?;
    ///     let is_own = session.is_some_and(|session| session.user_id == claims.sub);
    ///     if is_own {
    ///         authority.revoke_session(id).await?;
    ///     }
    ///     Ok(is_own)
    /// }
    /// ```
    pub async fn revoke_session(&self, session: SessionId) -> Result<(), StoreError> {
        let since = self.inner.trust.accepted_since();
        self.revoke_and_forget("session", session.into(), move |store| async move {
            store.revoke_session(session, since).await
        })
        .await
    }

    /// Revokes everything the user has, except the session `except`.
    ///
    /// Sign-ins that have begun and not finished are refused.
    ///
    /// ```
    /// # use auth_layer::{Authority, Claims, store::StoreError};
    /// # async fn example(authority: &Authority, claims: &Claims) -> Result<(), StoreError> {
    /// // After a change of password, all other devices must sign in again.
    /// authority.revoke_user(&claims.sub, claims.session_id()).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn revoke_user(&self, user: impl Into<Subject>, except: Option<SessionId>) -> Result<(), StoreError> {
        let (user, since) = (user.into(), self.inner.trust.accepted_since());
        self.revoke_and_forget(
            "user",
            user.tag(),
            move |store| async move { store.revoke_user(user, except, since).await },
        )
        .await
    }

    /// Disables or enables a user.
    ///
    /// Disabling revokes everything the user has, and refuses sign-ins until the user is enabled
    /// again. Enabling restores no token.
    ///
    /// ```
    /// # use auth_layer::{Authority, store::StoreError};
    /// # async fn example(authority: &Authority) -> Result<(), StoreError> {
    /// let user = 42_u64;
    /// authority.set_user_disabled(user, true).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn set_user_disabled(&self, user: impl Into<Subject>, disabled: bool) -> Result<(), StoreError> {
        let (user, since) = (user.into(), self.inner.trust.accepted_since());
        self.revoke_and_forget(if disabled { "disable" } else { "enable" }, user.tag(), move |store| async move {
            store.set_user_disabled(user, disabled, since).await
        })
        .await
    }

    /// Runs a revocation in the store, and drops cached liveness whether it succeeds or fails. It is
    /// counted as of this kind.
    async fn revoke_and_forget<F>(
        &self,
        kind: &'static str,
        id: Uuid,
        operation: impl FnOnce(Arc<dyn ErasedStore>) -> F,
    ) -> Result<(), StoreError>
    where
        F: Future<Output = Result<Revoked, StoreError>> + Send + 'static,
    {
        let revoked = operation(Arc::clone(self.store()));
        self.run_detached(move |authority| async move {
            let revoked = revoked.await;
            authority.inner.trust.forget(id);
            count(kind, &revoked);
            authority.inner.trust.settle_in_background(revoked?.unsettled);
            Ok(())
        })
        .await
    }

    /// Runs an operation detached. Waits no longer than the deadline, and never cancels it.
    pub(super) async fn run_detached<T, F>(&self, operation: impl FnOnce(Self) -> F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let task = tokio::spawn(operation(self.clone()).in_current_span());
        let joined = async { task.await.map_err(|error| StoreError::unavailable("the revocation broke off", error))? };
        self.inner.trust.with_deadline(joined).await
    }
}

/// Counts a revocation, also one that nobody waits for any more.
fn count(kind: &'static str, revoked: &Result<Revoked, StoreError>) {
    telemetry::count(REVOCATIONS, [("kind", kind), ("outcome", telemetry::outcome(revoked))]);
}
