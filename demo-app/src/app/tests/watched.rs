//! A token store that records its calls and fails on demand.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use auth_layer::{
    SessionId, Subject,
    clock::Timestamp,
    store::{MemoryStore, Revoked, StoreDecorator, StoreError, StoreErrorKind, TokenStore, UserFence},
};

use crate::users::Asked;

#[derive(Clone, Default)]
pub(super) struct WatchedStore {
    store: Arc<MemoryStore>,
    pub(super) asked: Asked,
    pub(super) fence_down: Arc<AtomicBool>,
    /// Makes revocations fail after they were recorded.
    pub(super) half_done: Arc<AtomicBool>,
}

impl WatchedStore {
    fn told(&self, revoked: Revoked) -> Result<Revoked, StoreError> {
        failing(&self.half_done)?;
        Ok(revoked)
    }
}

fn failing(down: &AtomicBool) -> Result<(), StoreError> {
    if down.load(Ordering::SeqCst) {
        return Err(StoreError::new(StoreErrorKind::Unavailable, "down, as the test wants it"));
    }
    Ok(())
}

impl StoreDecorator for WatchedStore {
    type Inner = MemoryStore;

    fn inner(&self) -> &MemoryStore {
        &self.store
    }

    async fn user_fence(&self, user: Subject) -> Result<UserFence, StoreError> {
        self.asked.lock().unwrap().push("fence");
        failing(&self.fence_down)?;
        self.inner().user_fence(user).await
    }

    async fn revoke_session(&self, session: SessionId, now: Timestamp) -> Result<Revoked, StoreError> {
        let revoked = self.inner().revoke_session(session, now).await?;
        self.told(revoked)
    }
}
