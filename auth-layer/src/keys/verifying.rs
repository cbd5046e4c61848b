use std::{fmt, sync::Arc};

use aws_lc_rs::{
    digest::{SHA256, digest},
    hmac,
    rsa::PublicKeyComponents,
    signature::{
        ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256,
    },
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::DecodingKey;
use serde_json::{Value, json};

use super::{
    Algorithm, KeyError,
    jwk::{Jwk, Need},
};

/// A key that verifies, bound to one algorithm and a `kid`. Cloning it copies a pointer or two.
#[derive(Clone)]
pub struct VerifyingKey {
    kid: Arc<str>,
    algorithm: Algorithm,
    verifier: Arc<Verifier>,
}

#[expect(clippy::large_enum_variant, reason = "a program has a handful of keys")]
enum Verifier {
    Public(ParsedPublicKey, Public),
    Secret(hmac::Key),
}

/// The members of a public JWK (RFC 7518 §6, RFC 8037 §2).
#[derive(Debug, PartialEq)]
pub(super) enum Public {
    Ed25519 { x: Vec<u8> },
    P256 { x: Vec<u8>, y: Vec<u8> },
    Rsa { n: Vec<u8>, e: Vec<u8> },
}

impl VerifyingKey {
    /// A public key from PEM: `PUBLIC KEY` (SubjectPublicKeyInfo), or for RSA `RSA PUBLIC KEY` (PKCS #1). Its `kid` is its
    /// RFC 7638 thumbprint.
    pub fn from_pem(algorithm: Algorithm, pem: &[u8]) -> Result<Self, KeyError> {
        if is_private_pem(pem) {
            return Err(KeyError::PrivateKey);
        }
        let unreadable = |_| KeyError::Pem(algorithm);
        let key = match algorithm {
            Algorithm::EdDsa => DecodingKey::from_ed_pem(pem),
            Algorithm::Es256 => DecodingKey::from_ec_pem(pem),
            Algorithm::Rs256 | Algorithm::Ps256 => DecodingKey::from_rsa_pem(pem),
            Algorithm::Hs256 => return Err(KeyError::Form(algorithm)),
        };
        let key = key.map_err(unreadable)?;
        let bytes = key.try_get_as_bytes().map_err(unreadable)?;
        let public = match algorithm {
            Algorithm::EdDsa => Public::Ed25519 { x: bytes.to_vec() },
            Algorithm::Es256 => Public::p256(bytes)?,
            _ => Public::rsa(bytes)?,
        };
        Self::from_public(algorithm, public)
    }

    /// A public key, or a secret, from the text of a JWK (RFC 7517 §4). Its `kid` is the JWK's, else its RFC 7638 thumbprint;
    /// a secret must bring one.
    pub fn from_jwk(json: &str) -> Result<Self, KeyError> {
        let jwk = Jwk::parse(json, Need::Verify)?;
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

    /// An HS256 secret of 32 bytes or more.
    pub fn from_secret(kid: impl Into<String>, secret: &[u8]) -> Result<Self, KeyError> {
        let verifier = Verifier::Secret(hmac_key(secret)?);
        Self { kid: "".into(), algorithm: Algorithm::Hs256, verifier: Arc::new(verifier) }.with_kid(kid)
    }

    /// The same key under another `kid`.
    pub fn with_kid(self, kid: impl Into<String>) -> Result<Self, KeyError> {
        let kid = kid.into();
        if is_kid(&kid) { Ok(Self { kid: kid.into(), ..self }) } else { Err(KeyError::Kid) }
    }

    /// Its `kid`.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Its one algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether the two accept the same signatures; false as well where that cannot be seen, since secrets are not compared.
    pub(super) fn is_known_to_be(&self, other: &Self) -> bool {
        let same = match (&*self.verifier, &*other.verifier) {
            (Verifier::Public(_, here), Verifier::Public(_, there)) => here == there,
            _ => Arc::ptr_eq(&self.verifier, &other.verifier),
        };
        same && self.kid == other.kid && self.algorithm == other.algorithm
    }

    /// The public JWK of this key, for a JWK set. `None` for a secret, which is never published.
    pub fn to_jwk(&self) -> Option<Value> {
        let Verifier::Public(_, public) = &*self.verifier else { return None };
        let mut jwk = public.members();
        jwk["use"] = "sig".into();
        jwk["alg"] = self.algorithm.as_str().into();
        jwk["kid"] = self.kid().into();
        Some(jwk)
    }

    /// True when `signature` is this key's over `message`.
    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match &*self.verifier {
            Verifier::Public(key, _) => key.verify_sig(message, signature).is_ok(),
            Verifier::Secret(key) => hmac::verify(key, message, signature).is_ok(),
        }
    }

    pub(super) fn from_public(algorithm: Algorithm, public: Public) -> Result<Self, KeyError> {
        let parsed = public.parse(algorithm)?;
        let kid = public.thumbprint().into();
        Ok(Self { kid, algorithm, verifier: Arc::new(Verifier::Public(parsed, public)) })
    }
}

/// Whether this may be a `kid`.
pub(crate) fn is_kid(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

impl Public {
    /// From an uncompressed point (SEC 1 §2.3.3).
    pub(super) fn p256(point: &[u8]) -> Result<Self, KeyError> {
        match point {
            [4, coordinates @ ..] if coordinates.len() == 64 => {
                let (x, y) = coordinates.split_at(32);
                Ok(Self::P256 { x: x.to_vec(), y: y.to_vec() })
            }
            _ => Err(KeyError::Pem(Algorithm::Es256)),
        }
    }

    /// From the DER of a PKCS #1 `RSAPublicKey`.
    fn rsa(der: &[u8]) -> Result<Self, KeyError> {
        let key = aws_lc_rs::rsa::PublicKey::from_der(der).map_err(|_| KeyError::Pem(Algorithm::Rs256))?;
        Ok(Self::from(&key))
    }

    fn parse(&self, algorithm: Algorithm) -> Result<ParsedPublicKey, KeyError> {
        let inconsistent = |_| KeyError::Inconsistent;
        match (self, algorithm) {
            (Self::Ed25519 { x }, Algorithm::EdDsa) => ParsedPublicKey::new(&ED25519, x).map_err(inconsistent),
            (Self::P256 { x, y }, Algorithm::Es256) => {
                let point = [&[4][..], x, y].concat();
                ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).map_err(inconsistent)
            }
            (Self::Rsa { n, e }, Algorithm::Rs256 | Algorithm::Ps256) => {
                check_rsa_bits(n)?;
                let verification = match algorithm {
                    Algorithm::Ps256 => &RSA_PSS_2048_8192_SHA256,
                    _ => &RSA_PKCS1_2048_8192_SHA256,
                };
                PublicKeyComponents { n, e }.to_parsed_public_key(verification).map_err(inconsistent)
            }
            _ => Err(KeyError::AlgorithmMismatch),
        }
    }

    /// The required members (RFC 7638 §3.2).
    fn members(&self) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::Ed25519 { x } => json!({ "crv": "Ed25519", "kty": "OKP", "x": text(x) }),
            Self::P256 { x, y } => json!({ "crv": "P-256", "kty": "EC", "x": text(x), "y": text(y) }),
            Self::Rsa { n, e } => json!({ "e": text(e), "kty": "RSA", "n": text(n) }),
        }
    }

    /// RFC 7638 §3, with SHA-256.
    fn thumbprint(&self) -> String {
        // `serde_json` writes members in lexicographic order and without white space, as RFC 7638 §3.3 wants them.
        let hash = digest(&SHA256, self.members().to_string().as_bytes());
        URL_SAFE_NO_PAD.encode(hash)
    }
}

impl From<&aws_lc_rs::rsa::PublicKey> for Public {
    fn from(key: &aws_lc_rs::rsa::PublicKey) -> Self {
        let PublicKeyComponents { n, e } = PublicKeyComponents::<Vec<u8>>::from(key);
        Self::Rsa { n, e }
    }
}

/// RFC 7518 §3.3, of a modulus in bytes, the most significant first. The crypto library refuses a weak key as well, but with no
/// word of its size, so this is asked first.
pub(super) fn check_rsa_bits(modulus: &[u8]) -> Result<(), KeyError> {
    let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
    let modulus = &modulus[zeros..];
    let bits = modulus.first().map_or(0, |first| modulus.len() * 8 - first.leading_zeros() as usize);
    if (2048..=8192).contains(&bits) { Ok(()) } else { Err(KeyError::RsaBits(bits)) }
}

pub(super) fn hmac_key(secret: &[u8]) -> Result<hmac::Key, KeyError> {
    if secret.trim_ascii_start().starts_with(b"-----BEGIN") {
        Err(KeyError::SecretIsPem)
    } else if secret.len() < 32 {
        Err(KeyError::ShortSecret(secret.len()))
    } else {
        Ok(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }
}

pub(super) fn is_private_pem(pem: &[u8]) -> bool {
    let label = b"PRIVATE KEY-----";
    pem.windows(label.len()).any(|window| window == label)
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyingKey")
            .field("kid", &self.kid)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}
