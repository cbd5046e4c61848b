//! The queries that the lookups share.

use std::time::Duration;

use bson::{Bson, RawDocument, RawDocumentBuf, doc};
use foldhash::fast::RandomState;
use mongodb::{Collection, Cursor, error::Error};

use super::{BatchQuery, Found, MongoResult};
use crate::{
    id::{SessionId, TokenId},
    store::{
        Denial, HashedKey, TokenStatus,
        mongodb::document::{
            SessionDocument, Unreadable, hashed_key, identifier, read_denial, read_key, read_session, status, uuid,
        },
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
        let wanted = doc! { "_id": any_of(&ids, |id| uuid(id).into()) };
        let cursor = self.tokens.find(wanted).max_time(self.limit).await?;
        collect::<Self>(cursor, ids.len(), |token| identifier(token, "_id"), status).await
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
            doc! { "$match": { "_id": any_of(&ids, |id| uuid(id).into()) } },
            doc! { "$set": { "retired_for": { "$subtract": ["$$NOW", "$previous.at"] } } },
        ];
        let found = self.sessions.aggregate(pipeline).with_type::<RawDocumentBuf>();
        let cursor = found.max_time(self.limit).await?;
        collect::<Self>(cursor, ids.len(), |session| identifier(session, "_id"), read_session).await
    }
}

/// Finds the documents of denials by `_id`, in one command.
pub(in crate::store::mongodb) struct FindDenials {
    /// Raw, so that one unreadable document does not fail the others.
    denials: Collection<RawDocumentBuf>,
    limit: Duration,
}

impl FindDenials {
    /// `limit` is the server's time limit for one query.
    pub(in crate::store::mongodb) fn new(denials: Collection<RawDocumentBuf>, limit: Duration) -> Self {
        Self { denials, limit }
    }
}

impl BatchQuery for FindDenials {
    type Id = HashedKey;
    type Record = Denial;

    const FAILURE: &'static str = "could not read denials";

    async fn read(&self, keys: Vec<HashedKey>) -> MongoResult<Found<Self>> {
        let wanted = doc! { "_id": any_of(&keys, hashed_key) };
        let cursor = self.denials.find(wanted).max_time(self.limit).await?;
        collect::<Self>(cursor, keys.len(), read_key, read_denial).await
    }
}

/// Reads all documents, each by itself.
async fn collect<Q: BatchQuery>(
    mut cursor: Cursor<RawDocumentBuf>,
    most: usize,
    id: fn(&RawDocument) -> Result<Q::Id, Unreadable>,
    read: fn(&RawDocument) -> Result<Q::Record, Unreadable>,
) -> MongoResult<Found<Q>> {
    let mut found = Found::<Q>::with_capacity_and_hasher(most, RandomState::default());
    while cursor.advance().await? {
        let document = cursor.current();
        found.insert(id(document).map_err(Error::custom)?, read(document));
    }
    Ok(found)
}

/// Matches any of these ids.
fn any_of<T: Copy>(ids: &[T], value: fn(T) -> Bson) -> Bson {
    match *ids {
        // The server has a faster path for a single `_id`.
        [id] => value(id),
        _ => doc! { "$in": ids.iter().copied().map(value).collect::<Vec<_>>() }.into(),
    }
}
