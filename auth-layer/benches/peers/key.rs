//! Keys and claims, as this crate and its peers have them.

use auth_layer::keys::{Algorithm, Keyring, SigningKey};
use jsonwebtoken::{DecodingKey, Validation, jwk::Jwk};
use serde::Deserialize;

pub(crate) const ISSUER: &str = "https://issuer.example";
pub(crate) const AUDIENCE: &str = "api";
/// The secret of HS256.
pub(crate) const SECRET: &[u8] = b"a secret of more than 32 bytes, as HS256 demands";

/// The claims as the peers read them: all of them, each as it stands.
#[derive(Clone, Debug, Deserialize)]
#[expect(dead_code, reason = "read for the cost of reading it")]
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

/// A key as this crate has it, and what the peers need of it.
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

    /// Its public half; none of a secret.
    pub(crate) fn jwk(&self) -> Option<String> {
        self.signing.verifying_key().to_jwk().map(|jwk| jwk.to_string())
    }

    /// As the newest jsonwebtoken has it, on aws-lc.
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
