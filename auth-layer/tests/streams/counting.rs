//! A store that counts the questions about streams, fails on demand and tells of revocations.

use std::{
    future::pending,
    panic::resume_unwind,
    sync::{
        Mutex, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use auth_layer::{
    SessionId, TokenId,
    clock::Timestamp,
    store::{
        MemoryStore, RevocationListener, Session, StoreDecorator, StoreError, StoreErrorKind, TokenStatus, TokenStore,
    },
};
use uuid::Uuid;

#[derive(Default)]
pub(crate) struct CountingStore {
    store: MemoryStore,
    questions: AtomicUsize,
    outage: Mutex<Option<Outage>>,
    listeners: Mutex<Vec<Weak<dyn RevocationListener>>>,
}

/// What becomes of a question that is not answered.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outage {
    Fails,
    Hangs,
    Panics,
}

impl Outage {
    pub(crate) const ALL: [Self; 3] = [Self::Fails, Self::Hangs, Self::Panics];
}

impl CountingStore {
    /// Returns the number of questions since the last call.
    pub(crate) fn take_questions(&self) -> usize {
        self.questions.swap(0, Ordering::SeqCst)
    }

    /// From now on no question is answered.
    pub(crate) fn break_down(&self, outage: Outage) {
        *self.outage.lock().unwrap() = Some(outage);
    }

    pub(crate) fn repair(&self) {
        *self.outage.lock().unwrap() = None;
    }

    pub(crate) fn listeners(&self) -> usize {
        self.listeners.lock().unwrap().len()
    }

    /// Tells the listeners that this was revoked.
    pub(crate) fn tell(&self, id: Uuid) {
        self.each_listener(|listener| listener.revoked(id));
    }

    pub(crate) fn tell_gap(&self) {
        self.each_listener(RevocationListener::gap);
    }

    fn each_listener(&self, tell: impl Fn(&dyn RevocationListener)) {
        let listeners: Vec<_> = self.listeners.lock().unwrap().iter().filter_map(Weak::upgrade).collect();
        for listener in listeners {
            tell(&*listener);
        }
    }

    async fn question(&self) -> Result<(), StoreError> {
        self.questions.fetch_add(1, Ordering::SeqCst);
        let outage = *self.outage.lock().unwrap();
        match outage {
            None => Ok(()),
            Some(Outage::Fails) => Err(StoreError::new(StoreErrorKind::Unavailable, "the store is down")),
            Some(Outage::Hangs) => pending().await,
            // Without a line on the terminal.
            Some(Outage::Panics) => resume_unwind(Box::new(())),
        }
    }
}

impl StoreDecorator for CountingStore {
    type Inner = MemoryStore;

    fn inner(&self) -> &MemoryStore {
        &self.store
    }

    async fn token_status(&self, id: TokenId) -> Result<TokenStatus, StoreError> {
        self.question().await?;
        self.store.token_status(id).await
    }

    async fn session(&self, id: SessionId, now: Timestamp) -> Result<Option<Session>, StoreError> {
        self.question().await?;
        self.store.session(id, now).await
    }

    fn subscribe(&self, listener: Weak<dyn RevocationListener>) {
        self.listeners.lock().unwrap().push(listener);
    }
}
