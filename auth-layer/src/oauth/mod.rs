//! The rules of an OAuth 2.0 server, without its pages and stores.
//!
//! It reads requests, checks them as the RFCs demand, and builds the responses. It knows no HTTP
//! framework and asks no store, so each rule is a function of its arguments.
//!
//! | endpoint | request | response |
//! | --- | --- | --- |
//! | authorization | [`AuthorizationQuery`] | [`AuthorizationResponse`] |
//! | token | [`TokenRequest`] | [`IssuedPair`], [`TokenError`] |
//! | revocation | [`RevocationRequest`] | an empty 200, [`TokenError`] |
//! | introspection | [`IntrospectionRequest`] | [`Introspection`], [`TokenError`] |
//! | metadata | | [`ServerMetadata`], [`ProtectedResourceMetadata`] |
//!
//! [`Introspection`]: crate::authority::Introspection
//! [`IssuedPair`]: crate::IssuedPair
//!
//! A server keeps [`Client`]s, and with each code its [`CodeBinding`]. The code flow has these
//! steps:
//!
//! 1. [`AuthorizationQuery::parse`] names the client. The server looks it up.
//! 2. [`AuthorizationQuery::check`] gives a request, a redirect with an error, or an error for a
//!    page. An unknown client or redirect URI never becomes a redirect.
//! 3. The server signs the user in, stores a code's hash with [`AuthorizationRequest::binding`],
//!    and responds with [`AuthorizationRequest::grant`].
//! 4. [`TokenRequest::parse`] gives the code and the client. [`Client::authenticate`] and
//!    [`CodeBinding::check`] check them.
//!
//! ```
//! use auth_layer::oauth::{
//!     Client, CodeBinding, CodeChallenge, GrantRequest, TokenError, TokenRequest,
//! };
//! use http::HeaderMap;
//!
//! /// Checks a token request against what the server stored with the code.
//! fn exchange(
//!     client: &Client,
//!     stored: &CodeBinding,
//!     headers: &HeaderMap,
//!     body: &[u8],
//! ) -> Result<(), TokenError> {
//!     let request = TokenRequest::parse(headers, body)?;
//!     client.authenticate(&request.authentication)?;
//!     match request.grant {
//!         GrantRequest::AuthorizationCode { redirect_uri, code_verifier, .. } => {
//!             stored.check(client.id(), redirect_uri.as_deref(), code_verifier.expose())
//!         }
//!         _ => Ok(()),
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
//! let client = Client::public("spa")?;
//! let stored = CodeBinding::new("spa", "https://app.example/cb", CodeChallenge::of(verifier));
//!
//! let mut headers = HeaderMap::new();
//! headers.insert("content-type", "application/x-www-form-urlencoded".parse()?);
//! let body = "grant_type=authorization_code&client_id=spa&code=SplxlOBeZQQYbYS6WxSbIA\
//!     &redirect_uri=https%3A%2F%2Fapp.example%2Fcb&code_verifier=";
//! let sent = |verifier: &str| [body, verifier].concat();
//! assert!(exchange(&client, &stored, &headers, sent(verifier).as_bytes()).is_ok());
//!
//! // A stolen code is worth nothing without the verifier.
//! let guess = "a".repeat(43);
//! let error = exchange(&client, &stored, &headers, sent(&guess).as_bytes()).unwrap_err();
//! assert_eq!(error.error(), "invalid_grant");
//! # Ok(())
//! # }
//! ```

mod authorization;
mod client;
mod client_authentication;
mod code;
mod form;
mod metadata;
mod metadata_service;
mod pkce;
mod redirect_uri;
mod secret;
mod server;
#[cfg(test)]
mod tests;
mod token_error;
mod token_lookup;
mod token_request;

pub use self::{
    authorization::{
        AuthorizationError, AuthorizationErrorKind, AuthorizationQuery, AuthorizationRequest, AuthorizationResponse,
        PageError,
    },
    client::{Client, ClientKind, InvalidClientId, ScopeNotAllowed},
    client_authentication::ClientAuthentication,
    code::CodeBinding,
    metadata::{ProtectedResourceMetadata, ServerMetadata},
    metadata_service::MetadataService,
    pkce::{CodeChallenge, CodeChallengeError},
    redirect_uri::{RedirectUri, RedirectUriError},
    secret::{Secret, SecretHash},
    server::{AuthorizationServer, InvalidIssuer, UnknownResource},
    token_error::{TokenError, TokenErrorKind},
    token_lookup::{IntrospectionRequest, RevocationRequest},
    token_request::{GrantRequest, TokenRequest},
};
pub(crate) use self::{form::Form, token_request::is_form};
