//! Shared caches, which save reads of the store of record.
//!
//! A [`StatusCache`] is shared by all nodes and knows whether a token is active or revoked, and what
//! is denied. It may forget anything at any time, but a fill must never overwrite a tombstone or a
//! denial. [`Cached`] puts a cache in front of a [`TokenStore`](crate::store::TokenStore) and is a
//! store itself.

mod cached;
#[cfg(feature = "metrics")]
mod measured;
#[cfg(feature = "redis")]
pub mod redis;

use std::{borrow::Cow, error::Error, future::Future, sync::Weak, time::Duration};

pub use cached::Cached;
#[cfg(feature = "metrics")]
pub use measured::MeasuredCache;
use uuid::Uuid;

use crate::{
    clock::Timestamp,
    id::TokenId,
    store::{ActiveToken, Denial, HashedKey, RevocationListener},
};

/// A cache of token statuses and denials, shared by all nodes.
///
/// # Laws
///
/// 1. Once a [`put_tombstones`](Self::put_tombstones) has returned success, every
///    [`get`](Self::get) called after it, on any node, sees the tombstone until it ends. The answer
///    is [`CacheAnswer::Dead`], or [`CacheAnswer::Miss`] if the cache forgot it, but never
///    [`CacheAnswer::Active`].
/// 2. A [fill](Self::put_active_if_absent) never replaces a tombstone. An entry that it made is
///    gone at its stated end, counted from the moment of the miss.
/// 3. A cache that cannot answer within its time limit returns an error, not a miss.
/// 4. Once a [`put_denials`](Self::put_denials) has returned success, every
///    [`denials`](Self::denials) called after it, on any node, answers with times that are not
///    earlier, or with [`DenialAnswer::Miss`]. A [fill](Self::put_denials_if_absent) replaces
///    nothing.
/// 5. A cache that has lost entries takes no denials and no fills that belong to a miss from before
///    the loss. Of two denials it may have lost the later one, and the earlier one alone would be
///    wrong.
///
/// # Example
///
/// A cache in memory, which stands for one that all nodes share:
///
/// ```
/// use std::{collections::HashMap, sync::Mutex, time::Duration};
///
/// use auth_layer::{
///     TokenId,
///     cache::{CacheAnswer, CacheError, DenialAnswer, StatusCache},
///     clock::Timestamp,
///     store::{ActiveToken, Denial, HashedKey},
/// };
///
/// #[derive(Default)]
/// struct MapCache {
///     /// `None` is a tombstone.
///     tokens: Mutex<HashMap<TokenId, Option<ActiveToken>>>,
///     /// `None` is "not denied".
///     denials: Mutex<HashMap<HashedKey, Option<Denial>>>,
/// }
///
/// impl StatusCache for MapCache {
///     type Miss = ();
///
///     async fn get(&self, id: TokenId) -> Result<CacheAnswer<()>, CacheError> {
///         Ok(match self.tokens.lock().unwrap().get(&id) {
///             Some(Some(token)) => CacheAnswer::Active(token.clone()),
///             Some(None) => CacheAnswer::Dead,
///             None => CacheAnswer::Miss(()),
///         })
///     }
///
///     async fn put_active_if_absent(
///         &self,
///         (): (),
///         id: TokenId,
///         token: ActiveToken,
///     ) -> Result<(), CacheError> {
///         self.tokens.lock().unwrap().entry(id).or_insert(Some(token));
///         Ok(())
///     }
///
///     async fn put_tombstones(
///         &self,
///         tokens: &[(TokenId, Timestamp)],
///         _since: Timestamp,
///     ) -> Result<(), CacheError> {
///         self.tokens.lock().unwrap().extend(tokens.iter().map(|&(id, _)| (id, None)));
///         Ok(())
///     }
///
///     async fn denials(&self, keys: &[HashedKey]) -> Result<(Vec<DenialAnswer>, ()), CacheError> {
///         let denials = self.denials.lock().unwrap();
///         let answer = |key| match denials.get(key) {
///             Some(Some(denial)) => DenialAnswer::Denied(*denial),
///             Some(None) => DenialAnswer::NotDenied,
///             None => DenialAnswer::Miss,
///         };
///         Ok((keys.iter().map(answer).collect(), ()))
///     }
///
///     async fn put_denials_if_absent(
///         &self,
///         (): (),
///         read: &[(HashedKey, Option<Denial>)],
///     ) -> Result<(), CacheError> {
///         let mut denials = self.denials.lock().unwrap();
///         for &(key, denial) in read {
///             denials.entry(key).or_insert(denial);
///         }
///         Ok(())
///     }
///
///     async fn put_denials(&self, (): (), made: &[(HashedKey, Denial)]) -> Result<(), CacheError> {
///         let mut denials = self.denials.lock().unwrap();
///         for &(key, denial) in made {
///             let held = denials.entry(key).or_default();
///             *held = Some(held.map_or(denial, |held| held.extended_by(denial)));
///         }
///         Ok(())
///     }
///
///     fn bound(&self) -> Duration {
///         Duration::from_mins(15) // entries stay, and access tokens live no longer
///     }
///
///     async fn ping(&self) -> Result<(), CacheError> {
///         Ok(())
///     }
/// }
/// ```
pub trait StatusCache: Send + Sync + 'static {
    /// What a miss passes to the fill that may follow, for example its moment and its connection.
    type Miss: Send;

    /// Returns what the cache knows of a token, in one round trip.
    fn get(&self, id: TokenId) -> impl Future<Output = Result<CacheAnswer<Self::Miss>, CacheError>> + Send;

    /// Records a token as active, as the store of record had it after `miss`.
    ///
    /// Records nothing if the miss is too old, or if something was recorded of the token since.
    fn put_active_if_absent(
        &self,
        miss: Self::Miss,
        id: TokenId,
        token: ActiveToken,
    ) -> impl Future<Output = Result<(), CacheError>> + Send;

    /// Writes tombstones over any entries. Success means that all of them are in place.
    ///
    /// Nobody accepts a token that expired before `since`: the caller has subtracted leeway and
    /// margin. A tombstone must therefore last as long as the time from `since` to its token's
    /// expiry.
    fn put_tombstones(
        &self,
        tokens: &[(TokenId, Timestamp)],
        since: Timestamp,
    ) -> impl Future<Output = Result<(), CacheError>> + Send;

    /// Returns what the cache knows of the denials of these keys, in their order and in one round
    /// trip. Also returns the miss of this call, which a write of the same keys needs.
    fn denials(
        &self,
        keys: &[HashedKey],
    ) -> impl Future<Output = Result<(Vec<DenialAnswer>, Self::Miss), CacheError>> + Send;

    /// Records what the store of record had of these keys after `miss`: a denial, or none.
    ///
    /// Records nothing if the miss is too old, and nothing of a key of which something was recorded
    /// since.
    fn put_denials_if_absent(
        &self,
        miss: Self::Miss,
        read: &[(HashedKey, Option<Denial>)],
    ) -> impl Future<Output = Result<(), CacheError>> + Send;

    /// Writes denials over any entries, and reports the keys' [tags](HashedKey::tag) to the listeners
    /// of all nodes. Success means that all denials are in place.
    ///
    /// They are what the store of record had after `miss`. If the cache has a denial of a key, of
    /// each of its times the later one stays ([`Denial::extended_by`]), read and written in one
    /// step.
    fn put_denials(
        &self,
        miss: Self::Miss,
        made: &[(HashedKey, Denial)],
    ) -> impl Future<Output = Result<(), CacheError>> + Send;

    /// Tells the listeners of all nodes that a session has ended, or all sessions of a user. `ended`
    /// is the session's id or the user's [tag](crate::id::TextId::tag).
    ///
    /// A session whose access tokens have expired has no tombstones that would tell of its end, but
    /// may have open streams. No law depends on this, it may fail silently, and the default does
    /// nothing.
    fn announce(&self, ended: Uuid) -> impl Future<Output = ()> + Send {
        let _ = ended;
        async {}
    }

    /// Returns how long an entry may say "active" or "not denied" at most, counted from its miss.
    ///
    /// After this time a revocation or a denial holds even if the cache could not be told.
    fn bound(&self) -> Duration;

    /// Returns the time within which [`get`](Self::get), [`denials`](Self::denials) and the fills
    /// each answer or fail, if the cache itself enforces one.
    ///
    /// Default: none, which costs a timer for each request.
    fn answers_within(&self) -> Option<Duration> {
        None
    }

    /// Succeeds when the cache can serve.
    fn ping(&self) -> impl Future<Output = Result<(), CacheError>> + Send;

    /// Reports to `listener` what any node has [announced](Self::announce), each tombstone and each
    /// denial that it has written, and that something may have been missed, until the listener is
    /// dropped.
    ///
    /// No law depends on this, and the default reports nothing. See
    /// [`TokenStore::subscribe`](crate::store::TokenStore::subscribe).
    fn subscribe(&self, listener: Weak<dyn RevocationListener>) {
        drop(listener);
    }
}

/// What a cache knows of a token.
#[derive(Debug)]
pub enum CacheAnswer<M> {
    /// It was active a moment ago, within the cache's stated bound.
    Active(ActiveToken),
    /// It is revoked or used up.
    Dead,
    /// The cache has no entry.
    Miss(M),
}

/// What a cache knows of the denial of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DenialAnswer {
    /// It was denied, as the store of record had it a moment ago or has it now. Whether the denial
    /// has expired is left to the caller's clock.
    Denied(Denial),
    /// It was not denied a moment ago, within the cache's stated bound.
    NotDenied,
    /// The cache has no entry.
    Miss,
}

/// The error of a cache that could not answer.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct CacheError {
    kind: CacheErrorKind,
    what: Cow<'static, str>,
    #[source]
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// The kinds of [`CacheError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CacheErrorKind {
    /// The cache cannot be reached, answered too late or cannot serve now. Calling again later may
    /// succeed.
    Unavailable,
    /// The cache can never serve as it is set up, for example because the password is wrong.
    Unsupported,
}

impl CacheError {
    /// Creates an error of the kind [`Unavailable`](CacheErrorKind::Unavailable). `what` says in
    /// one phrase what could not be done.
    pub fn new(what: impl Into<Cow<'static, str>>) -> Self {
        Self { kind: CacheErrorKind::Unavailable, what: what.into(), source: None }
    }

    /// Creates an error of the kind [`Unsupported`](CacheErrorKind::Unsupported). `what` says in
    /// one sentence what is set up wrongly.
    pub fn unsupported(what: impl Into<Cow<'static, str>>) -> Self {
        Self { kind: CacheErrorKind::Unsupported, what: what.into(), source: None }
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Returns the kind of this error.
    pub fn kind(&self) -> CacheErrorKind {
        self.kind
    }
}
