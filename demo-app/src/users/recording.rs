//! Users that record their calls and fail on demand, for tests.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use auth_layer::{SessionId, UserId};
use tokio::sync::Semaphore;

use super::{AddOutcome, EmbeddedUsers, Role, User, UsersError};

/// The calls to the stores, in order.
pub(crate) type CallLog = Arc<Mutex<Vec<&'static str>>>;

#[derive(Clone, Debug)]
pub(crate) struct RecordingUsers {
    users: EmbeddedUsers,
    pub(crate) calls: CallLog,
    pub(crate) fail_reads: Arc<AtomicBool>,
    /// Makes each user one without a further role.
    pub(crate) demote: Arc<AtomicBool>,
    /// Delays the report of a replacement while a test holds its one permit.
    pub(crate) replace_gate: Arc<Semaphore>,
    /// Has one permit for each replacement that was made.
    pub(crate) replaced: Arc<Semaphore>,
}

impl RecordingUsers {
    pub(crate) fn new(users: EmbeddedUsers, calls: CallLog) -> Self {
        let replace_gate = Arc::new(Semaphore::new(1));
        Self {
            users,
            calls,
            fail_reads: Arc::default(),
            demote: Arc::default(),
            replace_gate,
            replaced: Arc::new(Semaphore::new(0)),
        }
    }

    pub(super) async fn add(&self, user: User) -> Result<AddOutcome, UsersError> {
        self.users.add(user).await
    }

    pub(super) async fn by_name(&self, username: &str) -> Result<Option<User>, UsersError> {
        self.record_read()?;
        Ok(self.users.by_name(username).await?.map(|user| self.demoted(user)))
    }

    pub(super) async fn by_id(&self, id: UserId) -> Result<Option<User>, UsersError> {
        self.record_read()?;
        Ok(self.users.by_id(id).await?.map(|user| self.demoted(user)))
    }

    fn demoted(&self, user: User) -> User {
        if self.demote.load(Ordering::SeqCst) { User { role: Role::User, ..user } } else { user }
    }

    pub(super) async fn list(&self, after: Option<&str>, limit: u32) -> Result<Vec<User>, UsersError> {
        self.record_read()?;
        self.users.list(after, limit).await
    }

    pub(super) async fn set_role(&self, user: &User, role: Role) -> Result<bool, UsersError> {
        self.users.set_role(user, role).await
    }

    fn record_read(&self) -> Result<(), UsersError> {
        self.calls.lock().unwrap().push("user");
        if self.fail_reads.load(Ordering::SeqCst) {
            return Err(UsersError::new("the users are down", "as the test wants it"));
        }
        Ok(())
    }

    pub(super) async fn is_empty(&self) -> Result<bool, UsersError> {
        self.users.is_empty().await
    }

    pub(super) async fn replace_hash(
        &self,
        user: &User,
        new: String,
        changed_in: Option<SessionId>,
    ) -> Result<bool, UsersError> {
        let replaced = self.users.replace_hash(user, new, changed_in).await;
        self.replaced.add_permits(1);
        let _turn = self.replace_gate.acquire().await.unwrap();
        replaced
    }
}
