//! Takes logout tokens (OpenID Connect Back-Channel Logout 1.0).

use super::{AuthError, Trust};
use crate::{claims::DenialKey, fault::TokenFault, jwt::Opened, store::HashedKey};

impl Trust {
    /// Takes a logout token (OpenID Connect Back-Channel Logout 1.0 §2.6): denies the session that it
    /// names, or else the subject.
    ///
    /// The token must be of an issuer with a [`logout_audience`](super::Issuer::logout_audience), for
    /// that audience. It is good once. Its denial counts from its `iat`, so a delayed one takes back
    /// no later token.
    ///
    /// [`BackChannelLogout`](crate::oidc::BackChannelLogout) serves an endpoint with it.
    ///
    /// # Errors
    ///
    /// [`AuthError::InvalidToken`] if the token is not good, or was used before.
    /// [`AuthError::Unavailable`] if that cannot be learnt, or the denial not be recorded now. A
    /// denial of a token that is good is recorded in the background, since issuers may not send it
    /// again.
    ///
    /// ```
    /// # use auth_layer::{AuthError, Trust};
    /// // For a framework of your own: the form's field `logout_token`.
    /// async fn status(trust: &Trust, logout_token: &str) -> u16 {
    ///     match trust.log_out(logout_token).await {
    ///         Ok(()) => 200,
    ///         Err(AuthError::Unavailable(_)) => 503,
    ///         Err(_) => 400,
    ///     }
    /// }
    /// ```
    pub async fn log_out(&self, logout_token: &str) -> Result<(), AuthError> {
        let (began, settings) = (self.monotonic(), self.settings());
        let opened = Opened::read(logout_token, settings.max_token_bytes)?;
        let (issuer, rules) = self.foreign_issuer(&opened.issuer()?).ok_or(TokenFault::Issuer)?;
        let claims = opened.logout_claims(&rules.expected_logout(settings.leeway, self.now()))?;
        let (key, _) = self.key_of(issuer, &opened).await?;
        self.with_signature(opened, began, move |opened| opened.verify(&key)).await?;

        let (name, denied_at) = (issuer.name.as_str(), claims.issued_at);
        let session = claims
            .session
            .as_ref()
            .map(|session| (DenialKey::of_session(name, &session.to_text()), self.session_denial(rules, denied_at)));
        let subject = claims.subject.as_ref().filter(|_| session.is_none() || rules.logout_by_subject);
        let subject = subject
            .map(|subject| (DenialKey::of_subject(name, &subject.to_text()), self.subject_denial(rules, denied_at)));
        // Before the reservation, which is the answer alone: this may be repeated, and a token whose
        // denial broke off must not be refused as used.
        self.record_denials(session.into_iter().chain(subject).collect()).await?;

        let key = HashedKey::of("logout token", [name, "\0", &claims.id.to_text()].concat());
        let reserve = self.inner.store.reserve(key, self.accepted_until(claims.exp), self.now());
        let reserved = self.with_deadline(reserve).await;
        if reserved.map_err(AuthError::Unavailable)? { Ok(()) } else { Err(TokenFault::Used.into()) }
    }
}
