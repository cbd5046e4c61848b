//! Users in MongoDB that programs other than the nodes have changed.

use std::time::{Duration, Instant};

use bson::{Bson, Document, doc};
use http::StatusCode;
use mongodb::Collection;
use serde_json::json;

use crate::fleet::{Fleet, PASSWORD, username};

/// Returns the collection `users` of a fleet.
async fn users_collection(fleet: &Fleet) -> Collection<Document> {
    let database = fleet.database.as_ref().expect("it is on MongoDB");
    mongodb::Client::with_uri_str(&database.uri).await.unwrap().database(&database.name).collection("users")
}

#[tokio::test]
async fn sign_in_with_an_unreadable_stored_hash_is_refused_like_any_other() {
    let fleet = Fleet::on_shared_servers(1, false, &["--rate-limit", "off"]).await;
    let ((client, _), name) = (fleet.clients(), username());
    let registered = client.register(&name, PASSWORD).await.unwrap().json();
    let users = users_collection(&fleet).await;
    let hashes = ["!", "", "pbkdf2_sha256$870000$needle$needle"].map(Bson::from);
    for hash in hashes.into_iter().chain([Bson::Null, Bson::Int32(1), Bson::Document(doc! { "needle": 1 })]) {
        let changed = users.update_one(doc! {}, doc! { "$set": { "password_hash": &hash } }).await.unwrap();
        assert_eq!(changed.matched_count, 1);
        let begun = Instant::now();
        let answer = client.login(&name, PASSWORD).await.unwrap();
        assert_eq!(
            (answer.status, answer.error().as_str()),
            (StatusCode::UNAUTHORIZED, "invalid_credentials"),
            "{hash}"
        );
        assert!(begun.elapsed() >= Duration::from_millis(400), "{hash} {:?}", begun.elapsed());
    }
    users.update_one(doc! {}, doc! { "$unset": { "password_hash": "" } }).await.unwrap();
    assert_eq!(client.login(&name, PASSWORD).await.unwrap().error(), "invalid_credentials");

    let log = fleet.nodes[0].log();
    let errors: Vec<String> = log.lines().into_iter().filter(|line| line.contains("stored password hash")).collect();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].contains("ERROR") && errors[0].contains(registered["user_id"].as_str().unwrap()), "{errors:?}");
    assert!(!log.contains("needle"));
}

#[tokio::test]
async fn password_change_applies_to_the_same_user_after_names_were_changed() {
    let fleet = Fleet::on_shared_servers(1, false, &[]).await;
    let ((client, _), name, former) = (fleet.clients(), username(), username());
    let mine = client.sign_up(&former, PASSWORD).await.unwrap();
    let users = users_collection(&fleet).await;
    let renamed = doc! { "$set": { "username": &name, "username_folded": &name } };
    assert_eq!(users.update_one(doc! {}, renamed).await.unwrap().modified_count, 1);
    // Somebody else has the former name now, and the same password.
    client.register(&former, PASSWORD).await.unwrap();
    let change = json!({ "current_password": PASSWORD, "new_password": "battery staple" });
    for time in ["first", "repeated"] {
        let changed = client.post("/auth/password", Some(&mine.access), Some(&change)).await.unwrap();
        assert_eq!(changed.status, StatusCode::NO_CONTENT, "{time}: {changed:?}");
    }
    assert_eq!(client.login(&name, "battery staple").await.unwrap().status, StatusCode::OK);
    assert_eq!(client.login(&former, PASSWORD).await.unwrap().status, StatusCode::OK);
}
