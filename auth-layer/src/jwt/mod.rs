//! Compact JWTs (RFC 7515 §3.1, RFC 7519): reading one that nobody vouches for, verifying it, writing one.
//!
//! The three are apart on purpose. [`Unverified::read`] looks at everything that costs nothing, so that rubbish costs
//! nothing further; only [`Unverified::verify`] turns what it read into claims.

mod issue;
mod read;

pub(crate) use issue::{Content, assemble, signing_input};
pub(crate) use read::{Expected, MissingKey, Unverified};

use crate::kind::TokenKind;

/// The `typ` of each kind: RFC 9068 §2.1 for access tokens, our own for the others (RFC 8725 §3.11).
pub(crate) const fn typ(kind: TokenKind) -> &'static str {
    match kind {
        TokenKind::Access => "at+jwt",
        TokenKind::Refresh => "rt+jwt",
        TokenKind::SingleUse => "su+jwt",
    }
}
