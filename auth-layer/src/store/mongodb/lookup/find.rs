//! The query that the lookups share.

use std::time::Duration;

use bson::{Bson, RawDocumentBuf, doc};
use foldhash::fast::RandomState;
use mongodb::{Collection, error::Error};

use super::{BatchQuery, Found, MongoResult};
use crate::{
    id::TokenId,
    store::mongodb::document::{identifier, status, uuid},
};

/// Finds the documents of tokens by `_id`, in one command.
pub(in crate::store::mongodb) struct FindTokens {
    /// Raw, so that one unreadable document does not fail the others.
    tokens: Collection<RawDocumentBuf>,
    limit: Duration,
}

impl FindTokens {
    /// `limit` is the server's time limit for one query.
    pub(in crate::store::mongodb) fn new(tokens: Collection<RawDocumentBuf>, limit: Duration) -> Self {
        Self { tokens, limit }
    }
}

impl BatchQuery for FindTokens {
    async fn read(&self, ids: Vec<TokenId>) -> MongoResult<Found> {
        let wanted = match *ids.as_slice() {
            // The server has a faster path for a single `_id`.
            [id] => Bson::from(uuid(id)),
            _ => Bson::from(doc! { "$in": ids.iter().map(|&id| Bson::from(uuid(id))).collect::<Vec<_>>() }),
        };
        // No projection: it costs the server more than sending the few other fields. The first
        // batch holds more documents than are asked for here.
        let mut cursor = self.tokens.find(doc! { "_id": wanted }).max_time(self.limit).await?;
        let mut found = Found::with_capacity_and_hasher(ids.len(), RandomState::default());
        while cursor.advance().await? {
            let token = cursor.current();
            found.insert(identifier(token, "_id").map_err(Error::custom)?, status(token));
        }
        Ok(found)
    }
}
