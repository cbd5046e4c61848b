use super::{super::pkce::CodeChallengeError, AuthorizationResponse};

/// Why an authorization request is refused.
///
/// ```
/// use auth_layer::oauth::AuthorizationError;
/// use bytes::Bytes;
/// use http::{Response, StatusCode};
///
/// fn refused(error: AuthorizationError) -> Response<Bytes> {
///     match error {
///         AuthorizationError::Redirect(response) => response.into_http(),
///         AuthorizationError::Page(error) => {
///             let mut page = Response::new(Bytes::from(format!("<p>{error}</p>")));
///             *page.status_mut() = StatusCode::BAD_REQUEST;
///             page
///         }
///     }
/// }
/// ```
#[derive(Clone, Debug, thiserror::Error)]
pub enum AuthorizationError {
    /// There is no safe redirect: show an error page, with status 400.
    #[error(transparent)]
    Page(#[from] PageError),
    /// Redirect to the client with an error.
    #[error("the client gets an error")]
    Redirect(Box<AuthorizationResponse>),
}

/// Why a request gets an error page and no redirect (RFC 6749 §4.1.2.1).
///
/// The text of the error is for the page. It has nothing of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PageError {
    /// The query is not UTF-8.
    #[error("the query cannot be read")]
    Encoding,
    /// `client_id` is missing.
    #[error("client_id is missing")]
    ClientMissing,
    /// `client_id` comes more than once.
    #[error("client_id comes more than once")]
    ClientRepeated,
    /// No client has this `client_id`.
    #[error("the client is unknown")]
    ClientUnknown,
    /// `redirect_uri` is missing, and the client has none or several.
    #[error("redirect_uri is missing")]
    RedirectUriMissing,
    /// `redirect_uri` comes more than once.
    #[error("redirect_uri comes more than once")]
    RedirectUriRepeated,
    /// The client has not registered this `redirect_uri`.
    #[error("the client has not registered this redirect_uri")]
    RedirectUriUnknown,
}

/// The errors that a client gets by redirect (RFC 6749 §4.1.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AuthorizationErrorKind {
    /// A parameter is missing, repeated or malformed: `invalid_request`.
    InvalidRequest,
    /// The client may not ask for a code: `unauthorized_client`.
    UnauthorizedClient,
    /// The user or the server said no: `access_denied`.
    AccessDenied,
    /// The response type is not `code`: `unsupported_response_type`.
    UnsupportedResponseType,
    /// The scope is malformed, unknown or too much: `invalid_scope`.
    InvalidScope,
    /// The resource is unknown (RFC 8707 §2): `invalid_target`.
    InvalidTarget,
    /// The server is at fault: `server_error`.
    ServerError,
    /// The server cannot decide now: `temporarily_unavailable`.
    TemporarilyUnavailable,
}

impl AuthorizationErrorKind {
    /// Returns the `error` of the response.
    pub fn error(self) -> &'static str {
        self.code_and_description().0
    }

    pub(super) fn code_and_description(self) -> (&'static str, &'static str) {
        match self {
            Self::InvalidRequest => ("invalid_request", "The request lacks a parameter or cannot be read"),
            Self::UnauthorizedClient => ("unauthorized_client", "The client may not ask for a code"),
            Self::AccessDenied => ("access_denied", "The request was denied"),
            Self::UnsupportedResponseType => ("unsupported_response_type", "The response type is not supported"),
            Self::InvalidScope => ("invalid_scope", "The scope is unknown or more than the client may have"),
            Self::InvalidTarget => ("invalid_target", "The resource is unknown"),
            Self::ServerError => ("server_error", "Something went wrong here"),
            Self::TemporarilyUnavailable => ("temporarily_unavailable", "The request cannot be decided at the moment"),
        }
    }
}

impl CodeChallengeError {
    pub(super) fn description(self) -> &'static str {
        match self {
            Self::Missing => "code_challenge is missing",
            Self::Method => "code_challenge_method must be S256",
            Self::Malformed => "code_challenge is not 43 characters of base64url",
        }
    }
}
