//! Operations on the application's own collections in MongoDB.

use std::{error::Error, pin::Pin, time::Duration};

use mongodb::{
    Collection, Database,
    error::{ErrorKind, WriteFailure},
    options::{Acknowledgment, CollectionOptions, ReadPreference, SelectionCriteria, WriteConcern},
};

/// The time limit of an operation.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The server's codes for a missing collection and for a missing permission.
pub(crate) const NAMESPACE_NOT_FOUND: i32 = 26;
pub(crate) const UNAUTHORIZED: i32 = 13;

/// The server's code for a second document with a value that is unique.
pub(crate) const DUPLICATE_KEY: i32 = 11_000;

/// The reason why an operation did not succeed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MongoError {
    #[error(transparent)]
    Driver(#[from] mongodb::error::Error),
    #[error("the operation broke off")]
    Broken(#[from] tokio::task::JoinError),
    #[error("MongoDB did not answer in time")]
    Late(#[from] tokio::time::error::Elapsed),
}

impl MongoError {
    /// Returns the cause. The log recognises the driver's own errors and shortens them.
    pub(crate) fn into_cause(self) -> Box<dyn Error + Send + Sync> {
        match self {
            Self::Driver(error) => error.into(),
            Self::Broken(error) => error.into(),
            Self::Late(error) => error.into(),
        }
    }

    /// Returns the code of a refused command.
    pub(crate) fn code(&self) -> Option<i32> {
        match self {
            Self::Driver(error) => code(error),
            Self::Broken(_) | Self::Late(_) => None,
        }
    }
}

/// Returns the code of a refused command.
pub(crate) fn code(error: &mongodb::error::Error) -> Option<i32> {
    match &*error.kind {
        ErrorKind::Command(command) => Some(command.code),
        _ => None,
    }
}

/// Returns whether a write was refused because a unique value is taken.
pub(crate) fn is_duplicate(error: &mongodb::error::Error) -> bool {
    matches!(&*error.kind, ErrorKind::Write(WriteFailure::WriteError(error)) if error.code == DUPLICATE_KEY)
}

/// Returns a collection that is read from the primary, and whose writes a majority has on disk.
pub(crate) fn collection<T: Send + Sync>(database: &Database, name: &str) -> Collection<T> {
    let majority = WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build();
    let options = CollectionOptions::builder()
        .write_concern(majority)
        .selection_criteria(SelectionCriteria::ReadPreference(ReadPreference::Primary))
        .build();
    database.collection_with_options(name, options)
}

/// Runs an operation within the usual limit.
pub(crate) async fn run<T: Send + 'static>(
    operation: impl Future<Output = mongodb::error::Result<T>> + Send + 'static,
) -> Result<T, MongoError> {
    run_within(TIMEOUT, operation).await
}

/// Runs in a task: the driver's futures must not be dropped, so a late one continues.
pub(crate) async fn run_within<T: Send + 'static>(
    limit: Duration,
    operation: impl Future<Output = mongodb::error::Result<T>> + Send + 'static,
) -> Result<T, MongoError> {
    // A box, so that tasks are compiled for each type of answer and not for each operation.
    let operation: Pin<Box<dyn Future<Output = mongodb::error::Result<T>> + Send>> = Box::pin(operation);
    Ok(tokio::time::timeout(limit, tokio::spawn(operation)).await???)
}
