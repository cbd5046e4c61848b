//! The public documents: metadata of server and resource, and the keys.

use auth_layer::keys::VerifyingKey;
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, Uri, header};
use serde_json::{Value, json};

use crate::{error::ApiError, oauth::JsonDocument, state::AppState};

/// Returns the metadata of the authorization server (RFC 8414).
pub(crate) async fn server(State(state): State<AppState>, uri: Uri) -> Result<Response, ApiError> {
    respond(&state, &state.oauth.server_metadata, &uri, "/.well-known/oauth-authorization-server")
}

/// Returns the metadata of the protected resource (RFC 9728).
pub(crate) async fn resource(State(state): State<AppState>, uri: Uri) -> Result<Response, ApiError> {
    respond(&state, &state.oauth.resource_document, &uri, "/.well-known/oauth-protected-resource")
}

/// Answers at the path of the document's RFC, and at the root where a proxy strips the issuer's
/// path.
fn respond(state: &AppState, document: &JsonDocument, uri: &Uri, root: &str) -> Result<Response, ApiError> {
    //= RFC 8414 §3.1
    if uri.path() != document.path && uri.path() != root {
        return Err(ApiError::NotFound);
    }
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, state.oauth.cache_control.clone()),
    ];
    Ok((headers, document.json.clone()).into_response())
}

/// Returns the public keys (RFC 7517 §5).
pub(crate) async fn jwks(State(state): State<AppState>) -> impl IntoResponse {
    let keys = state.authority.keys();
    let keys: Vec<Value> = keys.verifying_keys().filter_map(VerifyingKey::to_jwk).collect();
    ([(header::CACHE_CONTROL, state.oauth.cache_control.clone())], Json(json!({ "keys": keys })))
}
