//! Fleets with nodes of the version before payloads, or of a version later than this one.

use auth_layer::{
    Authority, Grant, IssuedPair, RefreshError, Subject,
    keys::{Algorithm, Keyring, SigningKey},
    store::{StoreErrorKind, TokenStore, mongodb::MongoStore},
};
use bson::{Bson, Document, doc};
use chrono::Utc;

use super::{all_documents, expiry::new_store};

/// Opens a session, signed with ES256.
async fn signed_in(store: &MongoStore) -> (Authority, IssuedPair) {
    let keys = Keyring::new(SigningKey::generate_for(Algorithm::Es256).unwrap());
    let authority = Authority::builder("https://issuer", store.clone()).audience("api").keys(keys).build().unwrap();
    let sign_in = authority.begin_sign_in(Subject::generate()).await.unwrap();
    let grant = Grant::new("web").scope("profile".parse().unwrap()).user_agent("browser");
    let pair = authority.sign_in(sign_in, grant).await.unwrap();
    (authority, pair)
}

/// Nodes of the version before read these fields and no others, and fail without them.
#[tokio::test]
async fn payload_members_that_older_nodes_know_are_the_fields_they_read() {
    let store = new_store().await;
    let (authority, pair) = signed_in(&store).await;
    let next = authority.refresh(&pair.refresh_token).await.unwrap();
    let session = all_documents(store.database(), "sessions").await.remove(0);
    assert_eq!((&session["client_id"], &session["user_agent"]), (&Bson::from("web"), &Bson::from("browser")));
    let current = session.get_document("current").unwrap();
    // An older node copies the custom claims, and with them how the user signed in.
    let auth_time = authority.verify(&pair.access_token).await.unwrap().auth_time.unwrap().timestamp();
    let custom = format!(r#"{{"auth_time":{auth_time}}}"#);
    assert_eq!((&current["scope"], &current["custom"]), (&Bson::from("profile"), &Bson::from(custom)));
    assert!(current.get_str("kid").is_ok() && current.get_binary_generic("sealed_signatures").is_ok());
    assert!(!session.contains_key("payload") && !current.contains_key("payload"), "{session}");
    let again = authority.refresh(&pair.refresh_token).await.unwrap();
    let tokens = |pair: &IssuedPair| (pair.access_token.clone(), pair.refresh_token.clone());
    assert_eq!(tokens(&again), tokens(&next), "the same pair, byte for byte");
}

/// Members that a newer node added survive a refresh by this version. After a refresh by an older
/// node, those on the session survive.
#[tokio::test]
async fn payload_members_that_newer_nodes_wrote_survive_a_refresh_here() {
    let store = new_store().await;
    let (authority, pair) = signed_in(&store).await;
    let sessions = store.database().collection::<Document>("sessions");
    let newer = doc! { "$set": { "payload": { "acr": "2" }, "current.payload": { "cnf": "$jkt", "crit": "kid" } } };
    sessions.update_one(doc! {}, newer).await.unwrap();
    let next = authority.refresh(&pair.refresh_token).await.unwrap();
    let stored = all_documents(store.database(), "sessions").await.remove(0);
    assert_eq!(stored.get_document("payload").unwrap(), &doc! { "acr": "2" });
    assert_eq!(
        stored.get_document("current").unwrap().get_document("payload").unwrap(),
        &doc! { "cnf": "$jkt", "crit": "kid" }
    );
    let session = store.session(pair.session_id, Utc::now()).await.unwrap().unwrap();
    assert_eq!((session.payload.get("acr"), session.current.payload.get("cnf")), (Some("2"), Some("$jkt")));

    // The version before replaces the pair as a whole, with the fields that it knows.
    let mut pair = stored.get_document("current").unwrap().clone();
    pair.remove("payload");
    sessions.update_one(doc! {}, vec![doc! { "$set": { "current": { "$literal": pair } } }]).await.unwrap();
    let last = authority.refresh(&next.refresh_token).await.unwrap();
    assert!(authority.verify(&last.access_token).await.is_ok());
    let session = store.session(last.session_id, Utc::now()).await.unwrap().unwrap();
    assert_eq!((session.payload.get("acr"), session.current.payload.get("cnf")), (Some("2"), None));
}

#[tokio::test]
async fn payload_that_must_be_understood_and_is_not_fails_and_writes_nothing() {
    let store = new_store().await;
    let (authority, pair) = signed_in(&store).await;
    let sessions = store.database().collection::<Document>("sessions");
    sessions.update_one(doc! {}, doc! { "$set": { "payload": { "cnf": "jkt", "crit": "cnf" } } }).await.unwrap();
    let before = (all_documents(store.database(), "sessions").await, all_documents(store.database(), "tokens").await);
    let refused = authority.refresh(&pair.refresh_token).await;
    let Err(RefreshError::Unavailable(error)) = refused else { panic!("{refused:?}") };
    assert_eq!(error.kind(), StoreErrorKind::Corrupt);
    assert_eq!(
        (all_documents(store.database(), "sessions").await, all_documents(store.database(), "tokens").await),
        before
    );
    sessions.update_one(doc! {}, doc! { "$set": { "payload": { "cnf": "jkt", "crit": "" } } }).await.unwrap();
    authority.refresh(&pair.refresh_token).await.expect("the session lives");
}
