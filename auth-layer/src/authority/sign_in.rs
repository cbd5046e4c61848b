//! Opens sessions and issues tokens in them.

use std::{future::poll_fn, task::Poll, time::Duration};

use serde::Serialize;
use tracing::Instrument;

use super::{Authority, IssuedPair, IssuedToken, TokenType, error::SignInError};
use crate::{
    claims::{Authentication, Claims, Confirmation, CustomClaimsError, Scope, custom_json},
    clock::{Timestamp, later, whole_seconds},
    dpop::{Proof, ProofFault},
    fault::TokenFault,
    id::{SessionId, Subject, TokenId},
    jwt::{Content, Unverified, assemble, signing_input},
    keys::{KeyError, Keyring, SigningKey},
    store::{Admission, Pair, Payload, Session, StoreError, TokenKind, TokenRecord, UserFence, within},
};

/// A sign-in that has begun: the user, and the fence that must still hold at the end.
///
/// [`Authority::begin_sign_in`] makes it and [`Authority::sign_in`] takes it.
#[derive(Debug)]
#[must_use]
pub struct SignIn {
    pub(super) user: Subject,
    pub(super) fence: UserFence,
}

impl SignIn {
    /// Whether the user is disabled. The sign-in will then be refused.
    pub fn is_disabled(&self) -> bool {
        self.fence.disabled
    }
}

/// What a session is opened with.
///
/// ```
/// use auth_layer::Grant;
///
/// # fn grant() -> Result<Grant, Box<dyn std::error::Error>> {
/// let grant = Grant::new("web").scope("orders:read".parse()?).acr("mfa").user_agent("Firefox");
/// # Ok(grant)
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Grant {
    pub(super) client_id: String,
    pub(super) scope: Scope,
    pub(super) user_agent: Option<String>,
    pub(super) audiences: Vec<String>,
    pub(super) authentication: Authentication,
    /// The text of a JSON object.
    pub(super) custom: String,
    /// Is used up when the session opens.
    pub(super) proof: Option<Proof>,
    pub(super) max_token_bytes: Option<usize>,
}

impl Grant {
    /// Creates a grant for this OAuth client, with an empty scope and no custom claims.
    pub fn new(client_id: impl Into<String>) -> Self {
        Self {
            client_id: client_id.into(),
            scope: Scope::empty(),
            user_agent: None,
            audiences: Vec::new(),
            authentication: Authentication::default(),
            custom: "{}".to_owned(),
            proof: None,
            max_token_bytes: None,
        }
    }

    /// Sets what the tokens may be used for. Default: an empty scope. A refresh never widens it.
    pub fn scope(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }

    /// Adds an audience of the access tokens. Default: the authority's first.
    ///
    /// It must be one of [the authority's](super::AuthorityBuilder::audience). Clients request it
    /// as `resource` (RFC 8707 §2).
    ///
    /// ```
    /// # use auth_layer::Grant;
    /// let grant = Grant::new("web").audience("orders").audience("billing");
    /// # let _ = grant;
    /// ```
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        let audience = audience.into();
        if !self.audiences.contains(&audience) {
            self.audiences.push(audience);
        }
        self
    }

    /// Sets when the user was authenticated. Default: when the session is opened.
    ///
    /// For a user who was authenticated earlier, for example by another service's login page. This
    /// is the `auth_time` of the access tokens. A refresh does not change it, and
    /// [`max_age`](crate::trust::PolicyBuilder::max_age) is measured from it.
    pub fn authenticated_at(mut self, at: Timestamp) -> Self {
        self.authentication.auth_time = Some(at.timestamp());
        self
    }

    /// Sets how strongly the user was authenticated: `acr` (RFC 9068 §2.2.1). Default: none.
    pub fn acr(mut self, acr: impl Into<String>) -> Self {
        self.authentication.acr = Some(acr.into());
        self
    }

    /// Sets how the user was authenticated: `amr`, such as `pwd` and `otp` (RFC 8176 §2). Default:
    /// none.
    ///
    /// ```
    /// # use auth_layer::{Grant, clock::Timestamp};
    /// # fn grant(at: Timestamp) -> Grant {
    /// Grant::new("web").authenticated_at(at).acr("mfa").amr(["pwd", "otp"])
    /// # }
    /// ```
    pub fn amr<M: Into<String>>(mut self, methods: impl IntoIterator<Item = M>) -> Self {
        self.authentication.amr = methods.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the text by which users recognise the device in their list of sessions. Default: none.
    pub fn user_agent(mut self, user_agent: impl Into<String>) -> Self {
        self.user_agent = Some(user_agent.into());
        self
    }

    /// Binds all tokens of the session to the key of this proof (RFC 9449 §5). Default: to none.
    ///
    /// The proof is used up when the session opens. If it was used before, the sign-in fails with
    /// [`SignInError::Proof`].
    ///
    /// ```
    /// # use auth_layer::{Authority, Grant, IssuedPair, SignIn, SignInError, dpop::Proof};
    /// # async fn example(
    /// #     authority: &Authority,
    /// #     sign_in: SignIn,
    /// #     proof: &Proof,
    /// # ) -> Result<IssuedPair, SignInError> {
    /// authority.sign_in(sign_in, Grant::new("web").bound_to(proof)).await
    /// # }
    /// ```
    pub fn bound_to(mut self, proof: &Proof) -> Self {
        self.authentication.cnf = Some(Confirmation::new(proof.thumbprint()));
        self.proof = Some(proof.clone());
        self
    }

    /// Sets the length of the longest token that is issued, in bytes. Default: the longest that a
    /// check takes.
    ///
    /// A sign-in whose tokens are longer fails with [`SignInError::Unacceptable`], and nothing is
    /// recorded. For places of limited size, such as cookies. An authorization code does not keep
    /// the limit, and a refresh has a [one of its
    /// own](super::RefreshRequest::max_token_bytes).
    ///
    /// ```
    /// # use auth_layer::Grant;
    /// let grant = Grant::new("web").max_token_bytes(4_000);
    /// # let _ = grant;
    /// ```
    pub fn max_token_bytes(mut self, bytes: usize) -> Self {
        self.max_token_bytes = Some(bytes);
        self
    }

    /// Sets the application's own claims, which every access token of the session carries.
    ///
    /// # Errors
    ///
    /// [`CustomClaimsError`] if they are not a JSON object, or one has the name of a registered
    /// claim.
    ///
    /// ```
    /// # use auth_layer::{Grant, claims::CustomClaimsError};
    /// #[derive(serde::Serialize)]
    /// struct Tenant {
    ///     tenant: u64,
    /// }
    ///
    /// # fn grant() -> Result<Grant, CustomClaimsError> {
    /// let grant = Grant::new("web").custom(&Tenant { tenant: 7 })?;
    /// # Ok(grant)
    /// # }
    /// ```
    pub fn custom(self, custom: &impl Serialize) -> Result<Self, CustomClaimsError> {
        Ok(Self { custom: custom_json(custom)?, ..self })
    }
}

/// A session that is not recorded yet, and its signed pair.
pub(super) struct NewSession {
    pub(super) session: Session,
    pub(super) records: Vec<TokenRecord>,
    pub(super) issued: IssuedPair,
    /// Is used up before the session is recorded.
    pub(super) proof: Option<Proof>,
}

/// How long a sign-in waits until surplus sessions have ended.
const SURPLUS_TIMEOUT: Duration = Duration::from_millis(500);

/// The signed access token and refresh token of a pair.
pub(super) type SignedPair = (String, String);

impl Authority {
    /// Begins a sign-in. Call this **before** the user's credentials are read and checked.
    ///
    /// If everything of the user's is revoked in between, for example by a password change, the
    /// sign-in is refused at its end.
    ///
    /// # Errors
    ///
    /// [`SignInError::Unavailable`] if the store cannot be reached.
    ///
    /// ```
    /// # use auth_layer::{Authority, Grant, IssuedPair, Rejection};
    /// # async fn password_is_right(user: u64, password: &str) -> bool { true }
    /// async fn login(
    ///     authority: &Authority,
    ///     user: u64,
    ///     password: &str,
    /// ) -> Result<IssuedPair, Rejection> {
    ///     let sign_in = authority.begin_sign_in(user).await?;
    ///     if !password_is_right(user, password).await {
    ///         return Err(Rejection::invalid_credentials());
    ///     }
    ///     Ok(authority.sign_in(sign_in, Grant::new("web")).await?)
    /// }
    /// ```
    pub async fn begin_sign_in(&self, user: impl Into<Subject>) -> Result<SignIn, SignInError> {
        let (user, trust) = (user.into(), &self.inner.trust);
        trust.resume_in_background();
        let fence =
            trust.with_deadline(self.store().user_fence(user.clone())).await.map_err(SignInError::Unavailable)?;
        Ok(SignIn { user, fence })
    }

    /// Opens a session for a user whose credentials were checked, and issues its first pair.
    ///
    /// # Errors
    ///
    /// - [`SignInError::Fenced`] if everything of the user's was revoked meanwhile. Begin again,
    ///   credentials included.
    /// - [`SignInError::Unacceptable`] if [`verify`](Self::verify) would refuse a token. Nothing is
    ///   recorded then.
    /// - [`SignInError::Disabled`] if the user is disabled.
    /// - [`SignInError::Target`] if an audience is not the authority's.
    /// - [`SignInError::Proof`] if the [proof](Grant::bound_to) was used before.
    pub async fn sign_in(&self, sign_in: SignIn, grant: Grant) -> Result<IssuedPair, SignInError> {
        if sign_in.is_disabled() {
            return Err(SignInError::Disabled);
        }
        let SignIn { user, fence } = sign_in;
        let NewSession { session, records, issued, proof } = self.prepare_session(user, grant)?;
        self.record_session(session, records, fence.epoch, proof.as_ref()).await?;
        self.end_surplus_sessions(&issued).await;
        Ok(issued)
    }

    /// Creates a session and signs its first pair. Records nothing.
    pub(super) fn prepare_session(&self, user: Subject, grant: Grant) -> Result<NewSession, SignInError> {
        let (now, keys, proof, max_bytes) = (self.now(), self.keys(), grant.proof.clone(), grant.max_token_bytes);
        let mut session = self.new_session(user, grant, &keys, now, later(now, self.inner.settings.session_ttl))?;
        let pair = session.current.clone();
        let (pair, signed) = self.sign_new(&session, pair, &keys)?;
        check_length(&[&signed.0, &signed.1], max_bytes).map_err(SignInError::Unacceptable)?;
        let records = self.pair_records(&session, &pair, &signed, &keys).map_err(SignInError::Unacceptable)?;
        session.current = pair;
        let issued = issued_pair(&session, signed, now);
        Ok(NewSession { session, records, issued, proof })
    }

    /// Issues an access token to a client in its own name, in a session of its own and with no
    /// refresh token (RFC 6749 §4.4.3).
    ///
    /// Begin the sign-in with the client's identifier as user, **before** the client is read and
    /// authenticated. The token then does not survive a [`revoke_user`](Self::revoke_user) of the
    /// client that came in between.
    ///
    /// # Errors
    ///
    /// As [`sign_in`](Self::sign_in).
    ///
    /// ```
    /// # use auth_layer::{Authority, Grant, IssuedToken, Rejection, Scope, Subject};
    /// # async fn may_have(client_id: &str, secret: &str) -> Option<Scope> { None }
    /// async fn client_credentials(
    ///     authority: &Authority,
    ///     client_id: &str,
    ///     secret: &str,
    /// ) -> Result<IssuedToken, Rejection> {
    ///     let user: Subject = client_id.parse().map_err(|_| Rejection::invalid_credentials())?;
    ///     let sign_in = authority.begin_sign_in(user).await?;
    ///     let Some(scope) = may_have(client_id, secret).await else {
    ///         return Err(Rejection::invalid_credentials());
    ///     };
    ///     Ok(authority.issue_client_token(sign_in, Grant::new(client_id).scope(scope)).await?)
    /// }
    /// ```
    pub async fn issue_client_token(&self, sign_in: SignIn, grant: Grant) -> Result<IssuedToken, SignInError> {
        if sign_in.is_disabled() {
            return Err(SignInError::Disabled);
        }
        let (now, keys, proof, max_bytes) = (self.now(), self.keys(), grant.proof.clone(), grant.max_token_bytes);
        let ends_at = later(whole_seconds(now), self.inner.settings.access_ttl);
        let session = self.new_session(sign_in.user, grant, &keys, now, ends_at)?;
        let pair = &session.current;
        let token = sign_input(keys.signing(), self.access_input(&session, pair, keys.signing()))?;
        check_length(&[&token], max_bytes).map_err(SignInError::Unacceptable)?;
        let record = self.checked_record(access_record(&session, pair), &token, &keys);
        let issued = IssuedToken {
            token,
            token_type: TokenType::of(pair.confirmation().as_ref()),
            expires_in: seconds_between(now, pair.access_expires_at),
            scope: pair.access_scope(),
            session_id: session.session_id,
            user_id: session.user_id.clone(),
        };
        let records = vec![record.map_err(SignInError::Unacceptable)?];
        self.record_session(session, records, sign_in.fence.epoch, proof.as_ref()).await?;
        Ok(issued)
    }

    /// Creates a session that is not recorded yet. Its first pair is not signed yet.
    fn new_session(
        &self,
        user: Subject,
        grant: Grant,
        keys: &Keyring,
        now: Timestamp,
        ends_at: Timestamp,
    ) -> Result<Session, SignInError> {
        let Grant { client_id, scope, user_agent, audiences, mut authentication, custom, .. } = grant;
        self.check_audiences(&audiences)?;
        authentication.auth_time.get_or_insert(now.timestamp());
        let payload = Payload::of_session(client_id, user_agent).for_audiences(&audiences);
        let of_pair = Payload::of_pair(&scope, authentication.to_json_with(&custom)).for_audiences_of(&payload);
        Ok(Session {
            session_id: SessionId::generate(),
            user_id: user,
            created_at: now,
            last_used_at: now,
            ends_at,
            revoked: false,
            current: self.new_pair(of_pair, keys, now, ends_at),
            previous: None,
            payload,
        })
    }

    /// Fails if an audience is not the authority's.
    pub(super) fn check_audiences(&self, audiences: &[String]) -> Result<(), SignInError> {
        let own = &self.inner.trust.issuer().audiences;
        if audiences.iter().all(|audience| own.contains(audience)) { Ok(()) } else { Err(SignInError::Target) }
    }

    /// Uses up the proof of a sign-in, when all else has been checked.
    ///
    /// The commit decides whether the sign-in was overtaken. With a proof, the fence is read once
    /// more before that: else each revocation during the check of a password would use a proof up.
    pub(super) async fn use_up_proof(&self, proof: &Proof, user: &Subject, epoch: u64) -> Result<(), SignInError> {
        let trust = &self.inner.trust;
        let fence = trust.with_deadline(self.store().user_fence(user.clone())).await;
        let fence = fence.map_err(SignInError::Unavailable)?;
        if fence.epoch != epoch || fence.disabled {
            return Err(SignInError::Fenced);
        }
        if trust.use_up(proof).await.map_err(SignInError::Unavailable)? {
            Ok(())
        } else {
            Err(SignInError::Proof(ProofFault::Replayed))
        }
    }

    /// Records a session and its tokens. Uses up the proof first.
    async fn record_session(
        &self,
        session: Session,
        records: Vec<TokenRecord>,
        epoch: u64,
        proof: Option<&Proof>,
    ) -> Result<(), SignInError> {
        let trust = &self.inner.trust;
        if let Some(proof) = proof {
            self.use_up_proof(proof, &session.user_id, epoch).await?;
        }
        match trust.with_deadline(self.store().open_session(session, records, epoch)).await {
            Ok(Admission::Admitted) => {
                self.purge_when_due();
                Ok(())
            }
            Ok(Admission::Fenced) => Err(SignInError::Fenced),
            Err(error) => Err(SignInError::Unavailable(error)),
        }
    }

    /// Ends the sessions beyond the limit, except this new one.
    ///
    /// The work is detached, and the caller waits only briefly: the sign-in is done, and the next
    /// one ends what is left.
    pub(super) async fn end_surplus_sessions(&self, new: &IssuedPair) {
        let Some(most) = self.inner.settings.max_sessions else { return };
        let (authority, user, opened, now) = (self.clone(), new.user_id.clone(), new.session_id, self.now());
        let end = async move {
            let surplus = authority.store().surplus_sessions(user.clone(), opened, most.get() - 1, now).await?;
            for session in surplus {
                authority.revoke_session(session).await?;
                tracing::debug!(session_id = %session, user_id = %user, "a session ended that was one too many");
            }
            Ok::<_, StoreError>(())
        };
        let mut end = Box::pin(end.in_current_span());
        // A store in this process answers at once, mostly that there are none. Then nothing is detached.
        let ended = match poll_fn(|cx| Poll::Ready(end.as_mut().poll(cx))).await {
            Poll::Ready(ended) => ended,
            Poll::Pending => within(SURPLUS_TIMEOUT, async { tokio::spawn(end).await.unwrap_or(Ok(())) }).await,
        };
        if let Err(error) = ended {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                user_id = %new.user_id,
                "the sessions of a user that are too many could not be ended yet"
            );
        }
    }

    /// Issues a single-use token in the session of these claims, with their scope and custom
    /// claims.
    ///
    /// The token does not outlive the session.
    ///
    /// # Errors
    ///
    /// [`SignInError::Fenced`] if the session is revoked or over.
    ///
    /// ```
    /// # use auth_layer::{Authority, Claims, IssuedToken, Rejection};
    /// # use axum::extract::State;
    /// // The client gets a token that opens one request, within a minute.
    /// async fn issue(
    ///     State(authority): State<Authority>,
    ///     claims: Claims,
    /// ) -> Result<IssuedToken, Rejection> {
    ///     Ok(authority.issue_single_use(&claims).await?)
    /// }
    /// ```
    ///
    /// [`SingleUse`](crate::SingleUse) has the other side.
    pub async fn issue_single_use(&self, claims: &Claims) -> Result<IssuedToken, SignInError> {
        let issue = async { Ok(self.issue_single_use_inner(claims).await) };
        self.inner.trust.with_deadline(issue).await.map_err(SignInError::Unavailable)?
    }

    async fn issue_single_use_inner(&self, claims: &Claims) -> Result<IssuedToken, SignInError> {
        // Tokens of another issuer have no session here.
        let Some(session_id) = claims.session_id() else { return Err(SignInError::Fenced) };
        let now = self.now();
        let issued_at = whole_seconds(now);
        let record = TokenRecord {
            token_id: TokenId::generate(),
            user_id: claims.sub.clone(),
            session_id,
            kind: TokenKind::SingleUse,
            issued_at,
            expires_at: self
                .single_use_expiry(claims, session_id, later(issued_at, self.inner.settings.single_use_ttl), now)
                .await?,
            jwt_token: None,
        };
        let keys = self.keys();
        let content = Content {
            audiences: &claims.aud,
            other_claims: &Authentication::from(&**claims).to_json_with(&claims.custom_json()),
            ..self.content(&record, claims.client_id.as_deref().unwrap_or_default(), &claims.scope)
        };
        let token = sign_input(keys.signing(), signing_input(&content, keys.signing()))?;
        let issued = IssuedToken {
            token_type: TokenType::of(claims.cnf.as_ref()),
            expires_in: seconds_between(now, record.expires_at),
            scope: claims.scope.clone(),
            session_id,
            user_id: claims.sub.clone(),
            token,
        };
        let record = self.checked_record(record, &issued.token, &keys).map_err(SignInError::Unacceptable)?;
        match self.store().record_token(record).await {
            Ok(Admission::Admitted) => {
                self.purge_when_due();
                Ok(issued)
            }
            Ok(Admission::Fenced) => Err(SignInError::Fenced),
            Err(error) => Err(SignInError::Unavailable(error)),
        }
    }

    /// Returns when a single-use token expires: at `end`, or when its session ends.
    ///
    /// An access token never outlives its session. So the session is read only if `end` is later
    /// than the access token's expiry.
    async fn single_use_expiry(
        &self,
        claims: &Claims,
        session: SessionId,
        end: Timestamp,
        now: Timestamp,
    ) -> Result<Timestamp, SignInError> {
        if end <= claims.exp {
            return Ok(whole_seconds(end));
        }
        match self.store().session(session, now).await.map_err(SignInError::Unavailable)? {
            Some(session) if !session.revoked && session.ends_at > now => {
                session.check_payloads().map_err(SignInError::Unavailable)?;
                Ok(whole_seconds(end.min(session.ends_at)))
            }
            _ => Err(SignInError::Fenced),
        }
    }

    /// Creates a new pair, not signed yet. Neither token outlives the session.
    pub(super) fn new_pair(&self, payload: Payload, keys: &Keyring, now: Timestamp, ends_at: Timestamp) -> Pair {
        let issued_at = whole_seconds(now);
        let end = |ttl: Duration| whole_seconds(later(issued_at, ttl).min(ends_at));
        Pair {
            access_id: TokenId::generate(),
            refresh_id: TokenId::generate(),
            issued_at,
            access_expires_at: end(self.inner.settings.access_ttl),
            refresh_expires_at: end(self.inner.settings.refresh_ttl),
            payload: payload.signed_with(keys.signing().kid()),
        }
    }

    /// Signs a new pair.
    ///
    /// If the algorithm signs differently each time, the pair also gets its sealed signatures. They
    /// allow the same two tokens to be returned again.
    pub(super) fn sign_new(
        &self,
        session: &Session,
        mut pair: Pair,
        keys: &Keyring,
    ) -> Result<(Pair, SignedPair), KeyError> {
        let key = keys.signing();
        let inputs = (self.access_input(session, &pair, key), self.refresh_input(session, &pair, key));
        let access = key.sign(inputs.0.as_bytes())?;
        let refresh = key.sign(inputs.1.as_bytes())?;
        if !key.algorithm().is_deterministic() {
            // The same key made both signatures, so they have one length.
            pair.set_sealed_signatures(&key.seal(&seal_context(&pair), &[&access[..], &refresh[..]].concat())?);
        }
        let (access, refresh) = (assemble(inputs.0, &access), assemble(inputs.1, &refresh));
        if let Some(signed) = &self.inner.signed {
            signed.insert(key.verifying(), &refresh);
        }
        Ok((pair, (access, refresh)))
    }

    /// Signs the session's current pair again, to the same bytes as before.
    ///
    /// Returns `None` if its key is gone, or did not seal the signatures.
    pub(super) fn sign_again(&self, session: &Session, keys: &Keyring) -> Option<SignedPair> {
        let pair = &session.current;
        let key = keys.signing_key(pair.kid())?;
        let inputs = (self.access_input(session, pair, key), self.refresh_input(session, pair, key));
        let (access, refresh) = match pair.sealed_signatures() {
            Some(sealed) => {
                let mut access = key.unseal(&seal_context(pair), &sealed)?;
                let refresh = access.split_off(access.len() / 2);
                (access, refresh)
            }
            None => (key.sign(inputs.0.as_bytes()).ok()?, key.sign(inputs.1.as_bytes()).ok()?),
        };
        Some((assemble(inputs.0, &access), assemble(inputs.1, &refresh)))
    }

    /// Returns the records of a pair's tokens. Fails if a check would refuse either token.
    pub(super) fn pair_records(
        &self,
        session: &Session,
        pair: &Pair,
        signed: &SignedPair,
        keys: &Keyring,
    ) -> Result<Vec<TokenRecord>, TokenFault> {
        Ok(vec![
            self.checked_record(access_record(session, pair), &signed.0, keys)?,
            self.checked_record(refresh_record(session, pair), &signed.1, keys)?,
        ])
    }

    /// Returns the record of a new token. Fails if a check would refuse the token.
    fn checked_record(&self, record: TokenRecord, token: &str, keys: &Keyring) -> Result<TokenRecord, TokenFault> {
        self.check_issued(&record, token, keys)?;
        Ok(TokenRecord { jwt_token: self.inner.settings.record_tokens.then(|| token.to_owned()), ..record })
    }

    /// Fails if a check would refuse this new token for its content or its size.
    ///
    /// Called before anything is written: a token that no node accepts is not issued.
    fn check_issued(&self, record: &TokenRecord, token: &str, keys: &Keyring) -> Result<(), TokenFault> {
        let trust = &self.inner.trust;
        let expected = trust.expected(record.kind, &trust.issuer().audiences, record.issued_at);
        let issued = Unverified::read(token, keys.verifying(), &expected)?;
        match self.inner.check_custom {
            Some(check) if record.kind != TokenKind::Refresh => check(&issued),
            _ => Ok(()),
        }
    }

    fn access_input(&self, session: &Session, pair: &Pair, key: &SigningKey) -> String {
        let (scope, audiences, record) = (pair.access_scope(), pair.audiences(), access_record(session, pair));
        let content = self.content(&record, session.client_id(), &scope);
        let audiences = audiences.as_deref().unwrap_or(content.audiences);
        signing_input(&Content { other_claims: pair.custom(), audiences, ..content }, key)
    }

    fn refresh_input(&self, session: &Session, pair: &Pair, key: &SigningKey) -> String {
        let (scope, record) = (pair.scope(), refresh_record(session, pair));
        signing_input(&self.content(&record, session.client_id(), &scope), key)
    }

    /// Returns the audience of tokens for which none was chosen.
    pub(super) fn default_audience(&self) -> &[String] {
        self.inner.trust.issuer().audiences.get(..1).unwrap_or_default()
    }

    fn content<'a>(&'a self, record: &'a TokenRecord, client_id: &'a str, scope: &'a Scope) -> Content<'a> {
        let issuer = self.inner.trust.issuer();
        Content {
            kind: record.kind,
            issuer: &issuer.name,
            audiences: self.default_audience(),
            subject: &record.user_id,
            session: record.session_id,
            client_id,
            id: record.token_id,
            issued_at: record.issued_at,
            expires_at: record.expires_at,
            scope,
            other_claims: "{}",
        }
    }
}

/// Returns the session's current pair as the client gets it.
pub(super) fn issued_pair(session: &Session, (access_token, refresh_token): SignedPair, now: Timestamp) -> IssuedPair {
    IssuedPair {
        access_token,
        refresh_token,
        token_type: TokenType::of(session.current.confirmation().as_ref()),
        expires_in: seconds_between(now, session.current.access_expires_at),
        refresh_expires_in: seconds_between(now, session.current.refresh_expires_at),
        scope: session.current.access_scope(),
        session_id: session.session_id,
        user_id: session.user_id.clone(),
    }
}

/// Fails if a token is longer than `max_bytes`.
pub(super) fn check_length(tokens: &[&String], max_bytes: Option<usize>) -> Result<(), TokenFault> {
    let fits = |token: &&String| max_bytes.is_none_or(|max_bytes| token.len() <= max_bytes);
    if tokens.iter().all(fits) { Ok(()) } else { Err(TokenFault::Oversized) }
}

fn access_record(session: &Session, pair: &Pair) -> TokenRecord {
    TokenRecord {
        token_id: pair.access_id,
        user_id: session.user_id.clone(),
        session_id: session.session_id,
        kind: TokenKind::Access,
        issued_at: pair.issued_at,
        expires_at: pair.access_expires_at,
        jwt_token: None,
    }
}

fn refresh_record(session: &Session, pair: &Pair) -> TokenRecord {
    TokenRecord {
        token_id: pair.refresh_id,
        kind: TokenKind::Refresh,
        expires_at: pair.refresh_expires_at,
        ..access_record(session, pair)
    }
}

/// Binds sealed signatures to their pair.
fn seal_context(pair: &Pair) -> Vec<u8> {
    [*pair.access_id.as_bytes(), *pair.refresh_id.as_bytes()].concat()
}

fn sign_input(key: &SigningKey, input: String) -> Result<String, KeyError> {
    let signature = key.sign(input.as_bytes())?;
    Ok(assemble(input, &signature))
}

/// Returns the whole seconds between `now`, rounded down, and `end`.
fn seconds_between(now: Timestamp, end: Timestamp) -> Duration {
    (end - whole_seconds(now)).to_std().unwrap_or_default()
}
