//! The HTTP handlers, by topic.

pub(crate) mod account;
pub(crate) mod credentials;
pub(crate) mod health;
pub(crate) mod session;
pub(crate) mod signed_in;
pub(crate) mod single_use;

use auth_layer::IssuedPair;
use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderName, StatusCode, header};
use serde::Serialize;

/// A token response (RFC 6749 §5.1).
#[derive(Serialize)]
pub(crate) struct TokenResponse {
    access_token: String,
    token_type: &'static str,
    expires_in: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    scope: String,
}

impl From<IssuedPair> for TokenResponse {
    fn from(pair: IssuedPair) -> Self {
        Self {
            access_token: pair.access_token,
            token_type: "Bearer",
            expires_in: pair.expires_in.as_secs(),
            refresh_token: Some(pair.refresh_token),
            scope: pair.scope.to_string(),
        }
    }
}

/// The headers that forbid caching (RFC 6749 §5.1).
const NO_STORE: [(HeaderName, &str); 2] = [(header::CACHE_CONTROL, "no-store"), (header::PRAGMA, "no-cache")];

impl TokenResponse {
    fn with_status(self, status: StatusCode) -> Response {
        (status, NO_STORE, Json(self)).into_response()
    }
}

impl IntoResponse for TokenResponse {
    fn into_response(self) -> Response {
        self.with_status(StatusCode::OK)
    }
}
