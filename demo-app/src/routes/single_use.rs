//! Handlers for single-use tokens.

use auth_layer::{IssuedToken, SingleUse};
use axum::{Json, extract::State};
use http::StatusCode;
use serde_json::{Value, json};

use super::signed_in::SignedIn;
use crate::{error::ApiError, state::AppState};

pub(crate) async fn issue(
    State(state): State<AppState>,
    caller: SignedIn,
) -> Result<(StatusCode, IssuedToken), ApiError> {
    Ok((StatusCode::CREATED, state.authority.issue_single_use(&caller.claims).await?))
}

/// Spends the token. It comes last, so a failed request leaves the token unspent.
pub(crate) async fn spend(token: SingleUse) -> Result<Json<Value>, ApiError> {
    let caller = SignedIn::try_from(token.spend().await?)?;
    Ok(Json(json!({ "user_id": caller.user_id, "username": caller.identity.username })))
}
