//! Reads and verifies tokens of other issuers.

use std::time::Duration;

use super::{
    Parts, is_type,
    read::{HEADER_MEMBERS, SignedText, decode},
};
use crate::{
    claims::{Audiences, Claims, CustomPayload, DenialKeys, ForeignClaims, LogoutClaims, VerifiedSignature},
    clock::{Timestamp, later},
    fault::TokenFault,
    json::{Datum, fields, has_object},
    keys::{Algorithm, VerifyingKey, VerifyingKeys},
    layer_context::LayerContext,
};

/// The event that makes a token a logout token (OpenID Connect Back-Channel Logout 1.0 §2.4).
const LOGOUT_EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// The `typ` of the tokens that an issuer mints (RFC 8725 §3.11).
///
/// ```
/// use auth_layer::trust::{Issuer, Typ};
///
/// # fn example(keys: auth_layer::keys::VerifyingKeys) {
/// // Keycloak says `JWT` for access tokens and for ID tokens, so a claim must tell them apart.
/// let issuer = Issuer::with_keys("https://kc.example/realms/main", keys)
///     .typ(Typ::AnyJwt)
///     .claim("typ", "Bearer")
///     .audience("orders");
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Typ {
    /// `at+jwt` alone: access tokens by RFC 9068 §2.1.
    #[default]
    AccessToken,
    /// `at+jwt`, `JWT`, or none.
    ///
    /// ID tokens have these too, so the audience or a [claim](crate::trust::Issuer::claim) must keep
    /// them out (RFC 8725 §3.12). Any other `typ` is refused, such as `logout+jwt`, `dpop+jwt` and
    /// `secevent+jwt`: who mints it says that the token is for something else.
    AnyJwt,
}

impl Typ {
    fn takes(self, found: Option<&str>) -> bool {
        match (self, found) {
            (Self::AccessToken, Some(found)) => is_type(found, "at+jwt"),
            (Self::AnyJwt, Some(found)) => is_type(found, "at+jwt") || is_type(found, "jwt"),
            (Self::AccessToken, None) => false,
            (Self::AnyJwt, None) => true,
        }
    }

    /// Whether an issuer with this setting may mint logout tokens with such a `typ`.
    ///
    /// `logout+jwt` is recommended (OpenID Connect Back-Channel Logout 1.0 §2.4). Older issuers say
    /// `JWT`. Their logout tokens differ from others by the claim `events`.
    fn takes_logout(self, found: Option<&str>) -> bool {
        let is_plain = found.is_none_or(|found| is_type(found, "jwt"));
        found.is_some_and(|found| is_type(found, "logout+jwt")) || (self == Self::AnyJwt && is_plain)
    }
}

/// A claim that an issuer's access tokens have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClaimRule {
    pub(crate) name: String,
    /// Any one is enough.
    pub(crate) values: Vec<String>,
}

impl ClaimRule {
    /// Fails unless the claim is one of the texts, or an array of texts with one of them.
    fn check(&self, payload: &[u8]) -> Result<(), TokenFault> {
        let is_wanted = |found: &str| self.values.iter().any(|value| value == found);
        let is_met = match member_of(payload, &self.name) {
            Some(Datum::Text(text)) => is_wanted(&text),
            Some(Datum::Texts(texts)) => texts.iter().any(|text| is_wanted(text)),
            Some(Datum::Integer(_) | Datum::Other) | None => false,
        };
        if is_met { Ok(()) } else { Err(TokenFault::ClaimRule) }
    }
}

/// Reads one member of a payload.
fn member_of<'t>(payload: &'t [u8], name: &str) -> Option<Datum<'t>> {
    let [value] = fields(payload, &[name])?.values;
    value
}

/// What another issuer's token is read against.
#[derive(Clone, Copy)]
pub(crate) struct ForeignExpected<'a> {
    pub(crate) typ: Typ,
    /// The token must name one of these; any token does if they are empty.
    pub(crate) audiences: &'a Audiences,
    pub(crate) rules: &'a [ClaimRule],
    /// How long a token may live.
    pub(crate) max_life: Duration,
    pub(crate) leeway: Duration,
    pub(crate) now: Timestamp,
}

/// A token that was taken apart and not verified: it may say anything.
///
/// No `Debug`, because it holds the whole token.
pub(crate) struct Opened {
    typ: Option<String>,
    kid: Option<String>,
    /// `None` if the algorithm is unknown.
    algorithm: Option<Algorithm>,
    payload: Vec<u8>,
    signed: SignedText,
}

/// The key that a token names, in a set.
pub(crate) enum NamedKey {
    Found(VerifyingKey),
    /// The `kid` is not in the set.
    UnknownKid,
    /// The key with this `kid` has another algorithm, or there is no `kid` and not one key that fits.
    NoneFits,
}

impl Opened {
    /// Takes a token apart.
    pub(crate) fn read(token: &str, max_bytes: usize) -> Result<Self, TokenFault> {
        if token.len() > max_bytes {
            return Err(TokenFault::Oversized);
        }
        let Parts { signing_input, header, payload, signature } = Parts::split(token).ok_or(TokenFault::Malformed)?;
        let header = decode(header)?;
        let [typ, kid, alg, refused @ ..] = fields(&header, &HEADER_MEMBERS).ok_or(TokenFault::Malformed)?.values;
        if refused.iter().any(Option::is_some) {
            return Err(TokenFault::Header);
        }
        let text = |value: Option<Datum<'_>>, fault| match value {
            Some(value) => value.text().map(|text| Some(text.into_owned())).ok_or(fault),
            None => Ok(None),
        };
        let algorithm = text(alg, TokenFault::Key)?;
        Ok(Self {
            typ: text(typ, TokenFault::Type)?,
            kid: text(kid, TokenFault::Key)?,
            algorithm: algorithm.and_then(|name| Algorithm::from_name(&name)),
            payload: decode(payload)?,
            signed: SignedText { signing_input: signing_input.into(), signature: decode(signature)? },
        })
    }

    /// Returns the issuer that the token names.
    pub(crate) fn issuer(&self) -> Result<String, TokenFault> {
        let [issuer] = fields(&self.payload, &["iss"]).ok_or(TokenFault::Malformed)?.values;
        issuer.and_then(Datum::text).map(Into::into).ok_or(TokenFault::Claim("iss"))
    }

    /// Returns its size in memory, in bytes, roughly.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + self.signed.bytes() + self.payload.len()
    }

    /// Returns the key that the token names.
    ///
    /// The key decides the algorithm; the header must merely agree (RFC 8725 §3.1). A token without
    /// a `kid` gets the only key for its algorithm: a key is never tried out.
    pub(crate) fn key(&self, keys: &VerifyingKeys) -> NamedKey {
        let Some(algorithm) = self.algorithm else { return NamedKey::NoneFits };
        let found = match &self.kid {
            Some(kid) => match keys.get(kid) {
                None => return NamedKey::UnknownKid,
                Some(key) => (key.algorithm() == algorithm).then_some(key),
            },
            None if keys.is_empty() => return NamedKey::UnknownKid,
            None => keys.only_one_for(algorithm),
        };
        found.cloned().map_or(NamedKey::NoneFits, NamedKey::Found)
    }

    /// Reads the claims of an access token, and checks everything but its signature and denials.
    pub(crate) fn access_claims(&self, expected: &ForeignExpected<'_>) -> Result<ForeignClaims, TokenFault> {
        if !expected.typ.takes(self.typ.as_deref()) {
            return Err(TokenFault::Type);
        }
        let claims = self.claims()?;
        let ForeignClaims { set, nbf } = &claims;
        if !expected.audiences.is_empty() && !expected.audiences.include_any(&set.aud) {
            return Err(TokenFault::Audience);
        }
        for rule in expected.rules {
            rule.check(&self.payload)?;
        }
        check_times(set.exp, set.iat, *nbf, expected)?;
        Ok(claims)
    }

    /// Reads the claims of a token of any type.
    pub(crate) fn claims(&self) -> Result<ForeignClaims, TokenFault> {
        ForeignClaims::read(&self.payload)
    }

    /// Reads the claims of a logout token (OpenID Connect Back-Channel Logout 1.0 §2.6), and checks
    /// everything but its signature, and whether it was used before.
    pub(crate) fn logout_claims(&self, expected: &ForeignExpected<'_>) -> Result<LogoutClaims, TokenFault> {
        if !expected.typ.takes_logout(self.typ.as_deref()) {
            return Err(TokenFault::Type);
        }
        // Another token says who logged in, this one who is to be logged out.
        if member_of(&self.payload, "nonce").is_some() {
            return Err(TokenFault::Claim("nonce"));
        }
        if !has_object(&self.payload, "events", LOGOUT_EVENT) {
            return Err(TokenFault::Claim("events"));
        }
        let claims = LogoutClaims::read(&self.payload)?;
        if !expected.audiences.include_any(&claims.aud) {
            return Err(TokenFault::Audience);
        }
        check_times(claims.exp, Some(claims.issued_at), None, expected)?;
        Ok(claims)
    }

    /// Fails unless the signature is this key's.
    pub(crate) fn verify(&self, key: &VerifyingKey) -> Result<(), TokenFault> {
        self.signed.check(key)
    }

    /// Returns what a token with these claims is denied by.
    pub(crate) fn denial_keys(&self, claims: &ForeignClaims) -> DenialKeys {
        DenialKeys::of(&claims.set, &self.signed.signing_input)
    }

    /// Verifies the signature and returns the claims.
    pub(crate) fn into_claims(
        self,
        claims: ForeignClaims,
        signature: VerifiedSignature,
        audiences: u64,
        layer: LayerContext,
    ) -> Result<Claims, TokenFault> {
        self.verify(&signature.key)?;
        let denial_keys = self.denial_keys(&claims);
        Ok(claims.into_claims(denial_keys, CustomPayload::new(Some(self.payload)), signature, audiences, layer))
    }
}

/// Judges the times of a token that is accepted until `leeway` after its expiry.
///
/// A token that lives longer than its issuer may give would outlive the denial of its subject. Its
/// whole life counts, or it would be accepted towards its end.
fn check_times(
    exp: Timestamp,
    iat: Option<Timestamp>,
    nbf: Option<Timestamp>,
    expected: &ForeignExpected<'_>,
) -> Result<(), TokenFault> {
    let ForeignExpected { leeway, max_life, now, .. } = *expected;
    let latest = later(now, leeway);
    if now >= later(exp, leeway) {
        return Err(TokenFault::Expired);
    }
    if iat.max(nbf).is_some_and(|from| from > latest) {
        return Err(TokenFault::NotYetValid);
    }
    let lives_too_long = exp > later(latest, max_life) || iat.is_some_and(|iat| exp > later(iat, max_life));
    if lives_too_long { Err(TokenFault::Lifetime) } else { Ok(()) }
}
