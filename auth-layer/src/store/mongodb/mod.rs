//! Keeps tokens in a MongoDB replica set.
//!
//! Every field is a plain BSON type, so that any tool can read and edit the records. UUIDs are
//! binary subtype 4, times are Date. A user (`user_id`, and `_id` in `subjects`) is a UUID if the
//! subject is one in canonical form, and otherwise a string.
//!
//! - `tokens`, `_id` is the `jti`: `user_id`, `session_id`, `kind`, `issued_at`, `expires_at`,
//!   `revoked`. `jwt_token` if switched on, `consumed_at` once used, `unfinished`.
//! - `sessions`, `_id` is the `sid`: `user_id`, `client_id`, `user_agent`, `created_at`,
//!   `last_used_at`, `ends_at`, `revoked`, `current`, `previous`. `payload` holds what else is
//!   kept, `epoch` the user's epoch at sign-in. `pending` while it is opened, `unfinished`.
//! - `subjects`, `_id` is the `sub`: `epoch`, `disabled`, `sign_ins`, `last_sign_in_at`.
//!   `unfinished`, `settled`.
//! - `reserved_keys`, `_id` is the key, 32 bytes of binary subtype 0: `expires_at`.
//! - `one_time_records`, `_id` is the key, too: `payload`, `expires_at`. `redeemed_by` and
//!   `redeemed_at` once redeemed.
//! - `denials`, `_id` is the key, too: `denied_at`, `expires_at`.
//!
//! `unfinished` marks a revocation that is recorded and may have something left to do. It says
//! since when, and when a node last worked on it. It is removed at the end. If a node dies or the
//! server goes away, the mark stays, and any node continues from there.
//!
//! # One document decides
//!
//! The store uses no multi-document transaction, so nothing blocks and nothing is retried as a
//! whole.
//!
//! - An operation that **issues** writes the records first. It then commits by a conditional update
//!   of one document: the user's in `subjects` for a sign-in, the session's for a rotation and for
//!   a single-use token. The tokens are handed out after that.
//! - An operation that **revokes** updates that same document first and sweeps the records after.
//!
//! MongoDB orders two updates of one document. If the commit came first, its records were written
//! before, and the sweep finds them. If it came second, it does not match. A commit always changes
//! its document (it counts or stamps). An update without a change would be a mere read, and could
//! be lost with a primary unnoticed.
//!
//! An operation on a key is one update of the key's document. `reserve` updates an expired
//! reservation, or inserts one and fails on the unique `_id`. `redeem` sets `redeemed_by` if it is
//! absent, and the document before the update says who was first. `deny` keeps the later of each
//! time.
//!
//! An operation that dies half-way leaves records of tokens that were never handed out. They
//! expire. A session that was never committed keeps its `pending` mark and is not listed. Only the
//! list looks at the mark: a client has a session's token only after the commit, and a revocation
//! must find the session either way.
//!
//! # Clocks
//!
//! Times come from the calling node, with one exception. A refresh token is retired by the server's
//! clock (`$$NOW`), and the server says how long ago that was. A retry therefore finds the grace
//! window open on any node, even one with a wrong clock.
//!
//! # Write and read concerns
//!
//! Writes are acknowledged by a majority and journaled. Exceptions are the note that a pair was
//! delivered and the end of a revocation's mark, which may be lost.
//!
//! A write that matched nothing also waits until a majority holds all that the server saw. So
//! "lost" and "refused" never come from a state that is rolled back. They may come from a stale
//! state, which does no harm. "Nothing to revoke" would do harm, because it is a success. If a
//! revocation matched nothing, its absence is confirmed with a linearizable read, which a stale
//! primary cannot answer.
//!
//! Reads go to the primary with read concern `local`. The URI's read concern and preference are not
//! used. `majority` would be weaker here: a new primary has every acknowledged write at once, but
//! its majority snapshot may trail until its first commit. The user's fence is the exception: it is
//! read with `majority`, because an epoch that is rolled back would come a second time.
//!
//! **Bound.** A primary that was cut off and does not know that it was replaced answers reads from
//! its past. A node that reaches only this primary may miss revocations until it steps down: after
//! the replica set's `electionTimeoutMillis`, 10 s by default. Lower the setting if that is too
//! long. Writes are not affected: the old primary cannot get a change acknowledged, so sign-in,
//! refresh, single use and revocation fail there.
//!
//! # Time limits
//!
//! The driver has no time limit for an operation as a whole, and its futures should not be dropped.
//! Each operation therefore runs as its own task, and the caller waits for at most
//! [`MongoOptions::operation_timeout`]. A caller that goes away costs no pooled connection. A
//! revocation that timed out continues, and calling it again is safe.
//!
//! Lookups of single tokens, sessions and denials share tasks and queries: see the module `lookup`.

mod changes;
mod denial;
mod diagnose;
mod document;
mod error;
mod expiry;
mod indexes;
mod issue;
mod lookup;
mod one_time;
mod options;
mod ownership;
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
    retry::CommitRetries,
    revoke::{RaiseFence, session_with_current},
};
pub use options::MongoOptions;

use super::{
    ActiveToken, Admission, Consumed, Denial, Feed, HashedKey, LocalCache, OneTimeRecord, Payload, Purged, Redeemed,
    Resumed, Revocation, RevocationListener, Revoked, Rotated, Rotation, Session, StoreError, StoreErrorKind,
    StoreFuture, TokenRecord, TokenStatus, TokenStore, UserFence,
};
use crate::{
    clock::Timestamp,
    id::{SessionId, Subject, TokenId},
};

/// A [`TokenStore`] in a MongoDB replica set. Clones share the connections.
///
/// ```no_run
/// # async fn example() -> Result<(), auth_layer::store::StoreError> {
/// use auth_layer::store::mongodb::{MongoOptions, MongoStore};
///
/// let uri = "mongodb://127.0.0.1/?replicaSet=rs0";
/// let store = MongoStore::connect(uri, "auth", MongoOptions::default()).await?;
/// # let _ = store;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct MongoStore {
    database: Database,
    records: Arc<Records>,
    feed: Arc<Feed>,
    retries: CommitRetries,
    limit: Duration,
    retention_margin: Duration,
    local: LocalCache,
}

impl fmt::Debug for MongoStore {
    /// Prints the database's name only: the driver's types hold its credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MongoStore").field("database", &self.database.name()).finish_non_exhaustive()
    }
}

impl MongoStore {
    /// Connects, then does what [`new`](Self::new) does.
    ///
    /// Defaults, unless the URI says otherwise: server selection 1 s, connecting 1 s, a heartbeat
    /// every 500 ms, 100 pooled connections.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new), and [`Unsupported`](StoreErrorKind::Unsupported) if
    ///
    /// - the URI cannot be read,
    /// - it says `directConnection=true` and names one of several members,
    /// - its servers are not an initiated replica set of the name that it gives.
    pub async fn connect(uri: &str, database: &str, options: MongoOptions) -> Result<Self, StoreError> {
        let wanted = options::client_options(uri).await?;
        let direct = wanted.direct_connection == Some(true);
        let client = Client::with_options(wanted.clone())
            .map_err(|_| StoreError::new(StoreErrorKind::Unsupported, "the MongoDB URI asks for what cannot be had"))?;
        let opened = Self::open(client.database(database), options, direct).await;
        match opened {
            Err(error) if error.kind() == StoreErrorKind::Unavailable => {
                Err(diagnose::find_misconfiguration(&wanted).await.unwrap_or(error))
            }
            opened => opened,
        }
    }

    async fn open(database: Database, options: MongoOptions, direct: bool) -> Result<Self, StoreError> {
        if direct {
            spawn_within(options.operation_timeout, schema::refuse_one_of_several(database.clone())).await?;
        }
        Self::new(database, options).await
    }

    /// Keeps records in `database`, and creates missing indexes.
    ///
    /// Uses the client's time-outs and pool, but not its concerns and read preference. The client
    /// must not be connected directly to one of several members: the driver would read from that
    /// member as a secondary, too.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](StoreErrorKind::Unavailable) if no primary can be reached.
    /// [`Unsupported`](StoreErrorKind::Unsupported) if
    ///
    /// - the server is not a replica set: it can neither acknowledge by majority nor retry a write,
    /// - one of the collections holds documents of another program (none is touched),
    /// - the user or the password is wrong, or the user lacks a permission that is needed. Existing
    ///   indexes need no permission to create them,
    /// - the database's name is invalid.
    pub async fn new(database: Database, options: MongoOptions) -> Result<Self, StoreError> {
        let limit = options.operation_timeout;
        let records = Arc::new(Records::new(&database, limit));
        let store = Self {
            database,
            records,
            feed: Arc::new(Feed::new()),
            retries: CommitRetries::new(),
            limit,
            retention_margin: options.retention_margin,
            local: LocalCache::new(),
        };
        store.run(schema::refuse_standalone(store.database.clone())).await?;
        spawn_within(
            schema::INDEX_LIMIT.max(limit),
            schema::ensure_indexes(store.database.clone(), store.records(), options.retention_margin),
        )
        .await?;
        Ok(store)
    }

    /// Returns the database, for the application's own collections.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Returns whether the store holds nothing: no session, no token and no user.
    ///
    /// A service that finds no signing key creates one only for an empty store. The tokens in any
    /// other store were signed with a key that was lost.
    ///
    /// # Errors
    ///
    /// If MongoDB cannot be reached.
    pub async fn is_empty(&self) -> Result<bool, StoreError> {
        self.run(self.records().is_empty()).await
    }

    /// Returns the number of sessions that are recorded, also those that have ended and are not
    /// removed yet. It comes from the collection's metadata: after a crash of the server it may be
    /// off until the next checkpoint.
    ///
    /// # Errors
    ///
    /// If MongoDB cannot be reached.
    pub async fn session_count(&self) -> Result<u64, StoreError> {
        self.run(self.records().session_count()).await
    }

    fn records(&self) -> Arc<Records> {
        Arc::clone(&self.records)
    }

    async fn run<T: Send + 'static>(
        &self,
        operation: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        spawn_within(self.limit, operation).await
    }

    /// Returns the result of a revocation. If it failed, its commit is retried in the background.
    fn retry_if_failed<T, F>(
        &self,
        first: Result<T, StoreError>,
        commit: impl Fn(Arc<Records>) -> F + Send + 'static,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<(), StoreError>> + Send + 'static,
    {
        first.inspect_err(|failed| self.retries.retry_in_background(failed, &self.records, commit))
    }
}

/// Runs `operation` to its end, and waits for it for at most `limit`.
async fn spawn_within<T: Send + 'static>(
    limit: Duration,
    operation: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, StoreError> {
    // A box, so that tasks are compiled for each type of answer and not for each operation.
    let operation: StoreFuture<'static, T> = Box::pin(operation);
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
        self.records.session(id, now).await
    }

    async fn session_for_refresh(
        &self,
        session: SessionId,
        refresh: TokenId,
        now: Timestamp,
    ) -> Result<Option<(Session, TokenStatus)>, StoreError> {
        self.run(self.records().session_for_refresh(session, refresh, now)).await
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

    async fn consume(&self, id: TokenId, expected: ActiveToken, now: Timestamp) -> Result<Consumed, StoreError> {
        self.run(self.records().consume(id, expected, now)).await
    }

    async fn reserve(&self, key: HashedKey, expires_at: Timestamp, now: Timestamp) -> Result<bool, StoreError> {
        self.run(self.records().reserve(key, expires_at, now)).await
    }

    async fn put_one_time(&self, key: HashedKey, payload: Payload, expires_at: Timestamp) -> Result<(), StoreError> {
        self.run(self.records().put_one_time(key, payload, expires_at)).await
    }

    async fn one_time(&self, key: HashedKey, now: Timestamp) -> Result<Option<OneTimeRecord>, StoreError> {
        self.run(self.records().one_time(key, now)).await
    }

    async fn redeem(&self, key: HashedKey, by: SessionId, now: Timestamp) -> Result<Redeemed, StoreError> {
        self.run(self.records().redeem(key, by, now)).await
    }

    async fn deny(&self, key: HashedKey, denial: Denial) -> Result<(), StoreError> {
        let first = self.run(self.records().deny(key, denial)).await;
        self.local.forget(key.tag());
        self.retry_if_failed(first, move |records| records.deny(key, denial))
    }

    async fn denials(&self, keys: Vec<HashedKey>, now: Timestamp) -> Result<Vec<Option<Denial>>, StoreError> {
        self.records.denials(keys, now).await
    }

    async fn revoke_token(&self, id: TokenId, since: Timestamp) -> Result<Revoked, StoreError> {
        let first = self.run(self.records().revoke_token(id, since)).await;
        self.retry_if_failed(first, move |records| async move { records.mark_token(id).await.map(drop) })
    }

    async fn revoke_session(&self, session: SessionId, since: Timestamp) -> Result<Revoked, StoreError> {
        let first = self.run(self.records().revoke_session(session, since)).await;
        let this = doc! { "_id": document::uuid(session) };
        self.retry_if_failed(first, move |records| {
            let this = this.clone();
            async move { records.mark_session(this).await.map(drop) }
        })
    }

    async fn revoke_for_reuse(
        &self,
        session: SessionId,
        current: TokenId,
        since: Timestamp,
    ) -> Result<Option<Revoked>, StoreError> {
        let first = self.run(self.records().revoke_for_reuse(session, current, since)).await;
        self.retry_if_failed(first, move |records| async move {
            records.mark_session(session_with_current(session, current)).await.map(drop)
        })
    }

    async fn revoke_user(
        &self,
        user: Subject,
        except: Option<SessionId>,
        since: Timestamp,
    ) -> Result<Revoked, StoreError> {
        let raise = RaiseFence { user, id: bson::Uuid::new(), except, disables: false };
        let first = self.run(self.records().revoke_user(raise.clone(), since)).await;
        self.retry_if_failed(first, move |records| {
            let raise = raise.clone();
            async move { records.raise_fence(&raise).await.map(drop) }
        })
    }

    /// Not retried in the background: the operator may have enabled the user meanwhile.
    async fn set_user_disabled(&self, user: Subject, disabled: bool, since: Timestamp) -> Result<Revoked, StoreError> {
        if disabled {
            let raise = RaiseFence { user, id: bson::Uuid::new(), except: None, disables: true };
            self.run(self.records().revoke_user(raise, since)).await
        } else {
            self.run(self.records().enable_user(user)).await
        }
    }

    /// Has no time limit as a whole, only the server's limit for each read.
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

    /// Reads the sessions in chunks. The time limit applies to each chunk.
    async fn sessions_of_client(
        &self,
        client_id: String,
        mut after: Option<SessionId>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<SessionId>, StoreError> {
        let mut found = Vec::new();
        while found.len() < limit {
            let missing = limit - found.len();
            let chunk = self.run(self.records().sessions_of_client_in_chunk(client_id.clone(), after, missing, now));
            let chunk = chunk.await?;
            found.extend(chunk.found);
            match chunk.end {
                Some(end) => after = Some(end),
                None => break,
            }
        }
        Ok(found)
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

    /// Removes expired documents in batches. The time limit applies to each batch.
    async fn purge_expired(&self, before: Timestamp) -> Result<Purged, StoreError> {
        let mut purged = Purged::default();
        while let Some(batch) = self.run(self.records().purge_batch(before)).await? {
            purged.tokens += batch.tokens;
            purged.sessions += batch.sessions;
            purged.keys += batch.keys;
        }
        Ok(purged)
    }

    fn answers_within(&self) -> Option<Duration> {
        Some(self.limit)
    }

    /// Returns the margin of the options, which the TTL indexes use.
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
