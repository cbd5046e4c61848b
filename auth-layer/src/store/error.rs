//! What a store reports when it could not answer.

use std::error::Error;

/// A store could not do what it was asked: nothing is known of the answer.
///
/// The source is for operators' logs; it never reaches a client.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct StoreError {
    kind: StoreErrorKind,
    what: &'static str,
    #[source]
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// The kinds of [`StoreError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// It cannot be reached, answered too late or refused to serve now. Calling again later may succeed.
    Unavailable,
    /// What it holds cannot be understood.
    Corrupt,
    /// It can never serve as it is set up, for example a MongoDB that is no replica set.
    Unsupported,
}

impl StoreError {
    /// An error of this kind; `what` says in one phrase what could not be done.
    pub fn new(kind: StoreErrorKind, what: &'static str) -> Self {
        Self { kind, what, source: None }
    }

    /// The same with its cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Short for an error of the kind [`Unavailable`](StoreErrorKind::Unavailable) with its cause.
    pub fn unavailable(what: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(StoreErrorKind::Unavailable, what).with_source(source)
    }

    /// Which kind of error this is.
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }
}
