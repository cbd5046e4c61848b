//! Proofs of possession (DPoP, RFC 9449).
//!
//! A bearer token serves anyone who has it. A token that is bound to a key serves only the holder
//! of that key: each request carries a proof, a small JWT that the key has signed.
//!
//! - [`ProofCheck`] says what a request demands of its proof, and verifies it.
//! - [`Proof`] is a proof that passed. Only a check makes one. It knows the key's [`Thumbprint`],
//!   to which tokens are bound, and the key under which a server remembers the proof.
//! - [`ProofPolicy`] is what a service demands of all proofs: its origin, and whether it needs nonces.
//! - [`Nonces`] makes and checks nonces (§8, §9). All nodes that share a signing key accept each
//!   other's, and no node stores any.
//! - [`ProofFault`] says why a proof is refused.
//!
//! This module keeps no state. After the check, a server must make sure that a proof is used once:
//! it reserves [`Proof::replay_key`] in a store until [`Proof::replay_until`]. A layer with a
//! [policy](crate::trust::PolicyBuilder::dpop) does all of that, and so does an
//! [`Authority`](crate::Authority) that gets a proof with a sign-in, a code or a refresh token.
//!
//! The example has the proof of RFC 9449 §7.1 and the token that it goes with:
//!
//! ```
//! use auth_layer::{
//!     clock::Timestamp,
//!     dpop::{Origin, ProofCheck, ProofFault},
//! };
//! use http::Method;
//!
//! let text = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZya\
//!     HgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSm\
//!     FqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaH\
//!     RtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsIml\
//!     hdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9\
//!     .2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";
//! let now = Timestamp::from_timestamp(1_562_262_618, 0).expect("a moment of 2019");
//! let origin: Origin = "https://resource.example.org".parse()?;
//! let bound_to = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I".parse()?;
//!
//! let check = ProofCheck::new(&Method::GET, &origin, "/protectedresource", now)
//!     .access_token("Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU")
//!     .bound_to(bound_to);
//! let proof = check.verify(text)?;
//! assert_eq!(proof.thumbprint(), bound_to);
//!
//! // The same proof for another request:
//! let check = ProofCheck::new(&Method::DELETE, &origin, "/protectedresource", now);
//! assert_eq!(check.verify(text).unwrap_err(), ProofFault::Method);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod check;
mod fault;
mod header;
mod nonce;
mod origin;
mod policy;
mod proof;

use std::time::Duration;

pub use self::{
    check::ProofCheck,
    fault::ProofFault,
    header::{NONCE_HEADER, PROOF_HEADER, proof_header},
    nonce::{Nonce, Nonces},
    origin::{InvalidOrigin, Origin},
    policy::ProofPolicy,
    proof::Proof,
};
use crate::keys::Algorithm;
pub use crate::keys::{InvalidThumbprint, Thumbprint};

/// The algorithms of proofs, for `algs` in a challenge (RFC 9449 §7.1) and
/// `dpop_signing_alg_values_supported` in the metadata (§5.1).
///
/// A proof of an Ed25519 key may also have the `alg` `Ed25519` (RFC 9864 §2.2).
pub const ALGORITHMS: [Algorithm; 2] = [Algorithm::Es256, Algorithm::EdDsa];

/// The largest proof, in bytes.
pub const MAX_PROOF_BYTES: usize = 8 * 1024;

/// How long before its `iat` a proof is accepted: the client's clock may be ahead.
const BEFORE: Duration = Duration::from_mins(1);

/// How long after its `iat` a proof is accepted.
const AFTER: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
