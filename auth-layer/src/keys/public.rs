//! The public half of a key pair.

use aws_lc_rs::{
    rsa::{PublicKey as RsaPublicKey, PublicKeyComponents},
    signature::{
        ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256,
    },
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{Algorithm, KeyError};
use crate::hash::sha256;

/// The members of a public JWK (RFC 7518 §6, RFC 8037 §2).
pub(super) enum PublicKey {
    Ed25519 { x: Vec<u8> },
    P256 { x: Vec<u8>, y: Vec<u8> },
    Rsa { n: Vec<u8>, e: Vec<u8> },
}

impl PublicKey {
    /// Reads the BIT STRING of a SubjectPublicKeyInfo: an Ed25519 key, a P-256 point or PKCS #1 for
    /// RSA.
    pub(super) fn from_bit_string(algorithm: Algorithm, key: &[u8]) -> Result<Self, KeyError> {
        match algorithm {
            Algorithm::EdDsa => Ok(Self::Ed25519 { x: key.to_vec() }),
            Algorithm::Es256 => Self::p256(key),
            Algorithm::Rs256 | Algorithm::Ps256 => {
                let key = RsaPublicKey::from_der(key).map_err(|_| KeyError::Pem(algorithm))?;
                Ok(Self::from(&key))
            }
            Algorithm::Hs256 => Err(KeyError::Form(algorithm)),
        }
    }

    /// Reads the members of a JWK that `algorithm` needs. `bytes` decodes one.
    pub(super) fn from_members(
        algorithm: Algorithm,
        bytes: impl Fn(&'static str) -> Result<Vec<u8>, KeyError>,
    ) -> Result<Self, KeyError> {
        Ok(match algorithm {
            Algorithm::EdDsa => match bytes("x")? {
                // Exactly 32 bytes (RFC 8032 §5.1.5): aws-lc would also take a
                // SubjectPublicKeyInfo.
                x if x.len() == 32 => Self::Ed25519 { x },
                _ => return Err(KeyError::Jwk("x is 32 bytes")),
            },
            Algorithm::Es256 => match (bytes("x")?, bytes("y")?) {
                // As long as the curve's field elements, leading zeros included (RFC 7518
                // §6.2.1.2).
                (x, y) if x.len() == 32 && y.len() == 32 => Self::P256 { x, y },
                _ => return Err(KeyError::Jwk("x and y are 32 bytes each")),
            },
            Algorithm::Rs256 | Algorithm::Ps256 => match (bytes("n")?, bytes("e")?) {
                // No leading zeros (RFC 7518 §6.3.1.1).
                (n, e) if n.first() != Some(&0) && e.first() != Some(&0) => Self::Rsa { n, e },
                _ => return Err(KeyError::Jwk("n and e have no leading zeros")),
            },
            Algorithm::Hs256 => return Err(KeyError::Form(algorithm)),
        })
    }

    /// Reads an uncompressed point (SEC 1 §2.3.3).
    pub(super) fn p256(point: &[u8]) -> Result<Self, KeyError> {
        match point {
            [4, coordinates @ ..] if coordinates.len() == 64 => {
                let (x, y) = coordinates.split_at(32);
                Ok(Self::P256 { x: x.to_vec(), y: y.to_vec() })
            }
            _ => Err(KeyError::Pem(Algorithm::Es256)),
        }
    }

    /// Parses the key for verifying with `algorithm`.
    pub(super) fn parse(&self, algorithm: Algorithm) -> Result<ParsedPublicKey, KeyError> {
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

    /// Returns the required members of the JWK (RFC 7638 §3.2), in lexicographic order.
    pub(super) fn members(&self) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::Ed25519 { x } => json!({ "crv": "Ed25519", "kty": "OKP", "x": text(x) }),
            Self::P256 { x, y } => json!({ "crv": "P-256", "kty": "EC", "x": text(x), "y": text(y) }),
            Self::Rsa { n, e } => json!({ "e": text(e), "kty": "RSA", "n": text(n) }),
        }
    }

    /// Returns the RFC 7638 thumbprint with SHA-256.
    pub(super) fn thumbprint(&self) -> [u8; 32] {
        // `serde_json` writes no white space, as RFC 7638 §3.3 requires.
        sha256(&[self.members().to_string().as_bytes()])
    }

    /// Returns the text of the thumbprint, the default `kid`.
    pub(super) fn default_kid(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.thumbprint())
    }
}

impl From<&RsaPublicKey> for PublicKey {
    fn from(key: &RsaPublicKey) -> Self {
        let PublicKeyComponents { n, e } = PublicKeyComponents::<Vec<u8>>::from(key);
        Self::Rsa { n, e }
    }
}

/// Checks the size of a big-endian RSA modulus (RFC 7518 §3.3).
///
/// aws-lc refuses weak keys too, but does not say how large they are.
pub(super) fn check_rsa_bits(modulus: &[u8]) -> Result<(), KeyError> {
    let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
    let modulus = &modulus[zeros..];
    let bits = modulus.first().map_or(0, |first| modulus.len() * 8 - first.leading_zeros() as usize);
    if (2048..=8192).contains(&bits) { Ok(()) } else { Err(KeyError::RsaBits(bits)) }
}
