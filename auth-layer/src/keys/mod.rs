//! Keys: one that signs, any number that verify, each bound to one algorithm and one `kid`.
//!
//! A token's header never chooses anything. Its `kid` finds a key, and that key has one algorithm, with which its owner loaded it
//! (RFC 8725 §3.1). What is weak, mismatched or meant for another use is refused when it is loaded, with an error that says why.
//!
//! Signing and verifying are aws-lc's, on keys that were parsed when they were loaded.
//! `rustls-pki-types` reads the PEM of private keys, `jsonwebtoken` that of public ones. Its
//! process-wide crypto provider, which panics when another crate of the program switches a second
//! backend on, is never asked for anything. This workspace builds it with no backend at all, so
//! that asking it would panic in every test.

mod algorithm;
mod der;
mod error;
mod jwk;
mod keyring;
mod pem;
mod seal;
mod signing;
mod verifying;

pub use algorithm::Algorithm;
pub use error::KeyError;
pub use keyring::Keyring;
pub use signing::SigningKey;
pub use verifying::VerifyingKey;
pub(crate) use verifying::is_kid;

#[cfg(test)]
mod tests;
