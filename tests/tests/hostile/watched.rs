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
pub(crate) struct Watched {
    store: MemoryStore,
    reads: AtomicUsize,
    writes: AtomicUsize,
    down: AtomicBool,
}

/// The number of calls of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) reads: usize,
    pub(crate) writes: usize,
}

impl Watched {
    pub(crate) fn asked(&self) -> Asked {
        Asked { reads: self.reads.load(Ordering::SeqCst), writes: self.writes.load(Ordering::SeqCst) }
    }

    /// Makes the store unreachable from now on.
    pub(crate) fn go_down(&self) {
        self.down.store(true, Ordering::SeqCst);
    }

    fn reading(&self) -> Result<&MemoryStore, StoreError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.reached()
    }

    fn writing(&self) -> Result<&MemoryStore, StoreError> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        self.reached()
    }

    fn reached(&self) -> Result<&MemoryStore, StoreError> {
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

impl StoreDecorator for Watched {
    type Inner = MemoryStore;

    fn inner(&self) -> &MemoryStore {
        &self.store
    }

    async fn token_status(&self, id: TokenId) -> Result<TokenStatus, StoreError> {
        let store = self.reading()?;
        // As a remote store does: other tasks may run in between.
        tokio::task::yield_now().await;
        store.token_status(id).await
    }

    /// Only an accepted use has written anything.
    async fn consume(&self, id: TokenId, expected: ActiveToken, now: Timestamp) -> Result<Consumed, StoreError> {
        let consumed = self.reading()?.consume(id, expected, now).await?;
        if consumed == Consumed::Accepted {
            self.writing()?;
        }
        Ok(consumed)
    }

    counted! {
        reading: user_fence(user: Subject) -> UserFence;
        writing: open_session(session: Session, tokens: Vec<TokenRecord>, epoch: u64) -> Admission;
        reading: session(id: SessionId, now: Timestamp) -> Option<Session>;
        reading: session_for_refresh(session: SessionId, refresh: TokenId, now: Timestamp) -> Option<(Session, TokenStatus)>;
        writing: rotate(rotation: Rotation) -> Rotated;
        reading: confirm(session: SessionId, current: TokenId) -> Rotated;
        writing: note_delivered(session: SessionId, current: TokenId, now: Timestamp) -> ();
        writing: record_token(token: TokenRecord) -> Admission;
        writing: revoke_token(id: TokenId, since: Timestamp) -> Revoked;
        writing: revoke_session(session: SessionId, since: Timestamp) -> Revoked;
        writing: revoke_for_reuse(session: SessionId, current: TokenId, since: Timestamp) -> Option<Revoked>;
        writing: revoke_user(user: Subject, except: Option<SessionId>, since: Timestamp) -> Revoked;
        writing: set_user_disabled(user: Subject, disabled: bool, since: Timestamp) -> Revoked;
        reading: sessions(user: Subject, now: Timestamp) -> Vec<Session>;
        writing: purge_expired(before: Timestamp) -> Purged;
        reading: ping() -> ();
    }

    /// None: the store only waits for other tasks.
    fn answers_within(&self) -> Option<Duration> {
        None
    }
}
