//! Reading and verifying.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

use super::{TokenFault, typ};
use crate::{
    claims::{ClaimSet, CustomClaims, RegisteredClaims, members},
    clock::{Timestamp, later},
    keys::{Keyring, VerifyingKey, is_kid},
    store::TokenKind,
};

/// Header members that would have us fetch or trust a key of the sender's, or do what we cannot (RFC 7515 §4.1.11).
const REFUSED_HEADERS: [&str; 8] = ["crit", "jwk", "jku", "x5c", "x5u", "b64", "enc", "zip"];

/// What a token is read against.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected<'a> {
    pub(crate) kind: TokenKind,
    pub(crate) issuer: &'a str,
    pub(crate) audience: &'a str,
    pub(crate) leeway: Duration,
    pub(crate) max_bytes: usize,
    pub(crate) now: Timestamp,
}

/// A token that has been read and that nobody vouches for yet: it may say anything. It has no `Debug`, since it is the whole token.
pub(crate) struct Unverified {
    pub(crate) claims: RegisteredClaims,
    custom: Map<String, Value>,
    key: VerifyingKey,
    signing_input: Box<str>,
    signature: Vec<u8>,
}

impl Unverified {
    /// Reads a token and checks all that can be checked without its record and its signature.
    pub(crate) fn read(token: &str, keys: &Keyring, expected: &Expected<'_>) -> Result<Self, TokenFault> {
        if token.len() > expected.max_bytes {
            return Err(TokenFault::Oversized);
        }
        let (signing_input, signature) = token.rsplit_once('.').ok_or(TokenFault::Malformed)?;
        let (header, payload) = signing_input.split_once('.').ok_or(TokenFault::Malformed)?;
        if payload.contains('.') || signature.is_empty() {
            return Err(TokenFault::Malformed);
        }
        let key = read_header(&object(header)?, keys, expected.kind)?;
        let mut custom = object(payload)?;
        let claims = RegisteredClaims::take(&mut custom).ok_or(TokenFault::Claims)?;
        check_claims(&claims, expected)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| TokenFault::Malformed)?;
        Ok(Self { claims, custom, key: key.clone(), signing_input: signing_input.into(), signature })
    }

    /// The claims of a token whose signature is right: with the key that it named, and that key's one algorithm.
    pub(crate) fn verify<C: CustomClaims>(self) -> Result<ClaimSet<C>, TokenFault> {
        self.check_signature()?;
        self.claims.with_custom(self.custom).ok_or(TokenFault::Claims)
    }

    /// The same, of a token in which the application has no claims of its own.
    pub(crate) fn verify_registered(self) -> Result<RegisteredClaims, TokenFault> {
        self.check_signature()?;
        Ok(self.claims)
    }

    fn check_signature(&self) -> Result<(), TokenFault> {
        let right = self.key.verify(self.signing_input.as_bytes(), &self.signature);
        right.then_some(()).ok_or(TokenFault::Signature)
    }
}

/// A token that is well formed, current and meant for us, but names a key that the ring does not have. Nobody vouches for it.
pub(crate) struct MissingKey {
    pub(crate) kind: TokenKind,
    pub(crate) kid: String,
    pub(crate) claims: RegisteredClaims,
}

impl MissingKey {
    pub(crate) fn read(token: &str, keys: &Keyring, expected: &Expected<'_>) -> Option<Self> {
        if token.len() > expected.max_bytes {
            return None;
        }
        let (signing_input, _) = token.rsplit_once('.')?;
        let (header, payload) = signing_input.split_once('.')?;
        let header = object(header).ok()?;
        let kid = named_key(&header, expected.kind).ok()?;
        if keys.verifier(kid).is_some() || !is_kid(kid) {
            return None;
        }
        let claims = RegisteredClaims::take(&mut object(payload).ok()?)?;
        check_claims(&claims, expected).ok()?;
        Some(Self { kind: expected.kind, kid: kid.to_owned(), claims })
    }
}

fn object(part: &str) -> Result<Map<String, Value>, TokenFault> {
    // This engine refuses padding and trailing bits: each value has one text.
    let json = URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenFault::Malformed)?;
    members(&json).ok_or(TokenFault::Malformed)
}

fn read_header<'k>(
    header: &Map<String, Value>,
    keys: &'k Keyring,
    kind: TokenKind,
) -> Result<&'k VerifyingKey, TokenFault> {
    let key = keys.verifier(named_key(header, kind)?).ok_or(TokenFault::Key)?;
    // The key decides the algorithm; the header must merely agree (RFC 8725 §3.1).
    let alg = header.get("alg").and_then(Value::as_str);
    if alg == Some(key.algorithm().as_str()) { Ok(key) } else { Err(TokenFault::Key) }
}

/// The `kid` of a token of this kind.
fn named_key(header: &Map<String, Value>, kind: TokenKind) -> Result<&str, TokenFault> {
    if REFUSED_HEADERS.iter().any(|name| header.contains_key(*name)) {
        return Err(TokenFault::Header);
    }
    let text = |name| header.get(name).and_then(Value::as_str);
    // RFC 7515 §4.1.9: a media type, its `application/` left out or not.
    let found = text("typ").ok_or(TokenFault::Type)?;
    let short = match found.split_at_checked("application/".len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case("application/") => rest,
        _ => found,
    };
    if !short.eq_ignore_ascii_case(typ(kind)) {
        return Err(TokenFault::Type);
    }
    text("kid").ok_or(TokenFault::Key)
}

fn check_claims(claims: &RegisteredClaims, expected: &Expected<'_>) -> Result<(), TokenFault> {
    let latest = later(expected.now, expected.leeway);
    if claims.iss != expected.issuer {
        return Err(TokenFault::Issuer);
    }
    if !claims.aud.iter().any(|aud| aud == expected.audience) {
        return Err(TokenFault::Audience);
    }
    if expected.now >= later(claims.exp, expected.leeway) {
        return Err(TokenFault::Expired);
    }
    if claims.iat > latest || claims.nbf.is_some_and(|nbf| nbf > latest) {
        return Err(TokenFault::NotYetValid);
    }
    Ok(())
}
