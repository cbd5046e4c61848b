//! A round trip to the server.

use std::time::Duration;

use bson::{Bson, RawDocumentBuf, doc};
use foldhash::fast::RandomState;
use mongodb::{Collection, error::Error};

use super::{Found, Outcome, RoundTrip};
use crate::{
    id::TokenId,
    store::mongodb::document::{identifier, status, uuid},
};

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
        // Whole documents: to have the server pick the fields costs it more than to send the few others, and the first batch holds
        // more than are asked for here.
        let mut cursor = self.tokens.find(doc! { "_id": wanted }).max_time(self.limit).await?;
        let mut found = Found::with_capacity_and_hasher(ids.len(), RandomState::default());
        while cursor.advance().await? {
            let token = cursor.current();
            found.insert(identifier(token, "_id").map_err(Error::custom)?, status(token));
        }
        Ok(found)
    }
}
