//! The documents of `tokens`.

use bson::{Binary, DateTime, Uuid};
use serde::{Deserialize, Serialize};

use super::{corrupt, date, id, uuid};
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
    user_id: Uuid,
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
            user_id: uuid(record.user_id),
            session_id: uuid(record.session_id),
            kind: record.kind.as_str(),
            issued_at: date(record.issued_at),
            expires_at: date(record.expires_at),
            revoked: false,
            jwt_token: record.jwt_token.clone(),
        }
    }
}

/// Of a token what a check reads. Other tools may leave fields out, so that none is taken for granted.
#[derive(Debug, Deserialize)]
pub(in crate::store::mongodb) struct StatusDocument {
    user_id: Option<Binary>,
    session_id: Option<Binary>,
    kind: Option<String>,
    expires_at: Option<DateTime>,
    revoked: Option<bool>,
}

impl StatusDocument {
    /// `revoked: true` is enough to be revoked. Active is only what says `revoked: false` and is whole; anything else is an error,
    /// for a record that cannot be read opens no door.
    pub(in crate::store::mongodb) fn status(&self) -> Result<TokenStatus, StoreError> {
        match self.revoked {
            Some(true) => Ok(TokenStatus::Revoked),
            Some(false) => self.record().map(TokenStatus::Active),
            None => Err(corrupt()),
        }
    }

    /// What is recorded, revoked or not.
    pub(in crate::store::mongodb) fn record(&self) -> Result<ActiveToken, StoreError> {
        let kind = self.kind.as_deref().and_then(TokenKind::from_name);
        match (owner(self.user_id.as_ref()), owner(self.session_id.as_ref()), kind, self.expires_at) {
            (Some(user_id), Some(session_id), Some(kind), Some(expires_at)) => {
                Ok(ActiveToken { user_id, session_id, kind, expires_at: expires_at.to_chrono() })
            }
            _ => Err(corrupt()),
        }
    }
}

/// `bson::Uuid` would read text and other subtypes, too: a record that no sweep by owner finds must not be active.
fn owner<K>(binary: Option<&Binary>) -> Option<Id<K>> {
    binary.and_then(|binary| binary.to_uuid().ok()).map(id)
}

/// Of an access token what a cache must be told.
#[derive(Debug, Deserialize)]
pub(in crate::store::mongodb) struct AccessDocument {
    #[serde(rename = "_id")]
    token_id: Uuid,
    expires_at: DateTime,
}

impl From<AccessDocument> for (TokenId, Timestamp) {
    fn from(document: AccessDocument) -> Self {
        (id(document.token_id), document.expires_at.to_chrono())
    }
}
