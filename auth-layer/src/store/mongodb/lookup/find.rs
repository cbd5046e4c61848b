//! A round trip to the server.

use std::time::Duration;

use bson::{Bson, RawDocument, RawDocumentBuf, Uuid, deserialize_from_slice, doc, error::Error};
use foldhash::fast::RandomState;
use mongodb::Collection;

use super::{Found, Outcome, RoundTrip};
use crate::{id::TokenId, store::mongodb::document::uuid};

/// Asks for the documents of tokens by `_id`, in one command.
pub(in crate::store::mongodb) struct FindTokens {
    /// Read raw, so that one document that cannot be understood spoils no other.
    tokens: Collection<RawDocumentBuf>,
    limit: Duration,
}

impl FindTokens {
    /// `limit` is how long the server may take over it.
    pub(in crate::store::mongodb) fn new(tokens: Collection<RawDocumentBuf>, limit: Duration) -> Self {
        Self { tokens, limit }
    }
}

impl RoundTrip for FindTokens {
    async fn read(&self, ids: Vec<TokenId>) -> Outcome<Found> {
        let wanted = match *ids.as_slice() {
            // The server has a shorter way for this one form.
            [id] => Bson::from(uuid(id)),
            _ => Bson::from(doc! { "$in": ids.iter().map(|&id| Bson::from(uuid(id))).collect::<Vec<_>>() }),
        };
        let mut cursor = self
            .tokens
            .find(doc! { "_id": wanted })
            .projection(doc! { "user_id": 1, "session_id": 1, "kind": 1, "expires_at": 1, "revoked": 1 })
            .max_time(self.limit)
            // Negative: all of it in the first answer, and no cursor left behind.
            .limit(i64::try_from(ids.len()).map_or(i64::MIN, |ids| -ids))
            .await?;
        let mut found = Found::with_capacity_and_hasher(ids.len(), RandomState::default());
        while cursor.advance().await? {
            let token = cursor.current();
            found.insert(key(token)?, deserialize_from_slice(token.as_bytes()));
        }
        Ok(found)
    }
}

/// The document's `_id`, which is what was asked for: binary, subtype 4.
fn key(token: &RawDocument) -> Result<Uuid, Error> {
    token.get_binary("_id")?.to_binary().to_uuid()
}
