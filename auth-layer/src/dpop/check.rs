use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::Method;

use super::{
    Nonces, Origin, Proof, ProofFault, Thumbprint,
    proof::{ProofClaims, Unverified},
};
use crate::{clock::Timestamp, hash::sha256};

/// What a request demands of its proof (RFC 9449 §4.3).
///
/// [`access_token`](Self::access_token) and [`bound_to`](Self::bound_to) are for requests with an
/// access token. A token endpoint has neither: it binds new tokens to the proof's key.
///
/// ```
/// use auth_layer::{
///     clock::{Clock, SystemClock},
///     dpop::{Nonces, Origin, Proof, ProofCheck, ProofFault},
/// };
/// use http::Method;
///
/// /// Checks the proof of a token request. The server demands its own nonces.
/// fn check(origin: &Origin, nonces: &Nonces, text: &str) -> Result<Proof, ProofFault> {
///     let now = SystemClock::new().now();
///     ProofCheck::new(&Method::POST, origin, "/oauth/token", now).nonces(nonces).verify(text)
/// }
/// ```
#[derive(Clone, Copy)]
#[must_use]
pub struct ProofCheck<'a> {
    method: &'a Method,
    origin: &'a Origin,
    path: &'a str,
    now: Timestamp,
    access_token: Option<&'a str>,
    bound_to: Option<Thumbprint>,
    nonces: Option<&'a Nonces>,
}

impl<'a> ProofCheck<'a> {
    /// Demands a proof for this method, origin and path.
    ///
    /// The origin is the one that clients know the server by, usually the issuer's. The `Host`
    /// header must not decide: the client writes it. The path is that of the request, without
    /// query.
    pub fn new(method: &'a Method, origin: &'a Origin, path: &'a str, now: Timestamp) -> Self {
        Self { method, origin, path, now, access_token: None, bound_to: None, nonces: None }
    }

    /// Demands the hash of this access token (`ath`, RFC 9449 §4.2).
    pub fn access_token(self, access_token: &'a str) -> Self {
        Self { access_token: Some(access_token), ..self }
    }

    /// Demands a proof by this key, to which the presented token is bound (RFC 9449 §7.1).
    pub fn bound_to(self, key: Thumbprint) -> Self {
        Self { bound_to: Some(key), ..self }
    }

    /// Demands a nonce (RFC 9449 §8, §9). Without this call a proof's `nonce` is ignored.
    pub fn nonces(self, nonces: &'a Nonces) -> Self {
        Self { nonces: Some(nonces), ..self }
    }

    /// Verifies a proof. The signature comes last, for it costs the most.
    ///
    /// The caller then reserves [`Proof::replay_key`], so that the proof is used once.
    pub fn verify(&self, text: &str) -> Result<Proof, ProofFault> {
        let unverified = Unverified::read(text)?;
        let claims = unverified.claims()?;
        self.check_request(&claims)?;
        //= RFC 9449 §7.1
        if self.bound_to.is_some_and(|key| key != unverified.thumbprint) {
            return Err(ProofFault::Binding);
        }
        self.check_nonce(&claims)?;
        unverified.verify(&claims)
    }

    fn check_request(&self, claims: &ProofClaims<'_>) -> Result<(), ProofFault> {
        //= RFC 9449 §4.3
        if claims.htm != self.method.as_str() {
            return Err(ProofFault::Method);
        }
        if !self.origin.has(self.path, &claims.htu) {
            return Err(ProofFault::Target);
        }
        //= RFC 9449 §11.1
        if self.now < claims.first {
            return Err(ProofFault::NotYetValid);
        }
        if self.now > claims.last {
            return Err(ProofFault::Expired);
        }
        //= RFC 9449 §7
        if let Some(token) = self.access_token
            && !claims.ath.as_deref().is_some_and(|ath| is_hash(ath, token))
        {
            return Err(ProofFault::AccessToken);
        }
        Ok(())
    }

    /// Runs after all other claims: a client that gets a nonce should need no other repair.
    fn check_nonce(&self, claims: &ProofClaims<'_>) -> Result<(), ProofFault> {
        let Some(nonces) = self.nonces else { return Ok(()) };
        //= RFC 9449 §11.3
        let nonce = claims.nonce.as_deref().ok_or(ProofFault::Nonce)?;
        //= RFC 9449 §8
        if nonces.accepts(nonce, self.now) { Ok(()) } else { Err(ProofFault::Nonce) }
    }
}

/// Whether `ath` is the hash of `token`.
fn is_hash(ath: &str, token: &str) -> bool {
    let hash = URL_SAFE_NO_PAD.encode(sha256(&[token.as_bytes()]));
    verify_slices_are_equal(hash.as_bytes(), ath.as_bytes()).is_ok()
}

impl fmt::Debug for ProofCheck<'_> {
    /// Omits the access token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProofCheck")
            .field("method", self.method)
            .field("origin", self.origin)
            .field("path", &self.path)
            .field("now", &self.now)
            .field("bound_to", &self.bound_to)
            .finish_non_exhaustive()
    }
}
