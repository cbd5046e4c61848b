//! Users whose subject is text, beside users whose subject is a UUID.

use auth_layer::{
    Authority, Grant, IssuedPair, Subject,
    keys::{Keyring, SigningKey},
    store::{
        StoreErrorKind, TokenStatus, TokenStore, UserFence,
        mongodb::{MongoOptions, MongoStore},
    },
};
use bson::{Binary, Bson, Document, doc, oid::ObjectId, spec::BinarySubtype};

use super::{all_documents, expiry::new_store};

/// Opens a session of this user.
async fn sign_in(authority: &Authority, user: &Subject) -> IssuedPair {
    let sign_in = authority.begin_sign_in(user).await.unwrap();
    authority.sign_in(sign_in, Grant::new("web")).await.unwrap()
}

/// Builds an authority on this store.
fn authority(store: &MongoStore) -> Authority {
    let keys = Keyring::new(SigningKey::generate().unwrap());
    Authority::builder("https://issuer", store.clone()).audience("api").keys(keys).build().unwrap()
}

#[tokio::test]
async fn subject_is_stored_as_a_uuid_or_a_string_in_every_collection() {
    let uuid = Subject::generate();
    let shouted: Subject = uuid.to_string().to_uppercase().parse().unwrap();
    for user in [uuid.clone(), shouted, Subject::from(42_u64), "auth0|n\u{e4}her $a.b".parse().unwrap()] {
        let store = new_store().await;
        let authority = authority(&store);
        let pair = sign_in(&authority, &user).await;
        authority.revoke_user(&user, None).await.unwrap();
        let expected = match user.as_uuid() {
            Some(uuid) => Bson::from(bson::Uuid::from_bytes(*uuid.as_bytes())),
            None => Bson::from(user.to_string()),
        };
        for (collection, field, documents) in
            [("tokens", "user_id", 2), ("sessions", "user_id", 1), ("subjects", "_id", 1)]
        {
            let found = all_documents(store.database(), collection).await;
            assert_eq!(found.len(), documents, "{collection}");
            assert!(found.iter().all(|document| document[field] == expected), "{collection}: {found:?}");
        }
        assert!(authority.verify(&pair.access_token).await.is_err());
    }
}

#[tokio::test]
async fn subject_that_is_text_can_be_disabled_and_revoked_by_hand() {
    let store = new_store().await;
    let (user, authority) = (Subject::from(42_u64), authority(&store));
    let subjects = store.database().collection::<Document>("subjects");
    subjects.insert_one(doc! { "_id": "42", "disabled": true }).await.unwrap();
    assert_eq!(store.user_fence(user.clone()).await.unwrap(), UserFence { epoch: 0, disabled: true });
    authority.set_user_disabled(&user, false).await.unwrap();
    let pair = sign_in(&authority, &user).await;
    let id = authority.verify(&pair.access_token).await.unwrap().token_id().unwrap();
    let tokens = store.database().collection::<Document>("tokens");
    tokens.update_many(doc! { "user_id": "42" }, doc! { "$set": { "revoked": true } }).await.unwrap();
    assert_eq!(store.token_status(id).await.unwrap(), TokenStatus::Revoked);
}

/// No sweep finds such a record by the user that a token names, so it must not be accepted.
#[tokio::test]
async fn subject_that_another_program_wrote_differently_is_unreadable() {
    let store = new_store().await;
    let (user, authority) = (Subject::generate(), authority(&store));
    let pair = sign_in(&authority, &user).await;
    let id = authority.verify(&pair.access_token).await.unwrap().token_id().unwrap();
    let document_id = bson::Uuid::from_bytes(*id.as_bytes());
    let tokens = store.database().collection::<Document>("tokens");
    let bytes = user.as_uuid().unwrap().as_bytes().to_vec();
    for odd in [
        Bson::from(user.to_string()),
        Bson::from(""),
        Bson::from("a".repeat(256)),
        Bson::from(42),
        Bson::from(Binary { subtype: BinarySubtype::Generic, bytes }),
    ] {
        tokens.update_one(doc! { "_id": document_id }, doc! { "$set": { "user_id": odd.clone() } }).await.unwrap();
        assert_eq!(store.token_status(id).await.unwrap_err().kind(), StoreErrorKind::Corrupt, "{odd}");
    }
}

#[tokio::test]
async fn subject_of_either_kind_is_ours_and_anything_between_is_foreign() {
    let store = new_store().await;
    let (database, authority) = (store.database().clone(), authority(&store));
    for number in 0..30_u32 {
        sign_in(&authority, &Subject::generate()).await;
        sign_in(&authority, &Subject::from(number)).await;
    }
    let start = || MongoStore::new(database.clone(), MongoOptions::default());
    start().await.expect("all are ours");
    let subjects = database.collection::<Document>("subjects");
    let binary = |subtype, length| Bson::from(Binary { subtype, bytes: vec![0xff; length] });
    for id in [
        Bson::from(7),
        Bson::from(doc! { "a": 1 }),
        Bson::from(ObjectId::new()),
        Bson::from(true),
        // The start reads the first few documents by `_id`, and this string is among them.
        Bson::from(Subject::generate().to_string()),
        binary(BinarySubtype::Uuid, 15),
        binary(BinarySubtype::Generic, 16),
        binary(BinarySubtype::UuidOld, 16),
        binary(BinarySubtype::Generic, 17),
    ] {
        subjects.insert_one(doc! { "_id": id.clone(), "epoch": 1_i64 }).await.unwrap();
        assert_eq!(start().await.unwrap_err().kind(), StoreErrorKind::Unsupported, "{id}");
        subjects.delete_one(doc! { "_id": id }).await.unwrap();
    }
    start().await.expect("all are ours again");
}
