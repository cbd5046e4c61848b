//! Single-use tokens.

use axum::{Json, extract::State, response::Response};
use http::StatusCode;
use serde_json::{Value, json};

use super::TokenResponse;
use crate::{
    error::ApiError,
    state::{AppClaims, AppState},
};

pub(crate) async fn issue(State(state): State<AppState>, claims: AppClaims) -> Result<Response, ApiError> {
    let issued = state.authority.issue_single_use(&claims).await?;
    let response = TokenResponse {
        access_token: issued.token,
        token_type: "Bearer",
        expires_in: issued.expires_in.as_secs(),
        refresh_token: None,
        scope: issued.scope.to_string(),
    };
    Ok(response.with_status(StatusCode::CREATED))
}

/// The layer in front has used the token up.
pub(crate) async fn spend(claims: AppClaims) -> Json<Value> {
    Json(json!({ "user_id": claims.sub, "username": claims.custom.username }))
}
