//! The key that a token is bound to.

use serde::{Deserialize, Serialize};

use crate::{
    json::{Datum, member_fields},
    keys::Thumbprint,
};

/// The key that a token is bound to: the claim `cnf` (RFC 7800 §3.1).
///
/// Only the holder of the key can use the token, with a proof for each request (RFC 9449).
///
/// ```
/// # use auth_layer::Claims;
/// fn is_bound(claims: &Claims) -> bool {
///     claims.cnf.is_some()
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Confirmation {
    /// The thumbprint of the key (RFC 9449 §6.1).
    pub jkt: Thumbprint,
}

impl Confirmation {
    pub(crate) const fn new(jkt: Thumbprint) -> Self {
        Self { jkt }
    }

    /// Reads the member `cnf` of a payload; `None` unless it names a key by its thumbprint.
    ///
    /// A token that is bound in another way is refused, because nobody here could check that.
    pub(super) fn read(payload: &[u8]) -> Option<Self> {
        let [jkt] = member_fields(payload, "cnf", &["jkt"])?.values;
        let jkt = jkt.and_then(Datum::text)?.parse().ok()?;
        Some(Self { jkt })
    }
}
