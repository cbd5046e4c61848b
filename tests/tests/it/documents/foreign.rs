//! Documents of other programs in collections that have the names of ours.

use std::time::{Duration, Instant};

use auth_layer::store::{
    StoreErrorKind, TokenStore,
    mongodb::{MongoOptions, MongoStore},
};
use bson::{DateTime, Document, doc};
use mongodb::{Client, Database, IndexModel, options::IndexOptions};
use tests::servers;

use super::expiry::{keys_expired_for, new_store, session_expired_for, ttl_indexes, until_server_has_purged};
use crate::fleet::NODE;

/// Returns a new database, and the handle that removes it on drop.
async fn database() -> (servers::MongoDatabase, Database) {
    let guard = servers::mongodb().await;
    let database = Client::with_uri_str(&guard.uri).await.unwrap().database(&guard.name);
    (guard, database)
}

/// A document that the indexes of earlier versions removed.
fn foreign_document(id: impl Into<bson::Bson>) -> Document {
    let long_ago = DateTime::from_millis(1_577_836_800_000);
    doc! { "_id": id, "expires_at": long_ago, "current": { "refresh_expires_at": long_ago }, "note": "ours" }
}

#[tokio::test]
async fn mongodb_refuses_foreign_documents_before_anything_is_written() {
    for collection in ["tokens", "sessions", "subjects", "reserved_keys", "one_time_records"] {
        for foreign in [
            foreign_document(1),
            foreign_document("name"),
            foreign_document(bson::oid::ObjectId::new()),
            foreign_document(bson::Uuid::new()),
        ] {
            let (_guard, database) = database().await;
            let documents = database.collection::<Document>(collection);
            documents.insert_one(&foreign).await.unwrap();
            let error = MongoStore::new(database.clone(), MongoOptions::default()).await.unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Unsupported, "{error:?}");
            assert!(error.to_string().contains(&format!("`{collection}`")), "{error}");
            assert_eq!(database.list_collection_names().await.unwrap(), [collection], "none was made");
            let indexes = documents.list_index_names().await.unwrap();
            assert_eq!(indexes, ["_id_"], "none was made in {collection}");
        }
    }
}

#[tokio::test]
async fn mongodb_finds_foreign_documents_among_ours_at_the_next_start() {
    let store = new_store().await;
    let database = store.database().clone();
    session_expired_for(&store, Duration::ZERO).await;
    let start = || MongoStore::new(database.clone(), MongoOptions::default());
    start().await.expect("all are ours");
    for id in [bson::Bson::MinKey, bson::Bson::from(DateTime::now())] {
        let foreign = doc! { "_id": id };
        database.collection::<Document>("tokens").insert_one(&foreign).await.unwrap();
        assert_eq!(start().await.unwrap_err().kind(), StoreErrorKind::Unsupported);
        database.collection::<Document>("tokens").delete_one(foreign).await.unwrap();
    }
    // Marked by hand, as README describes.
    for (collection, mark) in [("tokens", "revoked"), ("subjects", "disabled")] {
        let by_hand = doc! { "_id": bson::Uuid::new(), mark: true };
        database.collection::<Document>(collection).insert_one(by_hand).await.unwrap();
    }
    start().await.expect("what was made by hand is ours");
}

/// The collections from which the server removes what has expired.
const COLLECTIONS: [&str; 4] = ["tokens", "sessions", "reserved_keys", "one_time_records"];

#[tokio::test]
async fn purge_spares_foreign_documents_that_come_later() {
    let store = new_store().await;
    let database = store.database().clone();
    for collection in COLLECTIONS {
        let documents = database.collection::<Document>(collection);
        documents.insert_many([foreign_document(1), foreign_document(bson::Uuid::new())]).await.unwrap();
    }
    let left = async |collection| {
        database.collection::<Document>(collection).count_documents(doc! { "note": "ours" }).await.unwrap()
    };
    // The second round shows that the server has looked at all of them.
    for _ in 0..2 {
        until_server_has_purged(&store).await;
    }
    for collection in COLLECTIONS {
        assert_eq!(left(collection).await, 2, "{collection}");
    }
    session_expired_for(&store, Duration::from_mins(1)).await;
    keys_expired_for(&store, Duration::from_mins(1)).await;
    let purged = store.purge_expired(chrono::Utc::now()).await.unwrap();
    assert_eq!((purged.tokens, purged.sessions, purged.keys), (3, 1, 2));
    for collection in COLLECTIONS {
        assert_eq!(left(collection).await, 2, "{collection}");
    }
}

#[tokio::test]
async fn mongodb_refuses_foreign_users_at_once_and_makes_no_index() {
    refuses_foreign("users", doc! { "_id": 1, "email": "ada@example.org" }).await;
}

#[tokio::test]
async fn mongodb_refuses_foreign_clients_at_once() {
    for foreign in [doc! { "_id": 1 }, doc! { "_id": "job" }] {
        refuses_foreign("clients", foreign).await;
    }
}

/// Starts a node on a database that holds this document in this collection. It must refuse.
async fn refuses_foreign(collection: &str, foreign: Document) {
    let (guard, database) = database().await;
    let documents = database.collection::<Document>(collection);
    documents.insert_one(foreign).await.unwrap();
    let data = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    let node = tokio::process::Command::new(NODE)
        .args(["--listen", "127.0.0.1:0", "--data-dir", data.path().to_str().unwrap()])
        .env("MONGODB_URI", &guard.uri)
        .env("MONGODB_DATABASE", &guard.name)
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(Duration::from_mins(1), node).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let named = format!("`{collection}`");
    assert!(!output.status.success() && said.contains(&named) && said.contains("--mongodb-database"), "{said}");
    assert!(begun.elapsed() < Duration::from_secs(20), "it waited for nothing: {:?}", begun.elapsed());
    assert_eq!(documents.list_index_names().await.unwrap(), ["_id_"]);
}

/// Creates the indexes that version 0.1 creates at its start.
async fn make_indexes_of_0_1(database: &Database, seconds: u64) -> mongodb::error::Result<()> {
    for (collection, field) in [("tokens", "expires_at"), ("sessions", "current.refresh_expires_at")] {
        let options = IndexOptions::builder().expire_after(Duration::from_secs(seconds)).build();
        let model = IndexModel::builder().keys(doc! { field: 1 }).options(options).build();
        match database.collection::<Document>(collection).create_index(model).await {
            Err(error) if error.to_string().contains("IndexOptionsConflict") => {
                let index = doc! { "keyPattern": { field: 1 }, "expireAfterSeconds": i32::try_from(seconds).unwrap() };
                database.run_command(doc! { "collMod": collection, "index": index }).await?;
            }
            made => {
                made?;
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn mongodb_replaces_the_expiry_index_of_version_0_1() {
    let (_guard, database) = database().await;
    make_indexes_of_0_1(&database, 330).await.unwrap();
    let start = async |margin| {
        let options = MongoOptions::default().with_retention_margin(Duration::from_secs(margin));
        MongoStore::new(database.clone(), options).await.unwrap();
        for collection in ["tokens", "sessions"] {
            let indexes = ttl_indexes(&database, collection).await;
            let [index] = &indexes[..] else { panic!("one index of {collection} removes: {indexes:?}") };
            assert!(index.contains_key("partialFilterExpression"), "{index}");
            assert_eq!(index.get_i32("expireAfterSeconds").unwrap(), i32::try_from(margin).unwrap());
        }
    };
    start(330).await;
    start(330).await;
    start(600).await;
    // A node of version 0.1 starts, and its index stands beside ours. It goes when a node of this
    // version starts.
    make_indexes_of_0_1(&database, 330).await.unwrap();
    make_indexes_of_0_1(&database, 330).await.unwrap();
    assert_eq!(ttl_indexes(&database, "tokens").await.len(), 2);
    let other_margin = make_indexes_of_0_1(&database, 700).await.unwrap_err();
    assert!(other_margin.to_string().contains("AmbiguousIndexKeyPattern"), "{other_margin}");
    start(600).await;
    // Many nodes of this version start at once.
    make_indexes_of_0_1(&database, 330).await.unwrap();
    tokio::join!(start(600), start(600), start(600));
}
