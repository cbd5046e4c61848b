//! Keeps tokens in one file of this process, without a server: [`EmbeddedStore`].
//!
//! - **Durable.** An acknowledged operation is on the disk. It survives `kill -9` and a power loss,
//!   if the disk keeps what it has confirmed. Only [`note_delivered`](TokenStore::note_delivered)
//!   does not wait for the disk. It waits up to 20 ms for another write, and shares its commit.
//! - **One process.** The file is locked while it is open. A second opener gets
//!   [`OpenError::InUse`].
//! - **Writes** are queued for one thread, which commits them in groups. Each operation is decided
//!   and written in one transaction. Operations happen one after the other, so the laws hold by
//!   themselves.
//! - **Reads** see the last commit and run on the calling thread, even in an asynchronous runtime.
//!   A read from memory takes a few microseconds, less than passing it to another thread and back.
//!   If the file is larger than the memory, a read may wait for the disk once or twice.
//! - **Failures** of the disk, and panics, fail the operations that meet them with
//!   [`StoreErrorKind::Unavailable`]. None of these is acknowledged. The file is then reopened,
//!   again at each use, until that works. With a full disk it can still be read.
//! - **Dropping** the store completes what is queued, which may take some milliseconds, and frees
//!   the file. A dropped [`Authority`](crate::Authority) frees it once its background work has
//!   ended: a note, or a purge.
//!
//! [`StoreErrorKind::Unavailable`]: super::StoreErrorKind::Unavailable

mod codec;
mod error;
mod file;
mod options;
mod tables;
#[cfg(test)]
mod tests;
mod write;
mod writer;

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
    time::Duration,
};

pub use self::options::EmbeddedOptions;
use self::{
    codec::StoredToken,
    error::EmbeddedError,
    file::{DatabaseFile, Opener},
    tables::Snapshot,
    writer::Writer,
};
use super::{
    ActiveToken, Admission, Consumed, Denial, HashedKey, LocalCache, OneTimeRecord, Payload, Purged, Redeemed, Revoked,
    Rotated, Rotation, Session, StoreError, TokenRecord, TokenStatus, TokenStore, UserFence, only_live,
    token_store::used_longest_ago,
};
use crate::{
    clock::Timestamp,
    id::{SessionId, Subject, TokenId},
};

/// How many records a purge removes in one transaction. It takes some milliseconds, and blocks all
/// other writers.
const PURGE_BATCH: usize = 256;

/// A [`TokenStore`] in one file. The [module's documentation](self) says how it behaves.
///
/// ```no_run
/// use auth_layer::store::embedded::EmbeddedStore;
///
/// let store = EmbeddedStore::open("tokens.redb")?;
/// # let _ = store;
/// # Ok::<(), auth_layer::store::embedded::OpenError>(())
/// ```
pub struct EmbeddedStore {
    // First, because fields drop in order: all writes must end before the file is closed.
    writer: Writer,
    file: Arc<DatabaseFile>,
    local: LocalCache,
}

/// The file could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// It is already open, in another process or in another store of this process.
    #[error("the database is in use by another process")]
    InUse,
    /// It could not be created, read or repaired.
    ///
    /// The error's kind is [`Corrupt`](super::StoreErrorKind::Corrupt) if the file holds something
    /// else than a database of this store.
    #[error("the database could not be opened")]
    Failed(#[source] StoreError),
}

impl EmbeddedStore {
    /// Opens the file at `path`. Creates it if there is none, readable and writable by its owner
    /// only. The directory must exist.
    ///
    /// Refuses an existing file that was emptied or is not this store's: an emptied file has
    /// forgotten what is revoked. A process that is killed while it creates the file leaves no half
    /// of it. The next open removes what is left.
    ///
    /// This waits for the disk. After a crash it also waits for a repair, which reads the whole
    /// file once.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::open_with(path, EmbeddedOptions::default())
    }

    /// Opens the file at `path` as [`open`](Self::open) does, with these options.
    ///
    /// ```no_run
    /// use auth_layer::store::embedded::{EmbeddedOptions, EmbeddedStore};
    ///
    /// let options = EmbeddedOptions::default().with_cache_bytes(64 << 20);
    /// let store = EmbeddedStore::open_with("tokens.redb", options)?;
    /// # let _ = store;
    /// # Ok::<(), auth_layer::store::embedded::OpenError>(())
    /// ```
    pub fn open_with(path: impl AsRef<Path>, options: EmbeddedOptions) -> Result<Self, OpenError> {
        Self::with(file::opener_at(path.as_ref(), options))
    }

    /// Returns whether the store holds nothing: no session, no token and no user.
    ///
    /// A service that finds no signing key creates one only for an empty store. The tokens in any
    /// other store were signed with a key that was lost.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    #[expect(clippy::unused_async, reason = "as with every other store")]
    #[expect(clippy::redundant_closure_for_method_calls, reason = "the method alone is of one lifetime")]
    pub async fn is_empty(&self) -> Result<bool, StoreError> {
        self.read(|tables| tables.is_empty())
    }

    /// Returns the number of sessions that are recorded, also those that have ended and are not
    /// purged yet. It is exact, and takes no longer with more sessions.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    #[expect(clippy::unused_async, reason = "as with every other store")]
    #[expect(clippy::redundant_closure_for_method_calls, reason = "the method alone is of one lifetime")]
    pub async fn session_count(&self) -> Result<u64, StoreError> {
        self.read(|tables| tables.session_count())
    }

    fn with(opener: Opener) -> Result<Self, OpenError> {
        let file = DatabaseFile::open(opener).map_err(|error| match error {
            EmbeddedError::Database(error) if matches!(*error, redb::Error::DatabaseAlreadyOpen) => OpenError::InUse,
            error => OpenError::Failed(error.into_store_error("the file could not be opened as a database")),
        })?;
        let file = Arc::new(file);
        let writer = Writer::start(Arc::clone(&file)).map_err(|error| {
            OpenError::Failed(StoreError::unavailable("no thread could be started for the database", error))
        })?;
        Ok(Self { writer, file, local: LocalCache::new() })
    }

    fn read<T>(&self, read: impl FnOnce(&Snapshot<'_>) -> Result<T, EmbeddedError>) -> Result<T, StoreError> {
        self.probe_if_failed(read_file(&self.file, read))
    }

    /// Converts the result of a read. After a failure the writer finds out whether the file must be
    /// reopened.
    fn probe_if_failed<T>(&self, read: Result<T, EmbeddedError>) -> Result<T, StoreError> {
        read.map_err(|error| {
            if error.needs_reopen() {
                self.writer.probe();
            }
            error.into_store_error("the embedded store could not read")
        })
    }
}

impl fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedStore").finish_non_exhaustive()
    }
}

fn read_file<T>(
    file: &DatabaseFile,
    read: impl FnOnce(&Snapshot<'_>) -> Result<T, EmbeddedError>,
) -> Result<T, EmbeddedError> {
    catch_unwind(AssertUnwindSafe(|| file.read(read))).unwrap_or(Err(EmbeddedError::Panicked))
}

fn status(token: Option<&StoredToken>) -> TokenStatus {
    match token {
        None => TokenStatus::Unknown,
        Some(token) if token.revoked => TokenStatus::Revoked,
        Some(token) => TokenStatus::Active((&token.record).into()),
    }
}

impl TokenStore for EmbeddedStore {
    fn local_cache(&self) -> &LocalCache {
        &self.local
    }

    async fn token_status(&self, id: TokenId) -> Result<TokenStatus, StoreError> {
        self.read(|tables| Ok(status(tables.token(id)?.as_ref())))
    }

    async fn user_fence(&self, user: Subject) -> Result<UserFence, StoreError> {
        self.read(|tables| tables.fence(&user))
    }

    async fn open_session(
        &self,
        session: Session,
        tokens: Vec<TokenRecord>,
        epoch: u64,
    ) -> Result<Admission, StoreError> {
        self.writer.run(move |tables| tables.open_session(&session, &tokens, epoch)).await
    }

    async fn session(&self, id: SessionId, _now: Timestamp) -> Result<Option<Session>, StoreError> {
        self.read(|tables| Ok(tables.session(id)?.map(|stored| stored.session)))
    }

    async fn session_for_refresh(
        &self,
        session: SessionId,
        refresh: TokenId,
        _now: Timestamp,
    ) -> Result<Option<(Session, TokenStatus)>, StoreError> {
        self.read(|tables| {
            let Some(stored) = tables.session(session)? else { return Ok(None) };
            Ok(Some((stored.session, status(tables.token(refresh)?.as_ref()))))
        })
    }

    async fn rotate(&self, rotation: Rotation) -> Result<Rotated, StoreError> {
        self.writer.run(move |tables| tables.rotate(&rotation)).await
    }

    async fn confirm(&self, session: SessionId, current: TokenId) -> Result<Rotated, StoreError> {
        self.read(|tables| {
            let is_current = tables.session(session)?.is_some_and(|stored| stored.session.is_current(current));
            Ok(if is_current { Rotated::Committed } else { Rotated::Lost })
        })
    }

    async fn note_delivered(&self, session: SessionId, current: TokenId, now: Timestamp) -> Result<(), StoreError> {
        self.writer.run_unsynced(move |tables| tables.note_delivered(session, current, now)).await
    }

    async fn record_token(&self, token: TokenRecord) -> Result<Admission, StoreError> {
        self.writer.run(move |tables| tables.record_token(&token)).await
    }

    async fn consume(&self, id: TokenId, expected: ActiveToken, now: Timestamp) -> Result<Consumed, StoreError> {
        self.writer.run(move |tables| tables.consume(id, &expected, now)).await
    }

    async fn reserve(&self, key: HashedKey, expires_at: Timestamp, now: Timestamp) -> Result<bool, StoreError> {
        self.writer.run(move |tables| tables.reserve(key, expires_at, now)).await
    }

    async fn put_one_time(&self, key: HashedKey, payload: Payload, expires_at: Timestamp) -> Result<(), StoreError> {
        self.writer.run(move |tables| tables.put_one_time(key, &payload, expires_at)).await
    }

    async fn one_time(&self, key: HashedKey, now: Timestamp) -> Result<Option<OneTimeRecord>, StoreError> {
        self.read(|tables| Ok(tables.one_time(key)?.filter(|record| record.is_live(now))))
    }

    async fn redeem(&self, key: HashedKey, by: SessionId, now: Timestamp) -> Result<Redeemed, StoreError> {
        self.writer.run(move |tables| tables.redeem(key, by, now)).await
    }

    async fn open_and_redeem(
        &self,
        session: Session,
        tokens: Vec<TokenRecord>,
        epoch: u64,
        key: HashedKey,
        now: Timestamp,
    ) -> Result<Option<Redeemed>, StoreError> {
        self.writer.run(move |tables| tables.open_and_redeem(&session, &tokens, epoch, key, now)).await
    }

    async fn deny(&self, key: HashedKey, denial: Denial) -> Result<(), StoreError> {
        let denied = self.writer.run(move |tables| tables.deny(key, denial)).await;
        self.local.forget(key.tag());
        denied
    }

    async fn denials(&self, keys: Vec<HashedKey>, now: Timestamp) -> Result<Vec<Option<Denial>>, StoreError> {
        Ok(only_live(self.read(|tables| tables.denials(&keys))?, now))
    }

    async fn revoke_token(&self, id: TokenId, since: Timestamp) -> Result<Revoked, StoreError> {
        self.writer.run(move |tables| tables.revoke_token(id, since)).await
    }

    async fn revoke_session(&self, session: SessionId, since: Timestamp) -> Result<Revoked, StoreError> {
        self.writer.run(move |tables| tables.revoke_session(session, since)).await
    }

    async fn revoke_for_reuse(
        &self,
        session: SessionId,
        current: TokenId,
        since: Timestamp,
    ) -> Result<Option<Revoked>, StoreError> {
        self.writer.run(move |tables| tables.revoke_for_reuse(session, current, since)).await
    }

    async fn revoke_user(
        &self,
        user: Subject,
        except: Option<SessionId>,
        since: Timestamp,
    ) -> Result<Revoked, StoreError> {
        self.writer.run(move |tables| tables.revoke_user(&user, except, since)).await
    }

    async fn set_user_disabled(&self, user: Subject, disabled: bool, since: Timestamp) -> Result<Revoked, StoreError> {
        self.writer.run(move |tables| tables.set_disabled(&user, disabled, since)).await
    }

    async fn sessions(&self, user: Subject, now: Timestamp) -> Result<Vec<Session>, StoreError> {
        let stored = self.read(|tables| tables.sessions(&user))?;
        let sessions = stored.into_iter().map(|stored| stored.session);
        let mut sessions: Vec<Session> = sessions.filter(|session| session.is_live(now)).collect();
        sessions.sort_by_key(|session| std::cmp::Reverse((session.created_at, session.session_id)));
        Ok(sessions)
    }

    /// Reads the sessions only if the user has more than `keep`, dead ones included.
    async fn surplus_sessions(
        &self,
        user: Subject,
        new: SessionId,
        keep: usize,
        now: Timestamp,
    ) -> Result<Vec<SessionId>, StoreError> {
        let others = self.read(|tables| tables.session_ids(&user))?.iter().filter(|id| **id != new).count();
        if others <= keep {
            return Ok(Vec::new());
        }
        Ok(used_longest_ago(TokenStore::sessions(self, user, now).await?, new, keep))
    }

    /// Reads all sessions, on a blocking thread.
    async fn sessions_of_client(
        &self,
        client_id: String,
        after: Option<SessionId>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<SessionId>, StoreError> {
        let file = Arc::clone(&self.file);
        let read = move || read_file(&file, |tables| tables.sessions_of_client(&client_id, after, limit, now));
        let read = tokio::task::spawn_blocking(read).await;
        self.probe_if_failed(read.unwrap_or(Err(EmbeddedError::Panicked)))
    }

    /// Removes in batches, so that other writers get their turn in between.
    async fn purge_expired(&self, before: Timestamp) -> Result<Purged, StoreError> {
        let mut purged = Purged::default();
        loop {
            let batch = self.writer.run(move |tables| tables.purge(before, PURGE_BATCH)).await?;
            purged.tokens += batch.tokens;
            purged.sessions += batch.sessions;
            purged.keys += batch.keys;
            if batch == Purged::default() {
                return Ok(purged);
            }
        }
    }

    /// Zero: a read runs on the calling thread, and no timer could interrupt it.
    fn answers_within(&self) -> Option<Duration> {
        Some(Duration::ZERO)
    }

    /// Reads, as every check does, and sees whether the writer runs. A failing write shows only in
    /// a write.
    async fn ping(&self) -> Result<(), StoreError> {
        self.writer.ping()?;
        self.read(|tables| tables.fence(&Subject::from(uuid::Uuid::nil()))).map(drop)
    }
}
