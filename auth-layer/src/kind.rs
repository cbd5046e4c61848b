//! The kinds of token.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The kinds of token. No kind is ever accepted as another.
///
/// ```
/// use auth_layer::store::TokenKind;
///
/// assert_eq!(TokenKind::SingleUse.as_str(), "single_use");
/// assert_eq!(TokenKind::from_name("access"), Some(TokenKind::Access));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TokenKind {
    /// Opens protected routes; `typ` is `at+jwt` (RFC 9068 §2.1).
    Access,
    /// Is exchanged for the next pair, once; `typ` is `rt+jwt`.
    Refresh,
    /// Opens one request, once; `typ` is `su+jwt`.
    SingleUse,
}

impl TokenKind {
    /// All kinds, in the order of their declaration.
    pub(crate) const ALL: [Self; 3] = [Self::Access, Self::Refresh, Self::SingleUse];

    /// Returns the word for records: `access`, `refresh` or `single_use`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Refresh => "refresh",
            Self::SingleUse => "single_use",
        }
    }

    /// Returns the kind for a record's word.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl fmt::Display for TokenKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
