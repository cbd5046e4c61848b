//! Logs each stored hash that cannot be read, once per user.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use auth_layer::UserId;

use super::stored::Unreadable;

/// The maximum number of users in the log. Beyond it the whole collection is wrong, and the log
/// says that it stops.
const USERS: usize = 100;

/// The users whose unreadable hash was logged.
#[derive(Debug, Default)]
pub(super) struct UnreadableHashes(Mutex<HashSet<UserId>>);

impl UnreadableHashes {
    /// Logs a user's unreadable hash unless it was logged before.
    pub(super) fn report(&self, user_id: UserId, why: Unreadable) {
        let mut told = self.told();
        if told.len() >= USERS || !told.insert(user_id) {
            return;
        }
        let last = told.len() == USERS;
        drop(told);
        tracing::error!(
            %user_id,
            %why,
            "the stored password hash of this user cannot be used; nobody can sign in with it: set a new password"
        );
        if last {
            tracing::error!(users = USERS, "further password hashes that cannot be used are not logged");
        }
    }

    /// Forgets a user whose hash is readable again.
    pub(super) fn forget(&self, user_id: &UserId) {
        self.told().remove(user_id);
    }

    fn told(&self) -> MutexGuard<'_, HashSet<UserId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
