//! Handlers for sessions: log in, refresh, log out, list, end.

use std::net::SocketAddr;

use auth_layer::{
    IssuedPair, Scope, SessionId, authority,
    dpop::{PROOF_HEADER, Proof, ProofPolicy},
    store::Session,
};
use axum::{
    Json,
    extract::{ConnectInfo, FromRequest, Path, Request, State, rejection::PathRejection},
    response::{IntoResponse, Response},
};
use garde::Validate;
use http::{HeaderMap, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{NO_STORE, credentials, proof::SentProof, renewal, signed_in::SignedIn, transport::Transport};
use crate::{
    audit::{self, Audit, Event},
    body::{JsonBody, RawBody},
    clients::{DEFAULT_SCOPE, FIRST_PARTY},
    cookies::{self, SessionCookies},
    error::ApiError,
    password::Password,
    state::AppState,
    text::rfc3339,
    users::User,
};

#[derive(Debug, Deserialize, Validate, ToSchema)]
#[garde(allow_unvalidated)]
pub(crate) struct LoginRequest {
    username: String,
    #[schema(value_type = String, format = Password)]
    password: Password,
    scope: Option<String>,
}

pub(crate) async fn login(
    State(state): State<AppState>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    transport: Transport,
    proof: Result<SentProof, ApiError>,
    headers: HeaderMap,
    JsonBody(request): JsonBody<LoginRequest>,
) -> Result<Response, ApiError> {
    let method = match transport {
        Transport::Body => audit::Method::Login,
        Transport::Cookie => audit::Method::Cookie,
    };
    let audit = Audit::begin(Event::SignIn).method(method).address(address.ip());
    let audit = audit.client(FIRST_PARTY).claimed(&request.username);
    let signed_in = async {
        let proof = proof_for(transport, proof, &state, &headers)?;
        sign_in(&state, address, &request, transport, proof.as_ref(), &headers).await
    };
    let pair = audit.conclude_sign_in(signed_in.await)?;
    Ok(match transport {
        Transport::Body => pair.into_response(),
        Transport::Cookie => cookie_response(&state, &pair),
    })
}

/// Returns the proof that binds the tokens. Cookies have none: a browser sends no proof with them.
fn proof_for(
    transport: Transport,
    proof: Result<SentProof, ApiError>,
    state: &AppState,
    headers: &HeaderMap,
) -> Result<Option<Proof>, ApiError> {
    if transport == Transport::Body {
        return Ok(proof?.0);
    }
    if headers.contains_key(PROOF_HEADER) {
        return Err(ApiError::InvalidRequest("Cookies carry no session that is bound to a key; send no DPoP header"));
    }
    if state.oauth.proofs.as_ref().is_some_and(ProofPolicy::is_required) {
        return Err(ApiError::InvalidRequest("DPoP is required here, and cookies carry no proof; use no cookies"));
    }
    Ok(None)
}

async fn sign_in(
    state: &AppState,
    address: SocketAddr,
    LoginRequest { username, password, scope }: &LoginRequest,
    transport: Transport,
    proof: Option<&Proof>,
    headers: &HeaderMap,
) -> Result<IssuedPair, ApiError> {
    let grant = |user: &User| {
        let scope: Scope = scope.as_deref().unwrap_or(DEFAULT_SCOPE).parse().map_err(|_| ApiError::InvalidScope)?;
        // A scope has at least one token (RFC 6749 §3.3).
        if scope.is_empty() || !user.role.may_have(&scope) {
            return Err(ApiError::InvalidScope);
        }
        let grant = credentials::grant(user, FIRST_PARTY, scope, headers)?;
        Ok(match transport {
            Transport::Body => grant,
            Transport::Cookie => grant.max_token_bytes(cookies::MAX_TOKEN_BYTES),
        })
    };
    let signed_in = credentials::sign_in(state, (username.as_str(), password), address.ip(), proof, grant).await;
    signed_in.map_err(|error| error_for(transport, error))
}

/// Returns the error for this transport.
///
/// Tokens that are too large are the service's fault. With cookies, it may be that they are merely
/// too large for those, and the client can do without.
fn error_for(transport: Transport, error: ApiError) -> ApiError {
    match error {
        ApiError::OversizedTokens if transport == Transport::Cookie => {
            ApiError::InvalidRequest("The tokens of this service are too large for cookies; use no cookies")
        }
        other => other,
    }
}

/// The body of a response whose tokens are in cookies.
#[derive(Serialize, ToSchema)]
pub(crate) struct CookieResponse {
    /// The value of `X-CSRF-Token` for requests with the cookies.
    csrf_token: String,
    /// The lifetime of the access token, in seconds.
    expires_in: u64,
}

fn cookie_response(state: &AppState, pair: &IssuedPair) -> Response {
    let csrf_token = state.authority.csrf_token(pair.session_id);
    let body = CookieResponse { csrf_token, expires_in: pair.expires_in.as_secs() };
    (NO_STORE, cookies::set(pair), Json(body)).into_response()
}

#[derive(Debug, Deserialize, Validate, ToSchema)]
#[garde(allow_unvalidated)]
pub(crate) struct RefreshRequest {
    #[schema(value_type = String)]
    refresh_token: SecretString,
}

/// The refresh token of a request.
pub(crate) struct PresentedToken {
    token: SecretString,
    transport: Transport,
}

impl FromRequest<AppState> for PresentedToken {
    type Rejection = ApiError;

    /// Reads the cookie, and then takes no body. Without our cookies, reads the body.
    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        let cookies = SessionCookies::of(request.headers())?;
        if !cookies.is_any() {
            let JsonBody(RefreshRequest { refresh_token }) = JsonBody::from_request(request, state).await?;
            return Ok(Self { token: refresh_token, transport: Transport::Body });
        }
        // Without this cookie, the empty text is refused like any bad token.
        let token = cookies.refresh.unwrap_or_default().to_owned().into();
        let RawBody(body) = RawBody::from_request(request, state).await?;
        if !body.is_empty() {
            return Err(ApiError::InvalidRequest("The request has our cookies, so it must have no body"));
        }
        Ok(Self { token, transport: Transport::Cookie })
    }
}

pub(crate) async fn refresh(
    State(state): State<AppState>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    proof: Result<SentProof, ApiError>,
    headers: HeaderMap,
    PresentedToken { token, transport }: PresentedToken,
) -> Result<Response, ApiError> {
    let proof = proof_for(transport, proof, &state, &headers)?;
    let token = token.expose_secret();
    let client = state.clients.find(FIRST_PARTY).await?.ok_or(ApiError::InvalidGrant)?;
    let request = authority::RefreshRequest::new(token);
    let request = proof.iter().fold(request, authority::RefreshRequest::proof);
    let request = match transport {
        Transport::Body => request,
        Transport::Cookie => request.max_token_bytes(cookies::MAX_TOKEN_BYTES),
    };
    let refreshed = renewal::refresh(&state, &client, token, request, address.ip()).await;
    match (transport, refreshed.map_err(ApiError::from)) {
        (Transport::Body, refreshed) => Ok(refreshed?.into_response()),
        (Transport::Cookie, Ok(pair)) => Ok(cookie_response(&state, &pair)),
        // The session is over, and with it the use of its cookies.
        (Transport::Cookie, Err(error @ ApiError::InvalidGrant)) => Ok((cookies::clear(), error).into_response()),
        (Transport::Cookie, Err(error)) => Err(error_for(transport, error)),
    }
}

/// Ends the session, and removes its cookies if the request carries them.
pub(crate) async fn logout(
    State(state): State<AppState>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    caller: SignedIn,
) -> Result<Response, ApiError> {
    let audit = caller.audit(Event::Logout, address.ip());
    audit.conclude(state.authority.revoke_session(caller.session_id).await.map_err(ApiError::from))?;
    Ok((StatusCode::NO_CONTENT, cookies::clear_if_carried(&headers), ()).into_response())
}

pub(crate) async fn logout_all(
    State(state): State<AppState>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    caller: SignedIn,
) -> Result<Response, ApiError> {
    let audit = caller.audit(Event::LogoutAll, address.ip());
    audit.conclude(state.authority.revoke_user(&caller.claims.sub, None).await.map_err(ApiError::from))?;
    Ok((StatusCode::NO_CONTENT, cookies::clear_if_carried(&headers), ()).into_response())
}

#[derive(Serialize, ToSchema)]
pub(crate) struct SessionResponse {
    #[schema(value_type = String, format = Uuid)]
    session_id: SessionId,
    #[schema(format = DateTime)]
    created_at: String,
    /// When the session signed in or refreshed last.
    #[schema(format = DateTime)]
    last_used_at: String,
    #[schema(format = DateTime)]
    expires_at: String,
    /// The `User-Agent` of the sign-in.
    #[schema(required = true)]
    user_agent: Option<String>,
    /// Whether this is the session of the request.
    current: bool,
}

pub(crate) async fn list(
    State(state): State<AppState>,
    caller: SignedIn,
) -> Result<Json<Vec<SessionResponse>>, ApiError> {
    let listed = |session: Session| SessionResponse {
        session_id: session.session_id,
        created_at: rfc3339(session.created_at),
        last_used_at: rfc3339(session.last_used_at),
        expires_at: rfc3339(session.expires_at()),
        current: session.session_id == caller.session_id,
        user_agent: session.user_agent().map(str::to_owned),
    };
    Ok(Json(state.authority.sessions(&caller.claims.sub).await?.into_iter().map(listed).collect()))
}

/// Ends a session of the user. A dead session is ended again, so that a retry can finish a
/// revocation that was recorded and then failed.
pub(crate) async fn end(
    State(state): State<AppState>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    caller: SignedIn,
    session_id: Result<Path<SessionId>, PathRejection>,
) -> Result<Response, ApiError> {
    let Path(session_id) = session_id.map_err(|_| ApiError::NotFound)?;
    let audit = caller.audit(Event::SessionEnded, address.ip()).about(session_id);
    let ended = async {
        let session = state.authority.session(session_id).await?;
        if session.is_none_or(|session| session.user_id != caller.user_id) {
            return Err(ApiError::NotFound);
        }
        Ok(state.authority.revoke_session(session_id).await?)
    };
    audit.conclude(ended.await)?;
    let is_own = session_id == caller.session_id;
    let cleared = is_own.then(|| cookies::clear_if_carried(&headers)).flatten();
    Ok((StatusCode::NO_CONTENT, cleared, ()).into_response())
}
