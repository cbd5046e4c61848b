//! Extracts the caller.

use std::sync::Arc;

use auth_layer::{Claims, Rejection, SessionId, UserId};
use axum::extract::FromRequestParts;
use http::request::Parts;

use crate::{
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
        let foreign = || ApiError::Auth(Rejection::invalid_token());
        Ok(Self {
            user_id: claims.sub.id().ok_or_else(foreign)?,
            session_id: claims.session_id().ok_or_else(foreign)?,
            identity: claims.custom().map_err(|_| foreign())?,
            claims,
        })
    }
}

impl FromRequestParts<AppState> for SignedIn {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        Claims::from_request_parts(parts, state).await.map_err(ApiError::from)?.try_into()
    }
}
