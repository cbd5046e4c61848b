//! A store that counts its calls.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use auth_layer::{
    SessionId, Subject, TokenId,
    clock::Timestamp,
    store::{
        ActiveToken, Admission, Consumed, MemoryStore, Purged, Revoked, Rotated, Rotation, Session, StoreDecorator,
        StoreError, StoreErrorKind, TokenRecord, TokenStatus, TokenStore, UserFence,
    },
};

/// A [`MemoryStore`] that counts its reads, and its writes and possible writes.
#[derive(Default)]
pub(crate) struct CountingStore {
    store: MemoryStore,
    reads: AtomicUsize,
    writes: AtomicUsize,
    down: AtomicBool,
}

/// The number of calls of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CallCounts {
    pub(crate) reads: usize,
    pub(crate) writes: usize,
}

impl CountingStore {
    /// Returns the number of calls so far.
    pub(crate) fn calls(&self) -> CallCounts {
        CallCounts { reads: self.reads.load(Ordering::SeqCst), writes: self.writes.load(Ordering::SeqCst) }
    }

    /// Makes the store unreachable from now on.
    pub(crate) fn go_down(&self) {
        self.down.store(true, Ordering::SeqCst);
    }

    /// Counts a read and returns the store.
    fn count_read(&self) -> Result<&MemoryStore, StoreError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.if_up()
    }

    /// Counts a write and returns the store.
    fn count_write(&self) -> Result<&MemoryStore, StoreError> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        self.if_up()
    }

    /// Returns the store, or an error while it is down.
    fn if_up(&self) -> Result<&MemoryStore, StoreError> {
        if self.down.load(Ordering::SeqCst) {
            Err(StoreError::new(StoreErrorKind::Unavailable, "the store is down"))
        } else {
            Ok(&self.store)
        }
    }
}

/// Counts calls as reads or as writes, and passes them on.
macro_rules! counted {
    ($($counted:ident: $name:ident($($argument:ident: $type:ty),*) -> $answer:ty;)+) => {$(
        async fn $name(&self, $($argument: $type),*) -> Result<$answer, StoreError> {
            self.$counted()?.$name($($argument),*).await
        }
    )+};
}

impl StoreDecorator for CountingStore {
    type Inner = MemoryStore;

    fn inner(&self) -> &MemoryStore {
        &self.store
    }

    async fn token_status(&self, id: TokenId) -> Result<TokenStatus, StoreError> {
        let store = self.count_read()?;
        // As a remote store does: other tasks may run in between.
        tokio::task::yield_now().await;
        store.token_status(id).await
    }

    /// Only an accepted use has written anything.
    async fn consume(&self, id: TokenId, expected: ActiveToken, now: Timestamp) -> Result<Consumed, StoreError> {
        let consumed = self.count_read()?.consume(id, expected, now).await?;
        if consumed == Consumed::Accepted {
            self.count_write()?;
        }
        Ok(consumed)
    }

    counted! {
        count_read: user_fence(user: Subject) -> UserFence;
        count_write: open_session(session: Session, tokens: Vec<TokenRecord>, epoch: u64) -> Admission;
        count_read: session(id: SessionId, now: Timestamp) -> Option<Session>;
        count_read: session_for_refresh(session: SessionId, refresh: TokenId, now: Timestamp) -> Option<(Session, TokenStatus)>;
        count_write: rotate(rotation: Rotation) -> Rotated;
        count_read: confirm(session: SessionId, current: TokenId) -> Rotated;
        count_write: note_delivered(session: SessionId, current: TokenId, now: Timestamp) -> ();
        count_write: record_token(token: TokenRecord) -> Admission;
        count_write: revoke_token(id: TokenId, since: Timestamp) -> Revoked;
        count_write: revoke_session(session: SessionId, since: Timestamp) -> Revoked;
        count_write: revoke_for_reuse(session: SessionId, current: TokenId, since: Timestamp) -> Option<Revoked>;
        count_write: revoke_user(user: Subject, except: Option<SessionId>, since: Timestamp) -> Revoked;
        count_write: set_user_disabled(user: Subject, disabled: bool, since: Timestamp) -> Revoked;
        count_read: sessions(user: Subject, now: Timestamp) -> Vec<Session>;
        count_write: purge_expired(before: Timestamp) -> Purged;
        count_read: ping() -> ();
    }

    /// None: the store only waits for other tasks.
    fn answers_within(&self) -> Option<Duration> {
        None
    }
}
