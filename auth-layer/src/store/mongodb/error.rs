//! Converts the driver's errors.

use mongodb::error::{Error, ErrorKind, WriteFailure};

use crate::store::{StoreError, StoreErrorKind};

/// The server's code for a duplicate key in a unique index.
const DUPLICATE_KEY: i32 = 11_000;

/// Converts the driver's error. `what` says in one phrase what could not be done.
pub(super) fn store_error(what: &'static str) -> impl Fn(Error) -> StoreError {
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

/// The server's codes for a missing permission, and for an invalid database name.
pub(super) const UNAUTHORIZED: i32 = 13;
const AUTHENTICATION_FAILED: i32 = 18;
/// The server's code for a collection that does not exist.
pub(super) const NAMESPACE_NOT_FOUND: i32 = 26;
const INVALID_NAMESPACE: i32 = 73;
const DIFFERS_IN_CASE: i32 = 13_297;

/// Converts an error while the store is opened. Tells an outage from a fault that waiting will not
/// mend.
pub(super) fn startup_error(what: &'static str) -> impl Fn(Error) -> StoreError {
    move |error| {
        let refusal = match &*error.kind {
            ErrorKind::Authentication { .. } => Some(SIGN_IN),
            ErrorKind::IncompatibleServer { .. } => Some("this version of MongoDB is not supported: use 5.0 or later"),
            ErrorKind::InvalidTlsConfig { .. } => Some("the TLS options in the MongoDB URI cannot be used"),
            _ => match command_code(&error) {
                Some(AUTHENTICATION_FAILED) => Some(SIGN_IN),
                Some(UNAUTHORIZED) => Some(
                    "MongoDB does not let us read and write the database: name a user and a password in the URI, and give \
                     that user the role readWrite",
                ),
                Some(INVALID_NAMESPACE) => Some("MongoDB has no database of such a name"),
                Some(DIFFERS_IN_CASE) => Some("MongoDB has a database whose name differs from this one in case only"),
                _ => None,
            },
        };
        // The driver's error is not a source here: it holds the server's whole answer, bytes and
        // all.
        refusal
            .map_or_else(|| store_error(what)(error), |refusal| StoreError::new(StoreErrorKind::Unsupported, refusal))
    }
}

const SIGN_IN: &str = "MongoDB refuses the sign-in: check user, password and authSource in the URI";

/// Returns whether a write failed on a duplicate key, which is an answer and not a failure.
pub(super) fn is_duplicate_key(error: &Error) -> bool {
    match &*error.kind {
        ErrorKind::Write(WriteFailure::WriteError(write)) => write.code == DUPLICATE_KEY,
        _ => command_code(error) == Some(DUPLICATE_KEY),
    }
}

/// Returns the positions of the documents that existed before an insert, or the error if anything
/// else went wrong.
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

/// Returns the code with which the server refused a command.
pub(super) fn command_code(error: &Error) -> Option<i32> {
    match &*error.kind {
        ErrorKind::Command(command) => Some(command.code),
        _ => None,
    }
}
