//! What is answered when a request is not let in (RFC 6750 §3, RFC 9110 §11.6.1; for gRPC its HTTP/2 protocol's
//! "Trailers-Only").

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::{authority::AuthError, claims::Scope};

/// After how long a client should try again whose token's state could not be learnt.
const RETRY: Duration = Duration::from_secs(1);

/// A refusal, ready to be answered over HTTP or gRPC. It says which of five cases it is and nothing of the cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    case: Case,
    realm: Realm,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Case {
    MissingCredentials,
    InvalidRequest,
    InvalidToken,
    InsufficientScope(Scope),
    Unavailable,
}

/// The `realm` of a challenge (RFC 9110 §11.5): text that needs no escape in a quoted string.
#[derive(Clone, PartialEq, Eq)]
pub struct Realm(Arc<str>);

/// The text is no [`Realm`]: it has characters other than printable ASCII without `"` and `\`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a realm is printable ASCII without quotes and backslashes")]
pub struct InvalidRealm;

impl Realm {
    /// The realm of this name.
    pub fn new(name: &str) -> Result<Self, InvalidRealm> {
        let plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
        if name.bytes().all(plain) { Ok(Self(name.into())) } else { Err(InvalidRealm) }
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Realm {
    /// The realm `api`.
    fn default() -> Self {
        Self("api".into())
    }
}

impl fmt::Debug for Realm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl Rejection {
    /// The refusal of a request that has no credentials where some are needed.
    pub fn missing_credentials() -> Self {
        Case::MissingCredentials.into()
    }

    /// The refusal of a token that is not good.
    pub fn invalid_token() -> Self {
        Case::InvalidToken.into()
    }

    /// The refusal of a good token whose scope does not cover `required`.
    pub fn insufficient_scope(required: Scope) -> Self {
        Case::InsufficientScope(required).into()
    }

    /// The answer where the state of a token cannot be learnt, or a revocation could not be promised.
    pub fn unavailable() -> Self {
        Case::Unavailable.into()
    }

    /// The same in this realm; without it the realm is `api`.
    #[must_use]
    pub fn with_realm(self, realm: Realm) -> Self {
        Self { realm, ..self }
    }

    /// Its HTTP status.
    pub fn status(&self) -> StatusCode {
        match self.case {
            Case::MissingCredentials | Case::InvalidToken => StatusCode::UNAUTHORIZED,
            Case::InvalidRequest => StatusCode::BAD_REQUEST,
            Case::InsufficientScope(_) => StatusCode::FORBIDDEN,
            Case::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Its gRPC status code.
    pub fn grpc_code(&self) -> u8 {
        match self.case {
            Case::MissingCredentials | Case::InvalidRequest | Case::InvalidToken => 16,
            Case::InsufficientScope(_) => 7,
            Case::Unavailable => 14,
        }
    }

    /// The `error` and `error_description` of its JSON body.
    fn words(&self) -> (&'static str, &'static str) {
        match self.case {
            Case::MissingCredentials => ("unauthorized", "A bearer token is needed"),
            Case::InvalidRequest => ("invalid_request", "The credentials of the request cannot be read"),
            Case::InvalidToken => ("invalid_token", "The token is expired, revoked or otherwise not valid"),
            Case::InsufficientScope(_) => ("insufficient_scope", "The token's scope does not cover this request"),
            Case::Unavailable => ("temporarily_unavailable", "The request cannot be decided at the moment"),
        }
    }

    /// The value of `WWW-Authenticate`, where it has one.
    fn challenge(&self) -> Option<HeaderValue> {
        let realm = self.realm.as_str();
        let error = self.words().0;
        let challenge = match &self.case {
            Case::MissingCredentials => format!(r#"Bearer realm="{realm}""#),
            Case::InvalidRequest | Case::InvalidToken => format!(r#"Bearer realm="{realm}", error="{error}""#),
            Case::InsufficientScope(scope) => format!(r#"Bearer realm="{realm}", error="{error}", scope="{scope}""#),
            Case::Unavailable => return None,
        };
        // Realm and scope are printable ASCII by their types.
        HeaderValue::try_from(challenge).ok()
    }

    /// The answer to this request: of gRPC where the request is gRPC's, of HTTP otherwise.
    pub fn into_response_to<B: From<Bytes>, R>(self, request: &Request<R>) -> Response<B> {
        if is_grpc(request) { self.into_grpc() } else { self.into_http() }
    }

    /// The answer over HTTP.
    pub fn into_http<B: From<Bytes>>(self) -> Response<B> {
        let (error, description) = self.words();
        let body = format!(r#"{{"error":"{error}","error_description":"{description}"}}"#);
        let mut response = Response::new(B::from(Bytes::from(body)));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(challenge) = self.challenge() {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        if self.case == Case::Unavailable {
            headers.insert(RETRY_AFTER, HeaderValue::from(RETRY.as_secs()));
        }
        response
    }

    /// The answer over gRPC: HTTP 200 whose headers are the trailers, with an empty body.
    pub fn into_grpc<B: From<Bytes>>(self) -> Response<B> {
        let mut response = Response::new(B::from(Bytes::new()));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-status", HeaderValue::from(u16::from(self.grpc_code())));
        if let Ok(message) = HeaderValue::try_from(grpc_message(self.words().1)) {
            headers.insert("grpc-message", message);
        }
        response
    }
}

/// True for a request of gRPC: a POST over HTTP/2 whose content type is `application/grpc`, alone
/// or with `+` or parameters behind it ("Requests" of gRPC over HTTP/2). Any other client reads the
/// HTTP status, and must not find 200 there.
fn is_grpc<R>(request: &Request<R>) -> bool {
    let name = b"application/grpc";
    request.method() == Method::POST
        && request.version() == Version::HTTP_2
        && request.headers().get(CONTENT_TYPE).is_some_and(|value| {
            let value = value.as_bytes();
            value.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
                && matches!(value.get(name.len()), None | Some(b'+' | b';' | b' '))
        })
}

/// `Percent-Encoded` of gRPC over HTTP/2: all but printable ASCII, and `%`.
fn grpc_message(text: &str) -> String {
    const ENCODED: &AsciiSet = &CONTROLS.add(b'%');

    utf8_percent_encode(text, ENCODED).to_string()
}

impl From<Case> for Rejection {
    fn from(case: Case) -> Self {
        Self { case, realm: Realm::default() }
    }
}

impl From<&AuthError> for Rejection {
    fn from(error: &AuthError) -> Self {
        match error {
            AuthError::MissingCredentials => Case::MissingCredentials.into(),
            AuthError::InvalidRequest(_) => Case::InvalidRequest.into(),
            AuthError::InvalidToken(_) => Case::InvalidToken.into(),
            AuthError::Unavailable(_) => Case::Unavailable.into(),
        }
    }
}

impl From<AuthError> for Rejection {
    fn from(error: AuthError) -> Self {
        Self::from(&error)
    }
}

#[cfg(feature = "axum")]
impl axum_core::response::IntoResponse for Rejection {
    fn into_response(self) -> axum_core::response::Response {
        self.into_http()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_message_is_percent_encoded() {
        assert_eq!(grpc_message("a b ~\"\\"), "a b ~\"\\");
        assert_eq!(grpc_message("100 %\n\u{7f}é"), "100 %25%0A%7F%C3%A9");
    }
}
