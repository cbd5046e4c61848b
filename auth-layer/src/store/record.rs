//! The record of a token.

use std::fmt;

use chrono::serde::ts_milliseconds;
use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    id::{SessionId, Subject, TokenId},
    kind::TokenKind,
};

/// A token's record when it is issued.
///
/// ```
/// # use auth_layer::store::TokenRecord;
/// // A store keeps it as JSON, under the token's id.
/// fn row(record: &TokenRecord) -> serde_json::Result<(String, String)> {
///     Ok((record.token_id.to_string(), serde_json::to_string(record)?))
/// }
/// ```
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    /// The token's `jti`.
    pub token_id: TokenId,
    /// The user it is issued to.
    pub user_id: Subject,
    /// The session it belongs to.
    pub session_id: SessionId,
    /// Its kind.
    pub kind: TokenKind,
    /// Its `iat`.
    #[serde(with = "ts_milliseconds")]
    pub issued_at: Timestamp,
    /// Its `exp`.
    #[serde(with = "ts_milliseconds")]
    pub expires_at: Timestamp,
    /// The token itself, only if the operator switched that on.
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

/// A store's record of a token, as a check sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenStatus {
    /// There is no record of it.
    Unknown,
    /// It was revoked or used up.
    Revoked,
    /// It is recorded, and neither revoked nor used. The reader checks whether it has expired.
    Active(ActiveToken),
}

/// The part of a token's record that a check needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveToken {
    /// The user it was issued to.
    pub user_id: Subject,
    /// The session it belongs to.
    pub session_id: SessionId,
    /// Its kind.
    pub kind: TokenKind,
    /// When it expires.
    pub expires_at: Timestamp,
}

impl ActiveToken {
    /// Returns whether a single-use token with these claims may be used at `now`. `record` is its
    /// record, neither revoked nor used.
    ///
    /// This is the condition of [`TokenStore::consume`](super::TokenStore::consume).
    ///
    /// ```
    /// # use auth_layer::clock::Timestamp;
    /// # use auth_layer::store::{ActiveToken, Consumed, TokenStatus};
    /// fn decide(claims: &ActiveToken, status: &TokenStatus, now: Timestamp) -> Consumed {
    ///     match status {
    ///         TokenStatus::Active(record) if claims.is_usable(record, now) => Consumed::Accepted,
    ///         _ => Consumed::Refused,
    ///     }
    /// }
    /// ```
    pub fn is_usable(&self, record: &Self, now: Timestamp) -> bool {
        self == record && self.kind == TokenKind::SingleUse && self.expires_at > now
    }
}

impl From<&TokenRecord> for ActiveToken {
    fn from(record: &TokenRecord) -> Self {
        Self {
            user_id: record.user_id.clone(),
            session_id: record.session_id,
            kind: record.kind,
            expires_at: record.expires_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn token_record_json_has_stable_names_and_round_trips() {
        let (token, session) = ("0190a000-0000-7000-8000-000000000001", "0190a000-0000-7000-8000-000000000002");
        for kind in [TokenKind::Access, TokenKind::Refresh, TokenKind::SingleUse] {
            for jwt_token in [None, Some("a.b.c".to_owned())] {
                let json = json!({
                    "token_id": token,
                    "user_id": "42",
                    "session_id": session,
                    "kind": kind.as_str(),
                    "issued_at": 1_001,
                    "expires_at": 2_000,
                    "jwt_token": jwt_token,
                });
                let record = TokenRecord {
                    token_id: token.parse().unwrap(),
                    user_id: 42_u64.into(),
                    session_id: session.parse().unwrap(),
                    kind,
                    issued_at: Timestamp::from_timestamp_millis(1_001).unwrap(),
                    expires_at: Timestamp::from_timestamp_millis(2_000).unwrap(),
                    jwt_token,
                };
                let text = serde_json::to_string(&record).unwrap();
                assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), json);
                assert_eq!(serde_json::from_str::<TokenRecord>(&text).unwrap(), record);
            }
        }
    }
}
