//! Bounds the streams that a user holds open on this node.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use auth_layer::UserId;

/// The most streams of one user: one for each session that a user may have by default. Each holds a
/// connection, and asks the store about its session.
pub(crate) const MAX_PER_USER: usize = 100;

/// The time after which a refused user may try again. By then the server has written two events to
/// each client, and has noticed which of them are gone.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(2);

/// Counts the open streams of each user. Clones share the numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct OpenStreams(Arc<Mutex<HashMap<UserId, usize>>>);

/// An open stream, which counts until it is dropped.
#[derive(Debug)]
pub(crate) struct OpenStream {
    all: OpenStreams,
    user: UserId,
}

impl OpenStreams {
    /// Counts one more; `None` if the user has [`MAX_PER_USER`] open.
    pub(crate) fn open(&self, user: UserId) -> Option<OpenStream> {
        let mut open = self.lock();
        let count = open.entry(user).or_default();
        if *count == MAX_PER_USER {
            return None;
        }
        *count += 1;
        Some(OpenStream { all: self.clone(), user })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<UserId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut open = self.all.lock();
        if let Some(count) = open.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_streams_of_nobody_take_no_memory() {
        let all = OpenStreams::default();
        let users = [UserId::generate(), UserId::generate()];
        let open: Vec<OpenStream> = users.into_iter().chain(users).map(|user| all.open(user).unwrap()).collect();
        assert_eq!(all.lock().len(), 2);
        drop(open);
        assert!(all.lock().is_empty());
    }
}
