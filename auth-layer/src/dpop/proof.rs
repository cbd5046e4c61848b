//! Reads and verifies proofs.

use std::{borrow::Cow, fmt, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{AFTER, ALGORITHMS, BEFORE, MAX_PROOF_BYTES, ProofFault, Thumbprint};
use crate::{
    clock::{Timestamp, earlier, later},
    hash::sha256,
    json::{Datum, Fields, fields, member_number},
    jwt::{Parts, is_type},
    keys::{Algorithm, KeyError, ProofKey},
};

/// The header members that matter: three that are read, and those that are refused.
///
/// The refused ones name the key in another way or ask for what is not supported (RFC 7515
/// §4.1.11).
const HEADER: [&str; 10] = ["typ", "alg", "jwk", "crit", "jku", "x5c", "x5u", "b64", "enc", "zip"];

/// The claims that matter (RFC 9449 §4.2). Any other is ignored.
const CLAIMS: [&str; 8] = ["jti", "htm", "htu", "iat", "exp", "nbf", "ath", "nonce"];

/// The longest `jti`, in characters (RFC 9449 §11.1).
const LONGEST_JTI: usize = 256;

/// A proof that passed a [`ProofCheck`](super::ProofCheck), except that it may have been used
/// before.
///
/// ```
/// use auth_layer::dpop::{Proof, ProofFault};
///
/// /// Lets a proof pass once. `reserve` tells whether the key was free until this moment.
/// async fn once(
///     proof: &Proof,
///     reserve: impl AsyncFn([u8; 32], auth_layer::clock::Timestamp) -> bool,
/// ) -> Result<(), ProofFault> {
///     let is_first = reserve(proof.replay_key(), proof.replay_until()).await;
///     if is_first { Ok(()) } else { Err(ProofFault::Replayed) }
/// }
/// ```
#[derive(Clone)]
pub struct Proof {
    thumbprint: Thumbprint,
    replay_key: [u8; 32],
    replay_until: Timestamp,
}

impl Proof {
    /// Returns the thumbprint of the key that signed the proof.
    pub fn thumbprint(&self) -> Thumbprint {
        self.thumbprint
    }

    /// Returns the hash under which a server remembers that the proof was used (RFC 9449 §11.1).
    ///
    /// It covers the key and the `jti`. Clients with other keys cannot use up this one's.
    pub fn replay_key(&self) -> [u8; 32] {
        self.replay_key
    }

    /// Returns the first moment at which no server with the right time accepts the proof.
    ///
    /// A store must remember the [`replay_key`](Self::replay_key) until then.
    pub fn replay_until(&self) -> Timestamp {
        self.replay_until
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proof").field("thumbprint", &self.thumbprint).finish_non_exhaustive()
    }
}

/// A proof that was read and not verified: it may say anything. No `Debug`, for it holds the nonce.
pub(super) struct Unverified<'t> {
    pub(super) key: ProofKey,
    pub(super) thumbprint: Thumbprint,
    signing_input: &'t str,
    signature: Vec<u8>,
    payload: Vec<u8>,
}

impl<'t> Unverified<'t> {
    /// Reads the form and the header. The claims are read by [`claims`](Self::claims).
    pub(super) fn read(text: &'t str) -> Result<Self, ProofFault> {
        if text.len() > MAX_PROOF_BYTES {
            return Err(ProofFault::Oversized);
        }
        //= RFC 9449 §4.3
        let Parts { signing_input, header, payload, signature } = Parts::split(text).ok_or(ProofFault::Malformed)?;
        let key = read_header(&decode(header)?)?;
        let thumbprint = key.thumbprint();
        Ok(Self { key, thumbprint, signing_input, signature: decode(signature)?, payload: decode(payload)? })
    }

    /// Reads the claims.
    pub(super) fn claims(&self) -> Result<ProofClaims<'_>, ProofFault> {
        ProofClaims::read(&self.payload)
    }

    /// Verifies the signature with the key of the header and that key's one algorithm.
    pub(super) fn verify(&self, claims: &ProofClaims<'_>) -> Result<Proof, ProofFault> {
        //= RFC 9449 §4.3
        match self.key.verify(self.signing_input.as_bytes(), &self.signature) {
            Ok(true) => {}
            Ok(false) => return Err(ProofFault::Signature),
            Err(_) => return Err(ProofFault::Key),
        }
        Ok(Proof {
            thumbprint: self.thumbprint,
            replay_key: replay_key(&self.thumbprint, &claims.jti),
            // `iat` has whole seconds, and the proof is accepted in the last one.
            replay_until: later(claims.last, Duration::from_secs(1)),
        })
    }
}

fn read_header(header: &[u8]) -> Result<ProofKey, ProofFault> {
    let Fields { values: [typ, alg, jwk, refused @ ..], .. } = fields(header, &HEADER).ok_or(ProofFault::Malformed)?;
    if refused.iter().any(Option::is_some) {
        return Err(ProofFault::Header);
    }
    //= RFC 9449 §11.5
    if !typ.and_then(Datum::text).is_some_and(|typ| is_type(&typ, "dpop+jwt")) {
        return Err(ProofFault::Type);
    }
    //= RFC 9449 §11.6
    let algorithm = alg.and_then(Datum::text).and_then(|name| match &*name {
        // Its fully specified name (RFC 9864 §2.2), which some clients use for each Ed25519 key.
        "Ed25519" => Some(Algorithm::EdDsa),
        name => Algorithm::from_name(name),
    });
    let algorithm = algorithm.filter(|algorithm| ALGORITHMS.contains(algorithm)).ok_or(ProofFault::Algorithm)?;
    if jwk.is_none() {
        return Err(ProofFault::Key);
    }
    //= RFC 9449 §4.2
    let key = ProofKey::from_header(header).map_err(|error| match error {
        KeyError::PrivateKey => ProofFault::PrivateKey,
        _ => ProofFault::Key,
    })?;
    if key.algorithm() == algorithm { Ok(key) } else { Err(ProofFault::Algorithm) }
}

/// The claims of a proof.
pub(super) struct ProofClaims<'t> {
    pub(super) htm: Cow<'t, str>,
    pub(super) htu: Cow<'t, str>,
    pub(super) ath: Option<Cow<'t, str>>,
    pub(super) nonce: Option<Cow<'t, str>>,
    /// The first and the last moment at which the proof is accepted.
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    jti: Cow<'t, str>,
}

impl<'t> ProofClaims<'t> {
    fn read(payload: &'t [u8]) -> Result<Self, ProofFault> {
        let Fields { values, .. } = fields(payload, &CLAIMS).ok_or(ProofFault::Malformed)?;
        let [jti, htm, htu, iat, exp, nbf, ath, nonce] = values;
        //= RFC 9449 §4.3
        let jti = text("jti", jti)?.filter(|jti| is_jti(jti)).ok_or(ProofFault::Claim("jti"))?;
        let iat = moment(payload, "iat", iat.as_ref())?.ok_or(ProofFault::Claim("iat"))?;
        // RFC 7519 §4.1.4 and §4.1.5 bind proofs too.
        let (exp, nbf) = (moment(payload, "exp", exp.as_ref())?, moment(payload, "nbf", nbf.as_ref())?);
        Ok(Self {
            htm: text("htm", htm)?.ok_or(ProofFault::Claim("htm"))?,
            htu: text("htu", htu)?.ok_or(ProofFault::Claim("htu"))?,
            ath: text("ath", ath)?,
            nonce: text("nonce", nonce)?,
            first: earlier(nbf.map_or(iat, |nbf| nbf.max(iat)), BEFORE),
            last: later(exp.map_or(iat, |exp| exp.min(iat)), AFTER),
            jti,
        })
    }
}

/// `nth` counts no further than needed.
fn is_jti(text: &str) -> bool {
    !text.is_empty() && text.chars().nth(LONGEST_JTI).is_none()
}

fn text<'t>(name: &'static str, value: Option<Datum<'t>>) -> Result<Option<Cow<'t, str>>, ProofFault> {
    value.map(|value| value.text().ok_or(ProofFault::Claim(name))).transpose()
}

/// Reads a NumericDate (RFC 7519 §2). A fraction is dropped.
fn moment(payload: &[u8], name: &'static str, value: Option<&Datum<'_>>) -> Result<Option<Timestamp>, ProofFault> {
    let seconds = match value {
        None => return Ok(None),
        Some(Datum::Integer(seconds)) => Some(*seconds),
        // The cast saturates, and no moment is that far.
        #[expect(clippy::cast_possible_truncation, reason = "a fraction is dropped")]
        Some(Datum::Other) => member_number(payload, name).map(|seconds| seconds.floor() as i64),
        Some(_) => None,
    };
    let moment = seconds.and_then(|seconds| Timestamp::from_timestamp(seconds, 0));
    moment.map(Some).ok_or(ProofFault::Claim(name))
}

/// Decodes canonical base64url: each value has exactly one text.
fn decode(part: &str) -> Result<Vec<u8>, ProofFault> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| ProofFault::Malformed)
}

fn replay_key(thumbprint: &Thumbprint, jti: &str) -> [u8; 32] {
    // Label and thumbprint have a fixed length, so no two pairs give the same text.
    sha256(&[b"auth-layer DPoP proof\0", thumbprint.as_bytes(), jti.as_bytes()])
}
