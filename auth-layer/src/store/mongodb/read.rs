//! Operations that only read.

use std::sync::Arc;

use bson::{Document, Uuid, doc};
use futures_util::{TryStreamExt, future::try_join};
use mongodb::options::{Hint, ReadConcern};

use super::{
    document::{IdDocument, date, id, user, uuid},
    error::store_error,
    records::{BACKGROUND, Records},
};
use crate::{
    clock::Timestamp,
    id::{SessionId, Subject, TokenId},
    store::{Session, StoreError, TokenStatus, UserFence, within},
};

/// How many surplus sessions are returned at a time. Each sign-in ends some of them.
const MAX_SURPLUS: i64 = 256;

/// How many sessions one query looks through for those of a client.
const CHUNK: u64 = 20_000;

/// The sessions of a client in one chunk of all sessions.
pub(super) struct SessionChunk {
    pub(super) found: Vec<SessionId>,
    /// The last session of the chunk. `None` if no session comes after it.
    pub(super) end: Option<SessionId>,
}

impl Records {
    /// Needs no task of its own, unlike the others: the shared query is one. It has its own time
    /// limit.
    pub(super) async fn token_status(&self, id: TokenId) -> Result<TokenStatus, StoreError> {
        within(self.limit, self.find_status(id)).await
    }

    async fn find_status(&self, id: TokenId) -> Result<TokenStatus, StoreError> {
        Ok(self.lookups.find(id).await?.unwrap_or(TokenStatus::Unknown))
    }

    /// Reads with concern `majority`: an epoch that is rolled back comes a second time.
    ///
    /// A sign-in that read the epoch the first time must not pass after the second. An epoch that
    /// is too old only fences the sign-in.
    pub(super) async fn user_fence(self: Arc<Self>, of: Subject) -> Result<UserFence, StoreError> {
        let found = self.subjects.find_one(doc! { "_id": user(&of) }).read_concern(ReadConcern::majority());
        let found = found.max_time(self.limit).await;
        found
            .map_err(store_error("could not read a user's fence"))?
            .map_or(Ok(UserFence::default()), |subject| subject.fence())
    }

    /// As [`token_status`](Self::token_status): many open streams ask about their sessions.
    pub(super) async fn session(&self, id: SessionId, now: Timestamp) -> Result<Option<Session>, StoreError> {
        within(self.limit, self.find_session(id, now)).await
    }

    async fn find_session(&self, id: SessionId, now: Timestamp) -> Result<Option<Session>, StoreError> {
        Ok(self.session_lookups.find(id).await?.map(|document| document.into_session(now)))
    }

    /// Neither read is final: a rotation is decided by its own commit.
    pub(super) async fn session_for_refresh(
        self: Arc<Self>,
        session: SessionId,
        refresh: TokenId,
        now: Timestamp,
    ) -> Result<Option<(Session, TokenStatus)>, StoreError> {
        let (session, token) = try_join(self.find_session(session, now), self.find_status(refresh)).await?;
        Ok(session.map(|session| (session, token)))
    }

    pub(super) async fn sessions_of(
        self: Arc<Self>,
        user: Subject,
        now: Timestamp,
    ) -> Result<Vec<Session>, StoreError> {
        let what = "could not list sessions";
        let newest = doc! { "created_at": -1, "_id": -1 };
        let found = self
            .sessions
            .find(live_sessions(&user, now))
            .sort(newest)
            .max_time(self.limit)
            .await
            .map_err(store_error(what))?;
        found.map_ok(Session::from).try_collect().await.map_err(store_error(what))
    }

    pub(super) async fn surplus_sessions(
        self: Arc<Self>,
        user: Subject,
        new: SessionId,
        keep: usize,
        now: Timestamp,
    ) -> Result<Vec<SessionId>, StoreError> {
        let what = "could not list the sessions that are too many";
        let mut others = live_sessions(&user, now);
        others.insert("_id", doc! { "$ne": uuid(new) });
        let found = self
            .sessions
            .clone_with_type::<IdDocument>()
            .find(others)
            .sort(doc! { "last_used_at": -1, "_id": -1 })
            .skip(i64::try_from(keep).unwrap_or(i64::MAX).unsigned_abs())
            .limit(MAX_SURPLUS)
            .projection(doc! { "_id": 1 })
            .max_time(self.limit)
            .await
            .map_err(store_error(what))?;
        let mut surplus: Vec<SessionId> =
            found.map_ok(|session| id(session.id)).try_collect().await.map_err(store_error(what))?;
        surplus.reverse();
        Ok(surplus)
    }

    /// Returns live sessions of a client that are among the next [`CHUNK`] sessions after `after`,
    /// at most `limit`.
    ///
    /// No index has the client: each sign-in would have to keep it, for a query that is rare. The
    /// index on `_id` finds the end of the chunk, so a query reads a bounded number of documents.
    pub(super) async fn sessions_of_client_in_chunk(
        self: Arc<Self>,
        client_id: String,
        after: Option<SessionId>,
        limit: usize,
        now: Timestamp,
    ) -> Result<SessionChunk, StoreError> {
        let what = "could not list the sessions of a client";
        let sessions = self.sessions.clone_with_type::<IdDocument>();
        let mut ids = match after {
            Some(after) => doc! { "$gt": uuid(after) },
            None => doc! { "$gte": Uuid::from_bytes([0; 16]) },
        };
        let last = sessions
            .find_one(doc! { "_id": ids.clone() })
            .sort(doc! { "_id": 1 })
            .skip(CHUNK - 1)
            .projection(doc! { "_id": 1 })
            .max_time(self.limit)
            .await
            .map_err(store_error(what))?;
        let end = last.map(|last| id(last.id));
        if let Some(end) = end {
            ids.insert("$lte", uuid(end));
        }
        let mut wanted = live(now);
        wanted.insert("_id", ids);
        wanted.insert("client_id", client_id);
        let found = sessions
            .find(wanted)
            .hint(Hint::Keys(doc! { "_id": 1 }))
            .sort(doc! { "_id": 1 })
            .limit(i64::try_from(limit).unwrap_or(i64::MAX))
            .projection(doc! { "_id": 1 })
            .max_time(self.limit)
            .await
            .map_err(store_error(what))?;
        let found: Vec<SessionId> =
            found.map_ok(|session| id(session.id)).try_collect().await.map_err(store_error(what))?;
        Ok(SessionChunk { found, end })
    }

    pub(super) async fn session_count(self: Arc<Self>) -> Result<u64, StoreError> {
        let count = self.sessions.estimated_document_count().max_time(self.limit).comment(BACKGROUND);
        count.await.map_err(store_error("could not count the sessions"))
    }

    pub(super) async fn is_empty(self: Arc<Self>) -> Result<bool, StoreError> {
        let what = "could not see whether anything is recorded";
        for collection in [
            self.tokens.clone_with_type::<IdDocument>(),
            self.sessions.clone_with_type(),
            self.subjects.clone_with_type(),
        ] {
            let first = collection.find(doc! {}).projection(doc! { "_id": 1 }).limit(1).max_time(self.limit).await;
            // A document that cannot be read counts too.
            if first.map_err(store_error(what))?.advance().await.map_err(store_error(what))? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Matches the user's sessions that are neither pending, revoked nor expired.
fn live_sessions(of: &Subject, now: Timestamp) -> Document {
    let mut sessions = live(now);
    sessions.insert("user_id", user(of));
    sessions
}

/// Matches sessions that are neither pending, revoked nor expired.
fn live(now: Timestamp) -> Document {
    doc! {
        "revoked": false,
        "pending": { "$ne": true },
        "current.refresh_expires_at": { "$gt": date(now) },
    }
}
