//! Users that record their calls, for tests.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use auth_layer::{SessionId, UserId};
use tokio::sync::Semaphore;

use super::{Added, EmbeddedUsers, User, UsersError};

/// The calls to the stores, in order.
pub(crate) type Asked = Arc<Mutex<Vec<&'static str>>>;

#[derive(Clone, Debug)]
pub(crate) struct WatchedUsers {
    users: EmbeddedUsers,
    pub(crate) asked: Asked,
    pub(crate) down: Arc<AtomicBool>,
    /// Delays the report of a replacement while a test holds its one permit.
    pub(crate) reports: Arc<Semaphore>,
    /// Has one permit for each replacement that was made.
    pub(crate) replaced: Arc<Semaphore>,
}

impl WatchedUsers {
    pub(crate) fn new(users: EmbeddedUsers, asked: Asked) -> Self {
        let reports = Arc::new(Semaphore::new(1));
        Self { users, asked, down: Arc::default(), reports, replaced: Arc::new(Semaphore::new(0)) }
    }

    pub(super) async fn add(&self, user: User) -> Result<Added, UsersError> {
        self.users.add(user).await
    }

    pub(super) async fn by_name(&self, username: &str) -> Result<Option<User>, UsersError> {
        self.read()?;
        self.users.by_name(username).await
    }

    pub(super) async fn by_id(&self, id: UserId) -> Result<Option<User>, UsersError> {
        self.read()?;
        self.users.by_id(id).await
    }

    fn read(&self) -> Result<(), UsersError> {
        self.asked.lock().unwrap().push("user");
        if self.down.load(Ordering::SeqCst) {
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
        let _turn = self.reports.acquire().await.unwrap();
        replaced
    }
}
