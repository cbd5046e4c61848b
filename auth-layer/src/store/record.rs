//! What is recorded of each token.

use std::fmt;

use crate::{
    clock::Timestamp,
    id::{SessionId, TokenId, UserId},
};

/// The kinds of token. No kind is ever accepted as another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenKind {
    /// Opens protected routes; `typ` is `at+jwt` (RFC 9068 §2.1).
    Access,
    /// Buys the next pair, once; `typ` is `rt+jwt`.
    Refresh,
    /// Opens one request, once; `typ` is `su+jwt`.
    SingleUse,
}

impl TokenKind {
    /// The word that records use: `access`, `refresh` or `single_use`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Refresh => "refresh",
            Self::SingleUse => "single_use",
        }
    }

    /// The kind that a record's word names.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Access, Self::Refresh, Self::SingleUse].into_iter().find(|kind| kind.as_str() == name)
    }
}

impl fmt::Display for TokenKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A token's record when it is issued.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenRecord {
    /// The token's `jti`.
    pub token_id: TokenId,
    /// To whom it is issued.
    pub user_id: UserId,
    /// The session that it belongs to.
    pub session_id: SessionId,
    /// Its kind.
    pub kind: TokenKind,
    /// Its `iat`.
    pub issued_at: Timestamp,
    /// Its `exp`.
    pub expires_at: Timestamp,
    /// The token itself, only where the operator switched that on.
    pub jwt_token: Option<String>,
}

impl fmt::Debug for TokenRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenRecord")
            .field("token_id", &self.token_id)
            .field("user_id", &self.user_id)
            .field("session_id", &self.session_id)
            .field("kind", &self.kind)
            .field("issued_at", &self.issued_at)
            .field("expires_at", &self.expires_at)
            .field("jwt_token", &self.jwt_token.as_ref().map(|_| "[redacted]"))
            .finish()
    }
}

/// What a store knows of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenStatus {
    /// There is no record of it.
    Unknown,
    /// It was revoked or used up.
    Revoked,
    /// It is recorded and was neither revoked nor used. Whether it has expired is the reader's to say.
    Active(ActiveToken),
}

/// What a check needs to know of a token's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveToken {
    /// To whom it was issued.
    pub user_id: UserId,
    /// The session that it belongs to.
    pub session_id: SessionId,
    /// Its kind.
    pub kind: TokenKind,
    /// When it expires.
    pub expires_at: Timestamp,
}

impl ActiveToken {
    /// Whether this is what a single-use token may say whose record is `record`, at `now`.
    pub(crate) fn is_usable(self, record: Self, now: Timestamp) -> bool {
        self == record && self.kind == TokenKind::SingleUse && self.expires_at > now
    }
}

impl From<&TokenRecord> for ActiveToken {
    fn from(record: &TokenRecord) -> Self {
        Self {
            user_id: record.user_id,
            session_id: record.session_id,
            kind: record.kind,
            expires_at: record.expires_at,
        }
    }
}
