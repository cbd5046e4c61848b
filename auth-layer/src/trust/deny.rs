//! Denies tokens that have no records.

use std::time::Duration;

use tokio::{sync::oneshot, time::sleep};
use tracing::Instrument;

use super::{AuthError, Trust, check_foreign::hashed, foreign::Foreign};
use crate::{
    claims::{Claims, DenialKey},
    clock::{Timestamp, later},
    fault::TokenFault,
    id::{Login, Subject, TextId},
    jwt::Opened,
    store::{Denial, StoreError},
    telemetry::{self, DENIALS},
};

/// How many denials that failed are tried again at a time. Of more, the callers know.
pub(super) const MAX_RETRIES: usize = 4_096;

/// The pauses between two tries to record a denial.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));

/// Denial: how tokens of issuers are taken back that record none.
///
/// After success no node accepts what was denied: at once on this node and with in-process caches off,
/// otherwise within their lease. Open [streams](Self::revoked) end.
///
/// # Errors
///
/// [`AuthError::Unavailable`] if a call cannot promise that, because the store of record or the shared
/// cache cannot be reached. It goes on in the background, also when its caller goes away, and a retry
/// is safe. [`AuthError::InvalidToken`] if the issuer is none of this trust's, or records its tokens:
/// its authority revokes them.
impl Trust {
    /// Denies the token of these claims, and its session if it has one.
    ///
    /// ```
    /// # use auth_layer::{Claims, Rejection, Trust};
    /// # use axum::extract::State;
    /// # use http::StatusCode;
    /// async fn logout(
    ///     State(trust): State<Trust>,
    ///     claims: Claims,
    /// ) -> Result<StatusCode, Rejection> {
    ///     trust.deny(&claims).await?;
    ///     Ok(StatusCode::NO_CONTENT)
    /// }
    /// ```
    pub async fn deny(&self, claims: &Claims) -> Result<(), AuthError> {
        let Some(keys) = claims.denial_keys() else { return Err(TokenFault::Issuer.into()) };
        let rules = self.rules_of(&claims.iss)?;
        let now = self.now();
        let mut denials = vec![(keys.token, self.token_denial(claims.exp, now))];
        denials.extend(keys.session.map(|session| (session, self.session_denial(rules, now))));
        self.record_denials(denials).await
    }

    /// Denies one token, given as text.
    ///
    /// The signature must be right: else anybody could deny the tokens of others, whose ids are no
    /// secret.
    ///
    /// ```
    /// # use auth_layer::{AuthError, Trust};
    /// # async fn example(trust: &Trust, leaked: &str) -> Result<(), AuthError> {
    /// // A token was found in a log.
    /// trust.deny_token(leaked).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn deny_token(&self, token: &str) -> Result<(), AuthError> {
        let began = self.monotonic();
        let opened = Opened::read(token, self.settings().max_token_bytes)?;
        let issuer = self.foreign_issuer(&opened.issuer()?).ok_or(TokenFault::Issuer)?.0.clone();
        let claims = opened.claims()?;
        let (key, _) = self.key_of(&issuer, &opened).await?;
        let verified = self.with_signature(opened, began, move |opened| {
            opened.verify(&key)?;
            Ok((opened.denial_keys(&claims).token, claims.set.exp))
        });
        let (token, exp) = verified.await?;
        self.record_denials(vec![(token, self.token_denial(exp, self.now()))]).await
    }

    /// Denies a session: every token with this `sid`, also one that the issuer mints later.
    ///
    /// The denial is kept for the issuer's [`max_session_life`](super::Issuer::max_session_life).
    ///
    /// ```
    /// # use auth_layer::{AuthError, Claims, Trust};
    /// # async fn example(trust: &Trust, claims: &Claims) -> Result<(), AuthError> {
    /// if let Some(session) = &claims.sid {
    ///     trust.deny_session(&claims.iss, session).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn deny_session(&self, issuer: &str, session: impl Into<TextId<Login>>) -> Result<(), AuthError> {
        let denial = self.session_denial(self.rules_of(issuer)?, self.now());
        let key = DenialKey::of_session(issuer, &session.into().to_text());
        self.record_denials(vec![(key, denial)]).await
    }

    /// Denies what was issued to this subject until now, for example to a user whose account was
    /// taken over.
    ///
    /// Tokens that are issued later are accepted. Clocks differ, so a token that is issued within the
    /// [leeway](super::TrustBuilder::leeway) after this is denied too: a user who signs in again at
    /// once must do so once more. A token without `iat` counts as issued before.
    ///
    /// ```
    /// # use auth_layer::{AuthError, Trust};
    /// # async fn example(trust: &Trust) -> Result<(), Box<dyn std::error::Error>> {
    /// let user: auth_layer::Subject = "auth0|5f7c".parse()?;
    /// trust.deny_subject("https://tenant.eu.auth0.com/", user).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn deny_subject(&self, issuer: &str, subject: impl Into<Subject>) -> Result<(), AuthError> {
        let denial = self.subject_denial(self.rules_of(issuer)?, self.now());
        let key = DenialKey::of_subject(issuer, &subject.into().to_text());
        self.record_denials(vec![(key, denial)]).await
    }

    fn rules_of(&self, issuer: &str) -> Result<&Foreign, TokenFault> {
        self.foreign_issuer(issuer).map(|(_, rules)| rules).ok_or(TokenFault::Issuer)
    }

    /// Returns the denial of a token, until no node accepts it.
    fn token_denial(&self, exp: Timestamp, now: Timestamp) -> Denial {
        Denial { denied_at: now, expires_at: self.accepted_until(exp) }
    }

    /// Returns the denial of a session, until it cannot go on.
    pub(super) fn session_denial(&self, rules: &Foreign, denied_at: Timestamp) -> Denial {
        Denial { denied_at, expires_at: self.accepted_until(later(denied_at, rules.max_session_life)) }
    }

    /// Returns the denial of a subject, until no node accepts a token that was issued before.
    pub(super) fn subject_denial(&self, rules: &Foreign, denied_at: Timestamp) -> Denial {
        let settings = self.settings();
        // It covers tokens that were issued up to the leeway later, and they are accepted for a leeway
        // after their expiry.
        let margin = settings.leeway.saturating_mul(2).saturating_add(settings.clock_skew_margin);
        Denial { denied_at, expires_at: later(later(denied_at, rules.max_life), margin) }
    }

    /// Records denials. Waits no longer than the deadline, and never gives up before that.
    pub(super) async fn record_denials(&self, denials: Vec<(DenialKey, Denial)>) -> Result<(), AuthError> {
        let begun: Vec<_> = denials.into_iter().filter_map(|(key, denial)| self.begin_denial(key, denial)).collect();
        let recorded = async {
            for recorded in begun {
                recorded.await.map_err(|error| StoreError::unavailable("the denial broke off", error))??;
            }
            Ok(())
        };
        let recorded = self.with_deadline(recorded).await;
        telemetry::count(DENIALS, [("outcome", telemetry::outcome(&recorded))]);
        recorded.map_err(AuthError::Unavailable)
    }

    /// Records a denial in the background, and tries again until the store has it. Returns the
    /// outcome of the first try; `None` for a denial that has expired.
    fn begin_denial(&self, key: DenialKey, denial: Denial) -> Option<oneshot::Receiver<Result<(), StoreError>>> {
        if !denial.is_live(self.now()) {
            return None;
        }
        let (tell, told) = oneshot::channel();
        let trust = self.clone();
        let record = async move {
            let first = trust.record_denial(key, denial).await;
            let is_recorded = first.is_ok();
            // The caller may have gone away.
            let _ = tell.send(first);
            if !is_recorded {
                trust.retry_denial(key, denial).await;
            }
        };
        tokio::spawn(record.in_current_span());
        Some(told)
    }

    /// Tries to record a denial until the store has it, or it would have ended.
    async fn retry_denial(&self, key: DenialKey, denial: Denial) {
        let Ok(_permit) = self.inner.denial_retries.try_acquire() else {
            tracing::error!(
                most = MAX_RETRIES,
                "too many denials wait for the store: one that failed is not tried again"
            );
            return;
        };
        let (mut pause, longest) = PAUSES;
        while denial.is_live(self.now()) {
            sleep(pause).await;
            pause = (pause * 2).min(longest);
            if self.record_denial(key, denial).await.is_ok() {
                return;
            }
        }
    }

    /// Records a denial, and drops cached liveness whether it succeeds or fails.
    async fn record_denial(&self, key: DenialKey, denial: Denial) -> Result<(), StoreError> {
        let recorded = self.inner.store.deny(hashed(&key), denial).await;
        self.forget(key.tag());
        recorded
    }
}
