use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use aws_lc_rs::{hmac, signature::ParsedPublicKey};
use serde_json::Value;

use super::{
    Algorithm, KeyError,
    jwk::{Jwk, KeyUse},
    pem,
    public::PublicKey,
};
use crate::{hash::sha256, kind::TokenKind};

/// A key that verifies, with one algorithm and a `kid`. Cloning it copies two pointers.
///
/// ```
/// use auth_layer::keys::{Keyring, VerifyingKey};
///
/// // The body of `/.well-known/jwks.json`.
/// fn jwks(keys: &Keyring) -> serde_json::Value {
///     let keys: Vec<_> = keys.verifying_keys().filter_map(VerifyingKey::to_jwk).collect();
///     serde_json::json!({ "keys": keys })
/// }
/// ```
#[derive(Clone)]
pub struct VerifyingKey {
    name: Arc<Name>,
    algorithm: Algorithm,
    material: Arc<Material>,
}

struct Name {
    kid: String,
    /// The headers of the tokens that name this key, by kind.
    headers: [OnceLock<String>; TokenKind::ALL.len()],
}

struct Material {
    verifier: Verifier,
    thumbprint: [u8; 32],
}

#[expect(clippy::large_enum_variant, reason = "a program has a handful of keys")]
enum Verifier {
    Public(ParsedPublicKey, PublicKey),
    Secret(hmac::Key),
}

impl VerifyingKey {
    /// Reads a public key from PEM.
    ///
    /// The label is `PUBLIC KEY` (SubjectPublicKeyInfo) or, for RSA, `RSA PUBLIC KEY` (PKCS #1).
    /// The `kid` is the key's RFC 7638 thumbprint.
    pub fn from_pem(algorithm: Algorithm, pem: &[u8]) -> Result<Self, KeyError> {
        if pem::is_private(pem) {
            return Err(KeyError::PrivateKey);
        }
        if algorithm == Algorithm::Hs256 {
            return Err(KeyError::Form(algorithm));
        }
        let key = pem::public_key(algorithm, pem).ok_or(KeyError::Pem(algorithm))?;
        Self::from_public(algorithm, PublicKey::from_bit_string(algorithm, &key)?)
    }

    /// Reads a public key or a secret from the text of a JWK (RFC 7517 §4).
    ///
    /// The `kid` is the JWK's, or else the key's RFC 7638 thumbprint. A secret must have one.
    ///
    /// ```
    /// use auth_layer::keys::{SigningKey, VerifyingKey};
    ///
    /// let key = SigningKey::generate()?.verifying_key();
    /// let jwk = key.to_jwk().expect("only secrets have none");
    /// assert_eq!(VerifyingKey::from_jwk(&jwk.to_string())?.kid(), key.kid());
    /// # Ok::<(), auth_layer::keys::KeyError>(())
    /// ```
    pub fn from_jwk(json: &str) -> Result<Self, KeyError> {
        Self::of_jwk(Jwk::parse(json, KeyUse::Verify)?)
    }

    pub(super) fn of_jwk(jwk: Jwk) -> Result<Self, KeyError> {
        let key = match jwk.algorithm {
            Algorithm::Hs256 => return Self::from_secret(jwk.kid.clone().ok_or(KeyError::Kid)?, &jwk.bytes("k")?),
            _ if jwk.is_private() => return Err(KeyError::PrivateKey),
            algorithm => Self::from_public(algorithm, jwk.public()?)?,
        };
        match jwk.kid {
            Some(kid) => key.with_kid(kid),
            None => Ok(key),
        }
    }

    /// Creates an HS256 key from a secret of 32 bytes or more.
    pub fn from_secret(kid: impl Into<String>, secret: &[u8]) -> Result<Self, KeyError> {
        let algorithm = Algorithm::Hs256;
        let material = Material::new(Verifier::Secret(hmac_key(secret)?), algorithm, secret);
        Self { name: Name::new(String::new()), algorithm, material: Arc::new(material) }.with_kid(kid)
    }

    /// Replaces the `kid`.
    pub fn with_kid(self, kid: impl Into<String>) -> Result<Self, KeyError> {
        let kid = kid.into();
        if is_kid(&kid) { Ok(Self { name: Name::new(kid), ..self }) } else { Err(KeyError::Kid) }
    }

    /// Returns the `kid`.
    pub fn kid(&self) -> &str {
        &self.name.kid
    }

    /// Returns the header of tokens of this kind that name this key. The first call makes it.
    pub(crate) fn header(&self, kind: TokenKind, make: impl FnOnce() -> String) -> &str {
        self.name.headers[kind as usize].get_or_init(make)
    }

    /// Returns the key's one algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns a hash by which keys are compared: equal if key material and algorithm are equal.
    ///
    /// The `kid` does not count. It is not the RFC 7638 thumbprint, which RS256 and PS256 share. A
    /// secret's thumbprint must not be shown: guesses of the secret can be tested on it.
    pub(crate) fn thumbprint(&self) -> &[u8; 32] {
        &self.material.thumbprint
    }

    /// Returns the public JWK, for a JWK set. `None` for a secret, which is never published.
    pub fn to_jwk(&self) -> Option<Value> {
        let Verifier::Public(_, public) = &self.material.verifier else { return None };
        let mut jwk = public.members();
        jwk["use"] = "sig".into();
        jwk["alg"] = self.algorithm.as_str().into();
        jwk["kid"] = self.kid().into();
        Some(jwk)
    }

    /// Whether `signature` is this key's signature of `message`.
    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.material.verifier {
            Verifier::Public(key, _) => key.verify_sig(message, signature).is_ok(),
            Verifier::Secret(key) => hmac::verify(key, message, signature).is_ok(),
        }
    }

    pub(super) fn from_public(algorithm: Algorithm, public: PublicKey) -> Result<Self, KeyError> {
        let parsed = public.parse(algorithm)?;
        let (name, members) = (Name::new(public.default_kid()), public.members().to_string());
        let material = Material::new(Verifier::Public(parsed, public), algorithm, members.as_bytes());
        Ok(Self { name, algorithm, material: Arc::new(material) })
    }
}

impl Name {
    fn new(kid: String) -> Arc<Self> {
        Arc::new(Self { kid, headers: Default::default() })
    }
}

impl Material {
    /// Computes the thumbprint: SHA-256 over a label, `alg`, and the secret or public JWK members
    /// (RFC 7638).
    fn new(verifier: Verifier, algorithm: Algorithm, bytes: &[u8]) -> Self {
        let parts = [b"auth-layer key thumbprint\0", algorithm.as_str().as_bytes(), b"\0", bytes];
        let thumbprint = sha256(&parts);
        Self { verifier, thumbprint }
    }
}

/// Whether the text can be a `kid`.
pub(crate) fn is_kid(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

pub(crate) fn hmac_key(secret: &[u8]) -> Result<hmac::Key, KeyError> {
    if secret.trim_ascii_start().starts_with(b"-----BEGIN") {
        Err(KeyError::SecretIsPem)
    } else if secret.len() < 32 {
        Err(KeyError::ShortSecret(secret.len()))
    } else {
        Ok(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyingKey")
            .field("kid", &self.kid())
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}
