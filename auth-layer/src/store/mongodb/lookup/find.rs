//! The queries that the lookups share.

use std::time::Duration;

use bson::{Bson, RawDocument, RawDocumentBuf, doc};
use foldhash::fast::RandomState;
use mongodb::{Collection, Cursor, error::Error};

use super::{BatchQuery, Found, MongoResult};
use crate::{
    id::{Id, SessionId, TokenId},
    store::{
        TokenStatus,
        mongodb::document::{SessionDocument, Unreadable, identifier, read_session, status, uuid},
    },
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
    type Id = TokenId;
    type Record = TokenStatus;

    const FAILURE: &'static str = "could not read a token's record";

    async fn read(&self, ids: Vec<TokenId>) -> MongoResult<Found<Self>> {
        // No projection: it costs the server more than sending the few other fields. The first
        // batch holds more documents than are asked for here.
        let cursor = self.tokens.find(doc! { "_id": any_of(&ids) }).max_time(self.limit).await?;
        collect::<Self, _>(cursor, ids.len(), status).await
    }
}

/// Finds the documents of sessions by `_id`, in one command.
///
/// The server also computes how long ago the previous token was retired. It stamped that moment, so
/// the nodes' clocks do not matter.
pub(in crate::store::mongodb) struct FindSessions {
    /// Raw, so that one unreadable document does not fail the others.
    sessions: Collection<RawDocumentBuf>,
    limit: Duration,
}

impl FindSessions {
    /// `limit` is the server's time limit for one query.
    pub(in crate::store::mongodb) fn new(sessions: Collection<RawDocumentBuf>, limit: Duration) -> Self {
        Self { sessions, limit }
    }
}

impl BatchQuery for FindSessions {
    type Id = SessionId;
    type Record = SessionDocument;

    const FAILURE: &'static str = "could not read a session";

    async fn read(&self, ids: Vec<SessionId>) -> MongoResult<Found<Self>> {
        let pipeline = [
            doc! { "$match": { "_id": any_of(&ids) } },
            doc! { "$set": { "retired_for": { "$subtract": ["$$NOW", "$previous.at"] } } },
        ];
        let found = self.sessions.aggregate(pipeline).with_type::<RawDocumentBuf>();
        collect::<Self, _>(found.max_time(self.limit).await?, ids.len(), read_session).await
    }
}

/// Reads all documents, each by itself.
async fn collect<Q: BatchQuery<Id = Id<K>>, K>(
    mut cursor: Cursor<RawDocumentBuf>,
    most: usize,
    read: fn(&RawDocument) -> Result<Q::Record, Unreadable>,
) -> MongoResult<Found<Q>> {
    let mut found = Found::<Q>::with_capacity_and_hasher(most, RandomState::default());
    while cursor.advance().await? {
        let document = cursor.current();
        found.insert(identifier(document, "_id").map_err(Error::custom)?, read(document));
    }
    Ok(found)
}

/// Matches any of these ids.
fn any_of<K>(ids: &[Id<K>]) -> Bson {
    match *ids {
        // The server has a faster path for a single `_id`.
        [id] => uuid(id).into(),
        _ => doc! { "$in": ids.iter().map(|&id| Bson::from(uuid(id))).collect::<Vec<_>>() }.into(),
    }
}
