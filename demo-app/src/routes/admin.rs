//! Handlers for administrators.

use std::collections::BTreeMap;

use auth_layer::Claims;
use axum::{
    Json,
    extract::{FromRequestParts, Query, State, rejection::QueryRejection},
};
use http::request::Parts;
use serde::Deserialize;

use crate::{
    clients::FIRST_PARTY,
    error::ApiError,
    state::AppState,
    users::{UserSummary, check_username},
};

/// How many users are listed at a time, at most and by default.
const MAX_PAGE: u32 = 100;

/// A user whose token was issued to the first-party client. The layer has checked the scope.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Administrator;

impl FromRequestParts<AppState> for Administrator {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let claims = Claims::from_request_parts(parts, state).await.map_err(ApiError::from)?;
        // A client that acts for itself is the subject of its token, and no user.
        if claims.sub.id().is_none() {
            return Err(ApiError::NotAUser);
        }
        if claims.client_id.as_deref() == Some(FIRST_PARTY) { Ok(Self) } else { Err(ApiError::ForeignClient) }
    }
}

/// Which users to list. Read as text, so that an error can name the field.
#[derive(Debug, Deserialize)]
pub(crate) struct PageQuery {
    limit: Option<String>,
    after: Option<String>,
}

/// Lists users by name, in the order of lower-case ASCII, from after the name `after` on.
///
/// Fewer than `limit` users mean that there are no more.
pub(crate) async fn list_users(
    State(state): State<AppState>,
    _: Administrator,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Json<Vec<UserSummary>>, ApiError> {
    let Query(PageQuery { limit, after }) = query.map_err(|_| ApiError::InvalidRequest("The query cannot be read"))?;
    let limit = match limit.as_deref().map(str::parse) {
        None => Ok(MAX_PAGE),
        Some(Ok(limit @ 1..=MAX_PAGE)) => Ok(limit),
        Some(_) => Err(("limit".to_owned(), "must be a whole number from 1 to 100".to_owned())),
    };
    let after = match after.as_deref().map(check_username) {
        None | Some(Ok(())) => Ok(after),
        Some(Err(rule)) => Err(("after".to_owned(), rule.to_owned())),
    };
    match (limit, after) {
        (Ok(limit), Ok(after)) => {
            let users = state.users.list(after.as_deref(), limit).await?;
            Ok(Json(UserSummary::of_all(&state.authority, users).await?))
        }
        (limit, after) => {
            let fields: BTreeMap<String, String> = limit.err().into_iter().chain(after.err()).collect();
            Err(ApiError::InvalidFields(fields))
        }
    }
}
