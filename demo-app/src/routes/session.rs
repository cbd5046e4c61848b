//! Handlers for sessions: log in, refresh, log out, list, end.

use std::net::SocketAddr;

use auth_layer::{Grant, Scope, SessionId, SignInError, store::Session};
use axum::{
    Json,
    extract::{ConnectInfo, Path, State, rejection::PathRejection},
};
use chrono::{DateTime, SecondsFormat, Utc};
use garde::Validate;
use http::{HeaderMap, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::{TokenResponse, credentials, signed_in::SignedIn};
use crate::{
    body::JsonBody,
    error::ApiError,
    password::Password,
    state::{AppState, Identity},
};

/// The built-in first-party client.
const CLIENT_ID: &str = "demo-app";

/// The maximum length of a stored `User-Agent`, in characters.
const MAX_USER_AGENT_LENGTH: usize = 256;

/// How often a sign-in that a revocation overtook is tried.
const MAX_SIGN_IN_ATTEMPTS: usize = 3;

#[derive(Debug, Deserialize, Validate)]
#[garde(allow_unvalidated)]
pub(crate) struct LoginRequest {
    username: String,
    password: Password,
    scope: Option<String>,
}

pub(crate) async fn login(
    State(state): State<AppState>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    JsonBody(LoginRequest { username, password, scope }): JsonBody<LoginRequest>,
) -> Result<TokenResponse, ApiError> {
    let user_agent = headers.get(header::USER_AGENT).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let user_agent = user_agent.map(|text| text.chars().take(MAX_USER_AGENT_LENGTH).collect::<String>());
    for _ in 0..MAX_SIGN_IN_ATTEMPTS {
        let verified = credentials::check(&state, &username, &password, address.ip()).await?;
        let scope: Scope = scope.as_deref().unwrap_or("profile").parse().map_err(|_| ApiError::InvalidScope)?;
        // A scope has at least one token (RFC 6749 §3.3).
        if scope.is_empty() || !verified.user.role.may_have(&scope) {
            return Err(ApiError::InvalidScope);
        }
        let grant = Grant::new(CLIENT_ID).scope(scope).custom(&Identity { username: verified.user.username });
        let mut grant = grant.map_err(SignInError::from)?;
        if let Some(user_agent) = &user_agent {
            grant = grant.user_agent(user_agent);
        }
        match state.authority.sign_in(verified.sign_in, grant).await {
            // A revocation of all came in between, perhaps for a new password: check again.
            Err(SignInError::Fenced) => {}
            signed_in => return Ok(signed_in?.into()),
        }
    }
    Err(ApiError::unavailable())
}

#[derive(Debug, Deserialize, Validate)]
#[garde(allow_unvalidated)]
pub(crate) struct RefreshRequest {
    refresh_token: SecretString,
}

pub(crate) async fn refresh(
    State(state): State<AppState>,
    JsonBody(RefreshRequest { refresh_token }): JsonBody<RefreshRequest>,
) -> Result<TokenResponse, ApiError> {
    Ok(state.authority.refresh(refresh_token.expose_secret()).await?.into())
}

pub(crate) async fn logout(State(state): State<AppState>, caller: SignedIn) -> Result<StatusCode, ApiError> {
    state.authority.revoke_session(caller.session_id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn logout_all(State(state): State<AppState>, caller: SignedIn) -> Result<StatusCode, ApiError> {
    state.authority.revoke_user(&caller.claims.sub, None).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Serialize)]
pub(crate) struct SessionResponse {
    session_id: SessionId,
    created_at: String,
    last_used_at: String,
    expires_at: String,
    user_agent: Option<String>,
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
    caller: SignedIn,
    session_id: Result<Path<SessionId>, PathRejection>,
) -> Result<StatusCode, ApiError> {
    let Path(session_id) = session_id.map_err(|_| ApiError::NotFound)?;
    let session = state.authority.session(session_id).await?;
    if session.is_none_or(|session| session.user_id != caller.user_id) {
        return Err(ApiError::NotFound);
    }
    state.authority.revoke_session(session_id).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn rfc3339(moment: DateTime<Utc>) -> String {
    moment.to_rfc3339_opts(SecondsFormat::Millis, true)
}
