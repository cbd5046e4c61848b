//! Keys and claims in the forms that this crate and its peers take.

use auth_layer::keys::{Algorithm, Keyring, SigningKey};
use jsonwebtoken::{DecodingKey, Validation, jwk::Jwk};
use serde::Deserialize;

pub(crate) const ISSUER: &str = "https://issuer.example";
pub(crate) const AUDIENCE: &str = "api";
/// The HS256 secret.
pub(crate) const SECRET: &[u8] = b"a secret of more than 32 bytes, as HS256 demands";

/// The claims that the peers deserialize: all of them, with plain types.
#[derive(Clone, Debug, Deserialize)]
#[expect(dead_code, reason = "read only to measure the cost")]
pub(crate) struct PeerClaims {
    iss: String,
    sub: String,
    aud: String,
    exp: u64,
    iat: u64,
    pub(crate) jti: String,
    client_id: String,
    sid: String,
    scope: String,
}

/// A signing key, and its forms for the peers.
pub(crate) struct Key {
    pub(crate) algorithm: Algorithm,
    signing: SigningKey,
}

impl Key {
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        let signing = match algorithm {
            Algorithm::Hs256 => SigningKey::from_secret("shared", SECRET),
            _ => SigningKey::generate_for(algorithm),
        };
        Self { algorithm, signing: signing.expect("a key can be made") }
    }

    pub(crate) fn ring(&self) -> Keyring {
        Keyring::new(self.signing.clone())
    }

    /// Returns the public key as a JWK; `None` for a secret.
    pub(crate) fn jwk(&self) -> Option<String> {
        self.signing.verifying_key().to_jwk().map(|jwk| jwk.to_string())
    }

    /// Returns the key for the newest jsonwebtoken, which uses aws-lc.
    pub(crate) fn decoding(&self) -> (DecodingKey, Validation) {
        let key = match self.jwk() {
            Some(jwk) => {
                let jwk: Jwk = serde_json::from_str(&jwk).expect("a JWK of ours is one");
                DecodingKey::from_jwk(&jwk).expect("jsonwebtoken has the same algorithms")
            }
            None => DecodingKey::from_secret(SECRET),
        };
        let algorithm = self.algorithm.as_str().parse().expect("jsonwebtoken has the same names");
        let mut validation = Validation::new(algorithm);
        validation.set_audience(&[AUDIENCE]);
        validation.set_issuer(&[ISSUER]);
        (key, validation)
    }
}
