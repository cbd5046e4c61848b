//! What other programs see in MongoDB and Redis.

mod bytes;
mod cost;
mod expiry;
mod foreign;
mod grace_window;
mod payloads;
mod subjects;

use auth_layer::keys::Algorithm;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bson::{Bson, Document, RawDocumentBuf, doc, spec::BinarySubtype};
use futures_util::TryStreamExt;
use http::StatusCode;
use mongodb::{Client, Database};
use serde_json::Value;
use tests::servers::{MongoServer, RedisServer};

use crate::fleet::{Fleet, LONG_GRACE, PASSWORD, username};

/// Opens the database of a fleet.
async fn database(fleet: &Fleet) -> Database {
    let database = fleet.database.as_ref().unwrap();
    Client::with_uri_str(&database.uri).await.unwrap().database(&database.name)
}

/// Returns all documents of a collection.
async fn all_documents(database: &Database, collection: &str) -> Vec<Document> {
    database.collection::<Document>(collection).find(doc! {}).await.unwrap().try_collect().await.unwrap()
}

/// Returns whether the value is a UUID in binary subtype 4.
fn is_uuid(value: &Bson) -> bool {
    matches!(value, Bson::Binary(binary) if binary.subtype == BinarySubtype::Uuid && binary.bytes.len() == 16)
}

#[tokio::test]
async fn mongodb_token_documents_have_the_documented_fields() {
    let fleet = Fleet::on_shared_servers(1, false, &[]).await;
    let (client, _) = fleet.clients();
    let tokens = client.sign_up(&username(), PASSWORD).await.unwrap();
    client.post("/auth/single-use", Some(&tokens.access), None).await.unwrap();
    let claims = client.me(&tokens.access).await.unwrap().json()["claims"].clone();

    let database = database(&fleet).await;
    let documents = all_documents(&database, "tokens").await;
    let mut kinds: Vec<&str> = documents.iter().map(|document| document.get_str("kind").unwrap()).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["access", "refresh", "single_use"]);
    for document in &documents {
        for id in ["_id", "user_id", "session_id"] {
            assert!(is_uuid(&document[id]), "{id} in {document}");
        }
        assert!(document.get_datetime("issued_at").is_ok(), "{document}");
        assert!(document.get_datetime("expires_at").is_ok(), "{document}");
        assert_eq!(document["revoked"], Bson::Boolean(false));
        assert!(!document.contains_key("jwt_token"), "absent unless switched on");
    }
    let id = |name: &str| Bson::from(bson::Uuid::parse_str(claims[name].as_str().unwrap()).unwrap());
    let access = documents.iter().find(|document| document["_id"] == id("jti")).unwrap();
    assert_eq!((&access["user_id"], &access["session_id"]), (&id("sub"), &id("sid")));
    assert_eq!(access.get_datetime("expires_at").unwrap().timestamp_millis(), claims["exp"].as_i64().unwrap() * 1000);

    client.logout(&tokens.access).await.unwrap();
    for document in all_documents(&database, "tokens").await {
        assert_eq!(document["revoked"], Bson::Boolean(true), "{document}");
    }
}

#[tokio::test]
async fn secret_tokens_and_passwords_are_not_in_the_database() {
    assert_no_secret_stored(&Fleet::on_shared_servers(1, false, &LONG_GRACE).await, "EdDSA").await;
}

/// ES256 signs differently each time, so both nodes need the stored signatures. Other readers must
/// not be able to use them.
#[tokio::test]
async fn secret_tokens_and_passwords_are_not_in_the_database_with_stored_signatures() {
    assert_no_secret_stored(&Fleet::signing_with(Algorithm::Es256, 2, false, &LONG_GRACE).await, "ES256").await;
}

/// Fails if the database holds a password or a signature of this algorithm.
async fn assert_no_secret_stored(fleet: &Fleet, algorithm: &str) {
    let (client, other) = fleet.clients();
    let tokens = client.sign_up(&username(), PASSWORD).await.unwrap();
    let refreshed = client.refresh(&tokens.refresh).await.unwrap().tokens();
    let again = other.refresh(&tokens.refresh).await.unwrap().tokens();
    assert_eq!((again.access, again.refresh), (refreshed.access.clone(), refreshed.refresh.clone()), "byte for byte");
    assert_eq!(header(&refreshed.access)["alg"], algorithm);
    let database = database(fleet).await;
    let mut stored = Vec::new();
    for collection in database.list_collection_names().await.unwrap() {
        let documents = database.collection::<RawDocumentBuf>(&collection).find(doc! {}).await.unwrap();
        for document in documents.try_collect::<Vec<_>>().await.unwrap() {
            stored.extend_from_slice(document.as_bytes());
        }
    }
    let holds = |part: &[u8]| stored.windows(part.len()).any(|window| window == part);
    assert!(holds(b"$argon2id$"), "the users are among it");
    assert!(!holds(PASSWORD.as_bytes()));
    for token in [&tokens.access, &tokens.refresh, &refreshed.access, &refreshed.refresh] {
        let signature = token.rsplit('.').next().unwrap();
        assert!(!holds(signature.as_bytes()) && !holds(&URL_SAFE_NO_PAD.decode(signature).unwrap()));
    }
}

/// Decodes a token's header.
fn header(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap()).unwrap()
}

#[tokio::test]
async fn revoke_by_hand_in_mongodb_holds_at_once_without_caches() {
    let fleet = Fleet::on_shared_servers(2, false, &["--local-cache", "0"]).await;
    let (a, b) = fleet.clients();
    let tokens = a.sign_up(&username(), PASSWORD).await.unwrap();
    assert_eq!(b.me(&tokens.access).await.unwrap().status, StatusCode::OK);
    let records = database(&fleet).await.collection::<Document>("tokens");
    let by_hand = doc! { "$set": { "revoked": true } };
    records.update_one(doc! { "kind": "access" }, by_hand.clone()).await.unwrap();
    for node in [&a, &b] {
        assert_eq!(node.me(&tokens.access).await.unwrap().status, StatusCode::UNAUTHORIZED);
    }
    records.update_one(doc! { "kind": "refresh" }, by_hand).await.unwrap();
    assert_eq!(b.refresh(&tokens.refresh).await.unwrap().error(), "invalid_grant");
}

/// As RFC 7009 (§2.1) demands, even if the person who marked the record did not know its session.
#[tokio::test]
async fn revoke_by_hand_of_a_refresh_token_ends_its_session_when_it_is_presented() {
    let fleet = Fleet::on_shared_servers(2, true, &["--local-cache", "0"]).await;
    let (a, b) = fleet.clients();
    let first = a.sign_up(&username(), PASSWORD).await.unwrap();
    let second = a.refresh(&first.refresh).await.unwrap().tokens();
    assert_eq!(b.me(&second.access).await.unwrap().status, StatusCode::OK);
    let records = database(&fleet).await.collection::<Document>("tokens");
    let marked = records.update_many(doc! { "kind": "refresh" }, doc! { "$set": { "revoked": true } }).await.unwrap();
    assert_eq!(marked.modified_count, 2);
    assert_eq!(b.refresh(&first.refresh).await.unwrap().error(), "invalid_grant");
    for node in [&a, &b] {
        for tokens in [&first, &second] {
            assert_eq!(node.me(&tokens.access).await.unwrap().status, StatusCode::UNAUTHORIZED);
        }
    }
}

#[tokio::test]
async fn revoke_by_hand_holds_within_the_bound_of_the_caches() {
    let args = ["--redis-ttl", "2s", "--local-cache", "200ms"];
    let fleet = Fleet::on_shared_servers(1, true, &args).await;
    let (client, _) = fleet.clients();
    let tokens = client.sign_up(&username(), PASSWORD).await.unwrap();
    assert_eq!(client.me(&tokens.access).await.unwrap().status, StatusCode::OK);
    let records = database(&fleet).await.collection::<Document>("tokens");
    records.update_many(doc! {}, doc! { "$set": { "revoked": true } }).await.unwrap();
    let revoked = std::time::Instant::now();
    loop {
        let sent = revoked.elapsed();
        if client.me(&tokens.access).await.unwrap().status == StatusCode::UNAUTHORIZED {
            break;
        }
        assert!(sent <= std::time::Duration::from_millis(2_200), "accepted {sent:?} after it was revoked");
    }
}

#[tokio::test]
async fn check_of_a_cached_token_costs_one_redis_command_and_no_mongodb() {
    const REQUESTS: usize = 50;
    let (mongodb, redis) = (MongoServer::start().await, RedisServer::start(&[]).await);
    let fleet = Fleet::on_servers(1, &mongodb, Some(&redis), &["--local-cache", "0"]).await;
    let (client, _) = fleet.clients();
    let tokens = client.sign_up(&username(), PASSWORD).await.unwrap();
    let me = client.me(&tokens.access).await.unwrap().json();
    let jti = me["claims"]["jti"].as_str().unwrap();

    let database = Client::with_uri_str(mongodb.uri()).await.unwrap().database("auth");
    database.run_command(doc! { "profile": 2 }).await.unwrap();
    let monitor = redis.monitor();
    for _ in 0..REQUESTS {
        assert_eq!(client.me(&tokens.access).await.unwrap().status, StatusCode::OK);
    }
    let commands = monitor.commands_with(jti).await;
    assert_eq!(commands.len(), REQUESTS, "{commands:?}");
    assert!(commands.iter().all(|command| command.contains("\"GET\"")), "{commands:?}");
    let profiled = database.collection::<Document>("system.profile");
    let count = async || profiled.count_documents(doc! { "ns": { "$ne": "auth.system.profile" } }).await.unwrap();
    assert_eq!(count().await, 0, "{:?}", all_documents(&database, "system.profile").await);
    // Shows that the profiler sees what there is to see.
    client.refresh(&tokens.refresh).await.unwrap();
    assert!(count().await > 0);
}

#[tokio::test]
async fn mongodb_that_is_no_replica_set_is_refused_with_the_reason() {
    let standalone = MongoServer::start_standalone().await;
    let data = tempfile::tempdir().unwrap();
    let output = tokio::process::Command::new(crate::fleet::NODE)
        .args(["--listen", "127.0.0.1:0", "--mongodb-uri", &standalone.uri(), "--data-dir"])
        .arg(data.path())
        .output();
    let output = tokio::time::timeout(std::time::Duration::from_secs(20), output).await.unwrap().unwrap();
    assert!(!output.status.success());
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.contains("replica set"), "{log}");
}
