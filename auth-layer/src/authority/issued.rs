//! Tokens as they are returned to a client.

use std::{fmt, time::Duration};

use serde::{Serialize, Serializer};

use crate::{
    claims::{Confirmation, Scope},
    id::{SessionId, Subject},
};

/// An access token with its refresh token.
///
/// It serialises as the response of RFC 6749 §5.1. In axum, a handler can return it.
///
/// ```
/// # use auth_layer::IssuedPair;
/// fn body(pair: &IssuedPair) -> serde_json::Result<String> {
///     serde_json::to_string(pair) // {"access_token":"…","token_type":"Bearer","expires_in":900,…}
/// }
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct IssuedPair {
    /// The access token.
    pub access_token: String,
    /// The refresh token.
    pub refresh_token: String,
    /// How the access token is presented.
    pub token_type: TokenType,
    /// How long the access token is valid from now, in whole seconds.
    pub expires_in: Duration,
    /// How long the refresh token is valid from now, in whole seconds. It is not in the response.
    pub refresh_expires_in: Duration,
    /// The scope of the access token.
    pub scope: Scope,
    /// The session of both tokens.
    pub session_id: SessionId,
    /// The user of both tokens.
    pub user_id: Subject,
}

impl fmt::Debug for IssuedPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedPair")
            .field("expires_in", &self.expires_in)
            .field("refresh_expires_in", &self.refresh_expires_in)
            .field("scope", &self.scope)
            .field("session_id", &self.session_id)
            .field("user_id", &self.user_id)
            .finish_non_exhaustive()
    }
}

/// How a client presents an access token: `token_type` (RFC 6749 §7.1).
///
/// ```
/// use auth_layer::authority::TokenType;
///
/// assert_eq!(TokenType::Bearer.as_str(), "Bearer");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[non_exhaustive]
pub enum TokenType {
    /// Alone (RFC 6750).
    Bearer,
    /// With a proof by the key that it is bound to (RFC 9449 §5).
    #[serde(rename = "DPoP")]
    Dpop,
}

impl TokenType {
    pub(crate) fn of(cnf: Option<&Confirmation>) -> Self {
        if cnf.is_some() { Self::Dpop } else { Self::Bearer }
    }

    /// Returns the text for clients.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bearer => "Bearer",
            Self::Dpop => "DPoP",
        }
    }
}

/// The response of RFC 6749 §5.1.
#[derive(Serialize)]
struct TokenResponse<'a> {
    access_token: &'a str,
    token_type: TokenType,
    expires_in: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
    scope: &'a Scope,
}

/// Serialises as the response of RFC 6749 §5.1.
impl Serialize for IssuedPair {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let response = TokenResponse {
            access_token: &self.access_token,
            token_type: self.token_type,
            expires_in: self.expires_in.as_secs(),
            refresh_token: Some(&self.refresh_token),
            scope: &self.scope,
        };
        response.serialize(serializer)
    }
}

/// Serialises as the response of RFC 6749 §5.1, with no refresh token.
impl Serialize for IssuedToken {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let response = TokenResponse {
            access_token: &self.token,
            token_type: self.token_type,
            expires_in: self.expires_in.as_secs(),
            refresh_token: None,
            scope: &self.scope,
        };
        response.serialize(serializer)
    }
}

#[cfg(feature = "axum")]
pub(super) mod response {
    use axum_core::response::{IntoResponse, Response};
    use http::{
        HeaderValue,
        header::{CACHE_CONTROL, CONTENT_TYPE, PRAGMA},
    };
    use serde::Serialize;

    use super::{IssuedPair, IssuedToken};
    use crate::rejection::{Rejection, RejectionKind};

    /// Responds 200 with the body of RFC 6749 §5.1 and `Cache-Control: no-store`.
    impl IntoResponse for IssuedPair {
        fn into_response(self) -> Response {
            respond(&self)
        }
    }

    /// Responds 200 with the body of RFC 6749 §5.1 and `Cache-Control: no-store`.
    impl IntoResponse for IssuedToken {
        fn into_response(self) -> Response {
            respond(&self)
        }
    }

    fn respond(tokens: &impl Serialize) -> Response {
        // Two tokens are seldom longer.
        let mut json = Vec::with_capacity(2048);
        if serde_json::to_writer(&mut json, tokens).is_err() {
            return Rejection::new(RejectionKind::Internal).into_response();
        }
        json_response(json)
    }

    /// Responds 200 with a JSON body that nobody may keep.
    pub(in crate::authority) fn json_response(json: impl IntoResponse) -> Response {
        let headers = [
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
            (PRAGMA, HeaderValue::from_static("no-cache")),
        ];
        (headers, json).into_response()
    }
}

/// A token without a refresh token: a single-use token, or a client's own.
///
/// It serialises as the response of RFC 6749 §5.1, as `access_token`. In axum, a handler can return
/// it: see [`Authority::issue_single_use`](crate::Authority::issue_single_use) and
/// [`Authority::issue_client_token`](crate::Authority::issue_client_token).
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct IssuedToken {
    /// The token.
    pub token: String,
    /// How the token is presented.
    pub token_type: TokenType,
    /// How long the token is valid from now, in whole seconds.
    pub expires_in: Duration,
    /// The scope of the token.
    pub scope: Scope,
    /// The session of the token.
    pub session_id: SessionId,
    /// The user of the token.
    pub user_id: Subject,
}

impl fmt::Debug for IssuedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedToken")
            .field("expires_in", &self.expires_in)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}
