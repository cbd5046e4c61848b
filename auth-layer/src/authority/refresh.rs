//! Refresh tokens, each good for one successor (RFC 6749 §6, RFC 9700 §4.14.2).

use std::{error::Error, future::ready, sync::Arc};

use tracing::Instrument;

use super::{
    Authority, IssuedPair, RefreshRequest, Renewal,
    error::{GrantFault, RefreshError},
    sign_in::{SignedPair, check_length, issued_pair},
};
use crate::{
    claims::{Authentication, Confirmation, RegisteredClaims},
    clock::{Timestamp, later},
    dpop::{Proof, ProofFault},
    fault::TokenFault,
    id::{SessionId, Subject, TokenId},
    keys::VerifyingKey,
    kind::TokenKind,
    store::{
        Payload, Retired, Rotated, Rotation, Session, StoreError, StoreErrorKind, TokenStatus, Verdict,
        unreadable_payload, within,
    },
    trust::expected_record,
};

/// How often a refresh starts again after a lost race.
///
/// Each loss means that another refresh succeeded, or that what was read was out of date.
const ATTEMPTS: usize = 8;

impl Authority {
    /// Exchanges a refresh token for the next pair of its session, and retires the token.
    ///
    /// A retired token gets the same pair again, byte for byte and on any node, while two things
    /// hold: the [grace window](super::AuthorityBuilder::refresh_grace) is open, and the new
    /// refresh token has not been used. Any other use of a retired token means that the token or
    /// the answer was stolen. It revokes the whole session, access tokens included.
    ///
    /// The window starts when the pair is first handed out. If this call failed, or its future was
    /// dropped, the retired token still gets its pair later, however long a store was away.
    ///
    /// # Errors
    ///
    /// - [`RefreshError::InvalidGrant`] if the token is not good.
    /// - [`RefreshError::Unacceptable`] if a check would refuse the new pair.
    /// - [`RefreshError::Unavailable`] if the token's state cannot be learnt. A failed store never
    ///   counts as reuse.
    ///
    /// ```
    /// # use auth_layer::{Authority, IssuedPair, Rejection};
    /// # use axum::extract::State;
    /// async fn refresh(
    ///     State(authority): State<Authority>,
    ///     refresh_token: String,
    /// ) -> Result<IssuedPair, Rejection> {
    ///     Ok(authority.refresh(&refresh_token).await?)
    /// }
    /// ```
    pub async fn refresh<'a>(&self, request: impl Into<RefreshRequest<'a>>) -> Result<IssuedPair, RefreshError> {
        self.refresh_as(request.into(), |_| ready(Ok(Renewal::new()))).await
    }

    /// Exchanges a refresh token and gives the next pair new custom claims, or less scope.
    ///
    /// It works as [`refresh`](Self::refresh). Use it for roles that may have changed since the
    /// sign-in. `renew` is called with the session before anything is written, and again after a
    /// lost race. It is not called for a retry, which gets the same pair as before.
    ///
    /// # Errors
    ///
    /// As [`refresh`](Self::refresh), and [`RefreshError::Claims`] if `renew` fails. Nothing is
    /// written then, and the refresh token is still good.
    ///
    /// ```
    /// # use auth_layer::{Authority, IssuedPair, RefreshError};
    /// # #[derive(serde::Serialize)]
    /// # struct Roles { roles: Vec<String> }
    /// # async fn roles_of(user: String) -> Result<Vec<String>, std::io::Error> { Ok(Vec::new()) }
    /// # async fn refresh(authority: &Authority, token: &str) -> Result<IssuedPair, RefreshError> {
    /// use auth_layer::authority::Renewal;
    ///
    /// authority
    ///     .refresh_with(token, |session| async move {
    ///         let roles = roles_of(session.user_id.to_string()).await?;
    ///         let renewal = Renewal::new().custom(&Roles { roles })?;
    ///         Ok::<_, Box<dyn std::error::Error + Send + Sync>>(renewal)
    ///     })
    ///     .await
    /// # }
    /// ```
    pub async fn refresh_with<'a, E, F>(
        &self,
        request: impl Into<RefreshRequest<'a>>,
        renew: impl Fn(Session) -> F,
    ) -> Result<IssuedPair, RefreshError>
    where
        E: Into<Box<dyn Error + Send + Sync>>,
        F: Future<Output = Result<Renewal, E>>,
    {
        let renew = |session: &Session| {
            let renewed = renew(session.clone());
            async { renewed.await.map_err(|error| RefreshError::Claims(error.into())) }
        };
        self.refresh_as(request.into(), renew).await
    }

    // No `AsyncFn`: the compiler could not prove that this future is `Send` in a handler.
    async fn refresh_as<F>(
        &self,
        request: RefreshRequest<'_>,
        renew: impl Fn(&Session) -> F,
    ) -> Result<IssuedPair, RefreshError>
    where
        F: Future<Output = Result<Renewal, RefreshError>>,
    {
        // Verify the signature first: a forged token causes no lookup and no write.
        let claims = self.verify_jwt(TokenKind::Refresh, request.token).map_err(RefreshError::refused)?;
        //= RFC 6749 §6
        if request.client_id.is_some_and(|client| client != claims.client_id) {
            return Err(RefreshError::refused(GrantFault::Client));
        }
        let refresh = Box::pin(async { Ok(self.refresh_verified(&claims, &request, renew).await) });
        self.inner.trust.with_deadline(refresh).await.map_err(RefreshError::Unavailable)?
    }

    /// Returns the claims of a token that this authority signed and that has not expired.
    ///
    /// It does not ask whether the token is revoked.
    pub(super) fn verify_jwt(&self, kind: TokenKind, token: &str) -> Result<RegisteredClaims, TokenFault> {
        let trust = &self.inner.trust;
        let (keys, _) = trust.issuer().keys();
        let unverified = trust.read(&keys, kind, &trust.issuer().audiences, token)?;
        let is_known =
            |key: &VerifyingKey| self.inner.signed.as_ref().is_some_and(|signed| signed.contains(key, token));
        unverified.verify_registered(&self.inner.keys.load(), is_known)
    }

    async fn refresh_verified<F>(
        &self,
        claims: &RegisteredClaims,
        request: &RefreshRequest<'_>,
        renew: impl Fn(&Session) -> F,
    ) -> Result<IssuedPair, RefreshError>
    where
        F: Future<Output = Result<Renewal, RefreshError>>,
    {
        let mut proof = request.proof;
        for _ in 0..ATTEMPTS {
            let now = self.now();
            let found = self.store().session_for_refresh(claims.sid, claims.jti, now).await;
            let Some((session, status)) = found.map_err(RefreshError::Unavailable)? else {
                return Err(RefreshError::refused(TokenFault::Unknown));
            };
            session.check_payloads().map_err(RefreshError::Unavailable)?;
            let fault = match &status {
                TokenStatus::Unknown => Some(TokenFault::Unknown),
                TokenStatus::Revoked => Some(TokenFault::Revoked),
                TokenStatus::Active(record) if *record == expected_record(claims, TokenKind::Refresh) => None,
                TokenStatus::Active(_) => Some(TokenFault::Mismatch),
            };
            let verdict = session.judge(claims.jti, self.inner.settings.refresh_grace, now);
            if session.revoked || status == TokenStatus::Revoked {
                self.finish_revocation(&session).await;
            }
            if let Some(fault) = fault {
                return Err(RefreshError::refused(fault));
            }
            match verdict {
                Verdict::Revoked => return Err(RefreshError::refused(GrantFault::SessionOver)),
                _ if now >= later(session.ends_at, self.inner.trust.settings().leeway) => {
                    return Err(RefreshError::refused(GrantFault::SessionOver));
                }
                Verdict::Rotate => {
                    let cnf = next_confirmation(&session, request)?;
                    let payload = self.next_payload(&session, request, renew(&session).await?, cnf)?;
                    let (rotation, signed) = self.child(&session, claims.jti, payload, request.max_token_bytes)?;
                    self.use_up_once(&mut proof).await?;
                    if let Some(pair) = self.rotate(session, rotation, signed).await? {
                        return Ok(pair);
                    }
                }
                Verdict::Repeat => {
                    next_confirmation(&session, request)?;
                    let signed = self.same_pair(&session, request.max_token_bytes)?;
                    self.use_up_once(&mut proof).await?;
                    let current = session.current.refresh_id;
                    let confirmed = self.store().confirm(session.session_id, current).await;
                    if confirmed.map_err(RefreshError::Unavailable)? == Rotated::Lost {
                        continue;
                    }
                    return Ok(self.deliver(&session, signed, now));
                }
                Verdict::Reuse => {
                    if let Some(error) = self.revoke_for_reuse(&session).await {
                        return Err(error);
                    }
                }
            }
        }
        let what = "the refresh lost too many races";
        Err(RefreshError::Unavailable(StoreError::new(StoreErrorKind::Unavailable, what)))
    }

    /// Uses up the proof of a request, and leaves none for another attempt.
    ///
    /// Only the write that decides may follow: whatever else refuses leaves the proof unused.
    async fn use_up_once(&self, proof: &mut Option<&Proof>) -> Result<(), RefreshError> {
        let Some(proof) = proof.take() else { return Ok(()) };
        match self.inner.trust.use_up(proof).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(RefreshError::Proof(ProofFault::Replayed)),
            Err(error) => Err(RefreshError::Unavailable(error)),
        }
    }

    /// Returns the payload of the next pair.
    fn next_payload(
        &self,
        session: &Session,
        request: &RefreshRequest<'_>,
        renewal: Renewal,
        cnf: Option<Confirmation>,
    ) -> Result<Payload, RefreshError> {
        let granted = session.scope();
        //= RFC 6749 §6
        if request.scope.is_some_and(|scope| !granted.covers(scope)) {
            return Err(RefreshError::Scope);
        }
        let scope = renewal.scope.map_or_else(|| granted.clone(), |most| granted.intersection(&most));
        let access_scope = request.scope.map(|asked| scope.intersection(asked)).filter(|asked| *asked != scope);
        let mut payload = session.next_payload().with_scopes(&scope, access_scope.as_ref());
        if !request.audiences.is_empty() {
            let granted = session.payload.audiences();
            let granted = granted.as_deref().unwrap_or(self.default_audience());
            //= RFC 8707 §2.2
            if !request.audiences.iter().all(|audience| granted.contains(audience)) {
                return Err(RefreshError::Target);
            }
            payload = payload.for_audiences(request.audiences);
        }
        if renewal.custom.is_none() && cnf == session.current.confirmation() {
            return Ok(payload);
        }
        let (authentication, custom) = Authentication::split(session.current.custom())
            .ok_or_else(|| RefreshError::Unavailable(unreadable_payload()))?;
        let authentication = Authentication { cnf, ..authentication };
        Ok(payload.with_custom(authentication.to_json_with(renewal.custom.as_deref().unwrap_or(&custom))))
    }

    /// Signs the next pair of a session, and checks it.
    fn child(
        &self,
        session: &Session,
        parent: TokenId,
        payload: Payload,
        max_token_bytes: Option<usize>,
    ) -> Result<(Rotation, SignedPair), RefreshError> {
        let now = self.now();
        let keys = self.keys();
        let child = self.new_pair(payload, &keys, now, session.ends_at);
        let (child, signed) = self.sign_new(session, child, &keys)?;
        check_length(&[&signed.0, &signed.1], max_token_bytes).map_err(RefreshError::Unacceptable)?;
        let tokens = self.pair_records(session, &child, &signed, &keys).map_err(RefreshError::Unacceptable)?;
        Ok((Rotation { session_id: session.session_id, parent, child, tokens, now }, signed))
    }

    /// Signs the current pair of a session again, and checks it: settings may have changed since it
    /// was made.
    fn same_pair(&self, session: &Session, max_token_bytes: Option<usize>) -> Result<SignedPair, RefreshError> {
        let keys = self.keys();
        let signed = self.sign_again(session, &keys).ok_or(RefreshError::refused(GrantFault::KeyGone))?;
        check_length(&[&signed.0, &signed.1], max_token_bytes).map_err(RefreshError::Unacceptable)?;
        self.pair_records(session, &session.current, &signed, &keys).map_err(RefreshError::Unacceptable)?;
        Ok(signed)
    }

    /// Replaces the session's pair. Returns `None` if the session has changed.
    async fn rotate(
        &self,
        mut session: Session,
        rotation: Rotation,
        signed: SignedPair,
    ) -> Result<Option<IssuedPair>, RefreshError> {
        let (child, parent, now) = (rotation.child.clone(), rotation.parent, rotation.now);
        match self.store().rotate(rotation).await.map_err(RefreshError::Unavailable)? {
            Rotated::Committed => {
                self.purge_when_due();
                session.current = child;
                session.previous = Some(Retired { refresh_id: parent, at: now, delivered: false });
                Ok(Some(self.deliver(&session, signed, now)))
            }
            Rotated::Lost => Ok(None),
        }
    }

    /// Returns the session's current pair. No `await` may follow before the answer.
    ///
    /// Background: marks the pair as delivered, which starts the grace window. If that fails, the
    /// retired token gets this pair for longer.
    fn deliver(&self, session: &Session, signed: SignedPair, now: Timestamp) -> IssuedPair {
        if session.previous.is_some_and(|previous| !previous.delivered) {
            let (store, deadline) = (Arc::clone(self.store()), self.inner.trust.settings().deadline);
            let (id, current) = (session.session_id, session.current.refresh_id);
            let note = async move {
                if let Err(error) = within(deadline, store.note_delivered(id, current, now)).await {
                    tracing::debug!(
                        error = &error as &dyn Error,
                        session_id = %id,
                        "not noted that a pair was handed out"
                    );
                }
            };
            tokio::spawn(note.in_current_span());
        }
        issued_pair(session, signed, now)
    }

    /// Repeats the revocation of a session that is revoked, or whose refresh token is.
    ///
    /// The first attempt may have died before it revoked the access tokens, and a record that was
    /// revoked by hand names no session. RFC 7009 §2.1 ends the session with its refresh token. A
    /// revoked session issues nothing, so after one success nothing is left to do.
    async fn finish_revocation(&self, session: &Session) {
        if session.revoked && self.inner.fully_revoked.get(&session.session_id).is_some() {
            return;
        }
        match self.revoke_session(session.session_id).await {
            Ok(()) => self.inner.fully_revoked.insert(session.session_id, ()),
            // The answer is the same either way: this token is refused.
            Err(error) => tracing::warn!(
                error = &error as &dyn Error,
                session_id = %session.session_id,
                "a session is revoked, and its access tokens may not all be"
            ),
        }
    }

    /// Revokes the session after a reuse, if it is still as it was judged.
    ///
    /// Returns `None` if the session has changed, or was read from a stale primary.
    async fn revoke_for_reuse(&self, session: &Session) -> Option<RefreshError> {
        let (since, id, current) = (self.inner.trust.accepted_since(), session.session_id, session.current.refresh_id);
        let reuse = Reuse { session: id, user: session.user_id.clone(), client: session.client_id().to_owned() };
        // Detached, log included: the client may hang up.
        let outcome = self.run_detached(move |authority| async move {
            let outcome = authority.store().revoke_for_reuse(id, current, since).await;
            match outcome {
                Ok(None) => {}
                Ok(Some(_)) => reuse.report("a retired refresh token was presented: its session has ended"),
                // The write may have succeeded, and then the reuse is not judged again. Report it
                // here.
                Err(_) => {
                    reuse.report("a retired refresh token was presented: whether its session has ended is not known");
                }
            }
            if !matches!(outcome, Ok(None)) {
                authority.inner.trust.forget(id.into());
            }
            if let Ok(Some(revoked)) = &outcome {
                authority.inner.trust.settle_in_background(revoked.unsettled.clone());
            }
            outcome
        });
        match outcome.await {
            Ok(Some(_)) => Some(RefreshError::refused(GrantFault::Reused)),
            Ok(None) => None,
            Err(error) => Some(RefreshError::Unavailable(error)),
        }
    }
}

/// Returns the key that the next pair is bound to.
///
/// # Errors
///
/// Fails if the session is bound and the request has no proof by that key.
fn next_confirmation(session: &Session, request: &RefreshRequest<'_>) -> Result<Option<Confirmation>, RefreshError> {
    let bound_to = session.current.confirmation();
    let proven = request.proof.map(|proof| Confirmation::new(proof.thumbprint()));
    match (bound_to, proven) {
        //= RFC 9449 §5
        (Some(_), None) => Err(RefreshError::Proof(ProofFault::Missing)),
        (Some(bound_to), Some(proven)) if bound_to != proven && !request.may_change_key => {
            Err(RefreshError::refused(GrantFault::Key))
        }
        (_, proven) => Ok(proven),
    }
}

/// What is reported about a reused refresh token.
struct Reuse {
    session: SessionId,
    user: Subject,
    client: String,
}

impl Reuse {
    /// Reports at least once: a reuse that could not be recorded is reported again next time.
    fn report(&self, outcome: &str) {
        tracing::warn!(
            target: "auth_layer::security",
            event = "refresh_token_reuse",
            session_id = %self.session,
            user_id = %self.user,
            client_id = self.client,
            "{outcome}"
        );
        #[cfg(feature = "metrics")]
        metrics::counter!("auth_refresh_reuse_total").increment(1);
    }
}
