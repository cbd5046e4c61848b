//! What spares the store of record its reads.
//!
//! A [`StatusCache`] is shared by all nodes and says of a token whether it is active or dead. It may forget anything at any
//! time; what it must never do is let a fill overwrite a tombstone. [`Cached`] puts one in front of a
//! [`TokenStore`](crate::store::TokenStore) and is a store itself.

mod cached;
#[cfg(feature = "redis")]
pub mod redis;

use std::{borrow::Cow, error::Error, future::Future, sync::Weak, time::Duration};

pub use cached::Cached;

use crate::{
    clock::Timestamp,
    id::TokenId,
    store::{ActiveToken, RevocationListener},
};

/// A cache of token statuses, shared by all nodes.
///
/// # Laws
///
/// 1. A [`bury`](Self::bury) that returned success is seen by every [`get`](Self::get) called after it, on any node, until the
///    tombstone's end: the answer is [`CacheAnswer::Dead`] or, where the cache forgot it, [`CacheAnswer::Miss`], never
///    [`CacheAnswer::Active`].
/// 2. A [`fill`](Self::fill) never replaces a tombstone, and an entry it made is gone at its stated end, counted from the
///    moment of the miss.
/// 3. A cache that cannot answer within its time limit gives an error, not a miss.
pub trait StatusCache: Send + Sync + 'static {
    /// What a miss leaves for the fill that may follow, for instance the moment and the connection of the miss.
    type Miss: Send;

    /// What the cache knows of a token, in one round trip.
    fn get(&self, id: TokenId) -> impl Future<Output = Result<CacheAnswer<Self::Miss>, CacheError>> + Send;

    /// Records a token as active, as the store of record had it after `miss`; or drops that where it is too old by now or
    /// something was recorded of the token meanwhile.
    fn fill(
        &self,
        miss: Self::Miss,
        id: TokenId,
        token: ActiveToken,
    ) -> impl Future<Output = Result<(), CacheError>> + Send;

    /// Records tombstones over whatever is there. Success means all of them are in place.
    ///
    /// Nobody accepts what expired before `since`: the caller has taken leeway and margin off. So a tombstone must be kept for
    /// as long as it is from `since` to its token's expiry.
    fn bury(
        &self,
        tokens: &[(TokenId, Timestamp)],
        since: Timestamp,
    ) -> impl Future<Output = Result<(), CacheError>> + Send;

    /// How long an entry may say "active" at most, counted from the miss that led to it: the time after which a revocation
    /// holds even where no tombstone could be written.
    fn bound(&self) -> Duration;

    /// Within what time [`get`](Self::get) and [`fill`](Self::fill) answer, each, with an error if need be; `None` where that is
    /// not sure, which costs a timer for each request.
    fn answers_within(&self) -> Option<Duration> {
        None
    }

    /// Succeeds when the cache can serve.
    fn ping(&self) -> impl Future<Output = Result<(), CacheError>> + Send;

    /// Tells `listener` from now on, until it is gone, of the tokens that any node buries, each once its tombstone is in place,
    /// or that something may have been missed. No law rests on this; the default tells nothing. See
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
    /// Nothing.
    Miss(M),
}

/// The cache could not answer.
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
    /// It cannot be reached, answered too late or cannot serve now. Calling again later may
    /// succeed.
    Unavailable,
    /// It can never serve as it is set up, for example because the password is wrong.
    Unsupported,
}

impl CacheError {
    /// An error of the kind [`Unavailable`](CacheErrorKind::Unavailable); `what` says in one phrase
    /// what could not be done.
    pub fn new(what: impl Into<Cow<'static, str>>) -> Self {
        Self { kind: CacheErrorKind::Unavailable, what: what.into(), source: None }
    }

    /// An error of the kind [`Unsupported`](CacheErrorKind::Unsupported); `what` says in one
    /// sentence what is set up wrongly.
    pub fn unsupported(what: impl Into<Cow<'static, str>>) -> Self {
        Self { kind: CacheErrorKind::Unsupported, what: what.into(), source: None }
    }

    /// The same with its cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Which kind of error this is.
    pub fn kind(&self) -> CacheErrorKind {
        self.kind
    }
}
