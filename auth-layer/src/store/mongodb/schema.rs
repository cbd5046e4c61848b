//! What the store needs of a server, and the indexes it makes there.

use std::{sync::Arc, time::Duration};

use bson::{Bson, Document, doc};
use futures_util::TryStreamExt;
use mongodb::{
    Collection, Database, IndexModel,
    options::{CommitQuorum, IndexOptions, ReadPreference, SelectionCriteria},
};

use super::{
    expiry,
    fault::{NAMESPACE_NOT_FOUND, UNAUTHORIZED, command_code, fault, opening_fault},
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

async fn index<T: Send + Sync>(
    collection: &Collection<T>,
    keys: impl IntoIterator<Item = Document>,
    sparse: bool,
) -> Result<(), StoreError> {
    let present = present(collection).await?;
    let options = IndexOptions::builder().sparse(sparse.then_some(true)).build();
    let missing = keys.into_iter().filter(|keys| !present.iter().any(|index| is_such(index, keys, sparse)));
    let models: Vec<IndexModel> =
        missing.map(|keys| IndexModel::builder().keys(keys).options(options.clone()).build()).collect();
    if models.is_empty() {
        return Ok(());
    }
    // The default quorum is every voting member: one that is down would hold up the start of all nodes.
    let made = collection.create_indexes(models).commit_quorum(CommitQuorum::Majority).await;
    made.map(drop).map_err(not_made)
}

/// The indexes that there are: a user that may not make any can start where they exist. None where
/// there is no collection yet, and where the user may not look, so that making them is tried.
pub(super) async fn present<T: Send + Sync>(collection: &Collection<T>) -> Result<Vec<IndexModel>, StoreError> {
    let listed = async { collection.list_indexes().await?.try_collect().await };
    match listed.await {
        Err(error) if matches!(command_code(&error), Some(NAMESPACE_NOT_FOUND | UNAUTHORIZED)) => Ok(Vec::new()),
        listed => listed.map_err(opening_fault("could not list the indexes")),
    }
}

pub(super) fn not_made(error: mongodb::error::Error) -> StoreError {
    if command_code(&error) == Some(UNAUTHORIZED) {
        return StoreError::new(
            StoreErrorKind::Unsupported,
            "an index is missing, and MongoDB does not let us make it: name a user and a password in the URI, and give that \
             user the role readWrite",
        );
    }
    opening_fault("could not make an index")(error)
}

/// Whether this index has these keys and leaves out no documents but those that a sparse one does.
fn is_such(index: &IndexModel, keys: &Document, sparse: bool) -> bool {
    let whole = match &index.options {
        Some(options) => {
            options.partial_filter_expression.is_none()
                && options.collation.is_none()
                && options.sparse.unwrap_or(false) == sparse
        }
        None => !sparse,
    };
    whole && has_keys(index, keys)
}

/// Some tools write the directions as another type of number.
fn has_keys(index: &IndexModel, keys: &Document) -> bool {
    let number = |value: &Bson| match value {
        Bson::Int32(number) => Some(i64::from(*number)),
        Bson::Int64(number) => Some(*number),
        #[expect(clippy::cast_possible_truncation, reason = "it is 1 or -1")]
        Bson::Double(number) => Some(*number as i64),
        _ => None,
    };
    index.keys.len() == keys.len()
        && index.keys.iter().zip(keys).all(|(here, there)| here.0 == there.0 && number(here.1) == number(there.1))
}

fn primary() -> SelectionCriteria {
    SelectionCriteria::ReadPreference(ReadPreference::Primary)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mongodb_indexes_count_by_keys_and_order_and_only_where_they_hold_every_document() {
        let keys = doc! { "user_id": 1, "session_id": 1 };
        let index = |keys: Document| IndexModel::builder().keys(keys).build();
        assert!(is_such(&index(keys.clone()), &keys, false));
        assert!(is_such(&index(doc! { "user_id": 1.0, "session_id": 1_i64 }), &keys, false));
        for other in
            [doc! { "session_id": 1, "user_id": 1 }, doc! { "user_id": 1 }, doc! { "user_id": 1, "session_id": -1 }]
        {
            assert!(!is_such(&index(other.clone()), &keys, false), "{other}");
        }
        let sparse = IndexOptions::builder().sparse(true).build();
        let sparse = IndexModel::builder().keys(keys.clone()).options(sparse).build();
        assert!(!is_such(&sparse, &keys, false));
        assert!(is_such(&sparse, &keys, true));
        assert!(!is_such(&index(keys.clone()), &keys, true));
    }
}
