//! Keys: one that signs, any number that verify, each bound to one algorithm and one `kid`.
//!
//! A token's header never chooses anything. Its `kid` finds a key, and that key has one algorithm, with which its owner loaded it
//! (RFC 8725 §3.1). What is weak, mismatched or meant for another use is refused when it is loaded, with an error that says why.
//!
//! aws-lc signs and verifies, with keys that are parsed once, when they are loaded.
//! `rustls-pki-types` reads PEM. No setting of the process decides which library does it.

mod algorithm;
mod der;
mod error;
mod jwk;
mod keyring;
mod pem;
mod public;
mod seal;
mod signing;
mod verifying;

pub use algorithm::Algorithm;
pub use error::KeyError;
pub use keyring::{Keyring, VerifyingKeys};
pub use signing::SigningKey;
pub use verifying::VerifyingKey;
pub(crate) use verifying::is_kid;

#[cfg(test)]
mod tests;
