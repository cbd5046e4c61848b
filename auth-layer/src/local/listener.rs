//! News of revocations made by other processes.

use uuid::Uuid;

/// Receives revocations that other processes made, see
/// [`TokenStore::subscribe`](crate::store::TokenStore::subscribe).
///
/// The store calls these methods from a task, one call at a time. They must not block or take long.
///
/// ```
/// use auth_layer::store::RevocationListener;
/// use uuid::Uuid;
///
/// struct Log;
///
/// impl RevocationListener for Log {
///     fn revoked(&self, id: Uuid) {
///         println!("{id} was revoked");
///     }
///
///     fn gap(&self) {
///         println!("some revocations may have been missed");
///     }
/// }
/// ```
pub trait RevocationListener: Send + Sync + 'static {
    /// Called when a token, session or user was revoked: from now on the store reports it as
    /// revoked.
    ///
    /// A user without a UUID is named by its [`tag`](crate::id::TextId::tag), and a denial by the
    /// [`tag`](crate::store::HashedKey::tag) of its key. The same id may come more than once, and may
    /// be unknown here or revoked by this process itself.
    fn revoked(&self, id: Uuid);

    /// Called when revocations may have been missed until now.
    fn gap(&self);
}
