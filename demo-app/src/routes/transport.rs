//! How a sign-in returns its tokens: `transport` in the query.

use axum::extract::{FromRequestParts, Query};
use http::{Uri, request::Parts};
use serde::Deserialize;

use crate::error::ApiError;

/// How a sign-in returns its tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// In the body.
    Body,
    /// In cookies.
    Cookie,
}

impl Transport {
    /// Reads the query. Any other value than `cookie` is refused.
    pub(crate) fn of(uri: &Uri) -> Result<Self, ApiError> {
        #[derive(Deserialize)]
        struct LoginQuery {
            transport: Option<String>,
        }
        let refused = || ApiError::InvalidRequest("The query's `transport` must be `cookie`, or be left out");
        let Query(LoginQuery { transport }) = Query::try_from_uri(uri).map_err(|_| refused())?;
        match transport.as_deref() {
            None => Ok(Self::Body),
            Some("cookie") => Ok(Self::Cookie),
            Some(_) => Err(refused()),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Transport {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Self::of(&parts.uri)
    }
}
