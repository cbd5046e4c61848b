//! A primary whose followers are gone reserves keys and redeems records for a moment. What was not
//! acknowledged may be lost with it, and no key is used twice.

use std::time::Instant;

use auth_layer::{
    SessionId,
    store::{
        HashedKey, OneTimeRecord, Payload, Redeemed, StoreError, StoreErrorKind, TokenStore,
        mongodb::{MongoOptions, MongoStore},
    },
};
use chrono::{TimeDelta, Utc};
use futures_util::future::join_all;
use tests::servers::{MongoReplicaSet, MongoServer};

use super::PATIENCE;

/// The number of keys that are used at the lone primary.
const KEYS: usize = 12;

/// A key, and what the callers were told of it.
struct UsedKey {
    key: HashedKey,
    /// The sessions that were told that they are the first.
    firsts: Vec<SessionId>,
    /// How many calls reserved the key.
    reserved: usize,
}

/// Asks until the store answers.
pub(super) async fn until_answered<T, F: Future<Output = Result<T, StoreError>>>(ask: impl Fn() -> F) -> T {
    let begun = Instant::now();
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) => assert!(error.kind() == StoreErrorKind::Unavailable, "{error:?}"),
        }
        assert!(begun.elapsed() < PATIENCE, "no answer");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failover_lets_no_key_be_used_twice() {
    let mut mongodb = MongoReplicaSet::start().await;
    let connect = async || MongoStore::connect(&mongodb.uri(), "auth", MongoOptions::default()).await.unwrap();
    let stores = [connect().await, connect().await];
    let now = Utc::now();
    let expires_at = now + TimeDelta::hours(1);
    let payload: Payload = [("client_id", "web")].into_iter().collect();
    let new_key = || HashedKey::of("failover", SessionId::generate().as_bytes());
    let put = async |key| until_answered(|| stores[0].put_one_time(key, payload.clone(), expires_at)).await;

    let (before, by) = (new_key(), SessionId::generate());
    put(before).await;
    assert_eq!(until_answered(|| stores[0].redeem(before, by, now)).await, Redeemed::First(payload.clone()));
    assert!(until_answered(|| stores[0].reserve(before, expires_at, now)).await);
    let mut used = Vec::new();
    for _ in 0..KEYS {
        let key = new_key();
        put(key).await;
        used.push(UsedKey { key, firsts: Vec::new(), reserved: 0 });
    }

    // The primary takes writes until it notices, about a second later.
    let port = mongodb.primary().await.port();
    mongodb.others(port).for_each(MongoServer::kill);
    let in_doubt: Vec<_> = join_all(used.iter().enumerate().map(|(turn, used)| {
        let (store, by) = (&stores[turn % 2], SessionId::generate());
        async move {
            let calls = (store.redeem(used.key, by, now), store.reserve(used.key, expires_at, now));
            let (redeemed, reserved) = tokio::join!(calls.0, calls.1);
            (by, redeemed, reserved)
        }
    }))
    .await;
    let mut failed = 0;
    for (used, (by, redeemed, reserved)) in used.iter_mut().zip(in_doubt) {
        match redeemed {
            Ok(Redeemed::First(_)) => used.firsts.push(by),
            Err(error) if error.kind() == StoreErrorKind::Unavailable => failed += 1,
            other => panic!("a record that nobody had redeemed: {other:?}"),
        }
        match reserved {
            Ok(is_first) => used.reserved += usize::from(is_first),
            Err(error) => assert_eq!(error.kind(), StoreErrorKind::Unavailable),
        }
    }
    assert!(failed > 0, "a lone primary cannot acknowledge all of them");

    mongodb.member(port).kill();
    mongodb.others(port).for_each(MongoServer::respawn);
    mongodb.until_new_primary(port).await;
    for turn in [0, 1] {
        for used in &mut used {
            let by = SessionId::generate();
            if let Redeemed::First(_) = until_answered(|| stores[turn].redeem(used.key, by, now)).await {
                used.firsts.push(by);
            }
            used.reserved += usize::from(until_answered(|| stores[turn].reserve(used.key, expires_at, now)).await);
        }
    }
    // When the member comes back, it rolls back what it alone had.
    mongodb.member(port).respawn();
    mongodb.until_healthy().await;
    for store in &stores {
        let other = SessionId::generate();
        assert_eq!(until_answered(|| store.redeem(before, other, now)).await, Redeemed::Again(by), "used before");
        assert!(!until_answered(|| store.reserve(before, expires_at, now)).await, "reserved before");
        for UsedKey { key, firsts, reserved } in &used {
            assert!(firsts.len() <= 1, "{} sessions were the first of one record", firsts.len());
            assert!(*reserved <= 1, "a key was reserved {reserved} times");
            let record: Option<OneTimeRecord> = until_answered(|| store.one_time(*key, now)).await;
            let redeemed_by = record.expect("it has not expired").redeemed_by.expect("it was redeemed");
            assert!(firsts.iter().all(|first| *first == redeemed_by), "another session than was told");
            let again = until_answered(|| store.redeem(*key, other, now)).await;
            assert_eq!(again, Redeemed::Again(redeemed_by));
            assert!(!until_answered(|| store.reserve(*key, expires_at, now)).await);
        }
    }
}
