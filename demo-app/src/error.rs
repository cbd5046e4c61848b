//! The error responses: always `error` and `error_description`, never a cause.

use std::{collections::BTreeMap, time::Duration};

use auth_layer::{
    AuthError, RefreshError, SignInError,
    extract::ClaimsRejection,
    rejection::{Realm, Rejection},
    store::StoreError,
};
use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{
    HeaderValue, StatusCode,
    header::{CACHE_CONTROL, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde_json::json;

use crate::{password::HashError, users::UsersError};

/// The realm of every challenge.
pub(crate) const REALM: &str = "demo-app";

/// An error response.
#[derive(Debug)]
pub(crate) enum ApiError {
    /// The layer's own rejection, for the token or its state.
    Auth(Rejection),
    /// The body is not valid for its content type.
    MalformedBody(&'static str),
    /// The body did not arrive in time.
    BodyTimeout,
    /// The body exceeds the limit.
    TooLarge,
    /// The content type is not JSON.
    UnsupportedMediaType,
    /// The fields that break a rule, each with the rule.
    InvalidFields(BTreeMap<String, String>),
    /// Unknown user or wrong password: one answer for both.
    InvalidCredentials,
    /// The refresh token is invalid (RFC 6749 §5.2).
    InvalidGrant,
    /// The scope is unknown or not allowed to the user (RFC 6749 §5.2).
    InvalidScope,
    /// The username is taken.
    UsernameTaken,
    /// Too many wrong passwords or registrations.
    RateLimited(Duration),
    /// No route has this path, or the resource does not exist.
    NotFound,
    /// The route does not take this method.
    MethodNotAllowed,
    /// A defect of this program.
    Internal,
}

impl ApiError {
    pub(crate) fn unavailable() -> Self {
        Self::Auth(Rejection::unavailable())
    }

    /// Returns 503 for a store that cannot be reached. The cause goes to the log.
    pub(crate) fn from_store(error: &StoreError) -> Self {
        tracing::warn!(error = error as &dyn std::error::Error, "the token store failed; answered 503");
        Self::unavailable()
    }

    /// Returns status, `error` and `error_description`.
    fn code_and_description(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Auth(rejection) => (rejection.status(), "", ""),
            Self::MalformedBody(why) => (StatusCode::BAD_REQUEST, "invalid_request", why),
            Self::BodyTimeout => (StatusCode::REQUEST_TIMEOUT, "invalid_request", "The body did not arrive in time"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "invalid_request", "The body exceeds 64 KiB"),
            Self::UnsupportedMediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "invalid_request", "The body must be application/json")
            }
            Self::InvalidFields(_) => {
                (StatusCode::UNPROCESSABLE_ENTITY, "invalid_request", "Some fields are invalid; see `fields`")
            }
            Self::InvalidCredentials => {
                (StatusCode::UNAUTHORIZED, "invalid_credentials", "The username or the password is wrong")
            }
            Self::InvalidGrant => (
                StatusCode::UNAUTHORIZED,
                "invalid_grant",
                "The refresh token is invalid, expired or revoked; sign in again",
            ),
            Self::InvalidScope => {
                (StatusCode::BAD_REQUEST, "invalid_scope", "The scope is unknown or not allowed for this user")
            }
            Self::UsernameTaken => (StatusCode::CONFLICT, "username_taken", "The username is taken"),
            Self::RateLimited(_) => (
                StatusCode::TOO_MANY_REQUESTS,
                "rate_limited",
                "Too many attempts; retry after the time in Retry-After",
            ),
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found", "The path or resource does not exist"),
            Self::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "invalid_request", "The resource does not support this method")
            }
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "server_error", "Internal error"),
        }
    }
}

/// Returns the realm as the library's type.
pub(crate) fn realm() -> Realm {
    Realm::new(REALM).unwrap_or_default()
}

/// Rounds up, so that a client that waits exactly this long is not refused again.
fn whole_seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, error, description) = self.code_and_description();
        let mut body = json!({ "error": error, "error_description": description });
        let mut retry_after = None;
        match self {
            Self::Auth(rejection) => return rejection.with_realm(realm()).into_response(),
            Self::InvalidFields(fields) => body["fields"] = json!(fields),
            Self::RateLimited(wait) => retry_after = Some(whole_seconds(wait)),
            _ => {}
        }
        let mut response = (status, [(CACHE_CONTROL, "no-store")], Json(body)).into_response();
        let headers = response.headers_mut();
        if status == StatusCode::UNAUTHORIZED
            && let Ok(challenge) = HeaderValue::try_from(format!(r#"Bearer realm="{REALM}""#))
        {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        if let Some(seconds) = retry_after {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::from_store(&error)
    }
}

impl From<AuthError> for ApiError {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Unavailable(cause) => Self::from_store(&cause),
            other => Self::Auth(other.into()),
        }
    }
}

impl From<ClaimsRejection> for ApiError {
    fn from(rejection: ClaimsRejection) -> Self {
        match rejection {
            ClaimsRejection::Refused(refused) => Self::Auth(refused.rejection().clone()),
            // The library has logged the missing layer.
            _ => Self::Internal,
        }
    }
}

impl From<SignInError> for ApiError {
    fn from(error: SignInError) -> Self {
        match error {
            SignInError::Fenced => Self::Auth(Rejection::invalid_token()),
            SignInError::Disabled => Self::InvalidCredentials,
            SignInError::Unavailable(cause) => Self::from_store(&cause),
            other => {
                tracing::error!(error = &other as &dyn std::error::Error, "issuing a token failed; answered 500");
                Self::Internal
            }
        }
    }
}

impl From<RefreshError> for ApiError {
    fn from(error: RefreshError) -> Self {
        match error {
            RefreshError::InvalidGrant(fault) => {
                tracing::debug!(%fault, "refresh token refused");
                Self::InvalidGrant
            }
            RefreshError::Unavailable(cause) => Self::from_store(&cause),
            other => {
                tracing::error!(error = &other as &dyn std::error::Error, "issuing a token pair failed; answered 500");
                Self::Internal
            }
        }
    }
}

impl From<UsersError> for ApiError {
    fn from(error: UsersError) -> Self {
        tracing::warn!(error = &error as &dyn std::error::Error, "the user store failed; answered 503");
        Self::unavailable()
    }
}

impl From<HashError> for ApiError {
    fn from(error: HashError) -> Self {
        match error {
            HashError::Busy => tracing::warn!("too many passwords wait to be hashed; answered 503"),
            HashError::Failed => tracing::error!("hashing a password failed; answered 503"),
        }
        Self::unavailable()
    }
}
