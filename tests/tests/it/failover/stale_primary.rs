//! A primary whose followers are gone does not know whether it still is one. The store acknowledges
//! nothing on its answers alone.

use std::time::{Duration, Instant};

use auth_layer::{
    Authority, Grant, IssuedPair, SessionId, Subject, TokenId, UserId,
    keys::{Keyring, SigningKey},
    store::{
        StoreError, StoreErrorKind, TokenStore,
        mongodb::{MongoOptions, MongoStore},
    },
};
use bson::{Document, Uuid, doc};
use chrono::Utc;
use mongodb::options::{Acknowledgment, WriteConcern};
use tests::servers::{MongoReplicaSet, MongoServer};
use tokio::time::sleep;

use crate::fleet::{PATIENCE, patient_store};

/// Longer than all requests of this test.
const NOTICES_AFTER: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread")]
async fn failover_leaves_a_lone_primary_that_can_promise_nothing() {
    let mut mongodb = MongoReplicaSet::start().await;
    mongodb.set_election_timeout(NOTICES_AFTER).await;
    let keys = Keyring::new(SigningKey::generate().unwrap());
    let patient = patient_store(&mongodb.uri(), "auth").await;
    let authority =
        Authority::builder("https://issuer", patient).audience("api").keys(keys).deadline(PATIENCE).build().unwrap();
    let pair = sign_in(&authority, UserId::generate()).await;
    let user = UserId::generate();
    sign_in(&authority, user).await;

    let store = MongoStore::connect(&mongodb.uri(), "auth", MongoOptions::default()).await.unwrap();
    let port = mongodb.primary().await.port();
    let alone = format!("mongodb://127.0.0.1:{port}/?directConnection=true");
    let refused = MongoStore::connect(&alone, "auth", MongoOptions::default()).await;
    assert_eq!(refused.unwrap_err().kind(), StoreErrorKind::Unsupported, "it would be read from as a secondary, too");
    let alone = mongodb::Client::with_uri_str(alone).await.unwrap().database("auth");
    mongodb.others(port).for_each(MongoServer::kill);
    let began = Instant::now();

    // A successor, if there is one, may know all of these. They come before the primary has pending
    // writes, which would make them wait as well.
    let now = Utc::now();
    let (token, session, enabled) = tokio::join!(
        store.revoke_token(TokenId::generate(), now),
        store.revoke_session(SessionId::generate(), now),
        store.set_user_disabled(Subject::generate(), false, now),
    );
    for (what, answer) in [("token", token), ("session", session), ("user", enabled)] {
        assert!(is_unavailable(&answer), "a {what} that it does not know: {answer:?}");
    }
    // The primary raises a fence that may be rolled back, and later raised to the same epoch again.
    let raised = async { store.revoke_user(user.into(), None, Utc::now()).await };
    let read = async {
        let raised = doc! { "_id": binary(user.as_uuid()), "epoch": 1_i64 };
        while alone.collection::<Document>("subjects").count_documents(raised.clone()).await.unwrap() == 0 {
            assert!(began.elapsed() < NOTICES_AFTER, "no fence was raised");
            sleep(Duration::from_millis(5)).await;
        }
        store.user_fence(user.into()).await
    };
    let (raised, read) = tokio::join!(raised, read);
    assert!(is_unavailable(&raised), "a fence that no majority has: {raised:?}");
    assert!(read.as_ref().map_or(true, |fence| fence.epoch == 0), "it was believed: {read:?}");
    // The primary holds a commit that may be rolled back, and later be made with another child. The
    // store's own commit would not come so far: it waits for the child's records first.
    let child = TokenId::generate();
    let committed = doc! { "$set": { "current.refresh_id": binary(child.as_uuid()) } };
    let session = doc! { "_id": binary(pair.session_id.as_uuid()) };
    let hasty = WriteConcern::builder().w(Acknowledgment::Nodes(1)).build();
    let written = alone.collection::<Document>("sessions").update_one(session, committed).write_concern(hasty).await;
    assert_eq!(written.unwrap().modified_count, 1);
    let confirmed = store.confirm(pair.session_id, child).await;
    assert!(is_unavailable(&confirmed), "a pair that no majority has: {confirmed:?}");
    assert!(mongodb.is_primary(port).await, "all that was its word");
}

/// Opens a session of this user.
async fn sign_in(authority: &Authority, user: UserId) -> IssuedPair {
    let sign_in = authority.begin_sign_in(user).await.unwrap();
    authority.sign_in(sign_in, Grant::new("web")).await.unwrap()
}

/// Returns the identifier as BSON has it.
fn binary(id: &uuid::Uuid) -> Uuid {
    Uuid::from_bytes(id.into_bytes())
}

/// Returns whether the store said "unavailable".
fn is_unavailable<T>(answer: &Result<T, StoreError>) -> bool {
    answer.as_ref().is_err_and(|error| error.kind() == StoreErrorKind::Unavailable)
}
