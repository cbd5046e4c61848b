//! Lists indexes and creates missing ones.

use bson::{Bson, Document};
use futures_util::TryStreamExt;
use mongodb::{
    Collection, IndexModel,
    options::{CommitQuorum, IndexOptions},
};

use super::error::{NAMESPACE_NOT_FOUND, UNAUTHORIZED, command_code, startup_error};
use crate::store::{StoreError, StoreErrorKind};

/// Creates the indexes with these keys that are missing.
pub(super) async fn create_missing<T: Send + Sync>(
    collection: &Collection<T>,
    keys: impl IntoIterator<Item = Document>,
    sparse: bool,
) -> Result<(), StoreError> {
    let existing = list(collection).await?;
    let options = IndexOptions::builder().sparse(sparse.then_some(true)).build();
    let missing = keys.into_iter().filter(|keys| !existing.iter().any(|index| covers_keys(index, keys, sparse)));
    let models: Vec<IndexModel> =
        missing.map(|keys| IndexModel::builder().keys(keys).options(options.clone()).build()).collect();
    if models.is_empty() {
        return Ok(());
    }
    // The default quorum is every voting member, so one that is down would block each node's start.
    let made = collection.create_indexes(models).commit_quorum(CommitQuorum::Majority).await;
    made.map(drop).map_err(creation_error)
}

/// Lists the indexes, so that a user without the right to create any can start if they exist.
///
/// Returns none if the collection does not exist or the user may not list indexes. Creating them is
/// then tried.
pub(super) async fn list<T: Send + Sync>(collection: &Collection<T>) -> Result<Vec<IndexModel>, StoreError> {
    let listed = async { collection.list_indexes().await?.try_collect().await };
    match listed.await {
        Err(error) if matches!(command_code(&error), Some(NAMESPACE_NOT_FOUND | UNAUTHORIZED)) => Ok(Vec::new()),
        listed => listed.map_err(startup_error("could not list the indexes")),
    }
}

pub(super) fn creation_error(error: mongodb::error::Error) -> StoreError {
    if command_code(&error) == Some(UNAUTHORIZED) {
        return StoreError::new(
            StoreErrorKind::Unsupported,
            "an index is missing, and MongoDB does not let us make it: name a user and a password in the URI, and give that \
             user the role readWrite",
        );
    }
    startup_error("could not make an index")(error)
}

/// Returns whether an index has these keys and covers all documents (a sparse one: all that have
/// the keys).
fn covers_keys(index: &IndexModel, keys: &Document, sparse: bool) -> bool {
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

/// Compares keys by value, because some tools write the directions as another type of number.
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

#[cfg(test)]
mod tests {
    use bson::doc;

    use super::*;

    #[test]
    fn mongodb_index_matches_by_keys_and_order_and_only_if_it_covers_all_documents() {
        let keys = doc! { "user_id": 1, "session_id": 1 };
        let index = |keys: Document| IndexModel::builder().keys(keys).build();
        assert!(covers_keys(&index(keys.clone()), &keys, false));
        assert!(covers_keys(&index(doc! { "user_id": 1.0, "session_id": 1_i64 }), &keys, false));
        for other in
            [doc! { "session_id": 1, "user_id": 1 }, doc! { "user_id": 1 }, doc! { "user_id": 1, "session_id": -1 }]
        {
            assert!(!covers_keys(&index(other.clone()), &keys, false), "{other}");
        }
        let sparse = IndexOptions::builder().sparse(true).build();
        let sparse = IndexModel::builder().keys(keys.clone()).options(sparse).build();
        assert!(!covers_keys(&sparse, &keys, false));
        assert!(covers_keys(&sparse, &keys, true));
        assert!(!covers_keys(&index(keys.clone()), &keys, true));
    }
}
