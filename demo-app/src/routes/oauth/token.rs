//! The token endpoint (RFC 6749 §3.2).

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use auth_layer::{
    Grant, IssuedPair, IssuedToken, Scope, SessionId, SignInError, Subject,
    authority::{CodeFault, CodePresentation, RefreshRequest},
    dpop::{Proof, ProofFault},
    oauth::{Client, ClientKind, GrantRequest, Secret, TokenErrorKind, TokenRequest},
};
use axum::{
    extract::{ConnectInfo, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, request::Parts};

use super::{client, error::OAuthError};
use crate::{
    audit::{Audit, Event, Method, NewSession},
    body::WholeRequest,
    clients::{DEFAULT_SCOPE, FIRST_PARTY},
    error::ApiError,
    password::Password,
    routes::{credentials, proof, renewal},
    state::AppState,
    users::User,
};

/// How often a client's token is issued again after a revocation of all the client has.
const MAX_CLIENT_ATTEMPTS: usize = 3;

/// A token request whose client has authenticated.
struct AuthenticatedRequest<'a> {
    state: &'a AppState,
    client: Arc<Client>,
    /// The requested audiences; empty without a `resource`.
    audiences: Vec<String>,
    proof: Option<Proof>,
    headers: &'a HeaderMap,
    address: IpAddr,
}

/// What a client gets.
pub(crate) enum Issued {
    Pair(IssuedPair),
    Token(IssuedToken),
}

impl NewSession for Issued {
    fn owner(&self) -> (&Subject, SessionId) {
        match self {
            Self::Pair(pair) => pair.owner(),
            Self::Token(token) => token.owner(),
        }
    }
}

impl IntoResponse for Issued {
    fn into_response(self) -> Response {
        match self {
            Self::Pair(pair) => pair.into_response(),
            Self::Token(token) => token.into_response(),
        }
    }
}

/// Issues tokens for what a client presents.
pub(crate) async fn token(
    State(state): State<AppState>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    WholeRequest { head, body }: WholeRequest,
) -> Result<Issued, OAuthError> {
    let request = TokenRequest::parse(&head.headers, &body)?;
    let audit = sign_in_audit(&request, address.ip());
    let issued = issue(&state, address.ip(), &head, request).await;
    let Some(audit) = audit else { return issued };
    match issued.as_ref().err().and_then(OAuthError::code_fault) {
        Some(fault @ CodeFault::Used { session_id }) => {
            audit.event(Event::CodeReuse).session(session_id).refused(fault);
        }
        Some(fault) => audit.refused(fault),
        None => return audit.conclude_sign_in(issued),
    }
    issued
}

/// Begins the audit event of a request that opens a session. A refresh has events of its own.
fn sign_in_audit(TokenRequest { authentication, grant, .. }: &TokenRequest, address: IpAddr) -> Option<Audit> {
    let method = match grant {
        GrantRequest::AuthorizationCode { .. } => Method::Code,
        GrantRequest::ClientCredentials { .. } => Method::ClientCredentials,
        GrantRequest::Password { .. } => Method::Password,
        _ => return None,
    };
    let audit = Audit::begin(Event::SignIn).method(method).address(address);
    let audit = audit.client(authentication.client_id().unwrap_or(FIRST_PARTY));
    Some(match grant {
        GrantRequest::Password { username, .. } => audit.claimed(username),
        _ => audit,
    })
}

async fn issue(
    state: &AppState,
    address: IpAddr,
    head: &Parts,
    TokenRequest { authentication, grant, resources, .. }: TokenRequest,
) -> Result<Issued, OAuthError> {
    let client = client::authenticate(state, address, &authentication).await?;
    client.check_grant(&grant)?;
    let request = AuthenticatedRequest {
        //= RFC 8707 §2
        audiences: state.oauth.server.audiences_for(&resources)?,
        proof: proof::read(state, head)?,
        state,
        client,
        headers: &head.headers,
        address,
    };
    match grant {
        GrantRequest::AuthorizationCode { code, redirect_uri, code_verifier } => {
            request.exchange_code(&code, redirect_uri.as_deref(), &code_verifier).await.map(Issued::Pair)
        }
        GrantRequest::RefreshToken { refresh_token, scope } => {
            request.refresh(&refresh_token, scope.as_ref()).await.map(Issued::Pair)
        }
        GrantRequest::ClientCredentials { scope } => request.client_token(scope.as_ref()).await.map(Issued::Token),
        GrantRequest::Password { username, password, scope } if state.oauth.password_grant => {
            request.sign_in(&username, &password, scope.as_ref()).await.map(Issued::Pair)
        }
        //= RFC 9700 §2.4
        _ => Err(TokenErrorKind::UnsupportedGrantType.into()),
    }
}

impl AuthenticatedRequest<'_> {
    async fn exchange_code(
        &self,
        code: &Secret,
        redirect_uri: Option<&str>,
        verifier: &Secret,
    ) -> Result<IssuedPair, OAuthError> {
        let presentation = CodePresentation::new(code.expose(), self.client.id(), verifier.expose())
            .redirect_uri(redirect_uri)
            .audiences(&self.audiences);
        let presentation = self.proof.iter().fold(presentation, CodePresentation::proof);
        Ok(self.state.authority.exchange_code(presentation).await?)
    }

    async fn refresh(&self, refresh_token: &Secret, scope: Option<&Scope>) -> Result<IssuedPair, OAuthError> {
        let is_confidential = self.client.kind() == ClientKind::Confidential;
        let request = RefreshRequest::new(refresh_token.expose()).audiences(&self.audiences);
        let request = scope.into_iter().fold(request, RefreshRequest::scope);
        let request = self.proof.iter().fold(request, RefreshRequest::proof);
        //= RFC 9449 §5
        let request = request.may_change_key(is_confidential);
        let refreshed = renewal::refresh(self.state, &self.client, refresh_token.expose(), request, self.address);
        Ok(refreshed.await?)
    }

    /// Issues a token to the client in its own name (RFC 6749 §4.4). Its subject is the client.
    async fn client_token(&self, scope: Option<&Scope>) -> Result<IssuedToken, OAuthError> {
        let scope = self.client.scope_for(scope).map_err(|_| TokenErrorKind::InvalidScope)?;
        // A scope has at least one token (RFC 6749 §3.3).
        if scope.is_empty() {
            return Err(TokenErrorKind::InvalidScope.into());
        }
        let subject: Subject = self.client.id().parse().map_err(|_| TokenErrorKind::InvalidClient)?;
        let grant = self.for_audiences(Grant::new(self.client.id()).scope(scope));
        let grant = self.proof.iter().fold(grant, Grant::bound_to);
        for attempt in 0..MAX_CLIENT_ATTEMPTS {
            let sign_in = self.state.authority.begin_sign_in(subject.clone()).await?;
            match self.state.authority.issue_client_token(sign_in, grant.clone()).await {
                Err(SignInError::Fenced) => {}
                // The attempt before used the proof up, and the client must make another.
                Err(SignInError::Proof(ProofFault::Replayed)) if attempt > 0 => break,
                Err(SignInError::Disabled) => return Err(TokenErrorKind::InvalidClient.into()),
                issued => return Ok(issued?),
            }
        }
        Err(ApiError::unavailable().into())
    }

    /// Signs a user in by name and password (RFC 6749 §4.3), under the limits of `/auth/login`.
    async fn sign_in(
        &self,
        username: &str,
        password: &Secret,
        scope: Option<&Scope>,
    ) -> Result<IssuedPair, OAuthError> {
        let grant = |user: &User| {
            let scope = self.scope_of(user, scope)?;
            Ok(self.for_audiences(credentials::grant(user, self.client.id(), scope, self.headers)?))
        };
        let password = Password::from(password.expose().to_owned());
        let credentials = (username, &password);
        Ok(credentials::sign_in(self.state, credentials, self.address, self.proof.as_ref(), grant).await?)
    }

    /// Returns what a user grants the client by signing in with a password.
    fn scope_of(&self, user: &User, requested: Option<&Scope>) -> Result<Scope, ApiError> {
        let scope = self.client.scope_for(requested).map_err(|_| ApiError::InvalidScope)?;
        let scope = match requested {
            Some(_) if !user.role.may_have(&scope) => return Err(ApiError::InvalidScope),
            Some(_) => scope,
            // As at `/auth/login`.
            None if self.client.id() == FIRST_PARTY => DEFAULT_SCOPE.parse().unwrap_or_default(),
            None => scope.intersection(&user.role.scope()),
        };
        if scope.is_empty() { Err(ApiError::InvalidScope) } else { Ok(scope) }
    }

    fn for_audiences(&self, grant: Grant) -> Grant {
        self.audiences.iter().fold(grant, Grant::audience)
    }
}
