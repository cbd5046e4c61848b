//! Token lookups in MongoDB share round trips, and each still gets its own answer.

use std::time::{Duration, Instant};

use auth_layer::{
    TokenId,
    store::{
        StoreError, StoreErrorKind, TokenStatus, TokenStore,
        mongodb::{MongoOptions, MongoStore},
    },
};
use bson::{Binary, Bson, DateTime, Document, Uuid, doc};
use chrono::Utc;
use futures_util::{TryStreamExt, future::join_all};
use tests::servers::{self, MongoServer};

use crate::fleet::store_in;

/// Returns a new token id, also as BSON has it.
fn new_id() -> (TokenId, Uuid) {
    let id = TokenId::generate();
    (id, Uuid::from_bytes(*id.as_bytes()))
}

/// Returns a token's document as it is issued.
fn issued(id: Uuid) -> Document {
    let now = DateTime::now();
    doc! {
        "_id": id, "user_id": Uuid::new(), "session_id": Uuid::new(), "kind": "access", "issued_at": now,
        "expires_at": DateTime::from_millis(now.timestamp_millis() + 900_000), "revoked": false,
    }
}

/// Returns a token's document with one field changed.
fn issued_with(id: Uuid, field: &str, value: impl Into<Bson>) -> Document {
    let mut document = issued(id);
    document.insert(field, value);
    document
}

/// Looks all of these tokens up at once, each in a task of its own.
async fn statuses(store: &MongoStore, ids: &[TokenId]) -> Vec<Result<TokenStatus, StoreError>> {
    let tasks = ids.iter().map(|&id| {
        let store = store.clone();
        tokio::spawn(async move { store.token_status(id).await })
    });
    join_all(tasks).await.into_iter().map(Result::unwrap).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn lookup_returns_the_answer_of_its_own_token() {
    const EACH: usize = 60;
    let database = servers::mongodb().await;
    let store = store_in(&database).await;
    let tokens = store.database().collection::<Document>("tokens");
    let mut expected = Vec::new();
    let mut documents = Vec::new();
    for round in 0..EACH {
        let (active, revoked, unknown, odd) = (new_id(), new_id(), new_id(), new_id());
        documents.push(issued(active.1));
        documents.push(issued_with(revoked.1, "revoked", true));
        let text = Uuid::new().to_string();
        let generic = Binary { subtype: bson::spec::BinarySubtype::Generic, bytes: vec![7; 16] };
        documents.push(match round % 4 {
            0 => issued_with(odd.1, "revoked", "false"),
            1 => issued_with(odd.1, "user_id", text),
            2 => issued_with(odd.1, "session_id", generic),
            _ => doc! { "_id": odd.1, "revoked": false },
        });
        expected.extend([(active.0, "active"), (revoked.0, "revoked"), (unknown.0, "unknown"), (odd.0, "corrupt")]);
    }
    tokens.insert_many(&documents).await.unwrap();
    // Each is asked for more than once, so that lookups share answers as well.
    let expected = expected.repeat(3);
    let ids: Vec<TokenId> = expected.iter().map(|(id, _)| *id).collect();
    for ((id, expected), answer) in expected.iter().zip(statuses(&store, &ids).await) {
        let seen = match &answer {
            Ok(TokenStatus::Active(token)) => {
                let document =
                    documents.iter().find(|document| document["_id"] == Uuid::from_bytes(*id.as_bytes()).into());
                let owner = document.unwrap()["user_id"].clone();
                assert_eq!(
                    owner,
                    Uuid::from_bytes(*token.user_id.as_uuid().unwrap().as_bytes()).into(),
                    "another token's answer"
                );
                "active"
            }
            Ok(TokenStatus::Revoked) => "revoked",
            Ok(TokenStatus::Unknown) => "unknown",
            Err(error) if error.kind() == StoreErrorKind::Corrupt => "corrupt",
            Err(error) => panic!("{error:?}"),
        };
        assert_eq!(seen, *expected);
    }
}

/// Returns the number of tokens in each lookup command.
async fn lookup_sizes(store: &MongoStore) -> Vec<usize> {
    let database = store.database();
    let finds = doc! { "ns": format!("{}.tokens", database.name()), "command.find": "tokens" };
    let seen: Vec<Document> =
        database.collection("system.profile").find(finds).await.unwrap().try_collect().await.unwrap();
    let asked = seen.iter().map(|profile| profile.get_document("command").unwrap().get_document("filter").unwrap());
    asked.map(|filter| filter.get_document("_id").map_or(1, |many| many.get_array("$in").unwrap().len())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn lookup_alone_costs_one_command_and_many_share_a_few() {
    const LOOKUPS: usize = 640;
    let database = servers::mongodb().await;
    let store = store_in(&database).await;
    let known: Vec<_> = (0..LOOKUPS).map(|_| new_id()).collect();
    let documents = known.iter().map(|(_, id)| issued(*id));
    store.database().collection("tokens").insert_many(documents).await.unwrap();
    store.database().run_command(doc! { "profile": 2 }).await.unwrap();

    assert!(matches!(store.token_status(known[0].0).await.unwrap(), TokenStatus::Active(_)));
    assert_eq!(lookup_sizes(&store).await, [1]);

    let ids: Vec<TokenId> = known.iter().map(|(id, _)| *id).collect();
    let answers = join_all(ids.iter().map(|&id| store.token_status(id))).await;
    assert!(answers.iter().all(|answer| matches!(answer, Ok(TokenStatus::Active(_)))));
    let commands = &lookup_sizes(&store).await[1..];
    assert_eq!(commands.iter().sum::<usize>(), LOOKUPS, "each is asked for once: {commands:?}");
    assert!(commands.len() <= LOOKUPS / 20, "{commands:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lookup_after_a_revocation_sees_it_beside_many_for_the_same_token() {
    let database = servers::mongodb().await;
    let store = store_in(&database).await;
    let tokens = store.database().collection::<Document>("tokens");
    for _ in 0..40 {
        let (token, key) = new_id();
        tokens.insert_one(issued(key)).await.unwrap();
        let crowd: Vec<_> = (0..32)
            .map(|_| {
                let store = store.clone();
                tokio::spawn(async move {
                    let mut seen_active = 0;
                    while store.token_status(token).await.unwrap() != TokenStatus::Revoked {
                        seen_active += 1;
                    }
                    seen_active
                })
            })
            .collect();
        drop(store.revoke_token(token, Utc::now()).await.unwrap());
        let after = statuses(&store, &[token; 16]).await;
        assert!(after.iter().all(|answer| matches!(answer, Ok(TokenStatus::Revoked))), "{after:?}");
        join_all(crowd).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lookup_on_a_server_that_hangs_fails_within_the_limit_and_works_after_it() {
    const LIMIT: Duration = Duration::from_secs(1);
    let mut server = MongoServer::start().await;
    let options = MongoOptions::default().with_operation_timeout(LIMIT);
    let store = MongoStore::connect(&server.uri(), "auth", options).await.unwrap();
    let ids: Vec<TokenId> = (0..300).map(|_| TokenId::generate()).collect();
    assert!(statuses(&store, &ids).await.iter().all(|answer| matches!(answer, Ok(TokenStatus::Unknown))));
    let begun = Instant::now();
    server.pause();
    let answers = statuses(&store, &ids).await;
    let took = begun.elapsed();
    server.resume();
    let unavailable = |error: &StoreError| error.kind() == StoreErrorKind::Unavailable;
    assert!(answers.iter().all(|answer| answer.as_ref().is_err_and(unavailable)), "{answers:?}");
    assert!(took < LIMIT * 2, "{took:?}");
    let begun = Instant::now();
    while !statuses(&store, &ids).await.iter().all(Result::is_ok) {
        assert!(begun.elapsed() < Duration::from_secs(15), "not served again");
    }
}
