//! Handlers for single-use tokens.

use auth_layer::{IssuedToken, SingleUse, UserId};
use axum::{Json, extract::State};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::signed_in::SignedIn;
use crate::{error::ApiError, state::AppState};

pub(crate) async fn issue(
    State(state): State<AppState>,
    caller: SignedIn,
) -> Result<(StatusCode, IssuedToken), ApiError> {
    Ok((StatusCode::CREATED, state.authority.issue_single_use(&caller.claims).await?))
}

#[derive(Serialize, ToSchema)]
pub(crate) struct SpendResponse {
    #[schema(value_type = String, format = Uuid)]
    user_id: UserId,
    username: String,
}

/// Spends the token. It comes last, so a failed request leaves the token unspent.
pub(crate) async fn spend(token: SingleUse) -> Result<Json<SpendResponse>, ApiError> {
    let caller = SignedIn::try_from(token.spend().await?)?;
    Ok(Json(SpendResponse { user_id: caller.user_id, username: caller.identity.username.clone() }))
}
