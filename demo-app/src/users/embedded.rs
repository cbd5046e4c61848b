//! Users in a local file.

use std::{fmt, ops::Bound, path::Path, sync::Arc};

use auth_layer::{SessionId, UserId};
use chrono::{DateTime, Utc};
use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::{
    AddOutcome, Role, User, UsersError,
    file::{NAMES, Opener, USERS, UserFile, UserFileError, file_opener},
    folded,
};

/// Stores users in one redb file. Each write is on disk when it returns.
#[derive(Clone)]
pub(crate) struct EmbeddedUsers(Arc<UserFile>);

#[derive(Serialize, Deserialize)]
struct UserRecord {
    user_id: UserId,
    username: String,
    password_hash: String,
    role: Role,
    created_at: DateTime<Utc>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    password_changed_in: Option<SessionId>,
}

impl EmbeddedUsers {
    pub(crate) fn open(path: &Path) -> Result<Self, UsersError> {
        Self::open_with(file_opener(path))
    }

    fn open_with(opener: Opener) -> Result<Self, UsersError> {
        let file = UserFile::open(opener).map_err(|error| UsersError::new("users.redb cannot be opened", error))?;
        Ok(Self(Arc::new(file)))
    }

    pub(super) async fn add(&self, user: User) -> Result<AddOutcome, UsersError> {
        self.write(move |write| {
            let (name, id) = (folded(&user.username), user.user_id.to_string());
            let mut users = write.open_table(USERS)?;
            let mut names = write.open_table(NAMES)?;
            if users.get(name.as_str())?.is_some() || names.get(id.as_str())?.is_some() {
                return Ok(AddOutcome::Taken);
            }
            users.insert(name.as_str(), &*serde_json::to_vec(&UserRecord::from(user))?)?;
            names.insert(id.as_str(), name.as_str())?;
            Ok(AddOutcome::Added)
        })
        .await
    }

    pub(super) async fn by_name(&self, username: &str) -> Result<Option<User>, UsersError> {
        let name = folded(username);
        self.read(move |database| {
            let users = database.begin_read()?.open_table(USERS)?;
            let stored = users.get(name.as_str())?;
            Ok(stored.map(|stored| serde_json::from_slice::<UserRecord>(stored.value())).transpose()?.map(User::from))
        })
        .await
    }

    pub(crate) async fn is_empty(&self) -> Result<bool, UsersError> {
        self.run(|database| Ok(database.begin_read()?.open_table(USERS)?.is_empty()?)).await
    }

    pub(super) async fn by_id(&self, id: UserId) -> Result<Option<User>, UsersError> {
        self.read(move |database| {
            let read = database.begin_read()?;
            let Some(name) = read.open_table(NAMES)?.get(id.to_string().as_str())? else { return Ok(None) };
            let stored = read.open_table(USERS)?.get(name.value())?;
            Ok(stored.map(|stored| serde_json::from_slice::<UserRecord>(stored.value())).transpose()?.map(User::from))
        })
        .await
    }

    pub(super) async fn list(&self, after: Option<&str>, limit: u32) -> Result<Vec<User>, UsersError> {
        let after = after.map(folded);
        self.run(move |database| {
            let users = database.begin_read()?.open_table(USERS)?;
            let from = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let mut listed = Vec::new();
            for row in users.range::<&str>((from, Bound::Unbounded))?.take(limit as usize) {
                let (_, stored) = row?;
                listed.push(serde_json::from_slice::<UserRecord>(stored.value())?.into());
            }
            Ok(listed)
        })
        .await
    }

    pub(super) async fn set_role(&self, user: &User, role: Role) -> Result<bool, UsersError> {
        let id = user.user_id;
        self.change(user, move |stored| (stored.user_id == id).then_some(UserRecord { role, ..stored })).await
    }

    pub(super) async fn replace_hash(
        &self,
        user: &User,
        new: String,
        changed_in: Option<SessionId>,
    ) -> Result<bool, UsersError> {
        let old = user.password_hash.clone();
        self.change(user, move |stored| {
            let password_changed_in = changed_in.or(stored.password_changed_in);
            let is_current = stored.password_hash == old;
            is_current.then_some(UserRecord { password_hash: new, password_changed_in, ..stored })
        })
        .await
    }

    /// Replaces the record under this user's name by what `change` returns; false if it returns
    /// none, or if there is no record.
    async fn change(
        &self,
        user: &User,
        change: impl FnOnce(UserRecord) -> Option<UserRecord> + Send + 'static,
    ) -> Result<bool, UsersError> {
        let name = folded(&user.username);
        self.write(move |write| {
            let mut users = write.open_table(USERS)?;
            let stored = users.get(name.as_str())?.map(|stored| serde_json::from_slice::<UserRecord>(stored.value()));
            let Some(changed) = stored.transpose()?.and_then(change) else { return Ok(false) };
            users.insert(name.as_str(), &*serde_json::to_vec(&changed)?)?;
            Ok(true)
        })
        .await
    }

    /// Writes in one transaction, which is aborted if `change` fails.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        change: impl FnOnce(&WriteTransaction) -> Result<T, UserFileError> + Send + 'static,
    ) -> Result<T, UsersError> {
        self.run(move |database| {
            let write = database.begin_write()?;
            let outcome = change(&write)?;
            write.commit()?;
            Ok(outcome)
        })
        .await
    }

    /// Reads a few rows on the calling thread: from memory that takes a few microseconds, less than
    /// to pass it to another thread and back.
    ///
    /// A file that has failed, or is being reopened, is for a blocking thread.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl Fn(&Database) -> Result<T, UserFileError> + Send + 'static,
    ) -> Result<T, UsersError> {
        match self.0.try_read(&read) {
            Some(Ok(done)) => Ok(done),
            _ => self.run(read).await,
        }
    }

    /// Runs `work` on a blocking thread, because a commit waits for the disk.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, UserFileError> + Send + 'static,
    ) -> Result<T, UsersError> {
        const WHAT: &str = "users.redb cannot be read or written";
        let file = Arc::clone(&self.0);
        let done = tokio::task::spawn_blocking(move || file.run(work)).await;
        done.map_err(|error| UsersError::new(WHAT, error))?.map_err(|error| UsersError::new(WHAT, error))
    }
}

impl fmt::Debug for EmbeddedUsers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedUsers").finish_non_exhaustive()
    }
}

impl From<User> for UserRecord {
    fn from(user: User) -> Self {
        let User { user_id, username, password_hash, role, created_at, password_changed_in } = user;
        Self { user_id, username, password_hash, role, created_at, password_changed_in }
    }
}

impl From<UserRecord> for User {
    fn from(stored: UserRecord) -> Self {
        let UserRecord { user_id, username, password_hash, role, created_at, password_changed_in } = stored;
        Self { user_id, username, password_hash, role, created_at, password_changed_in }
    }
}

#[cfg(test)]
mod tests;
