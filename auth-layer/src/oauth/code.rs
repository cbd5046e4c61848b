//! What binds an authorization code to its request.

use serde::{Deserialize, Serialize};

use super::{
    pkce::CodeChallenge,
    token_error::{TokenError, TokenErrorKind},
};
use crate::keys::Thumbprint;

/// The client, redirect URI and code challenge of an authorization code. A server stores it with
/// the code.
///
/// ```
/// use auth_layer::oauth::{CodeBinding, CodeChallenge};
///
/// let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
/// let uri = "https://app.example/callback";
/// let binding = CodeBinding::new("spa", uri, CodeChallenge::of(verifier));
/// assert!(binding.check("spa", Some(uri), verifier).is_ok());
///
/// let error = binding.check("other", Some(uri), verifier).unwrap_err();
/// assert_eq!(error.error(), "invalid_grant");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeBinding {
    client_id: String,
    redirect_uri: String,
    /// Whether the authorization request had a `redirect_uri`.
    is_uri_required: bool,
    challenge: CodeChallenge,
    /// The key that the authorization request named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<Thumbprint>,
}

impl CodeBinding {
    /// Creates the binding of a request that had this redirect URI.
    pub fn new(client_id: impl Into<String>, redirect_uri: impl Into<String>, challenge: CodeChallenge) -> Self {
        Self {
            client_id: client_id.into(),
            redirect_uri: redirect_uri.into(),
            is_uri_required: true,
            challenge,
            key: None,
        }
    }

    /// Makes the redirect URI optional: the authorization request had none.
    #[must_use]
    pub(super) fn with_optional_uri(self) -> Self {
        Self { is_uri_required: false, ..self }
    }

    /// Binds the code to a key: the authorization request had this `dpop_jkt` (RFC 9449 §10).
    #[must_use]
    pub(super) fn with_key(self, key: Option<Thumbprint>) -> Self {
        Self { key, ..self }
    }

    /// Returns the client's identifier.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// Checks a presentation of the code by an authenticated client.
    ///
    /// # Errors
    ///
    /// `invalid_grant`, the same for each cause.
    pub fn check(&self, client_id: &str, redirect_uri: Option<&str>, verifier: &str) -> Result<(), TokenError> {
        //= RFC 6749 §4.1.3
        let is_uri_right = match redirect_uri {
            Some(uri) => uri == self.redirect_uri,
            None => !self.is_uri_required,
        };
        //= RFC 7636 §4.6
        let is_verifier_right = self.challenge.verify(verifier);
        //= RFC 6749 §4.1.3
        if client_id == self.client_id && is_uri_right && is_verifier_right {
            Ok(())
        } else {
            Err(TokenErrorKind::InvalidGrant.into())
        }
    }

    /// Checks the key of the exchange's proof of possession.
    ///
    /// # Errors
    ///
    /// `invalid_grant` if the authorization request named another key.
    pub fn check_key(&self, key: Option<Thumbprint>) -> Result<(), TokenError> {
        //= RFC 9449 §10
        if self.key.is_none() || self.key == key { Ok(()) } else { Err(TokenErrorKind::InvalidGrant.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const URI: &str = "http://127.0.0.1:51004/cb";

    #[test]
    fn oauth_code_is_good_for_its_client_uri_and_verifier_alone() {
        let binding = CodeBinding::new("spa", URI, CodeChallenge::of(VERIFIER));
        let json = serde_json::to_string(&binding).unwrap();
        let binding: CodeBinding = serde_json::from_str(&json).unwrap();
        assert_eq!(binding.check("spa", Some(URI), VERIFIER), Ok(()));
        let other_verifier = "a".repeat(43);
        for (client, uri, verifier) in [
            ("other", Some(URI), VERIFIER),
            ("SPA", Some(URI), VERIFIER),
            ("", Some(URI), VERIFIER),
            ("spa", None, VERIFIER),
            ("spa", Some(""), VERIFIER),
            // The port is free between registration and request, not between request and exchange.
            ("spa", Some("http://127.0.0.1:51005/cb"), VERIFIER),
            ("spa", Some(URI), &other_verifier),
            ("spa", Some(URI), ""),
            ("spa", Some(URI), &VERIFIER[..42]),
        ] {
            let error = binding.check(client, uri, verifier).map_err(|error| error.kind());
            assert_eq!(error, Err(TokenErrorKind::InvalidGrant), "{client} {uri:?} {verifier}");
        }
    }

    #[test]
    fn oauth_code_with_a_key_is_good_for_that_key_alone() {
        let key = |text: &str| Some(text.parse::<Thumbprint>().unwrap());
        let (named, other) = (key(&"A".repeat(43)), key("0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"));
        let binding = CodeBinding::new("spa", URI, CodeChallenge::of(VERIFIER));
        for key in [None, named, other] {
            assert_eq!(binding.check_key(key), Ok(()));
        }
        let json = serde_json::to_string(&binding.with_key(named)).unwrap();
        let binding: CodeBinding = serde_json::from_str(&json).unwrap();
        assert_eq!(binding.check_key(named), Ok(()));
        assert!(binding.check_key(other).is_err() && binding.check_key(None).is_err());
    }

    #[test]
    fn oauth_code_needs_no_uri_if_the_request_had_none() {
        let binding = CodeBinding::new("spa", URI, CodeChallenge::of(VERIFIER)).with_optional_uri();
        assert_eq!(binding.check("spa", None, VERIFIER), Ok(()));
        assert_eq!(binding.check("spa", Some(URI), VERIFIER), Ok(()));
        assert!(binding.check("spa", Some("https://evil.example"), VERIFIER).is_err());
    }
}
