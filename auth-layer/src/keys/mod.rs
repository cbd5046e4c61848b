//! Keys: one that signs, any number that verify, each with one algorithm and one `kid`.
//!
//! A token's header chooses nothing. Its `kid` finds a key, and the key's owner gave it one
//! algorithm when loading it (RFC 8725 §3.1). A weak, mismatched or misused key is refused when it
//! is loaded, with an error that says why.
//!
//! aws-lc signs and verifies with keys that are parsed once. `rustls-pki-types` reads PEM. No
//! setting of the process changes that.

mod algorithm;
mod der;
mod error;
mod jwk;
mod jwk_set;
mod keyring;
mod pem;
mod proof_key;
mod public;
mod seal;
mod signing;
mod thumbprint;
mod verifying;

pub use algorithm::Algorithm;
pub use error::KeyError;
pub(crate) use jwk_set::read_jwk_set;
pub use keyring::{Keyring, VerifyingKeys};
pub(crate) use proof_key::ProofKey;
pub use signing::SigningKey;
pub use thumbprint::{InvalidThumbprint, Thumbprint};
pub use verifying::VerifyingKey;
pub(crate) use verifying::{hmac_key, is_kid};

#[cfg(test)]
mod tests;
