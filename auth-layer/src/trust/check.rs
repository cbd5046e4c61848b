//! Checks tokens and requests.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{Extensions, Method};
use tokio::{
    task::{JoinError, JoinHandle},
    time::timeout,
};
use tracing::{Span, field::display, level_filters::LevelFilter};

use super::{
    AuthError, CheckOrder, Issuer, Policy, RequestHead, SingleUse, Trust, TrustInner,
    counts::{count_checked, count_error, count_hit, count_single_use},
};
use crate::{
    claims::{Audiences, Claims, RegisteredClaims},
    clock::{Timestamp, earlier, later},
    credentials::{Carrier, Credentials, credentials},
    dpop::{MAX_PROOF_BYTES, Proof, ProofFault, proof_header},
    fault::TokenFault,
    id::TokenId,
    jwt::{Expected, Unverified},
    keys::VerifyingKeys,
    kind::TokenKind,
    layer_context::{Anonymous, LayerContext},
    local::{CheckOutcome, Key, Known},
    store::{ActiveToken, Consumed, HashedKey, StoreError, StoreFuture, StoreRequest, StoreResponse, TokenStatus},
    tier::{self, Tier},
};

/// What [`Trust::authenticate`] found in a request.
///
/// ```
/// # use auth_layer::{AuthError, Trust};
/// # use http::Request;
/// use auth_layer::trust::{Authenticated, Policy};
///
/// async fn caller(
///     trust: &Trust,
///     policy: &Policy,
///     request: &Request<()>,
/// ) -> Result<String, AuthError> {
///     Ok(match trust.authenticate(policy, request).await? {
///         Authenticated::Claims(claims) => claims.sub.to_string(),
///         Authenticated::SingleUse(token) => token.spend().await?.sub.to_string(),
///         _ => "a guest".to_owned(),
///     })
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Authenticated {
    /// A good access token.
    Claims(Claims),
    /// A good single-use token, which is not spent yet.
    SingleUse(SingleUse),
    /// No credentials are needed: the policy exempts the request, or is optional and none were
    /// sent.
    Anonymous,
}

/// A check of a request, done or waiting.
#[expect(clippy::large_enum_variant, reason = "moved once, into the response future; a box would cost an allocation")]
pub(crate) enum RequestCheck {
    /// The check is done.
    Done(Result<Authenticated, AuthError>),
    /// The check waits for a signature or for the store.
    Pending(PendingCheck),
}

/// A check that waits for a signature or for the store, and then finishes.
pub(crate) struct PendingCheck(PendingOn);

#[expect(clippy::large_enum_variant, reason = "moved once, into the response future; a box would cost an allocation")]
enum PendingOn {
    /// Waits for the store's answer. `check` is taken when the answer arrives.
    Store { answer: StoreFuture<'static, StoreResponse>, check: Option<RecordCheck> },
    /// Waits for several things, one after the other: a signature or a proof, and the store.
    Steps(Pin<Box<dyn Future<Output = Result<Claims, AuthError>> + Send>>),
}

/// A check that waits for a token's record.
struct RecordCheck {
    trust: Trust,
    signature: SignatureState,
    expected: ActiveToken,
    key: Option<Key>,
    began: Duration,
}

/// What a token is checked for.
#[derive(Clone, Copy)]
pub(super) struct TokenQuery<'a> {
    kind: TokenKind,
    operation: RecordOperation,
    pub(super) origins: Origins<'a>,
    pub(super) layer: &'a LayerContext,
    /// Whether a token that is bound to a key is accepted. The caller checks the proof, if any.
    pub(super) may_be_bound: bool,
}

/// Whose tokens are taken, and for which audiences.
#[derive(Clone, Copy, Default)]
pub(super) struct Origins<'a> {
    /// The names of issuers; `None` for the trust's own.
    pub(super) issuers: Option<&'a [Arc<str>]>,
    /// The audiences that replace those of the issuer.
    pub(super) audiences: Option<&'a Audiences>,
}

impl<'a> Origins<'a> {
    fn by(policy: &'a Policy) -> Self {
        let demand = &policy.rules().demand;
        Self { issuers: demand.named_issuers(), audiences: demand.audiences() }
    }

    pub(super) fn names(self, issuer: &Issuer) -> bool {
        self.issuers.is_some_and(|names| names.iter().any(|name| **name == *issuer.name))
    }
}

/// What the store does with a token's record.
#[derive(Clone, Copy)]
enum RecordOperation {
    /// Reads the token's status.
    Status,
    /// Reads the status and uses the token up.
    Consume,
}

/// What is known of a token's signature when its record is requested.
#[expect(clippy::large_enum_variant, reason = "moved once, into the response future; a box would cost an allocation")]
enum SignatureState {
    Unverified(UnverifiedToken),
    Verified(Claims),
    /// The signature was verified earlier; the claims come from the in-process cache.
    Cached(Claims),
}

/// A token whose signature is to be verified.
struct UnverifiedToken {
    token: Unverified,
    /// The number of the key set in which the token's key was found.
    key_set: u64,
    layer: LayerContext,
}

/// Returns the record that the store must have for a token with these claims.
pub(crate) fn expected_record(claims: &RegisteredClaims, kind: TokenKind) -> ActiveToken {
    ActiveToken { user_id: claims.sub.clone(), session_id: claims.sid, kind, expires_at: claims.exp }
}

impl Trust {
    /// Authenticates a request as the policy demands.
    ///
    /// This is the single entry point: [`AuthLayer`](crate::AuthLayer) uses it for every request.
    ///
    /// # Errors
    ///
    /// [`AuthError`], which converts into a [`Rejection`](crate::rejection::Rejection).
    ///
    /// [`Authenticated`] has an example.
    pub async fn authenticate(
        &self,
        policy: &Policy,
        head: impl Into<RequestHead<'_>> + Send,
    ) -> Result<Authenticated, AuthError> {
        let layer = self.context(policy);
        let check = self.check(policy, &layer, head.into());
        let authenticated = match check {
            RequestCheck::Done(result) => result?,
            RequestCheck::Pending(pending) => self.conclude(policy, pending.await)?,
        };
        Ok(match authenticated {
            Authenticated::Claims(claims) => Authenticated::Claims(claims.with_layer(&layer)),
            Authenticated::SingleUse(token) => Authenticated::SingleUse(token.with_layer(&layer)),
            Authenticated::Anonymous => Authenticated::Anonymous,
        })
    }

    /// Checks an access token and returns its claims.
    ///
    /// The token must be of the trust's own issuer (the first of [`issuers`](Self::issuers)), current,
    /// correctly signed, and recorded and not revoked; or not denied, if it has no record. A token
    /// that is [bound to a key](crate::claims::ClaimSet::cnf) is refused, because it comes without a
    /// proof here.
    ///
    /// # Errors
    ///
    /// [`AuthError::InvalidToken`] if the token is not good, [`AuthError::Unavailable`] if its
    /// state cannot be learnt.
    ///
    /// [`Authority::verify`](crate::Authority::verify) has an example.
    pub async fn verify(&self, access_token: &str) -> Result<Claims, AuthError> {
        self.count_of(self.query(TokenKind::Access, RecordOperation::Status), access_token).await
    }

    /// Uses up a single-use token and returns its claims.
    ///
    /// Among any number of calls with one token, on any number of nodes, one succeeds. A token
    /// whose answer is lost on the way is used up all the same.
    ///
    /// # Errors
    ///
    /// As [`verify`](Self::verify).
    ///
    /// [`Authority::spend`](crate::Authority::spend) has an example.
    pub async fn spend(&self, single_use_token: &str) -> Result<Claims, AuthError> {
        let query = self.query(TokenKind::SingleUse, RecordOperation::Consume);
        let spent = self.count_of(query, single_use_token).await;
        count_single_use(&spent);
        spent
    }

    /// Checks a token of this kind, bound or not, without using it up.
    pub(crate) async fn inspect(&self, kind: TokenKind, token: &str) -> Result<Claims, AuthError> {
        let query = TokenQuery { may_be_bound: true, ..self.query(kind, RecordOperation::Status) };
        self.count_of(query, token).await
    }

    fn query(&self, kind: TokenKind, operation: RecordOperation) -> TokenQuery<'_> {
        TokenQuery { kind, operation, origins: Origins::default(), layer: self.own_context(), may_be_bound: false }
    }

    /// Checks a token and counts the check.
    async fn count_of(&self, query: TokenQuery<'_>, token: &str) -> Result<Claims, AuthError> {
        let checked = self.check_token(query, token).await;
        count_checked(tier::noted(), &checked);
        checked
    }

    /// Checks a token, and notes which tier has answered.
    async fn check_token(&self, query: TokenQuery<'_>, token: &str) -> Result<Claims, AuthError> {
        let (began, key, known) = self.look_up_cache(query.kind, query.origins, token.as_bytes());
        tier::note(if matches!(known, Known::Good(_)) { Tier::Local } else { Tier::None });
        let check = match known {
            Known::Good(claims) | Known::Verified(claims) if claims.cnf.is_some() && !query.may_be_bound => {
                TokenCheck::Done(Err(TokenFault::Binding.into()))
            }
            Known::Good(claims) => TokenCheck::Done(Ok(claims)),
            Known::Verified(claims) => self.check_cached(claims, key, began),
            Known::Nothing => self.check_uncached(query, token, key, began),
        };
        let checked = match check {
            TokenCheck::Done(result) => result,
            TokenCheck::Pending(pending) => pending.await,
        };
        Ok(checked?.with_layer(query.layer))
    }

    /// Checks a request as far as possible without waiting.
    pub(crate) fn check(&self, policy: &Policy, layer: &LayerContext, head: RequestHead<'_>) -> RequestCheck {
        let rules = policy.rules();
        if rules.exempts(&head) {
            return RequestCheck::Done(Ok(Authenticated::Anonymous));
        }
        let credentials = match credentials(head.headers, rules.proofs.is_some(), rules.cookie.as_ref()) {
            Ok(Some(credentials)) => credentials,
            Ok(None) if rules.optional => return RequestCheck::Done(Ok(Authenticated::Anonymous)),
            Ok(None) => return RequestCheck::refused(AuthError::MissingCredentials),
            Err(error) => return RequestCheck::refused(error),
        };
        if let Some(proofs) = &rules.proofs {
            if credentials.carrier == Carrier::Dpop {
                return self.check_with_proof(policy, &head, credentials);
            }
            if proofs.is_required() {
                return RequestCheck::refused(TokenFault::Binding);
            }
        }
        let origins = Origins::by(policy);
        let (began, key, known) = self.look_up_cache(rules.kind, origins, credentials.as_bytes());
        match known {
            //= RFC 9449 §7.2
            Known::Good(claims) | Known::Verified(claims) if claims.cnf.is_some() => {
                RequestCheck::refused(TokenFault::Binding)
            }
            // By far the most frequent case. Kept separate, so that nothing large is moved.
            Known::Good(claims) => {
                let admitted = self.admit(policy, claims);
                match &admitted {
                    Ok(_) => count_hit(key),
                    Err(error) => count_error(Tier::Local, error),
                }
                RequestCheck::Done(admitted)
            }
            Known::Verified(claims) => self.conclude_if_done(policy, self.check_cached(claims, key, began)),
            // Characters are checked here only: a cached token passed this check before.
            Known::Nothing => match credentials.token() {
                Ok(token) => {
                    let query = TokenQuery { origins, layer, ..self.query(rules.kind, RecordOperation::Status) };
                    self.conclude_if_done(policy, self.check_uncached(query, token, key, began))
                }
                Err(error) => RequestCheck::refused(error),
            },
        }
    }

    /// Begins the check of a request with a proof of possession (RFC 9449 §7.1).
    #[inline(never)]
    fn check_with_proof(&self, policy: &Policy, head: &RequestHead<'_>, credentials: Credentials<'_>) -> RequestCheck {
        let token = match credentials.token() {
            Ok(token) => token.to_owned(),
            Err(error) => return RequestCheck::refused(error),
        };
        let proof = match proof_header(head.headers) {
            Ok(Some(proof)) if proof.len() <= MAX_PROOF_BYTES => proof.to_owned(),
            Ok(Some(_)) => return RequestCheck::refused(ProofFault::Oversized),
            Ok(None) => return RequestCheck::refused(ProofFault::Missing),
            Err(fault) => return RequestCheck::refused(fault),
        };
        let (trust, policy, method) = (self.clone(), policy.clone(), head.method.clone());
        let path = head.uri.path().to_owned();
        let deadline = self.settings().deadline;
        let check = async move { trust.check_token_and_proof(&policy, &method, &path, &token, &proof).await };
        RequestCheck::Pending(PendingCheck::in_steps(deadline, check))
    }

    /// Checks a token and its proof, and reserves the proof last: what is refused writes nothing.
    async fn check_token_and_proof(
        &self,
        policy: &Policy,
        method: &Method,
        path: &str,
        token: &str,
        proof: &str,
    ) -> Result<Claims, AuthError> {
        let rules = policy.rules();
        // `check` comes here only if there are proofs.
        let Some(proofs) = &rules.proofs else { return Err(AuthError::MissingCredentials) };
        let query = self.query(rules.kind, RecordOperation::Status);
        let query = TokenQuery { origins: Origins::by(policy), may_be_bound: true, ..query };
        let claims = self.check_token(query, token).await?;
        //= RFC 9449 §7.1
        let Some(bound_to) = claims.cnf else { return Err(TokenFault::Binding.into()) };
        let check = proofs.check(method, path, self.now()).access_token(token).bound_to(bound_to.jkt);
        let proof = check.verify(proof)?;
        rules.demand.check_at(&claims, || self.now(), self.settings().leeway)?;
        let reserved = self.use_up(&proof).await;
        tier::note(Tier::Store);
        match reserved {
            Ok(true) => Ok(claims),
            Ok(false) => Err(ProofFault::Replayed.into()),
            Err(error) => Err(AuthError::Unavailable(error)),
        }
    }

    /// Uses up a proof. Returns true once, over all nodes of the store (RFC 9449 §11.1).
    pub(crate) async fn use_up(&self, proof: &Proof) -> Result<bool, StoreError> {
        //= RFC 9449 §11.1
        let key = HashedKey::from_digest(proof.replay_key());
        self.with_deadline(self.inner.store.reserve(key, proof.replay_until(), self.now())).await
    }

    #[inline(never)]
    fn conclude_if_done(&self, policy: &Policy, check: TokenCheck) -> RequestCheck {
        match check {
            TokenCheck::Done(result) => RequestCheck::Done(self.conclude_from(Tier::None, policy, result)),
            TokenCheck::Pending(pending) => RequestCheck::Pending(pending),
        }
    }

    /// Applies the policy to a token whose [`PendingCheck`] is done in this poll.
    pub(crate) fn conclude(
        &self,
        policy: &Policy,
        checked: Result<Claims, AuthError>,
    ) -> Result<Authenticated, AuthError> {
        self.conclude_from(tier::noted(), policy, checked)
    }

    fn conclude_from(
        &self,
        tier: Tier,
        policy: &Policy,
        checked: Result<Claims, AuthError>,
    ) -> Result<Authenticated, AuthError> {
        let admitted = checked.and_then(|claims| self.admit(policy, claims));
        count_checked(tier, &admitted);
        admitted
    }

    #[expect(clippy::inline_always, reason = "on the way of every request, and a call costs as much as what it does")]
    #[inline(always)]
    fn admit(&self, policy: &Policy, claims: Claims) -> Result<Authenticated, AuthError> {
        let rules = policy.rules();
        if rules.demands_more {
            rules.demand.check_at(&claims, || self.now(), self.settings().leeway)?;
        }
        Ok(match rules.kind {
            TokenKind::SingleUse => Authenticated::SingleUse(SingleUse::new(self.clone(), claims)),
            TokenKind::Access | TokenKind::Refresh => Authenticated::Claims(claims),
        })
    }

    /// Returns the time, the token's cache key and what the cache knows of the token.
    ///
    /// The cache is shared by all authorities on the store. An entry of an issuer that is not taken,
    /// or for another audience, counts as unknown.
    #[expect(
        clippy::inline_always,
        reason = "on the way of every request; a call would pass its result through memory"
    )]
    #[inline(always)]
    fn look_up_cache(&self, kind: TokenKind, origins: Origins<'_>, bytes: &[u8]) -> (Duration, Option<Key>, Known) {
        let TrustInner { settings, issuer, freshness, .. } = &*self.inner;
        let Some(verified) = self.local_cache() else { return (settings.clock.monotonic(), None, Known::Nothing) };
        let now = verified.now();
        // Tokens beyond the size limit are not hashed.
        if kind != TokenKind::Access || bytes.len() > settings.max_token_bytes {
            return (now, None, Known::Nothing);
        }
        let key = verified.key(bytes);
        let known = verified.get(key, now, *freshness);
        let (Known::Good(claims) | Known::Verified(claims)) = &known else { return (now, Some(key), known) };
        let is_taken = if origins.issuers.is_none() {
            issuer.has_verified(claims) && issuer.takes_audience(claims, origins.audiences)
        } else {
            self.takes_of_named(claims, origins)
        };
        (now, Some(key), if is_taken { known } else { Known::Nothing })
    }

    /// Whether a named issuer believes these claims and takes them.
    fn takes_of_named(&self, claims: &Claims, origins: Origins<'_>) -> bool {
        let verified = self.all_issuers().find(|issuer| issuer.has_verified(claims));
        verified.is_some_and(|issuer| origins.names(issuer) && issuer.takes_audience(claims, origins.audiences))
    }

    /// Checks a token that is not cached, as far as possible without waiting.
    #[inline(never)]
    fn check_uncached(&self, query: TokenQuery<'_>, token: &str, key: Option<Key>, began: Duration) -> TokenCheck {
        let inner = &*self.inner;
        let TokenQuery { kind, operation, origins, layer, may_be_bound } = query;
        match self.find_foreign(kind, origins, token) {
            Ok(Some((issuer, opened))) => return self.check_foreign(query, issuer, opened, key, began),
            Ok(None) => {}
            Err(fault) => return TokenCheck::Done(Err(fault.into())),
        }
        let audiences = origins.audiences.unwrap_or(&inner.issuer.audiences);
        let (keys, key_set) = inner.issuer.keys();
        let token = match self.read(&keys, kind, audiences, token) {
            Ok(unverified) if unverified.claims.cnf.is_some() && !may_be_bound => {
                return TokenCheck::Done(Err(TokenFault::Binding.into()));
            }
            Ok(unverified) => unverified,
            Err(fault) => return TokenCheck::Done(Err(fault.into())),
        };
        let (id, record) = (token.claims.jti, expected_record(&token.claims, kind));
        let unverified = UnverifiedToken { token, key_set, layer: layer.clone() };
        let signature_first = kind == TokenKind::SingleUse
            || inner.settings.check_order == CheckOrder::SignatureFirst
            || !inner.unverified_lookups.try_acquire(began);
        if !signature_first {
            return TokenCheck::Pending(self.look_up_record(
                operation,
                id,
                SignatureState::Unverified(unverified),
                record,
                key,
                began,
            ));
        }
        let verified = if inner.forged_signatures.is_exhausted(began) {
            let (checker, bytes) = (self.clone(), unverified.token.bytes());
            let verify = move || checker.verify_and_count(unverified, began);
            match inner.signature_pool.try_spawn(bytes, verify) {
                Ok(verified) => {
                    return TokenCheck::Pending(self.look_up_record_after(verified, operation, id, record, key, began));
                }
                Err(verify) => verify(),
            }
        } else {
            self.verify_and_count(unverified, began)
        };
        match verified {
            Ok(claims) => TokenCheck::Pending(self.look_up_record(
                operation,
                id,
                SignatureState::Verified(claims),
                record,
                key,
                began,
            )),
            Err(fault) => TokenCheck::Done(Err(fault.into())),
        }
    }

    /// Checks a token whose signature this process has verified before.
    #[inline(never)]
    fn check_cached(&self, claims: Claims, key: Option<Key>, began: Duration) -> TokenCheck {
        // The monotonic clock may have stopped while the machine slept, so compare wall-clock time
        // too.
        if self.now() >= later(claims.exp, self.settings().leeway) {
            if let Some((verified, key)) = self.local_cache().zip(key) {
                verified.remove(key);
            }
            return TokenCheck::Done(Err(TokenFault::Expired.into()));
        }
        if !claims.is_recorded() {
            return TokenCheck::Pending(self.look_up_denials(claims, key, began));
        }
        let Some((id, record)) = id_and_record(&claims) else {
            return TokenCheck::Done(Err(TokenFault::Unknown.into()));
        };
        TokenCheck::Pending(self.look_up_record(
            RecordOperation::Status,
            id,
            SignatureState::Cached(claims),
            record,
            key,
            began,
        ))
    }

    fn look_up_record(
        &self,
        operation: RecordOperation,
        id: TokenId,
        signature: SignatureState,
        expected: ActiveToken,
        key: Option<Key>,
        began: Duration,
    ) -> PendingCheck {
        self.resume_in_background();
        let request = match operation {
            RecordOperation::Status => StoreRequest::Status(id),
            RecordOperation::Consume => self.consumption(id, expected.clone()),
        };
        let answer = Arc::clone(&self.inner.store).ask(request, self.settings().deadline);
        PendingCheck(PendingOn::Store {
            answer,
            check: Some(RecordCheck { trust: self.clone(), signature, expected, key, began }),
        })
    }

    /// Asks the store once the signature has been verified.
    fn look_up_record_after(
        &self,
        verified: JoinHandle<Result<Claims, TokenFault>>,
        operation: RecordOperation,
        id: TokenId,
        expected: ActiveToken,
        key: Option<Key>,
        began: Duration,
    ) -> PendingCheck {
        let trust = self.clone();
        let deadline = self.settings().deadline;
        let check = async move {
            let claims = verified.await.map_err(not_verified)??;
            trust.look_up_record(operation, id, SignatureState::Verified(claims), expected, key, began).await
        };
        PendingCheck::in_steps(deadline, check)
    }

    /// Uses up a single-use token whose signature was verified.
    pub(super) async fn consume(&self, claims: &Claims) -> Result<(), AuthError> {
        let Some((id, record)) = id_and_record(claims) else { return Err(TokenFault::Unknown.into()) };
        let request = self.consumption(id, record);
        let spent = match Arc::clone(&self.inner.store).ask(request, self.settings().deadline).await {
            Ok(StoreResponse::Consumed(Consumed::Accepted)) => Ok(()),
            Ok(_) => Err(TokenFault::Used.into()),
            Err(error) => Err(AuthError::Unavailable(error)),
        };
        count_single_use(&spent);
        spent
    }

    /// Reads a token of this kind without trusting it. `keys` are those of the own issuer.
    pub(crate) fn read(
        &self,
        keys: &VerifyingKeys,
        kind: TokenKind,
        audiences: &Audiences,
        token: &str,
    ) -> Result<Unverified, TokenFault> {
        let expected = self.expected(kind, audiences, self.now());
        Unverified::read(token, keys, &expected).inspect_err(|fault| {
            if *fault == TokenFault::Key {
                self.warn_of_missing_key(token, &expected);
            }
        })
    }

    /// Builds the request that uses up a single-use token. The leeway applies to its expiry.
    fn consumption(&self, id: TokenId, record: ActiveToken) -> StoreRequest {
        StoreRequest::Consume(id, record, earlier(self.now(), self.settings().leeway))
    }

    /// Returns what a token of this kind is read against.
    pub(crate) fn expected<'a>(&'a self, kind: TokenKind, audiences: &'a Audiences, now: Timestamp) -> Expected<'a> {
        let settings = self.settings();
        Expected {
            kind,
            issuer: &self.inner.issuer.name,
            audiences,
            leeway: settings.leeway,
            max_bytes: settings.max_token_bytes,
            now,
        }
    }

    /// Verifies a signature. A wrong one is counted in the budget of forged signatures.
    fn verify_and_count(&self, unverified: UnverifiedToken, began: Duration) -> Result<Claims, TokenFault> {
        let UnverifiedToken { token, key_set, layer } = unverified;
        let claims = token.verify(key_set, self.inner.issuer.number(), layer);
        claims.inspect_err(|fault| self.count_if_forged(*fault, began))
    }

    pub(super) fn count_if_forged(&self, fault: TokenFault, began: Duration) {
        if fault == TokenFault::Signature {
            self.inner.forged_signatures.record(began);
        }
    }

    /// Returns the claims once the store has answered, and verifies the signature if that is due.
    fn verify_if_due(&self, signature: SignatureState, began: Duration) -> Result<Claims, TokenFault> {
        match signature {
            SignatureState::Unverified(unverified) => {
                let claims = self.verify_and_count(unverified, began)?;
                self.inner.unverified_lookups.refund();
                Ok(claims)
            }
            SignatureState::Verified(claims) | SignatureState::Cached(claims) => Ok(claims),
        }
    }
}

/// A check of a token, done or waiting.
#[expect(clippy::large_enum_variant, reason = "moved once, into the response future; a box would cost an allocation")]
pub(super) enum TokenCheck {
    Done(Result<Claims, AuthError>),
    Pending(PendingCheck),
}

/// Returns the error of a check whose signature the pool did not come to.
pub(super) fn not_verified(cut: JoinError) -> AuthError {
    AuthError::Unavailable(StoreError::unavailable("a signature could not be verified", cut))
}

/// Returns the id and expected record of a recorded token; `None` for another issuer's token.
fn id_and_record(claims: &Claims) -> Option<(TokenId, ActiveToken)> {
    let record = ActiveToken {
        user_id: claims.sub.clone(),
        session_id: claims.session_id()?,
        kind: claims.kind(),
        expires_at: claims.exp,
    };
    Some((claims.token_id()?, record))
}

/// Records `sub` and `sid` in the current span, if it has fields of these names.
fn record_in_span(claims: &Claims) {
    let span = Span::current();
    span.record("sub", display(&claims.sub));
    if let Some(sid) = &claims.sid {
        span.record("sid", display(sid));
    }
}

impl Authenticated {
    /// Stores the result in a request's extensions, for extractors and guards.
    #[inline]
    pub(crate) fn insert_into(self, extensions: &mut Extensions, layer: &LayerContext) {
        match self {
            Self::Claims(claims) => {
                if LevelFilter::current() != LevelFilter::OFF {
                    record_in_span(&claims);
                }
                extensions.insert(claims.with_layer(layer));
            }
            Self::SingleUse(token) => {
                extensions.insert(token.with_layer(layer));
            }
            Self::Anonymous => {
                extensions.insert(Anonymous(layer.clone()));
            }
        }
    }
}

impl RequestCheck {
    /// Refuses a request without asking.
    #[cold]
    fn refused(error: impl Into<AuthError>) -> Self {
        let error = error.into();
        count_error(Tier::None, &error);
        Self::Done(Err(error))
    }
}

impl PendingCheck {
    /// Waits for a check of several steps, no longer than the deadline.
    pub(super) fn in_steps(
        deadline: Duration,
        check: impl Future<Output = Result<Claims, AuthError>> + Send + 'static,
    ) -> Self {
        Self(PendingOn::Steps(Box::pin(async move {
            timeout(deadline, check).await.unwrap_or_else(|late| {
                Err(AuthError::Unavailable(StoreError::unavailable("a token was not checked in time", late)))
            })
        })))
    }
}

impl Future for PendingCheck {
    type Output = Result<Claims, AuthError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // The shared cache says so if it answers.
        tier::note(Tier::Store);
        match &mut self.get_mut().0 {
            PendingOn::Store { answer, check } => {
                let answer = ready!(answer.as_mut().poll(cx));
                Poll::Ready(check.take().expect("`PendingCheck` polled after it was done").conclude(answer))
            }
            PendingOn::Steps(end) => end.as_mut().poll(cx),
        }
    }
}

impl RecordCheck {
    /// Finishes the check with the store's answer.
    fn conclude(self, answer: Result<StoreResponse, StoreError>) -> Result<Claims, AuthError> {
        let Self { trust, signature, expected, key, began } = self;
        let was_cached = matches!(signature, SignatureState::Cached(_));
        let fault = match answer {
            Ok(StoreResponse::Status(TokenStatus::Active(record))) if record == expected => None,
            Ok(StoreResponse::Status(TokenStatus::Active(_))) => Some(TokenFault::Mismatch),
            Ok(StoreResponse::Status(TokenStatus::Unknown)) => Some(TokenFault::Unknown),
            Ok(StoreResponse::Status(TokenStatus::Revoked)) if expected.kind != TokenKind::SingleUse => {
                Some(TokenFault::Revoked)
            }
            Ok(StoreResponse::Consumed(Consumed::Accepted)) => None,
            Ok(StoreResponse::Status(TokenStatus::Revoked) | StoreResponse::Consumed(Consumed::Refused)) => {
                Some(TokenFault::Used)
            }
            Err(error) => {
                // 503 is for genuine tokens only. A forged token gets 401 even while the store is
                // down.
                trust.verify_if_due(signature, began)?;
                return Err(AuthError::Unavailable(error));
            }
        };
        let kept = trust.local_cache().zip(key);
        if let Some(fault) = fault {
            if let Some((verified, key)) = kept {
                verified.remove(key);
            }
            return Err(fault.into());
        }
        let claims = trust.verify_if_due(signature, began)?;
        if let Some((verified, key)) = kept {
            verified.insert(key, &CheckOutcome { claims: &claims, began, now: trust.now() }, was_cached);
        }
        Ok(claims)
    }
}
