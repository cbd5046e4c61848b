//! The introspection endpoint (RFC 7662).

use std::net::SocketAddr;

use auth_layer::{
    authority::Introspection,
    oauth::{Client, ClientAuthentication, IntrospectionRequest, TokenErrorKind},
    store::TokenKind,
};
use axum::{
    Json,
    extract::{ConnectInfo, State},
    response::{IntoResponse, Response},
};
use http::HeaderMap;
use serde::Serialize;

use super::{client, error::OAuthError};
use crate::{body::RawBody, routes::NO_STORE, state::AppState};

/// What a client may know of a token.
#[derive(Serialize)]
#[serde(untagged)]
enum Answer {
    Visible(Introspection),
    //= RFC 7662 §2.2
    Hidden { active: bool },
}

/// Tells a confidential client whether a token is active, and what it says.
pub(crate) async fn introspect(
    State(state): State<AppState>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    RawBody(body): RawBody,
) -> Result<Response, OAuthError> {
    let request = IntrospectionRequest::parse(&headers, &body)?;
    // A public client cannot send a secret, so its request fails either here or below.
    //= RFC 7662 §2.1
    let ClientAuthentication::Basic { .. } = &request.authentication else {
        return Err(TokenErrorKind::InvalidClient.into());
    };
    let client = client::authenticate(&state, address.ip(), &request.authentication).await?;
    let introspection = state.authority.introspect(request.token.expose()).await?;
    Ok((NO_STORE, Json(Answer::of(introspection, &client))).into_response())
}

impl Answer {
    /// Any client may see any access token. A refresh token is between us and its own client.
    fn of(introspection: Introspection, client: &Client) -> Self {
        let is_foreign = introspection.claims().is_some_and(|claims| claims.client_id.as_deref() != Some(client.id()));
        if is_foreign && introspection.kind() == Some(TokenKind::Refresh) {
            return Self::Hidden { active: false };
        }
        Self::Visible(introspection)
    }
}
