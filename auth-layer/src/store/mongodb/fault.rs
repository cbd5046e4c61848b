//! The driver's errors as ours.

use mongodb::error::{Error, ErrorKind, WriteFailure};

use crate::store::{StoreError, StoreErrorKind};

/// The server's code for a key that a unique index already holds.
const DUPLICATE_KEY: i32 = 11_000;

/// Turns the driver's error into ours; `what` says in one phrase what could not be done.
pub(super) fn fault(what: &'static str) -> impl Fn(Error) -> StoreError {
    move |error| {
        let kind = match *error.kind {
            ErrorKind::BsonDeserialization(_) | ErrorKind::BsonSerialization(_) | ErrorKind::Bson(_) => {
                StoreErrorKind::Corrupt
            }
            _ => StoreErrorKind::Unavailable,
        };
        StoreError::new(kind, what).with_source(error)
    }
}

/// True when a write failed for this reason, which is an answer and not a failure.
pub(super) fn is_duplicate_key(error: &Error) -> bool {
    match &*error.kind {
        ErrorKind::Write(WriteFailure::WriteError(write)) => write.code == DUPLICATE_KEY,
        _ => command_code(error) == Some(DUPLICATE_KEY),
    }
}

/// Which documents of an insert were there already, by position; the error itself where anything else went wrong.
pub(super) fn duplicates(error: Error) -> Result<Vec<usize>, Error> {
    match &*error.kind {
        ErrorKind::InsertMany(insert) if insert.write_concern_error.is_none() => {
            let errors = insert.write_errors.as_deref().unwrap_or_default();
            if !errors.is_empty() && errors.iter().all(|write| write.code == DUPLICATE_KEY) {
                return Ok(errors.iter().map(|write| write.index).collect());
            }
            Err(error)
        }
        _ => Err(error),
    }
}

/// The code with which a server refused a command.
pub(super) fn command_code(error: &Error) -> Option<i32> {
    match &*error.kind {
        ErrorKind::Command(command) => Some(command.code),
        _ => None,
    }
}
