//! What the store needs of a server, and the indexes it makes there.

use std::{sync::Arc, time::Duration};

use bson::{Document, doc};
use mongodb::{
    Database,
    options::{ReadPreference, SelectionCriteria},
};

use super::{
    expiry,
    fault::{fault, opening_fault},
    indexes::index,
    ours,
    records::Records,
};
use crate::store::{StoreError, StoreErrorKind};

/// The field by which tokens expire.
pub(super) const TOKEN_EXPIRY: &str = "expires_at";

/// The field by which sessions expire.
pub(super) const SESSION_EXPIRY: &str = "current.refresh_expires_at";

/// How long indexes may take: longer than any operation, since a large collection may want one for the first time.
pub(super) const INDEX_LIMIT: Duration = Duration::from_mins(1);

/// A standalone server takes our writes and then loses them with its disk; it says so here, at the start.
pub(super) async fn refuse_standalone(database: Database) -> Result<(), StoreError> {
    let hello = hello(&database).await?;
    if hello.contains_key("setName") || matches!(hello.get_str("msg"), Ok("isdbgrid")) {
        return Ok(());
    }
    // A member that is just starting says the same for a moment; see `diagnose`.
    if matches!(hello.get_bool("isreplicaset"), Ok(true)) {
        return Err(StoreError::new(StoreErrorKind::Unavailable, NOT_INITIATED));
    }
    Err(StoreError::new(StoreErrorKind::Unsupported, NO_SET))
}

/// The sentence about a member of no set.
pub(super) const NOT_INITIATED: &str = "the MongoDB replica set was not initiated: call rs.initiate() once";

/// The sentence about a standalone server.
pub(super) const NO_SET: &str =
    "MongoDB must be a replica set (of one at least): start mongod with --replSet and call rs.initiate()";

/// A driver that is connected directly reads from that member whatever it is, and after a failover that is a secondary. One that has no
/// others stays the primary.
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
    hello.map_err(opening_fault("could not reach a MongoDB primary"))
}

/// Succeeds when there is a primary that answers.
pub(super) async fn ping(database: Database) -> Result<(), StoreError> {
    let pong = database.run_command(doc! { "ping": 1 }).selection_criteria(primary()).await;
    pong.map(drop).map_err(fault("could not reach a MongoDB primary"))
}

/// Makes what is missing, any number of nodes at once.
pub(super) async fn ensure_indexes(
    database: Database,
    records: Arc<Records>,
    retention: Duration,
) -> Result<(), StoreError> {
    // Before anything is written: a TTL index would remove what is somebody else's.
    ours::refuse_others(&records).await?;
    expiry::ensure(&database, &records.tokens, TOKEN_EXPIRY, ours::tokens(), retention).await?;
    expiry::ensure(&database, &records.sessions, SESSION_EXPIRY, ours::sessions(), retention).await?;
    // What a revocation sweeps: the live tokens of a session or a user, however many refresh tokens
    // were retired.
    let of_tokens = ["session_id", "user_id"].map(|owner| doc! { owner: 1, "kind": 1, "expires_at": 1 });
    index(&records.tokens, of_tokens, false).await?;
    index(&records.sessions, [doc! { "user_id": 1, "revoked": 1 }], false).await?;
    // Sparse: only what a revocation is under way of has the mark.
    let marks = || [doc! { "unfinished.tried": 1 }];
    index(&records.tokens, marks(), true).await?;
    index(&records.sessions, marks(), true).await?;
    index(&records.subjects, marks(), true).await
}

fn primary() -> SelectionCriteria {
    SelectionCriteria::ReadPreference(ReadPreference::Primary)
}
