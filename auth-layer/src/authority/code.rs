//! Authorization codes (RFC 6749 §4.1, RFC 7636).

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Authority, CodeError, CodeFault, Grant, IssuedPair, SignIn, error::SignInError, sign_in::NewSession};
use crate::{
    claims::{Authentication, Scope},
    clock::later,
    dpop::Proof,
    id::{SessionId, Subject},
    oauth::{CodeBinding, Secret},
    store::{HashedKey, OneTimeRecord, Payload, Redeemed, StoreError, unreadable_payload},
};

/// How long a code can be exchanged (RFC 6749 §4.1.2).
const CODE_TTL: Duration = Duration::from_mins(1);

/// The one member of a code's payload.
const MEMBER: &str = "code";

/// What a code stands for.
#[derive(Serialize, Deserialize)]
struct CodeRecord {
    user: Subject,
    /// The user's fence when the sign-in began.
    epoch: u64,
    binding: CodeBinding,
    scope: Scope,
    user_agent: Option<String>,
    audiences: Vec<String>,
    authentication: Authentication,
    /// The text of a JSON object.
    custom: String,
}

/// An authorization code as a client presents it (RFC 6749 §4.1.3, RFC 7636 §4.5).
///
/// The client has authenticated, if it has a secret.
///
/// ```
/// # use auth_layer::{Authority, IssuedPair, authority::CodeError, dpop::Proof};
/// # async fn example(
/// #     authority: &Authority,
/// #     code: &str,
/// #     verifier: &str,
/// #     proof: &Proof,
/// # ) -> Result<IssuedPair, CodeError> {
/// use auth_layer::authority::CodePresentation;
///
/// let presentation = CodePresentation::new(code, "spa", verifier)
///     .redirect_uri("https://app.example/callback")
///     .proof(proof);
/// authority.exchange_code(presentation).await
/// # }
/// ```
#[derive(Clone, Copy)]
#[must_use]
pub struct CodePresentation<'a> {
    code: &'a str,
    client_id: &'a str,
    verifier: &'a str,
    redirect_uri: Option<&'a str>,
    audiences: &'a [String],
    proof: Option<&'a Proof>,
}

impl<'a> CodePresentation<'a> {
    /// Creates the presentation of this code by this client, with the code verifier.
    pub fn new(code: &'a str, client_id: &'a str, verifier: &'a str) -> Self {
        Self { code, client_id, verifier, redirect_uri: None, audiences: &[], proof: None }
    }

    /// Sets the redirect URI. Required if the authorization request had one.
    pub fn redirect_uri(self, uri: impl Into<Option<&'a str>>) -> Self {
        Self { redirect_uri: uri.into(), ..self }
    }

    /// Asks for some of the code's audiences (RFC 8707 §2.2). Default: all of them.
    pub fn audiences(self, audiences: &'a [String]) -> Self {
        Self { audiences, ..self }
    }

    /// Binds the tokens to the key of this proof (RFC 9449 §5). Default: to none.
    pub fn proof(self, proof: &'a Proof) -> Self {
        Self { proof: Some(proof), ..self }
    }
}

impl fmt::Debug for CodePresentation<'_> {
    /// Omits code and verifier.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CodePresentation").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

impl Authority {
    /// Issues an authorization code for a user whose credentials were checked.
    ///
    /// It can be [exchanged](Self::exchange_code) once, within 60 seconds. What ends the user's
    /// sessions also ends the code. The store gets a hash of it.
    ///
    /// # Errors
    ///
    /// [`SignInError::Disabled`], [`SignInError::Target`], [`SignInError::Key`] without randomness,
    /// [`SignInError::Unavailable`].
    ///
    /// ```
    /// # use auth_layer::{Authority, Grant, SignIn, SignInError};
    /// use auth_layer::oauth::{AuthorizationRequest, AuthorizationResponse};
    ///
    /// // At the authorization endpoint, once the password is found right.
    /// async fn signed_in(
    ///     authority: &Authority,
    ///     sign_in: SignIn,
    ///     request: &AuthorizationRequest,
    /// ) -> Result<AuthorizationResponse, SignInError> {
    ///     let grant = Grant::new(request.client_id()).scope(request.scope().clone());
    ///     let code = authority.issue_code(sign_in, grant, request.binding()).await?;
    ///     Ok(request.grant(&code))
    /// }
    /// ```
    pub async fn issue_code(&self, sign_in: SignIn, grant: Grant, binding: CodeBinding) -> Result<Secret, SignInError> {
        if sign_in.is_disabled() {
            return Err(SignInError::Disabled);
        }
        self.check_audiences(&grant.audiences)?;
        let now = self.now();
        let Grant { client_id: _, scope, user_agent, audiences, mut authentication, custom, .. } = grant;
        authentication.auth_time.get_or_insert(now.timestamp());
        let record = CodeRecord {
            user: sign_in.user,
            epoch: sign_in.fence.epoch,
            binding,
            scope,
            user_agent,
            audiences,
            authentication,
            custom,
        };
        let code = Secret::generate()?;
        let put = self.store().put_one_time(key_of(code.expose()), record.to_payload(), later(now, CODE_TTL));
        self.inner.trust.with_deadline(put).await.map_err(SignInError::Unavailable)?;
        Ok(code)
    }

    /// Exchanges an authorization code for the first pair of a session.
    ///
    /// The first exchange gets the tokens. A second one gets none, and revokes the session of the
    /// first (RFC 6749 §4.1.2). A presentation that does not go with the code's client, redirect
    /// URI, verifier or key uses nothing up and revokes nothing.
    ///
    /// # Errors
    ///
    /// [`CodeError::InvalidGrant`] if the code is not good, [`CodeError::Unavailable`] if that
    /// cannot be learnt.
    ///
    /// [`CodePresentation`] has an example.
    pub async fn exchange_code(&self, presentation: CodePresentation<'_>) -> Result<IssuedPair, CodeError> {
        let exchange = Box::pin(async { Ok(self.exchange_code_inner(presentation).await) });
        self.inner.trust.with_deadline(exchange).await.map_err(CodeError::Unavailable)?
    }

    async fn exchange_code_inner(&self, presentation: CodePresentation<'_>) -> Result<IssuedPair, CodeError> {
        let CodePresentation { code, client_id, verifier, redirect_uri, audiences, proof } = presentation;
        let key = key_of(code);
        let found = self.store().one_time(key, self.now()).await.map_err(CodeError::Unavailable)?;
        let Some(found) = found else { return Err(CodeError::InvalidGrant(CodeFault::Unknown)) };
        let record = CodeRecord::read(&found).map_err(CodeError::Unavailable)?;
        let is_right = record.binding.check(client_id, redirect_uri, verifier).is_ok()
            && record.binding.check_key(proof.map(Proof::thumbprint)).is_ok();
        if !is_right {
            return Err(CodeError::InvalidGrant(CodeFault::Binding));
        }
        if let Some(first) = found.redeemed_by {
            return Err(self.revoke_for_second_use(first, None).await);
        }
        let (user, epoch) = (record.user.clone(), record.epoch);
        let grant = self.grant_of(record, client_id, audiences, proof)?;
        let NewSession { session, records, issued, proof } =
            self.prepare_session(user.clone(), grant).map_err(code_error)?;
        if let Some(proof) = proof {
            self.use_up_proof(&proof, &user, epoch).await.map_err(code_error)?;
        }
        match self.store().open_and_redeem(session, records, epoch, key, self.now()).await {
            Ok(Some(Redeemed::First(_))) => {
                self.purge_when_due();
                self.end_surplus_sessions(&issued).await;
                Ok(issued)
            }
            Ok(None) => Err(CodeError::InvalidGrant(CodeFault::Fenced)),
            //= RFC 6749 §4.1.2
            Ok(Some(Redeemed::Again(first))) => Err(self.revoke_for_second_use(first, Some(issued.session_id)).await),
            Ok(Some(Redeemed::Unknown)) => {
                self.revoke_unused(issued.session_id);
                Err(CodeError::InvalidGrant(CodeFault::Unknown))
            }
            Err(error) => {
                self.revoke_unused(issued.session_id);
                Err(CodeError::Unavailable(error))
            }
        }
    }

    /// Returns what the session of a code is opened with.
    fn grant_of(
        &self,
        record: CodeRecord,
        client_id: &str,
        audiences: &[String],
        proof: Option<&Proof>,
    ) -> Result<Grant, CodeError> {
        let CodeRecord { user: _, epoch: _, binding: _, scope, user_agent, audiences: granted, authentication, custom } =
            record;
        let of_code = if granted.is_empty() { self.default_audience() } else { &granted };
        //= RFC 8707 §2.2
        if !audiences.iter().all(|audience| of_code.contains(audience)) {
            return Err(CodeError::Target);
        }
        let audiences = if audiences.is_empty() { granted } else { audiences.to_vec() };
        let client_id = client_id.to_owned();
        let grant = Grant {
            client_id,
            scope,
            user_agent,
            audiences,
            authentication,
            custom,
            proof: None,
            max_token_bytes: None,
        };
        Ok(match proof {
            Some(proof) => grant.bound_to(proof),
            None => grant,
        })
    }

    /// Revokes the session of a code's first use, and that of this one.
    async fn revoke_for_second_use(&self, first: SessionId, own: Option<SessionId>) -> CodeError {
        for session in [Some(first), own].into_iter().flatten() {
            if let Err(error) = self.revoke_session(session).await {
                return CodeError::Unavailable(error);
            }
        }
        tracing::warn!(
            target: "auth_layer::security",
            event = "authorization_code_reuse",
            session_id = %first,
            "an authorization code was used twice: the session of its first use has ended"
        );
        CodeError::InvalidGrant(CodeFault::Used { session_id: first })
    }

    /// Revokes a session whose tokens nobody has, in the background.
    fn revoke_unused(&self, session: SessionId) {
        let authority = self.clone();
        tokio::spawn(async move {
            if let Err(error) = authority.revoke_session(session).await {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    session_id = %session,
                    "a session that was never handed out has not ended yet"
                );
            }
        });
    }
}

impl CodeRecord {
    fn to_payload(&self) -> Payload {
        let text = serde_json::to_string(self).expect("texts and numbers in a struct always serialise");
        [(MEMBER, text)].into_iter().collect()
    }

    fn read(record: &OneTimeRecord) -> Result<Self, StoreError> {
        record.payload.check_crit(&[MEMBER])?;
        let text = record.payload.get(MEMBER).ok_or_else(unreadable_payload)?;
        serde_json::from_str(text).map_err(|_| unreadable_payload())
    }
}

/// Returns the error of an exchange for that of its sign-in.
fn code_error(error: SignInError) -> CodeError {
    match error {
        SignInError::Fenced => CodeError::InvalidGrant(CodeFault::Fenced),
        SignInError::Unavailable(error) => CodeError::Unavailable(error),
        error => CodeError::SignIn(error),
    }
}

fn key_of(code: &str) -> HashedKey {
    HashedKey::of("authorization code", code)
}
