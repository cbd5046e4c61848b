//! The documents of `tokens`.

use bson::{DateTime, RawDocument, Uuid, spec::BinarySubtype};
use serde::{Deserialize, Serialize};

use super::{Mark, UserKey, corrupt, date, id, user, uuid};
use crate::{
    clock::Timestamp,
    id::{Id, TokenId},
    store::{ActiveToken, StoreError, TokenKind, TokenRecord, TokenStatus},
};

/// A token as it is issued.
#[derive(Serialize)]
pub(in crate::store::mongodb) struct TokenDocument {
    #[serde(rename = "_id")]
    token_id: Uuid,
    user_id: UserKey,
    session_id: Uuid,
    kind: &'static str,
    issued_at: DateTime,
    expires_at: DateTime,
    revoked: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwt_token: Option<String>,
}

impl From<&TokenRecord> for TokenDocument {
    fn from(record: &TokenRecord) -> Self {
        Self {
            token_id: uuid(record.token_id),
            user_id: UserKey(record.user_id.clone()),
            session_id: uuid(record.session_id),
            kind: record.kind.as_str(),
            issued_at: date(record.issued_at),
            expires_at: date(record.expires_at),
            revoked: false,
            jwt_token: record.jwt_token.clone(),
        }
    }
}

/// A token's record with a missing or unknown value in this field.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("`{0}` is missing, or is not what this store writes")]
pub(in crate::store::mongodb) struct Unreadable(&'static str);

impl Unreadable {
    pub(super) const fn of(field: &'static str) -> Self {
        Self(field)
    }
}

impl From<Unreadable> for StoreError {
    fn from(unreadable: Unreadable) -> Self {
        corrupt().with_source(unreadable)
    }
}

/// Reads a token's status from the raw document. Serde would copy every field, identifiers as text.
///
/// `revoked: true` alone means revoked. Active needs `revoked: false` and a complete record.
/// Anything else is an error, because an unreadable record must not let a token through.
pub(in crate::store::mongodb) fn status(token: &RawDocument) -> Result<TokenStatus, Unreadable> {
    match token.get_bool("revoked") {
        Ok(true) => Ok(TokenStatus::Revoked),
        Ok(false) => record(token).map(TokenStatus::Active),
        Err(_) => Err(Unreadable("revoked")),
    }
}

/// Reads a token's record, revoked or not. Other tools may leave fields out, so each is checked.
pub(in crate::store::mongodb) fn record(token: &RawDocument) -> Result<ActiveToken, Unreadable> {
    let kind = token.get_str("kind").ok().and_then(TokenKind::from_name);
    Ok(ActiveToken {
        user_id: user::read(token.get("user_id").ok().flatten()).ok_or(Unreadable("user_id"))?,
        session_id: identifier(token, "session_id")?,
        kind: kind.ok_or(Unreadable("kind"))?,
        expires_at: token.get_datetime("expires_at").map_err(|_| Unreadable("expires_at"))?.to_chrono(),
    })
}

/// Reads binary subtype 4 and nothing else: a record that no sweep finds must not be active.
pub(in crate::store::mongodb) fn identifier<K>(token: &RawDocument, field: &'static str) -> Result<Id<K>, Unreadable> {
    let binary = token.get_binary(field).ok().filter(|binary| binary.subtype == BinarySubtype::Uuid);
    let bytes = binary.and_then(|binary| binary.bytes.try_into().ok()).ok_or(Unreadable(field))?;
    Ok(id(Uuid::from_bytes(bytes)))
}

/// A token that a revocation covers.
#[derive(Debug, Deserialize)]
pub(in crate::store::mongodb) struct LiveToken {
    #[serde(rename = "_id")]
    pub(in crate::store::mongodb) id: Uuid,
    pub(in crate::store::mongodb) session_id: Uuid,
    kind: String,
    expires_at: DateTime,
    /// Absent means false, so the sweep marks it.
    #[serde(default)]
    pub(in crate::store::mongodb) revoked: bool,
    pub(in crate::store::mongodb) unfinished: Option<Mark>,
}

impl LiveToken {
    pub(in crate::store::mongodb) fn is_access(&self) -> bool {
        self.kind == TokenKind::Access.as_str()
    }

    /// Returns what a cache needs to know of an access token.
    pub(in crate::store::mongodb) fn id_and_expiry(&self) -> (TokenId, Timestamp) {
        (id(self.id), self.expires_at.to_chrono())
    }
}
