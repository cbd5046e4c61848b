//! Reads a JWK (RFC 7517 §4), strictly.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::{Algorithm, KeyError, public::PublicKey};
use crate::json::members;

/// A JWK whose key type, curve, algorithm and use have been checked.
pub(super) struct Jwk {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<String>,
    members: Map<String, Value>,
}

/// What the key is needed for.
#[derive(Clone, Copy)]
pub(super) enum KeyUse {
    Sign,
    Verify,
}

impl Jwk {
    pub(super) fn parse(json: &str, need: KeyUse) -> Result<Self, KeyError> {
        let members = members(json.as_bytes()).ok_or(KeyError::Jwk("not a JSON object without duplicate members"))?;
        Self::from_members(members, need, None)
    }

    /// Checks the members of a JWK. An RSA key that names no `alg` gets the algorithm `unnamed`.
    pub(super) fn from_members(
        members: Map<String, Value>,
        need: KeyUse,
        unnamed: Option<Algorithm>,
    ) -> Result<Self, KeyError> {
        let algorithm = algorithm(&members, unnamed)?;
        let jwk = Self { algorithm, kid: text(&members, "kid")?.map(str::to_owned), members };
        if text(&jwk.members, "use")?.is_some_and(|usage| usage != "sig") {
            return Err(KeyError::Use("use"));
        }
        if let Some(operations) = jwk.members.get("key_ops") {
            let operations = operations.as_array().ok_or(KeyError::Jwk("key_ops is not an array"))?;
            let needed = match need {
                KeyUse::Sign => "sign",
                KeyUse::Verify => "verify",
            };
            if !operations.iter().any(|operation| operation == needed) {
                return Err(KeyError::Use("key_ops"));
            }
        }
        Ok(jwk)
    }

    /// Whether the JWK has a private half.
    pub(super) fn is_private(&self) -> bool {
        self.members.contains_key("d")
    }

    /// Returns the public half.
    pub(super) fn public(&self) -> Result<PublicKey, KeyError> {
        PublicKey::from_members(self.algorithm, |name| self.bytes(name).map(|bytes| bytes.to_vec()))
    }

    /// Decodes a member from base64url.
    pub(super) fn bytes(&self, name: &'static str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        decode(text(&self.members, name)?).map(Zeroizing::new)
    }
}

/// Decodes a member of a key from base64url.
pub(super) fn decode(text: Option<&str>) -> Result<Vec<u8>, KeyError> {
    let text = text.ok_or(KeyError::Jwk("a member of the key is missing"))?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| KeyError::Jwk("a member of the key is not base64url"))
}

/// Returns the algorithm for key type and curve. `alg` must agree; an RSA key without one gets
/// `unnamed`.
fn algorithm(members: &Map<String, Value>, unnamed: Option<Algorithm>) -> Result<Algorithm, KeyError> {
    let served = served_algorithms(text(members, "kty")?, text(members, "crv")?)?;
    match (text(members, "alg")?, served) {
        (None, [only]) => Ok(*only),
        (None, _) => unnamed
            .filter(|algorithm| served.contains(algorithm))
            .ok_or(KeyError::Jwk("an RSA key must name its alg, RS256 or PS256")),
        // The fully specified name of the same algorithm (RFC 9864 §2.2).
        (Some("Ed25519"), [Algorithm::EdDsa]) => Ok(Algorithm::EdDsa),
        (Some(name), _) => {
            Algorithm::from_name(name).filter(|algorithm| served.contains(algorithm)).ok_or(KeyError::AlgorithmMismatch)
        }
    }
}

/// Returns the algorithms that keys of this type and curve serve.
pub(super) fn served_algorithms(key_type: Option<&str>, curve: Option<&str>) -> Result<&'static [Algorithm], KeyError> {
    match (key_type, curve) {
        (Some("OKP"), Some("Ed25519")) => Ok(&[Algorithm::EdDsa]),
        (Some("EC"), Some("P-256")) => Ok(&[Algorithm::Es256]),
        (Some("RSA"), None) => Ok(&[Algorithm::Rs256, Algorithm::Ps256]),
        (Some("oct"), None) => Ok(&[Algorithm::Hs256]),
        (Some("OKP" | "EC"), _) => Err(KeyError::Jwk("curves are Ed25519 and P-256")),
        _ => Err(KeyError::Jwk("kty is OKP, EC, RSA or oct")),
    }
}

fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, KeyError> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(KeyError::Jwk("a member that is a text is none")),
    }
}
