//! Requests to the revocation endpoint (RFC 7009) and the introspection endpoint (RFC 7662).

use http::HeaderMap;

use super::{
    client_authentication::ClientAuthentication,
    secret::Secret,
    token_error::TokenError,
    token_request::{read, required},
};

/// A revocation request (RFC 7009 §2.1). The client is not checked yet.
///
/// `token_type_hint` is ignored: a token tells its own type.
///
/// ```
/// use auth_layer::oauth::RevocationRequest;
/// use http::{HeaderMap, header};
///
/// let mut headers = HeaderMap::new();
/// headers.insert(header::CONTENT_TYPE, "application/x-www-form-urlencoded".parse()?);
/// let request = RevocationRequest::parse(&headers, b"token=abc&client_id=spa")?;
/// assert_eq!(request.token.expose(), "abc");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RevocationRequest {
    /// What the request says of its client.
    pub authentication: ClientAuthentication,
    /// The token.
    pub token: Secret,
}

/// An introspection request (RFC 7662 §2.1). The client is not checked yet.
///
/// The response is an [`Introspection`](crate::authority::Introspection). `token_type_hint` is
/// ignored: a token tells its own type.
///
/// ```
/// use auth_layer::oauth::IntrospectionRequest;
/// use http::{HeaderMap, header};
///
/// let mut headers = HeaderMap::new();
/// headers.insert(header::CONTENT_TYPE, "application/x-www-form-urlencoded".parse()?);
/// let error = IntrospectionRequest::parse(&headers, b"token=").unwrap_err();
/// assert_eq!(error.to_string(), "invalid_request: token is missing");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct IntrospectionRequest {
    /// What the request says of its client.
    pub authentication: ClientAuthentication,
    /// The token.
    pub token: Secret,
}

impl RevocationRequest {
    /// Reads a request's headers and body.
    ///
    /// # Errors
    ///
    /// `invalid_request` and `invalid_client`, as [`TokenRequest`](super::TokenRequest::parse).
    pub fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Self, TokenError> {
        let (authentication, token) = client_and_token(headers, body)?;
        Ok(Self { authentication, token })
    }
}

impl IntrospectionRequest {
    /// Reads a request's headers and body.
    ///
    /// # Errors
    ///
    /// `invalid_request` and `invalid_client`, as [`TokenRequest`](super::TokenRequest::parse).
    pub fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Self, TokenError> {
        let (authentication, token) = client_and_token(headers, body)?;
        Ok(Self { authentication, token })
    }
}

fn client_and_token(headers: &HeaderMap, body: &[u8]) -> Result<(ClientAuthentication, Secret), TokenError> {
    //= RFC 7009 §2.1
    //= RFC 7662 §2.1
    let (mut form, authentication) = read(headers, body, &["token", "token_type_hint"])?;
    Ok((authentication, required(&mut form, "token")?.into()))
}
