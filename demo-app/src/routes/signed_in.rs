//! Extracts the caller.

use std::{net::IpAddr, sync::Arc};

use auth_layer::{Claims, Rejection, SessionId, UserId};
use axum::{
    extract::{FromRequestParts, Request},
    middleware::Next,
    response::Response,
};
use http::request::Parts;

use crate::{
    audit::{Audit, Event},
    clients::FIRST_PARTY,
    error::ApiError,
    state::{AppState, Identity},
};

/// A user of this application and the session of the access token.
#[derive(Clone, Debug)]
pub(crate) struct SignedIn {
    pub(crate) user_id: UserId,
    pub(crate) session_id: SessionId,
    pub(crate) identity: Arc<Identity>,
    pub(crate) claims: Claims,
}

impl TryFrom<Claims> for SignedIn {
    type Error = ApiError;

    /// Rejects claims that this application did not issue to a user of its own.
    fn try_from(claims: Claims) -> Result<Self, ApiError> {
        // A client that got the token in its own name is its subject (RFC 9068 §2.2).
        if claims.client_id.as_deref() == Some(&*claims.sub.to_text()) {
            return Err(ApiError::NotAUser);
        }
        let foreign = || ApiError::Auth(Rejection::invalid_token());
        Ok(Self {
            user_id: claims.sub.id().ok_or_else(foreign)?,
            session_id: claims.session_id().ok_or_else(foreign)?,
            identity: claims.custom().map_err(|_| foreign())?,
            claims,
        })
    }
}

impl SignedIn {
    /// Begins the audit event of what the user does.
    pub(super) fn audit(&self, event: Event, address: IpAddr) -> Audit {
        let audit = Audit::begin(event).address(address).user(self.user_id).session(self.session_id);
        let audit = audit.claimed(&self.identity.username);
        match &self.claims.client_id {
            Some(client) => audit.client(client),
            None => audit,
        }
    }
}

/// Refuses tokens of other clients: they must not change passwords or end sessions.
///
/// It goes inside the layer that checks the token.
pub(crate) async fn require_first_party(request: Request, next: Next) -> Result<Response, ApiError> {
    match Claims::from_extensions(request.extensions()) {
        Ok(Some(claims)) if claims.client_id.as_deref() == Some(FIRST_PARTY) => Ok(next.run(request).await),
        Ok(_) => Err(ApiError::ForeignClient),
        // The library has logged the missing layer.
        Err(_) => Err(ApiError::Internal),
    }
}

impl FromRequestParts<AppState> for SignedIn {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        Claims::from_request_parts(parts, state).await.map_err(ApiError::from)?.try_into()
    }
}
