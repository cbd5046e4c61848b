//! The error of a store that could not answer.

use std::error::Error;

/// Reports that a store could not do what was asked. Nothing is known about the answer.
///
/// The source is for operators' logs and never reaches a client.
///
/// ```
/// use auth_layer::store::{StoreError, StoreErrorKind};
///
/// let cause = std::io::Error::other("connection reset");
/// let error = StoreError::unavailable("could not read a session", cause);
/// assert_eq!(error.kind(), StoreErrorKind::Unavailable);
/// ```
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
    /// The store cannot be reached, answered too late or refused to serve now. Calling again later
    /// may succeed.
    Unavailable,
    /// The store's data cannot be understood.
    Corrupt,
    /// The store can never serve as it is set up, for example a MongoDB that is not a replica set.
    Unsupported,
}

impl StoreError {
    /// Creates an error of this kind. `what` says in one phrase what could not be done.
    pub fn new(kind: StoreErrorKind, what: &'static str) -> Self {
        Self { kind, what, source: None }
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Creates an error of the kind [`Unavailable`](StoreErrorKind::Unavailable) with its cause.
    pub fn unavailable(what: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(StoreErrorKind::Unavailable, what).with_source(source)
    }

    /// Returns the kind of this error.
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }
}
