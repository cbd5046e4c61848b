//! Logs each stored hash that cannot be read, once per user.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use auth_layer::UserId;

use super::stored::UnusableHash;

/// The maximum number of users in the log. Beyond it the whole collection is wrong, and the log
/// says that it stops.
const MAX_REPORTED: usize = 100;

/// The users whose unusable hash was logged.
#[derive(Debug, Default)]
pub(super) struct UnusableHashes(Mutex<HashSet<UserId>>);

impl UnusableHashes {
    /// Logs a user's unusable hash unless it was logged before.
    pub(super) fn report(&self, user_id: UserId, why: UnusableHash) {
        let mut reported = self.reported();
        if reported.len() >= MAX_REPORTED || !reported.insert(user_id) {
            return;
        }
        let last = reported.len() == MAX_REPORTED;
        drop(reported);
        tracing::error!(
            %user_id,
            %why,
            "this user's stored password hash cannot be used, so the user cannot sign in; set a new password"
        );
        if last {
            tracing::error!(users = MAX_REPORTED, "further unusable password hashes are not logged");
        }
    }

    /// Forgets a user whose hash is readable again.
    pub(super) fn forget(&self, user_id: &UserId) {
        self.reported().remove(user_id);
    }

    fn reported(&self) -> MutexGuard<'_, HashSet<UserId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
