//! MongoDB removes expired records by itself, and not too early.

use std::time::{Duration, Instant};

use auth_layer::{
    Authority, Grant, SessionId, SignInError, UserId,
    clock::ManualClock,
    keys::{Keyring, SigningKey},
    store::{HashedKey, Payload, TokenStore, mongodb::MongoStore},
};
use bson::{Binary, Bson, Document, doc, spec::BinarySubtype};
use chrono::Utc;
use mongodb::Database;
use tests::servers;

use crate::fleet::store_in;

/// Leeway and clock-skew margin, 30 s and 5 min, in seconds.
const RETENTION_SECONDS: i32 = 330;

/// A server that somebody else started looks for expired documents once a minute.
const PATIENCE: Duration = Duration::from_secs(150);

/// The lifetime of each token of a session in these tests.
const LIFETIME: Duration = Duration::from_mins(2);

#[tokio::test]
async fn purge_in_mongodb_has_an_index_in_each_collection() {
    let store = new_store().await;
    let all_keys = |byte| Binary { subtype: BinarySubtype::Generic, bytes: vec![byte; 32] };
    for (collection, field) in [
        ("tokens", "expires_at"),
        ("sessions", "current.refresh_expires_at"),
        ("reserved_keys", "expires_at"),
        ("one_time_records", "expires_at"),
    ] {
        let indexes = ttl_indexes(store.database(), collection).await;
        let [index] = &indexes[..] else { panic!("one index of {collection} removes: {indexes:?}") };
        assert_eq!(index.get_document("key").unwrap(), &doc! { field: 1 });
        assert_eq!(index["expireAfterSeconds"], Bson::Int32(RETENTION_SECONDS));
        // All that we write is covered by the index. Another filter would leave some documents for
        // ever.
        let filter = match collection {
            "tokens" => doc! { "kind": { "$type": "string" }, "session_id": { "$type": "binData" } },
            "reserved_keys" | "one_time_records" => doc! { "_id": { "$gte": all_keys(0), "$lte": all_keys(255) } },
            _ => doc! { "client_id": { "$type": "string" }, "current.access_id": { "$type": "binData" } },
        };
        assert_eq!(index.get_document("partialFilterExpression").unwrap(), &filter);
    }
}

/// Returns the indexes by which the server removes documents.
pub(super) async fn ttl_indexes(database: &Database, collection: &str) -> Vec<Document> {
    let listed = database.run_command(doc! { "listIndexes": collection }).await.unwrap();
    let indexes = listed.get_document("cursor").unwrap().get_array("firstBatch").unwrap();
    let indexes = indexes.iter().filter_map(Bson::as_document);
    indexes.filter(|index| index.contains_key("expireAfterSeconds")).cloned().collect()
}

#[tokio::test]
async fn purge_by_mongodb_removes_expired_records_and_keeps_the_margin() {
    let store = new_store().await;
    let database = store.database().clone();
    // No node runs, and nobody calls `purge_expired`.
    let kept = session_expired_for(&store, Duration::from_secs(200)).await;
    let kept_key = keys_expired_for(&store, Duration::from_secs(200)).await;
    // The second round shows that the server has looked at the first kept session more than once.
    for _ in 0..2 {
        until_server_has_purged(&store).await;
        assert_eq!(count_records(&database, kept).await, (1, 3), "expired within the margin: a session and its tokens");
        assert_eq!(count_keys(&database, kept_key).await, (1, 1), "expired within the margin: keys");
    }
}

/// Waits until the server has removed a session and keys that are made here, expired beyond the
/// margin.
pub(super) async fn until_server_has_purged(store: &MongoStore) {
    let database = store.database();
    let removed = session_expired_for(store, Duration::from_secs(400)).await;
    let begun = Instant::now();
    while count_records(database, removed).await != (0, 0) {
        assert!(begun.elapsed() < PATIENCE, "still there: {:?}", count_records(database, removed).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let removed = keys_expired_for(store, Duration::from_secs(400)).await;
    while count_keys(database, removed).await != (0, 0) {
        assert!(begun.elapsed() < PATIENCE, "still there: {:?}", count_keys(database, removed).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Opens a store in a new database.
pub(super) async fn new_store() -> MongoStore {
    let database = servers::mongodb().await;
    store_in(&database).await
}

/// Opens a session with a token of each kind. All of them expired `ago`.
pub(super) async fn session_expired_for(store: &MongoStore, ago: Duration) -> SessionId {
    let keys = Keyring::new(SigningKey::generate().unwrap());
    let authority: Authority = Authority::builder("https://issuer", store.clone())
        .audience("api")
        .keys(keys)
        .clock(ManualClock::starting_at(Utc::now() - LIFETIME - ago))
        .access_ttl(LIFETIME)
        .refresh_ttl(LIFETIME)
        .single_use_ttl(LIFETIME)
        .build()
        .unwrap();
    // In a database where the server looks once a second, the records may already be gone: those of
    // the sign-in while it goes on, or those that the last call needs.
    let may_be_gone = ago > Duration::from_secs(RETENTION_SECONDS.unsigned_abs().into());
    let pair = loop {
        let sign_in = authority.begin_sign_in(UserId::generate()).await.unwrap();
        match authority.sign_in(sign_in, Grant::new("web")).await {
            Err(SignInError::Fenced) if may_be_gone => {}
            signed_in => break signed_in.unwrap(),
        }
    };
    // What this records is as old as the rest.
    if let Ok(claims) = authority.verify(&pair.access_token).await {
        let issued = authority.issue_single_use(&claims).await;
        assert!(issued.is_ok() || may_be_gone, "{issued:?}");
    }
    pair.session_id
}

/// Reserves a key and puts a one-time record under it. Both expired `ago`.
pub(super) async fn keys_expired_for(store: &MongoStore, ago: Duration) -> HashedKey {
    let key = HashedKey::of("expired", SessionId::generate().as_bytes());
    let expired = Utc::now() - ago;
    assert!(store.reserve(key, expired, expired - LIFETIME).await.unwrap());
    store.put_one_time(key, Payload::new(), expired).await.unwrap();
    key
}

/// Returns the number of reservations and of one-time records with this key.
async fn count_keys(database: &Database, key: HashedKey) -> (u64, u64) {
    let id = Binary { subtype: BinarySubtype::Generic, bytes: key.as_bytes().to_vec() };
    let of = async |collection| {
        database.collection::<Document>(collection).count_documents(doc! { "_id": id.clone() }).await.unwrap()
    };
    (of("reserved_keys").await, of("one_time_records").await)
}

/// Returns the number of sessions with this id, and of their tokens.
async fn count_records(database: &Database, session: SessionId) -> (u64, u64) {
    let id = bson::Uuid::from_bytes(*session.as_bytes());
    let of = |collection| database.collection::<Document>(collection);
    let sessions = of("sessions").count_documents(doc! { "_id": id }).await.unwrap();
    (sessions, of("tokens").count_documents(doc! { "session_id": id }).await.unwrap())
}
