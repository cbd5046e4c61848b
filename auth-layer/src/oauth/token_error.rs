//! Errors of the token endpoint (RFC 6749 §5.2).

use std::{borrow::Cow, fmt};

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, PRAGMA, WWW_AUTHENTICATE},
};

use super::{form::FormError, server::UnknownResource};
use crate::layer_context::Realm;

/// An error response of the token, revocation or introspection endpoint (RFC 6749 §5.2).
///
/// Outages are a [`Rejection`](crate::Rejection): 503 with `Retry-After`.
///
/// ```
/// use auth_layer::oauth::{TokenError, TokenErrorKind};
/// use bytes::Bytes;
///
/// let response = TokenError::from(TokenErrorKind::InvalidGrant).into_http::<Bytes>();
/// assert_eq!(response.status(), 400);
/// assert_eq!(response.headers()["cache-control"], "no-store");
/// assert!(response.body().starts_with(br#"{"error":"invalid_grant","error_description":"#));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenError {
    kind: TokenErrorKind,
    description: Option<&'static str>,
    realm: Realm,
}

/// The cases of a [`TokenError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenErrorKind {
    /// A parameter is missing, repeated or malformed: `invalid_request`.
    InvalidRequest,
    /// The client is unknown or did not authenticate: 401 `invalid_client`.
    InvalidClient,
    /// The code, refresh token or password is not good: `invalid_grant`.
    InvalidGrant,
    /// The client may not use this grant type: `unauthorized_client`.
    UnauthorizedClient,
    /// The server does not know or allow this grant type: `unsupported_grant_type`.
    UnsupportedGrantType,
    /// The scope is malformed, unknown or too much: `invalid_scope`.
    InvalidScope,
    /// The resource is unknown (RFC 8707 §2): `invalid_target`.
    InvalidTarget,
    /// Tokens of this type cannot be revoked (RFC 7009 §2.2.1): `unsupported_token_type`.
    UnsupportedTokenType,
    /// The `DPoP` proof is not good (RFC 9449 §5): `invalid_dpop_proof`.
    InvalidDpopProof,
    /// The `DPoP` proof lacks the nonce that the response brings (RFC 9449 §8): `use_dpop_nonce`.
    UseDpopNonce,
}

impl TokenErrorKind {
    fn code_and_description(self) -> (&'static str, &'static str) {
        match self {
            Self::InvalidRequest => ("invalid_request", "The request lacks a parameter or cannot be read"),
            Self::InvalidClient => ("invalid_client", "The client is unknown or did not authenticate"),
            Self::InvalidGrant => ("invalid_grant", "The grant is expired, revoked or otherwise not valid"),
            Self::UnauthorizedClient => ("unauthorized_client", "The client may not use this grant type"),
            Self::UnsupportedGrantType => ("unsupported_grant_type", "The grant type is not supported"),
            Self::InvalidScope => ("invalid_scope", "The scope is unknown or more than the client may have"),
            Self::InvalidTarget => ("invalid_target", "The resource is unknown"),
            Self::UnsupportedTokenType => ("unsupported_token_type", "Tokens of this type cannot be revoked"),
            Self::InvalidDpopProof => ("invalid_dpop_proof", "The DPoP proof is missing or not valid"),
            Self::UseDpopNonce => ("use_dpop_nonce", "The DPoP proof must have the nonce of this response"),
        }
    }
}

impl TokenError {
    /// Replaces the description, which is for the client's developers. Characters that RFC
    /// 6749 §5.2 forbids are sent as `?`.
    #[must_use]
    pub fn with_description(self, description: &'static str) -> Self {
        Self { description: Some(description), ..self }
    }

    /// Replaces the realm of the challenge. Default: `api`.
    #[must_use]
    pub fn with_realm(self, realm: Realm) -> Self {
        Self { realm, ..self }
    }

    /// Returns the case.
    pub fn kind(&self) -> TokenErrorKind {
        self.kind
    }

    /// Returns the `error` of the JSON body.
    pub fn error(&self) -> &'static str {
        self.kind.code_and_description().0
    }

    /// Returns the `error_description` of the JSON body.
    pub fn description(&self) -> Cow<'static, str> {
        permitted(self.description.unwrap_or(self.kind.code_and_description().1))
    }

    /// Returns the HTTP status: 401 for `invalid_client`, else 400.
    pub fn status(&self) -> StatusCode {
        //= RFC 6749 §5.2
        match self.kind {
            TokenErrorKind::InvalidClient => StatusCode::UNAUTHORIZED,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// Builds the response.
    pub fn into_http<B: From<Bytes>>(self) -> Response<B> {
        // The description has neither quotes nor backslashes.
        let body = format!(r#"{{"error":"{}","error_description":"{}"}}"#, self.error(), self.description());
        let mut response = Response::new(B::from(Bytes::from(body)));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        //= RFC 6749 §5.1
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
        if self.kind == TokenErrorKind::InvalidClient {
            //= RFC 6749 §5.2
            let challenge = format!(r#"Basic realm="{}""#, self.realm.as_str());
            // A realm is printable ASCII by its type.
            headers.extend(HeaderValue::try_from(challenge).map(|challenge| (WWW_AUTHENTICATE, challenge)));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// Replaces characters that `error_description` must not have (RFC 6749 §5.2 and §4.1.2.1).
pub(super) fn permitted(text: &'static str) -> Cow<'static, str> {
    let is_permitted = |character: char| matches!(character, ' '..='~') && character != '"' && character != '\\';
    //= RFC 6749 §5.2
    if text.chars().all(is_permitted) {
        return Cow::Borrowed(text);
    }
    text.chars().map(|character| if is_permitted(character) { character } else { '?' }).collect()
}

impl From<TokenErrorKind> for TokenError {
    fn from(kind: TokenErrorKind) -> Self {
        Self { kind, description: None, realm: Realm::default() }
    }
}

impl From<FormError> for TokenError {
    fn from(error: FormError) -> Self {
        let description = match error {
            FormError::Encoding => "The form is not UTF-8",
            FormError::Repeated(_) => "A parameter comes more than once",
            FormError::TooManyResources => return TokenErrorKind::InvalidTarget.into(),
        };
        Self::from(TokenErrorKind::InvalidRequest).with_description(description)
    }
}

impl From<UnknownResource> for TokenError {
    fn from(_: UnknownResource) -> Self {
        TokenErrorKind::InvalidTarget.into()
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.error(), self.description())
    }
}

impl std::error::Error for TokenError {}

#[cfg(feature = "axum")]
impl axum_core::response::IntoResponse for TokenError {
    fn into_response(self) -> axum_core::response::Response {
        self.into_http()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [TokenErrorKind; 10] = [
        TokenErrorKind::InvalidRequest,
        TokenErrorKind::InvalidClient,
        TokenErrorKind::InvalidGrant,
        TokenErrorKind::UnauthorizedClient,
        TokenErrorKind::UnsupportedGrantType,
        TokenErrorKind::InvalidScope,
        TokenErrorKind::InvalidTarget,
        TokenErrorKind::UnsupportedTokenType,
        TokenErrorKind::InvalidDpopProof,
        TokenErrorKind::UseDpopNonce,
    ];

    #[test]
    fn oauth_token_error_is_json_that_is_not_cached() {
        for kind in KINDS {
            let error = TokenError::from(kind);
            let expected = serde_json::json!({ "error": error.error(), "error_description": error.description() });
            let response = error.clone().into_http::<Bytes>();
            assert_eq!(serde_json::from_slice::<serde_json::Value>(response.body()).unwrap(), expected);
            let is_client = kind == TokenErrorKind::InvalidClient;
            assert_eq!(response.status(), if is_client { 401 } else { 400 }, "{kind:?}");
            let headers = response.headers();
            assert_eq!(headers["content-type"], "application/json");
            assert_eq!(headers["cache-control"], "no-store");
            assert_eq!(headers["pragma"], "no-cache");
            let challenge = headers.get("www-authenticate").map(|value| value.to_str().unwrap());
            assert_eq!(challenge, is_client.then_some(r#"Basic realm="api""#), "{kind:?}");
            assert_eq!(headers.len(), 3 + usize::from(is_client));
            assert_eq!(response.extensions().get(), Some(&error));
        }
    }

    #[test]
    fn oauth_token_error_bytes_are_exact() {
        let realm = Realm::new("shop").unwrap();
        let response = TokenError::from(TokenErrorKind::InvalidClient).with_realm(realm).into_http::<Bytes>();
        let body = r#"{"error":"invalid_client","error_description":"The client is unknown or did not authenticate"}"#;
        assert_eq!(*response.body(), body);
        assert_eq!(response.headers()["www-authenticate"], r#"Basic realm="shop""#);
    }

    #[test]
    fn oauth_token_error_description_has_permitted_characters_alone() {
        let error = TokenError::from(TokenErrorKind::InvalidGrant).with_description("a \"b\" \\ é\n~");
        assert_eq!(error.description(), "a ?b? ? ??~");
        for kind in KINDS {
            assert!(matches!(TokenError::from(kind).description(), Cow::Borrowed(_)), "{kind:?}");
        }
    }
}
