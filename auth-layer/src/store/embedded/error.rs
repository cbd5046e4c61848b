//! Failures of the file.

use std::{io, path::Path, sync::Arc};

use crate::store::{StoreError, StoreErrorKind};

/// Why an operation failed. Cheap to clone, because a whole group fails with one cause.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum EmbeddedError {
    /// The database failed, or is closed after a failure.
    #[error("{0}")]
    Database(Arc<redb::Error>),
    /// A value in the table of this name that this version does not understand.
    #[error("a value in the table {0:?} cannot be understood")]
    Value(&'static str),
    /// The file was emptied, or belongs to another program.
    #[error(
        "{} is empty or holds nothing of this store: it was truncated or is another program's; restore it from a backup, or \
         remove it if it never held anything",
        .0.display()
    )]
    NotOurs(Arc<Path>),
    /// The database, or an operation on it, panicked.
    #[error("the database panicked")]
    Panicked,
}

impl EmbeddedError {
    fn kind(&self) -> StoreErrorKind {
        match self {
            Self::Database(error) => match &**error {
                redb::Error::Corrupted(_)
                | redb::Error::UpgradeRequired(_)
                | redb::Error::TableTypeMismatch { .. }
                | redb::Error::TypeDefinitionChanged { .. }
                | redb::Error::TableIsMultimap(_) => StoreErrorKind::Corrupt,
                redb::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => StoreErrorKind::Corrupt,
                _ => StoreErrorKind::Unavailable,
            },
            Self::Value(_) | Self::NotOurs(_) => StoreErrorKind::Corrupt,
            Self::Panicked => StoreErrorKind::Unavailable,
        }
    }

    /// Returns whether reopening the file may help. After a failed access redb refuses all work
    /// until then.
    pub(super) fn needs_reopen(&self) -> bool {
        self.kind() == StoreErrorKind::Unavailable
    }

    /// Converts to the caller's error.
    pub(super) fn into_store_error(self, what: &'static str) -> StoreError {
        StoreError::new(self.kind(), what).with_source(self)
    }
}

impl From<redb::Error> for EmbeddedError {
    fn from(error: redb::Error) -> Self {
        Self::Database(Arc::new(error))
    }
}

impl From<redb::DatabaseError> for EmbeddedError {
    fn from(error: redb::DatabaseError) -> Self {
        redb::Error::from(error).into()
    }
}

impl From<io::Error> for EmbeddedError {
    fn from(error: io::Error) -> Self {
        redb::Error::Io(error).into()
    }
}

impl From<redb::StorageError> for EmbeddedError {
    fn from(error: redb::StorageError) -> Self {
        redb::Error::from(error).into()
    }
}

impl From<redb::TableError> for EmbeddedError {
    fn from(error: redb::TableError) -> Self {
        redb::Error::from(error).into()
    }
}

impl From<redb::TransactionError> for EmbeddedError {
    fn from(error: redb::TransactionError) -> Self {
        redb::Error::from(error).into()
    }
}

impl From<redb::CommitError> for EmbeddedError {
    fn from(error: redb::CommitError) -> Self {
        redb::Error::from(error).into()
    }
}
