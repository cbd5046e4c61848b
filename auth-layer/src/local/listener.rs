//! Who wants to hear of revocations.

use uuid::Uuid;

/// Hears of revocations that other processes made, as soon as a store knows of them. See
/// [`TokenStore::subscribe`](crate::store::TokenStore::subscribe).
///
/// The methods are called from a task of the store's, one call at a time: they must neither block nor take long.
pub trait RevocationListener: Send + Sync + 'static {
    /// The token, the session or the user with this id was revoked, and whoever asks the store from now on is told so. A user
    /// that has no UUID goes by its [`tag`](crate::id::TextId::tag). The news may come more than once, be this process's own,
    /// or be of something that nobody here has ever seen.
    fn revoked(&self, id: Uuid);

    /// Anything may have been missed until now.
    fn gap(&self);
}
