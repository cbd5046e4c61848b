//! Reads and verifies tokens.

use std::{borrow::Cow, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{issue::encoded_header, typ};
use crate::{
    claims::{Audiences, Claims, CustomClaims, CustomPayload, RegisteredClaims, VerifiedSignature},
    clock::{Timestamp, later},
    fault::TokenFault,
    json::{Datum, fields},
    keys::{Keyring, VerifyingKey, VerifyingKeys, is_kid},
    kind::TokenKind,
    layer_context::LayerContext,
};

/// The header members that matter: three that are read, and those that are refused.
///
/// The refused ones would have us use a key of the sender's or do what we cannot (RFC 7515
/// §4.1.11).
pub(super) const HEADER_MEMBERS: [&str; 11] =
    ["typ", "kid", "alg", "crit", "jwk", "jku", "x5c", "x5u", "b64", "enc", "zip"];

/// What a token is read against.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected<'a> {
    pub(crate) kind: TokenKind,
    pub(crate) issuer: &'a str,
    /// The token must name one of these.
    pub(crate) audiences: &'a Audiences,
    pub(crate) leeway: Duration,
    pub(crate) max_bytes: usize,
    pub(crate) now: Timestamp,
}

/// A token that was read and not verified: it may say anything.
///
/// No `Debug`, because it holds the whole token.
pub(crate) struct Unverified {
    pub(crate) claims: RegisteredClaims,
    kind: TokenKind,
    audiences: u64,
    /// The decoded payload, if it has custom claims. They are parsed after the signature: until
    /// then they take no more memory than their text.
    payload: Option<Vec<u8>>,
    key: VerifyingKey,
    signed: SignedText,
}

/// What a signature covers, and the signature.
pub(super) struct SignedText {
    pub(super) signing_input: Box<str>,
    pub(super) signature: Vec<u8>,
}

impl SignedText {
    /// Returns its size in memory, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.signing_input.len() + self.signature.len()
    }

    /// Fails unless the signature is this key's, with that key's one algorithm.
    pub(super) fn check(&self, key: &VerifyingKey) -> Result<(), TokenFault> {
        let right = key.verify(self.signing_input.as_bytes(), &self.signature);
        right.then_some(()).ok_or(TokenFault::Signature)
    }
}

impl Unverified {
    /// Reads a token and checks everything that needs neither its record nor its signature.
    pub(crate) fn read(token: &str, keys: &VerifyingKeys, expected: &Expected<'_>) -> Result<Self, TokenFault> {
        if token.len() > expected.max_bytes {
            return Err(TokenFault::Oversized);
        }
        let Parts { signing_input, header, payload, signature } = Parts::split(token).ok_or(TokenFault::Malformed)?;
        let key = find_key(header, keys, expected.kind)?;
        let payload = decode(payload)?;
        let (claims, has_custom) = RegisteredClaims::read(&payload)?;
        check_claims(&claims, expected)?;
        let signature = decode(signature)?;
        let payload = has_custom.then_some(payload);
        let key = key.clone();
        Ok(Self {
            claims,
            kind: expected.kind,
            audiences: expected.audiences.number(),
            payload,
            key,
            signed: SignedText { signing_input: signing_input.into(), signature },
        })
    }

    /// Returns its size in memory, in bytes, roughly.
    pub(crate) fn bytes(&self) -> usize {
        let payload = self.payload.as_ref().map_or(0, Vec::len);
        size_of::<Self>() + self.signed.bytes() + payload + self.claims.bytes()
    }

    /// Verifies the signature with the named key and that key's one algorithm, and returns the
    /// claims.
    ///
    /// `key_set` is the number of the key set in which the key was found, `issuer` that of the
    /// issuer, and `layer` the one that checks the token.
    pub(crate) fn verify(self, key_set: u64, issuer: u64, layer: LayerContext) -> Result<Claims, TokenFault> {
        self.signed.check(&self.key)?;
        let signature = VerifiedSignature { key: self.key, key_set, issuer };
        Ok(self.claims.into_claims(self.kind, CustomPayload::new(self.payload), signature, self.audiences, layer))
    }

    /// Fails unless the custom claims read as a `C`. Does not verify the signature.
    pub(crate) fn check_custom<C: CustomClaims>(&self) -> Result<(), TokenFault> {
        CustomPayload::new(self.payload.clone()).read::<C>().map(drop).ok_or(TokenFault::CustomClaims)
    }

    /// Verifies the signature of a token without custom claims, and returns the claims.
    ///
    /// `own` are the keys of the caller, who may have signed the token. `is_known` tells whether
    /// the key is known to have signed the whole token.
    pub(crate) fn verify_registered(
        self,
        own: &Keyring,
        is_known: impl FnOnce(&VerifyingKey) -> bool,
    ) -> Result<RegisteredClaims, TokenFault> {
        let SignedText { signing_input, signature } = &self.signed;
        if !is_known(&self.key) && !own.has_signed(&self.key, signing_input.as_bytes(), signature) {
            self.signed.check(&self.key)?;
        }
        Ok(self.claims)
    }
}

/// The parts of a token in the compact serialisation (RFC 7515 §7.1), not decoded.
pub(crate) struct Parts<'t> {
    /// Header and payload, which the signature covers.
    pub(crate) signing_input: &'t str,
    pub(crate) header: &'t str,
    pub(crate) payload: &'t str,
    pub(crate) signature: &'t str,
}

impl<'t> Parts<'t> {
    /// Splits a token; `None` if it has not three parts or an empty signature.
    pub(crate) fn split(token: &'t str) -> Option<Self> {
        let (signing_input, signature) = token.rsplit_once('.')?;
        let (header, payload) = signing_input.split_once('.')?;
        let is_whole = !payload.contains('.') && !signature.is_empty();
        is_whole.then_some(Self { signing_input, header, payload, signature })
    }
}

/// Whether a `typ` is this media type, with or without `application/` (RFC 7515 §4.1.9).
pub(crate) fn is_type(found: &str, expected: &str) -> bool {
    let short = match found.split_at_checked("application/".len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case("application/") => rest,
        _ => found,
    };
    short.eq_ignore_ascii_case(expected)
}

/// This engine refuses padding and trailing bits, so each value has exactly one text.
pub(super) fn decode(part: &str) -> Result<Vec<u8>, TokenFault> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenFault::Malformed)
}

/// An unverified token that is well formed, current and meant for us, but names a key that is not
/// in the ring.
pub(crate) struct MissingKey {
    pub(crate) kind: TokenKind,
    pub(crate) kid: String,
    pub(crate) claims: RegisteredClaims,
}

impl MissingKey {
    pub(crate) fn read(token: &str, keys: &VerifyingKeys, expected: &Expected<'_>) -> Option<Self> {
        if token.len() > expected.max_bytes {
            return None;
        }
        let (signing_input, _) = token.rsplit_once('.')?;
        let (header, payload) = signing_input.split_once('.')?;
        let header = decode(header).ok()?;
        let NamedKey { kid, .. } = named_key(&header, expected.kind).ok()?;
        if keys.get(&kid).is_some() || !is_kid(&kid) {
            return None;
        }
        let (claims, _) = RegisteredClaims::read(&decode(payload).ok()?).ok()?;
        check_claims(&claims, expected).ok()?;
        Some(Self { kind: expected.kind, kid: kid.into_owned(), claims })
    }
}

/// Returns the key that a header names, which is in base64url.
fn find_key<'k>(header: &str, keys: &'k VerifyingKeys, kind: TokenKind) -> Result<&'k VerifyingKey, TokenFault> {
    // Nearly every header is one that we would write. There are few keys, so no index is needed.
    match keys.iter().find(|key| encoded_header(key, kind) == header) {
        Some(key) => Ok(key),
        None => read_header(&decode(header)?, keys, kind),
    }
}

fn read_header<'k>(header: &[u8], keys: &'k VerifyingKeys, kind: TokenKind) -> Result<&'k VerifyingKey, TokenFault> {
    let NamedKey { kid, alg } = named_key(header, kind)?;
    let key = keys.get(&kid).ok_or(TokenFault::Key)?;
    // The key decides the algorithm; the header must merely agree (RFC 8725 §3.1).
    if alg.as_deref() == Some(key.algorithm().as_str()) { Ok(key) } else { Err(TokenFault::Key) }
}

/// The key and the algorithm that a header names.
struct NamedKey<'t> {
    kid: Cow<'t, str>,
    alg: Option<Cow<'t, str>>,
}

/// Reads the header of a token of this kind.
fn named_key(header: &[u8], kind: TokenKind) -> Result<NamedKey<'_>, TokenFault> {
    let header = fields(header, &HEADER_MEMBERS).ok_or(TokenFault::Malformed)?;
    let [typ_value, kid_value, alg_value, refused @ ..] = header.values;
    if refused.iter().any(Option::is_some) {
        return Err(TokenFault::Header);
    }
    let found = typ_value.and_then(Datum::text).ok_or(TokenFault::Type)?;
    if !is_type(&found, typ(kind)) {
        return Err(TokenFault::Type);
    }
    let key_id = kid_value.and_then(Datum::text).ok_or(TokenFault::Key)?;
    Ok(NamedKey { kid: key_id, alg: alg_value.and_then(Datum::text) })
}

fn check_claims(claims: &RegisteredClaims, expected: &Expected<'_>) -> Result<(), TokenFault> {
    let latest = later(expected.now, expected.leeway);
    if claims.iss != expected.issuer {
        return Err(TokenFault::Issuer);
    }
    if !expected.audiences.include_any(&claims.aud) {
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
