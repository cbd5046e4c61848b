//! Checks the server, and creates the indexes.

use std::{sync::Arc, time::Duration};

use bson::{Document, doc};
use mongodb::{
    Database,
    options::{ReadPreference, SelectionCriteria},
};

use super::{
    error::{startup_error, store_error},
    expiry,
    indexes::create_missing,
    ownership,
    records::Records,
};
use crate::store::{StoreError, StoreErrorKind};

/// The field by which tokens expire.
pub(super) const TOKEN_EXPIRY: &str = "expires_at";

/// The field by which sessions expire.
pub(super) const SESSION_EXPIRY: &str = "current.refresh_expires_at";

/// The field by which reservations, one-time records and denials expire.
pub(super) const KEY_EXPIRY: &str = "expires_at";

/// Time limit for creating indexes, longer than for any operation: the collection may be large.
pub(super) const INDEX_LIMIT: Duration = Duration::from_mins(1);

/// Fails on a standalone server, which would accept our writes and then lose them with its disk.
pub(super) async fn refuse_standalone(database: Database) -> Result<(), StoreError> {
    let hello = hello(&database).await?;
    if hello.contains_key("setName") || matches!(hello.get_str("msg"), Ok("isdbgrid")) {
        return Ok(());
    }
    // A starting member says the same for a moment: see `diagnose`.
    if matches!(hello.get_bool("isreplicaset"), Ok(true)) {
        return Err(StoreError::new(StoreErrorKind::Unavailable, NOT_INITIATED));
    }
    Err(StoreError::new(StoreErrorKind::Unsupported, NO_SET))
}

/// The error text for a member of no set.
pub(super) const NOT_INITIATED: &str = "the MongoDB replica set was not initiated: call rs.initiate() once";

/// The error text for a standalone server.
pub(super) const NO_SET: &str =
    "MongoDB must be a replica set (of one at least): start mongod with --replSet and call rs.initiate()";

/// Fails if the driver is connected directly to one of several members.
///
/// It would read from that member even as a secondary, after a failover. A single member stays the
/// primary.
pub(super) async fn refuse_one_of_several(database: Database) -> Result<(), StoreError> {
    let hello = hello(&database).await?;
    let members = ["hosts", "passives"].map(|members| hello.get_array(members).map_or(0, Vec::len));
    if members.iter().sum::<usize>() > 1 {
        return Err(StoreError::new(
            StoreErrorKind::Unsupported,
            "directConnection=true would go on reading from one member when another is the primary: name the replica set instead",
        ));
    }
    Ok(())
}

async fn hello(database: &Database) -> Result<Document, StoreError> {
    let hello = database.run_command(doc! { "hello": 1 }).selection_criteria(primary()).await;
    hello.map_err(startup_error("could not reach a MongoDB primary"))
}

/// Succeeds when a primary answers.
pub(super) async fn ping(database: Database) -> Result<(), StoreError> {
    let pong = database.run_command(doc! { "ping": 1 }).selection_criteria(primary()).await;
    pong.map(drop).map_err(store_error("could not reach a MongoDB primary"))
}

/// Creates missing indexes. Any number of nodes may do so at the same time.
pub(super) async fn ensure_indexes(
    database: Database,
    records: Arc<Records>,
    retention: Duration,
) -> Result<(), StoreError> {
    // Check before any write: a TTL index would remove another program's documents.
    ownership::refuse_foreign_documents(&records).await?;
    expiry::ensure(&database, &records.tokens, TOKEN_EXPIRY, ownership::token_filter(), retention).await?;
    expiry::ensure(&database, &records.sessions, SESSION_EXPIRY, ownership::session_filter(), retention).await?;
    expiry::ensure(&database, &records.reserved_keys, KEY_EXPIRY, ownership::key_filter(), retention).await?;
    expiry::ensure(&database, &records.one_time_records, KEY_EXPIRY, ownership::key_filter(), retention).await?;
    expiry::ensure(&database, &records.denials, KEY_EXPIRY, ownership::key_filter(), retention).await?;
    // For the sweep of a revocation: it lists live tokens, however many refresh tokens were
    // retired.
    let of_tokens = ["session_id", "user_id"].map(|owner| doc! { owner: 1, "kind": 1, "expires_at": 1 });
    create_missing(&records.tokens, of_tokens, false).await?;
    create_missing(&records.sessions, [doc! { "user_id": 1, "revoked": 1 }], false).await?;
    // Sparse: only documents with a revocation in progress have the mark.
    let marks = || [doc! { "unfinished.tried": 1 }];
    create_missing(&records.tokens, marks(), true).await?;
    create_missing(&records.sessions, marks(), true).await?;
    create_missing(&records.subjects, marks(), true).await
}

fn primary() -> SelectionCriteria {
    SelectionCriteria::ReadPreference(ReadPreference::Primary)
}
