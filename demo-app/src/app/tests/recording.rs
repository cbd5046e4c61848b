//! A token store that records its calls and fails on demand.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use auth_layer::{
    SessionId, Subject, TokenId,
    clock::Timestamp,
    store::{MemoryStore, Revoked, StoreDecorator, StoreError, StoreErrorKind, TokenStatus, TokenStore, UserFence},
};

use crate::users::CallLog;

#[derive(Clone, Default)]
pub(super) struct RecordingStore {
    store: Arc<MemoryStore>,
    pub(super) calls: CallLog,
    pub(super) fail_fence: Arc<AtomicBool>,
    /// Raises the fence after so many reads of it, as a revocation at that moment would; 0 does not.
    pub(super) raise_fence_after: Arc<AtomicUsize>,
    /// Makes revocations fail after they were recorded.
    pub(super) fail_after_revoke: Arc<AtomicBool>,
    pub(super) fail_checks: Arc<AtomicBool>,
    pub(super) panic_in_checks: Arc<AtomicBool>,
}

impl RecordingStore {
    fn check_revoked(&self, revoked: Revoked) -> Result<Revoked, StoreError> {
        fail_if(&self.fail_after_revoke)?;
        Ok(revoked)
    }
}

fn fail_if(failing: &AtomicBool) -> Result<(), StoreError> {
    if failing.load(Ordering::SeqCst) {
        return Err(StoreError::new(StoreErrorKind::Unavailable, "down, as the test wants it"));
    }
    Ok(())
}

impl StoreDecorator for RecordingStore {
    type Inner = MemoryStore;

    fn inner(&self) -> &MemoryStore {
        &self.store
    }

    async fn token_status(&self, id: TokenId) -> Result<TokenStatus, StoreError> {
        assert!(!self.panic_in_checks.load(Ordering::SeqCst), "as the test wants it");
        fail_if(&self.fail_checks)?;
        self.inner().token_status(id).await
    }

    async fn user_fence(&self, user: Subject) -> Result<UserFence, StoreError> {
        self.calls.lock().unwrap().push("fence");
        fail_if(&self.fail_fence)?;
        let fence = self.inner().user_fence(user.clone()).await?;
        let count_down = |left: usize| left.checked_sub(1);
        if self.raise_fence_after.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count_down) == Ok(1) {
            self.inner().revoke_user(user, None, Timestamp::default()).await.map(drop)?;
        }
        Ok(fence)
    }

    async fn revoke_token(&self, id: TokenId, since: Timestamp) -> Result<Revoked, StoreError> {
        let revoked = self.inner().revoke_token(id, since).await?;
        self.check_revoked(revoked)
    }

    async fn revoke_session(&self, session: SessionId, now: Timestamp) -> Result<Revoked, StoreError> {
        let revoked = self.inner().revoke_session(session, now).await?;
        self.check_revoked(revoked)
    }
}
