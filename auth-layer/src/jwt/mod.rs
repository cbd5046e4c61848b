//! Compact JWTs (RFC 7515 §3.1, RFC 7519): reads untrusted tokens, verifies and writes tokens.
//!
//! Reading and verifying are separate. [`Unverified::read`] checks everything that is cheap, so
//! that garbage costs nothing further. Only [`Unverified::verify`] turns the result into claims.

mod foreign;
mod issue;
mod read;

pub use foreign::Typ;
pub(crate) use foreign::{ClaimRule, ForeignExpected, NamedKey, Opened};
pub(crate) use issue::{Content, assemble, signing_input};
pub(crate) use read::{Expected, MissingKey, Parts, Unverified, is_type};

use crate::kind::TokenKind;

/// Returns the `typ` of a kind: RFC 9068 §2.1 for access tokens, our own otherwise (RFC 8725
/// §3.11).
pub(crate) const fn typ(kind: TokenKind) -> &'static str {
    match kind {
        TokenKind::Access => "at+jwt",
        TokenKind::Refresh => "rt+jwt",
        TokenKind::SingleUse => "su+jwt",
    }
}
