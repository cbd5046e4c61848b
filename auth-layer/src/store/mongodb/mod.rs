//! Tokens in a MongoDB replica set.
//!
//! Every field is a plain BSON type, UUIDs as binary subtype 4 and times as Date, so that any tool can read and edit the records.
//! A user (`user_id`, and `_id` in `subjects`) is a UUID where the subject is one in canonical form, and otherwise a string.
//!
//! | collection | `_id` | fields |
//! | --- | --- | --- |
//! | `tokens` | `jti` | `user_id`, `session_id`, `kind`, `issued_at`, `expires_at`, `revoked`; `jwt_token` where switched on; `consumed_at` once used; `unfinished` |
//! | `sessions` | `sid` | `user_id`, `client_id`, `user_agent`, `created_at`, `last_used_at`, `ends_at`, `revoked`, `current`, `previous`; `payload`, what else is kept; `epoch` it was opened under; `pending` while it is opened; `unfinished` |
//! | `subjects` | `sub` | `epoch`, `disabled`, `sign_ins`, `last_sign_in_at`; `unfinished`, `settled` |
//!
//! `unfinished` marks a revocation that is recorded and may have something left to do: since when,
//! and when a node last went on with it. It is taken away at the end. A node that died, or a server
//! that went away, leaves it behind, and any node goes on from there.
//!
//! # One document decides
//!
//! No multi-document transaction is used, so that nothing blocks and nothing is retried as a whole. Instead
//!
//! - what **issues** writes the records first, then commits by a conditional update of one document: the user's in `subjects`
//!   for a sign-in, the session's for a rotation and for a single-use token. Only after that are the tokens handed out;
//! - what **revokes** updates that same document first and sweeps the records after.
//!
//! MongoDB puts two updates of one document in an order. A commit that came first had its records written before, so the
//! sweep finds them; one that comes second does not match. A commit always changes its document (it counts or stamps): an update
//! that changes nothing would be a mere read, and could be lost with a primary without anyone noticing.
//!
//! An operation that dies half-way leaves records of tokens that were never handed out. They expire. A session that was never
//! committed keeps its `pending` mark and is not listed. Only the list asks for the mark: whoever presents a token of a
//! session was handed it after the commit, and a revocation must find the session either way.
//!
//! # Whose clock
//!
//! Times come from the node that calls, but for one: a refresh token is retired by the server's clock (`$$NOW`), and the server
//! says how long ago that was. So a retry finds the grace window open on any node, however wrong that node's clock is.
//!
//! # What is waited for
//!
//! Writes are acknowledged by a majority, journaled, but for the note that a pair was handed out, which may be lost. That holds for a write
//! that matched nothing as well: the server then waits until all that it saw is held by a majority, so that "lost" and "refused" are never
//! read from a state that may vanish. From one that is out of date they may be, and that does no harm. "Nothing to revoke" would: it is success.
//! So a revocation that finds nothing asks again, by a linearizable read, which only a primary that still is one can answer.
//!
//! Reads go to the primary with read concern `local`, whatever the URI says. `majority` would be the weaker choice here: a new
//! primary has every acknowledged write at once, but its majority snapshot may trail behind until its first commit.
//!
//! **Bound.** A primary that was cut off from the others, and does not know yet that it was replaced, answers reads from its
//! past. A node of the service that can reach this one alone may miss revocations until the old primary steps down: after
//! `electionTimeoutMillis` of the replica set, 10 s by default. What writes is not affected: the old primary cannot get a change
//! acknowledged, so that sign-in, refresh, single use and revocation fail there. Operators for whom that is too long lower the setting.
//!
//! # Time limits
//!
//! The driver has no time limit for an operation as a whole and does not want its futures dropped. Each operation runs as
//! a task of its own and the caller waits for it no longer than [`MongoOptions::operation_timeout`]; nor does a caller who goes away
//! cost a pooled connection. A revocation that timed out goes on, and calling it again is safe.
//!
//! Lookups of single tokens share their tasks as they share their round trips: see `lookup`, in this folder.

mod changes;
mod diagnose;
mod document;
mod expiry;
mod fault;
mod indexes;
mod issue;
mod lookup;
mod options;
mod ours;
mod purge;
mod read;
mod records;
mod resume;
mod retry;
mod revoke;
mod schema;

use std::{
    fmt,
    future::Future,
    sync::{Arc, Weak},
    time::Duration,
};

use bson::doc;
use mongodb::{Client, Database};
use tracing::Instrument;

use self::{
    records::Records,
    retry::Retries,
    revoke::{Raise, as_judged},
};
pub use options::MongoOptions;

use super::{
    ActiveToken, Admission, Consumed, Feed, LocalCache, Purged, Resumed, Revocation, RevocationListener, Revoked,
    Rotated, Rotation, Session, StoreError, StoreErrorKind, TokenRecord, TokenStatus, TokenStore, UserFence,
};
use crate::{
    clock::Timestamp,
    id::{SessionId, Subject, TokenId},
};

/// A [`TokenStore`] in a MongoDB replica set. Cloning it shares the connections.
#[derive(Clone)]
pub struct MongoStore {
    database: Database,
    records: Arc<Records>,
    feed: Arc<Feed>,
    retries: Retries,
    limit: Duration,
    retention_margin: Duration,
    local: LocalCache,
}

impl fmt::Debug for MongoStore {
    /// Names the database only: what the driver holds includes its credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MongoStore").field("database", &self.database.name()).finish_non_exhaustive()
    }
}

impl MongoStore {
    /// Connects, then does as [`new`](Self::new).
    ///
    /// Where the URI does not say otherwise, a server is looked for during 1 s, connections open within 1 s, servers are
    /// watched every 500 ms and a pool holds 100 connections.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new), and [`Unsupported`](StoreErrorKind::Unsupported) for a URI that
    /// cannot be read, that says `directConnection=true` of one of several members, or whose
    /// servers are no initiated replica set of the name that it says.
    pub async fn connect(uri: &str, database: &str, options: MongoOptions) -> Result<Self, StoreError> {
        let wanted = options::client_options(uri).await?;
        let direct = wanted.direct_connection == Some(true);
        let client = Client::with_options(wanted.clone())
            .map_err(|_| StoreError::new(StoreErrorKind::Unsupported, "the MongoDB URI asks for what cannot be had"))?;
        let opened = Self::open(client.database(database), options, direct).await;
        match opened {
            Err(error) if error.kind() == StoreErrorKind::Unavailable => {
                Err(diagnose::why_no_primary(&wanted).await.unwrap_or(error))
            }
            opened => opened,
        }
    }

    async fn open(database: Database, options: MongoOptions, direct: bool) -> Result<Self, StoreError> {
        if direct {
            within(options.operation_timeout, schema::refuse_one_of_several(database.clone())).await?;
        }
        Self::new(database, options).await
    }

    /// Keeps its records in `database`, making the indexes that are missing. Concerns and read preference of the client are
    /// not used; its time-outs and pool are. It must not be connected directly to one of several members: the driver would let that
    /// one answer as a secondary, too.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](StoreErrorKind::Unsupported) for a server that is no replica set: it can
    /// neither acknowledge by majority nor retry a write; where one of the collections holds
    /// documents that are not this store's, of which none is touched; and where waiting will not
    /// help: user or password are wrong, the user may not do what is needed, the database's name is
    /// none. Indexes that exist need not be allowed to be made.
    /// [`Unavailable`](StoreErrorKind::Unavailable) where no primary can be reached.
    pub async fn new(database: Database, options: MongoOptions) -> Result<Self, StoreError> {
        let limit = options.operation_timeout;
        let records = Arc::new(Records::new(&database, limit));
        let store = Self {
            database,
            records,
            feed: Arc::new(Feed::new()),
            retries: Retries::new(),
            limit,
            retention_margin: options.retention_margin,
            local: LocalCache::new(),
        };
        store.run(schema::refuse_standalone(store.database.clone())).await?;
        within(
            schema::INDEX_LIMIT.max(limit),
            schema::ensure_indexes(store.database.clone(), store.records(), options.retention_margin),
        )
        .await?;
        Ok(store)
    }

    /// The database, for collections of the application's own.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Whether it holds nothing: no session, no token, and nothing of any user. A service that
    /// finds no signing key makes one only for an empty store, since the tokens in another were
    /// signed with a key that was lost.
    ///
    /// # Errors
    ///
    /// Where MongoDB cannot be asked.
    pub async fn is_empty(&self) -> Result<bool, StoreError> {
        self.run(self.records().is_empty()).await
    }

    fn records(&self) -> Arc<Records> {
        Arc::clone(&self.records)
    }

    async fn run<T: Send + 'static>(
        &self,
        operation: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        within(self.limit, operation).await
    }

    /// What a revocation came to. One that failed is recorded in the background, as soon as that is
    /// possible.
    fn or_again<T, F>(
        &self,
        first: Result<T, StoreError>,
        commit: impl Fn(Arc<Records>) -> F + Send + 'static,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<(), StoreError>> + Send + 'static,
    {
        first.inspect_err(|failed| self.retries.again(failed, &self.records, commit))
    }
}

/// Runs `operation` to its end and waits for it no longer than `limit`.
async fn within<T: Send + 'static>(
    limit: Duration,
    operation: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, StoreError> {
    let task = tokio::spawn(operation.in_current_span());
    match tokio::time::timeout(limit, task).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(failed)) => Err(StoreError::unavailable("the operation on MongoDB was cut short", failed)),
        Err(late) => Err(StoreError::unavailable("MongoDB did not answer in time", late)),
    }
}

impl TokenStore for MongoStore {
    fn local_cache(&self) -> &LocalCache {
        &self.local
    }

    async fn token_status(&self, id: TokenId) -> Result<TokenStatus, StoreError> {
        self.records.token_status(id).await
    }

    async fn user_fence(&self, user: Subject) -> Result<UserFence, StoreError> {
        self.run(self.records().user_fence(user)).await
    }

    async fn open_session(
        &self,
        session: Session,
        tokens: Vec<TokenRecord>,
        epoch: u64,
    ) -> Result<Admission, StoreError> {
        self.run(self.records().open_session(session, tokens, epoch)).await
    }

    async fn session(&self, id: SessionId, now: Timestamp) -> Result<Option<Session>, StoreError> {
        self.run(self.records().session(id, now)).await
    }

    async fn presented(
        &self,
        session: SessionId,
        refresh: TokenId,
        now: Timestamp,
    ) -> Result<Option<(Session, TokenStatus)>, StoreError> {
        self.run(self.records().presented(session, refresh, now)).await
    }

    async fn rotate(&self, rotation: Rotation) -> Result<Rotated, StoreError> {
        self.run(self.records().rotate(rotation)).await
    }

    async fn confirm(&self, session: SessionId, current: TokenId) -> Result<Rotated, StoreError> {
        self.run(self.records().confirm(session, current)).await
    }

    async fn note_delivered(&self, session: SessionId, current: TokenId, _now: Timestamp) -> Result<(), StoreError> {
        self.run(self.records().note_delivered(session, current)).await
    }

    async fn record_token(&self, token: TokenRecord) -> Result<Admission, StoreError> {
        self.run(self.records().record_token(token)).await
    }

    async fn consume(&self, id: TokenId, says: ActiveToken, now: Timestamp) -> Result<Consumed, StoreError> {
        self.run(self.records().consume(id, says, now)).await
    }

    async fn revoke_token(&self, id: TokenId, since: Timestamp) -> Result<Revoked, StoreError> {
        let first = self.run(self.records().revoke_token(id, since)).await;
        self.or_again(first, move |records| async move { records.mark_token(id).await.map(drop) })
    }

    async fn revoke_session(&self, session: SessionId, since: Timestamp) -> Result<Revoked, StoreError> {
        let first = self.run(self.records().revoke_session(session, since)).await;
        let this = doc! { "_id": document::uuid(session) };
        self.or_again(first, move |records| {
            let this = this.clone();
            async move { records.mark_session(this).await.map(drop) }
        })
    }

    async fn punish(
        &self,
        session: SessionId,
        current: TokenId,
        since: Timestamp,
    ) -> Result<Option<Revoked>, StoreError> {
        let first = self.run(self.records().punish(session, current, since)).await;
        self.or_again(
            first,
            move |records| async move { records.mark_session(as_judged(session, current)).await.map(drop) },
        )
    }

    async fn revoke_user(
        &self,
        user: Subject,
        except: Option<SessionId>,
        since: Timestamp,
    ) -> Result<Revoked, StoreError> {
        let raise = Raise { user, id: bson::Uuid::new(), except, disables: false };
        let first = self.run(self.records().revoke_user(raise.clone(), since)).await;
        self.or_again(first, move |records| {
            let raise = raise.clone();
            async move { records.raise_fence(&raise).await.map(drop) }
        })
    }

    /// Not tried again in the background: an operator who disables a user may have enabled the user
    /// since.
    async fn set_user_disabled(&self, user: Subject, disabled: bool, since: Timestamp) -> Result<Revoked, StoreError> {
        if disabled {
            let raise = Raise { user, id: bson::Uuid::new(), except: None, disables: true };
            self.run(self.records().revoke_user(raise, since)).await
        } else {
            self.run(self.records().enable_user(user)).await
        }
    }

    /// Takes as long as there is to do: no limit ends it but the server's for each read.
    async fn resume(&self, since: Timestamp) -> Result<Vec<Resumed>, StoreError> {
        self.records().resume(since).await
    }

    async fn settle(&self, revocation: Revocation) -> Result<(), StoreError> {
        self.run(self.records().settle(revocation)).await
    }

    fn revokes_in_steps(&self) -> bool {
        true
    }

    async fn sessions(&self, user: Subject, now: Timestamp) -> Result<Vec<Session>, StoreError> {
        self.run(self.records().sessions_of(user, now)).await
    }

    async fn surplus_sessions(
        &self,
        user: Subject,
        new: SessionId,
        keep: usize,
        now: Timestamp,
    ) -> Result<Vec<SessionId>, StoreError> {
        self.run(self.records().surplus_sessions(user, new, keep, now)).await
    }

    /// Works through what has expired in batches. The time limit holds for each batch, not for the whole.
    async fn purge_expired(&self, before: Timestamp) -> Result<Purged, StoreError> {
        let mut purged = Purged::default();
        while let Some(batch) = self.run(self.records().purge_batch(before)).await? {
            purged.tokens += batch.tokens;
            purged.sessions += batch.sessions;
        }
        Ok(purged)
    }

    fn answers_within(&self) -> Option<Duration> {
        Some(self.limit)
    }

    /// That of its options: its TTL indexes go by it.
    fn retention_margin(&self) -> Option<Duration> {
        Some(self.retention_margin)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.run(schema::ping(self.database.clone())).await
    }

    fn subscribe(&self, listener: Weak<dyn RevocationListener>) {
        let database = self.database.clone();
        self.feed.subscribe(listener, move |listeners| changes::follow(database.clone(), listeners));
    }
}
