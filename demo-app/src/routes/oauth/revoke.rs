//! The revocation endpoint (RFC 7009).

use std::net::{IpAddr, SocketAddr};

use auth_layer::{
    authority::RevokeOutcome,
    oauth::{RevocationRequest, TokenError, TokenErrorKind},
    store::StoreError,
};
use axum::{
    extract::{ConnectInfo, State},
    response::IntoResponse,
};
use http::StatusCode;

use super::{client, error::OAuthError};
use crate::{
    audit::{Audit, Event},
    body::WholeRequest,
    routes::{NO_STORE, proof},
    state::AppState,
};

/// Revokes a token of the client that asks.
///
/// A token that is bound to a key needs no proof here: revoking it gives its finder nothing. A
/// proof that is sent must be good.
pub(crate) async fn revoke(
    State(state): State<AppState>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    WholeRequest { head, body }: WholeRequest,
) -> Result<impl IntoResponse, OAuthError> {
    let request = RevocationRequest::parse(&head.headers, &body)?;
    //= RFC 7009 §2.1
    let client = client::authenticate(&state, address.ip(), &request.authentication).await?;
    proof::check_if_sent(&state, &head)?;
    let token = request.token.expose();
    let revoked = state.authority.revoke_as(token, client.id()).await;
    audit_revocation(&state, address.ip(), client.id(), token, revoked.as_ref());
    match revoked? {
        //= RFC 7009 §2.1
        RevokeOutcome::OtherClient => {
            let error = TokenError::from(TokenErrorKind::InvalidGrant);
            Err(error.with_description("The token was issued to another client").into())
        }
        //= RFC 7009 §2.2
        _ => Ok((StatusCode::OK, NO_STORE)),
    }
}

/// Writes the audit event of a revocation. A text that is no token of ours revokes nothing.
fn audit_revocation(
    state: &AppState,
    address: IpAddr,
    client_id: &str,
    token: &str,
    revoked: Result<&RevokeOutcome, &StoreError>,
) {
    if matches!(revoked, Ok(RevokeOutcome::Unknown)) {
        return;
    }
    let audit = Audit::begin(Event::Revocation).address(address).client(client_id);
    let audit = match state.authority.owner_of(token) {
        Some(owner) => audit.user(owner.user_id).session(owner.session_id),
        None => audit,
    };
    match revoked {
        Ok(RevokeOutcome::OtherClient) => audit.refused("the token was issued to another client"),
        Ok(_) => audit.granted(),
        Err(_) => audit.failed("temporarily_unavailable"),
    }
}
