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
use serde::Serialize;

use super::{client, error::OAuthError};
use crate::{body::WholeRequest, routes::NO_STORE, state::AppState};

/// The answer for a token that the client may not see.
//= RFC 7662 §2.2
#[derive(Serialize)]
struct Hidden {
    active: bool,
}

/// Tells a confidential client whether a token is active, and what it says.
pub(crate) async fn introspect(
    State(state): State<AppState>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    WholeRequest { head, body }: WholeRequest,
) -> Result<Response, OAuthError> {
    let request = IntrospectionRequest::parse(&head.headers, &body)?;
    // A public client cannot send a secret, so its request fails either here or below.
    //= RFC 7662 §2.1
    let ClientAuthentication::Basic { .. } = &request.authentication else {
        return Err(TokenErrorKind::InvalidClient.into());
    };
    let client = client::authenticate(&state, address.ip(), &request.authentication).await?;
    let introspection = state.authority.introspect(request.token.expose()).await?;
    Ok(if may_see(&client, &introspection) {
        introspection.into_response()
    } else {
        (NO_STORE, Json(Hidden { active: false })).into_response()
    })
}

/// Any client may see any access token. A refresh token is between us and its own client.
fn may_see(client: &Client, introspection: &Introspection) -> bool {
    let is_own = introspection.claims().is_none_or(|claims| claims.client_id.as_deref() == Some(client.id()));
    is_own || introspection.kind() != Some(TokenKind::Refresh)
}
