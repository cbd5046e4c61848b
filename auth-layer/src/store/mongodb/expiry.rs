//! Creates the TTL indexes that remove expired documents.
//!
//! The indexes are partial: they hold only our documents, so the server removes no others.
//!
//! Earlier versions created them over all documents, with MongoDB's default name (`expires_at_1`).
//! MongoDB cannot add a filter to an index, but keeps two indexes with the same key if their
//! filters differ. So the new index is created under its own name, and then the old one is dropped.
//!
//! A node of an earlier version that starts later creates the old index again and works. The next
//! start of this version drops it. While both exist, an old node with another retention margin
//! cannot start.

use std::time::Duration;

use bson::{Document, doc};
use mongodb::{
    Collection, Database, IndexModel,
    options::{CommitQuorum, IndexOptions},
};

use super::{
    error::{command_code, startup_error},
    indexes::{creation_error, list},
};
use crate::store::StoreError;

/// The server's code for an index that does not exist.
const INDEX_NOT_FOUND: i32 = 27;

/// Makes the server remove the documents that match `ours` when `retention` has passed since their
/// `field`.
pub(super) async fn ensure<T: Send + Sync>(
    database: &Database,
    collection: &Collection<T>,
    field: &str,
    ours: Document,
    retention: Duration,
) -> Result<(), StoreError> {
    let seconds = whole_seconds(retention);
    let name = format!("auth_layer_{field}");
    let existing = list(collection).await?;
    match existing.iter().find(|index| name_of(index) == Some(&name)) {
        Some(index) if expires_after(index) == Some(from_seconds(seconds)) => {}
        Some(_) => change_retention(database, collection, &name, seconds).await?,
        None => {
            let options =
                IndexOptions::builder().name(name).expire_after(from_seconds(seconds)).partial_filter_expression(ours);
            let model = IndexModel::builder().keys(doc! { field: 1 }).options(options.build()).build();
            let made = collection.create_index(model).commit_quorum(CommitQuorum::Majority).await;
            made.map_err(creation_error)?;
        }
    }
    for old in existing.iter().filter(|index| is_of_an_earlier_version(index, field)).filter_map(name_of) {
        drop_index(collection, old).await?;
    }
    Ok(())
}

/// Returns whether an index removes documents of any owner.
fn is_of_an_earlier_version(index: &IndexModel, field: &str) -> bool {
    let options = index.options.as_ref();
    index.keys == doc! { field: 1 }
        && expires_after(index).is_some()
        && options.is_some_and(|options| options.partial_filter_expression.is_none())
}

fn name_of(index: &IndexModel) -> Option<&String> {
    index.options.as_ref()?.name.as_ref()
}

fn expires_after(index: &IndexModel) -> Option<Duration> {
    index.options.as_ref()?.expire_after
}

async fn change_retention<T: Send + Sync>(
    database: &Database,
    collection: &Collection<T>,
    name: &str,
    seconds: i32,
) -> Result<(), StoreError> {
    let change = doc! {
        "collMod": collection.name(),
        "index": { "name": name, "expireAfterSeconds": seconds },
        "writeConcern": { "w": "majority" },
    };
    database.run_command(change).await.map(drop).map_err(startup_error("could not change how long records are kept"))
}

async fn drop_index<T: Send + Sync>(collection: &Collection<T>, name: &str) -> Result<(), StoreError> {
    match collection.drop_index(name).await {
        // Another node was first.
        Err(error) if command_code(&error) == Some(INDEX_NOT_FOUND) => Ok(()),
        dropped => dropped.map_err(startup_error("could not drop an index of an earlier version")),
    }
}

fn from_seconds(seconds: i32) -> Duration {
    Duration::from_secs(seconds.unsigned_abs().into())
}

/// Rounds up, because removing a record too early breaks a law. Limited to what the server accepts.
fn whole_seconds(retention: Duration) -> i32 {
    let rounded = retention.as_secs().saturating_add(u64::from(retention.subsec_nanos() > 0));
    i32::try_from(rounded).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mongodb_retention_is_never_rounded_down() {
        assert_eq!(whole_seconds(Duration::from_secs(330)), 330);
        assert_eq!(whole_seconds(Duration::from_millis(330_001)), 331);
        assert_eq!(whole_seconds(Duration::MAX), i32::MAX);
    }
}
