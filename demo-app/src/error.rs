//! The error responses: always `error` and `error_description`, never a cause.

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use auth_layer::{
    AuthError, CredentialsError, RefreshError, SignInError, TokenFault,
    dpop::ProofFault,
    extract::ClaimsRejection,
    oauth::{TokenError, TokenErrorKind},
    rejection::{Realm, Rejection, RejectionKind},
    store::StoreError,
};
use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde_json::json;

use crate::{clients::ClientsError, open_streams, password::HashError, users::UsersError};

/// The realm of every challenge.
pub(crate) const REALM: &str = "demo-app";

/// The code for tokens that are good and do not suffice (RFC 6750 §3.1).
const INSUFFICIENT_SCOPE: &str = "insufficient_scope";

/// An error response.
#[derive(Debug)]
pub(crate) enum ApiError {
    /// The layer's own rejection, for the token or its state.
    Auth(Rejection),
    /// The body is not valid for its content type.
    MalformedBody(&'static str),
    /// A header or the query is wrong, or does not go with the rest.
    InvalidRequest(&'static str),
    /// The body did not arrive in time.
    BodyTimeout,
    /// The body exceeds the limit.
    TooLarge,
    /// The content type is not JSON.
    UnsupportedMediaType,
    /// The request is not gRPC's, and its path is.
    NotGrpc,
    /// The fields that break a rule, each with the rule.
    InvalidFields(BTreeMap<String, String>),
    /// Unknown user or wrong password: one answer for both.
    InvalidCredentials,
    /// The refresh token is invalid (RFC 6749 §5.2).
    InvalidGrant,
    /// The scope is unknown or not allowed to the user (RFC 6749 §5.2).
    InvalidScope,
    /// An error in the form of RFC 6749 §5.2.
    OAuth(TokenError),
    /// A request with cookies does not come from our page, or cannot show that it does.
    Csrf,
    /// The token was issued to another client than the one that the route is for.
    ForeignClient,
    /// The token is a client's own, and the route is for users.
    NotAUser,
    /// The tokens to issue would be too large.
    OversizedTokens,
    /// The username is taken.
    UsernameTaken,
    /// Too many wrong passwords or registrations.
    RateLimited(Duration),
    /// The user has as many streams open as one may.
    TooManyStreams,
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

    fn oversized_tokens() -> Self {
        tracing::error!("no tokens are issued, because they would be too large; shorten `--issuer` and `--audience`");
        Self::OversizedTokens
    }

    /// Returns the text for a page.
    pub(crate) fn text(&self) -> Cow<'static, str> {
        match self {
            Self::RateLimited(wait) => format!("Too many attempts; try again in {} s", whole_seconds(*wait)).into(),
            other => other.description(),
        }
    }

    /// Returns the `error_description` of the response.
    pub(crate) fn description(&self) -> Cow<'static, str> {
        match self {
            Self::Auth(rejection) => rejection.description().into(),
            Self::OAuth(error) => error.description(),
            other => other.code_and_description().2.into(),
        }
    }

    /// Returns the status and its headers for a page, such as the time to wait.
    pub(crate) fn into_status_and_headers(self) -> (StatusCode, HeaderMap) {
        let (mut parts, _) = self.into_response().into_parts();
        for of_body in [CONTENT_TYPE, CONTENT_LENGTH] {
            parts.headers.remove(of_body);
        }
        (parts.status, parts.headers)
    }

    /// Returns the status and the `error` of the response.
    pub(crate) fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Auth(rejection) => (rejection.status(), rejection.error()),
            Self::OAuth(error) => (error.status(), error.error()),
            other => {
                let (status, code, _) = other.code_and_description();
                (status, code)
            }
        }
    }

    /// Returns status, `error` and `error_description`.
    fn code_and_description(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Auth(rejection) => (rejection.status(), "", ""),
            Self::OAuth(error) => (error.status(), "", ""),
            Self::MalformedBody(why) | Self::InvalidRequest(why) => (StatusCode::BAD_REQUEST, "invalid_request", why),
            Self::BodyTimeout => (StatusCode::REQUEST_TIMEOUT, "invalid_request", "The body did not arrive in time"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "invalid_request", "The body exceeds 64 KiB"),
            Self::UnsupportedMediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "invalid_request", "The body must be application/json")
            }
            Self::NotGrpc => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "invalid_request",
                "The path is a gRPC method; send POST over HTTP/2 with application/grpc",
            ),
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
            Self::Csrf => (
                StatusCode::FORBIDDEN,
                "csrf",
                "A request with our cookies must come from our own page, with the session's csrf_token in X-CSRF-Token",
            ),
            Self::ForeignClient => {
                (StatusCode::FORBIDDEN, INSUFFICIENT_SCOPE, "This route takes no tokens of other clients than demo-app")
            }
            Self::NotAUser => {
                (StatusCode::FORBIDDEN, INSUFFICIENT_SCOPE, "The token is a client's own; this route is for users")
            }
            Self::UsernameTaken => (StatusCode::CONFLICT, "username_taken", "The username is taken"),
            Self::RateLimited(_) => (
                StatusCode::TOO_MANY_REQUESTS,
                "rate_limited",
                "Too many attempts; retry after the time in Retry-After",
            ),
            Self::TooManyStreams => (
                StatusCode::TOO_MANY_REQUESTS,
                "rate_limited",
                "Too many streams are open; end one, or retry after the time in Retry-After",
            ),
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found", "The path or resource does not exist"),
            Self::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "invalid_request", "The resource does not support this method")
            }
            Self::OversizedTokens | Self::Internal => {
                (StatusCode::INTERNAL_SERVER_ERROR, "server_error", "Internal error")
            }
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
            Self::OAuth(error) => return error.with_realm(realm()).into_response(),
            Self::InvalidFields(fields) => body["fields"] = json!(fields),
            Self::RateLimited(wait) => retry_after = Some(whole_seconds(wait)),
            Self::TooManyStreams => retry_after = Some(whole_seconds(open_streams::RETRY_AFTER)),
            _ => {}
        }
        let mut response = (status, [(CACHE_CONTROL, "no-store")], Json(body)).into_response();
        let headers = response.headers_mut();
        let challenge = match (status, error) {
            (StatusCode::UNAUTHORIZED, _) => Some(format!(r#"Bearer realm="{REALM}""#)),
            //= RFC 6750 §3
            (_, INSUFFICIENT_SCOPE) => Some(format!(r#"Bearer realm="{REALM}", error="{error}""#)),
            _ => None,
        };
        headers.extend(challenge.and_then(|text| Some((WWW_AUTHENTICATE, HeaderValue::try_from(text).ok()?))));
        if let Some(seconds) = retry_after {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}

impl AsRef<Self> for ApiError {
    fn as_ref(&self) -> &Self {
        self
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

impl From<CredentialsError> for ApiError {
    fn from(_: CredentialsError) -> Self {
        Self::Auth(Rejection::new(RejectionKind::InvalidRequest))
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

impl From<TokenErrorKind> for ApiError {
    fn from(kind: TokenErrorKind) -> Self {
        Self::OAuth(kind.into())
    }
}

impl From<ProofFault> for ApiError {
    /// The error of a token request (RFC 9449 §5, §8).
    fn from(fault: ProofFault) -> Self {
        tracing::debug!(%fault, "a proof of possession was refused");
        match fault {
            ProofFault::Nonce => TokenErrorKind::UseDpopNonce,
            _ => TokenErrorKind::InvalidDpopProof,
        }
        .into()
    }
}

impl From<ClientsError> for ApiError {
    fn from(error: ClientsError) -> Self {
        tracing::warn!(error = &error as &dyn std::error::Error, "the store of clients failed; answered 503");
        Self::unavailable()
    }
}

impl From<SignInError> for ApiError {
    fn from(error: SignInError) -> Self {
        match error {
            SignInError::Fenced => Self::Auth(Rejection::invalid_token()),
            SignInError::Disabled => Self::InvalidCredentials,
            SignInError::Proof(fault) => fault.into(),
            SignInError::Unacceptable(TokenFault::Oversized) => Self::oversized_tokens(),
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
            RefreshError::Proof(fault) => fault.into(),
            RefreshError::Unacceptable(TokenFault::Oversized) => Self::oversized_tokens(),
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
