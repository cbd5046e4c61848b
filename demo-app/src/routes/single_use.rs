//! Handlers for single-use tokens.

use axum::{Json, extract::State, response::Response};
use http::StatusCode;
use serde_json::{Value, json};

use super::{TokenResponse, signed_in::SignedIn};
use crate::{error::ApiError, state::AppState};
use auth_layer::SingleUse;

pub(crate) async fn issue(State(state): State<AppState>, caller: SignedIn) -> Result<Response, ApiError> {
    let issued = state.authority.issue_single_use(&caller.claims).await?;
    let response = TokenResponse {
        access_token: issued.token,
        token_type: "Bearer",
        expires_in: issued.expires_in.as_secs(),
        refresh_token: None,
        scope: issued.scope.to_string(),
    };
    Ok(response.with_status(StatusCode::CREATED))
}

/// Spends the token. It comes last, so a failed request leaves the token unspent.
pub(crate) async fn spend(token: SingleUse) -> Result<Json<Value>, ApiError> {
    let caller = SignedIn::try_from(token.spend().await?)?;
    Ok(Json(json!({ "user_id": caller.user_id, "username": caller.identity.username })))
}
