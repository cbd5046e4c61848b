//! A primary whose followers are gone takes denials for a moment. What was acknowledged survives it,
//! and of several denials of one key the later one stays.

use auth_layer::{
    cache::{
        Cached,
        redis::{RedisCache, RedisOptions},
    },
    store::{
        StoreError, StoreErrorKind, TokenStore,
        mongodb::{MongoOptions, MongoStore},
    },
};
use chrono::Utc;
use futures_util::future::join_all;
use tests::servers::{MongoReplicaSet, MongoServer, RedisServer};

use super::used_once::until_answered;
use crate::denials::{denial, new_key};

/// The number of keys that are denied at the lone primary.
const KEYS: usize = 12;

#[tokio::test(flavor = "multi_thread")]
async fn failover_loses_no_denial_that_was_acknowledged() {
    let (mut mongodb, redis) = (MongoReplicaSet::start().await, RedisServer::start(&[]).await);
    let connect = async || {
        let store = MongoStore::connect(&mongodb.uri(), "auth", MongoOptions::default()).await.unwrap();
        Cached::new(store, RedisCache::connect(&[redis.url()], RedisOptions::default()).await.unwrap())
    };
    let stores = [connect().await, connect().await];
    let (earlier, later) = (denial(9), denial(1));
    let keys: Vec<_> = (0..KEYS).map(|_| new_key()).collect();
    for (turn, &key) in keys.iter().enumerate() {
        if turn % 2 == 0 {
            until_answered(|| stores[turn % 2].deny(key, earlier)).await;
        }
    }

    // The primary takes writes until it notices, about a second later.
    let port = mongodb.primary().await.port();
    mongodb.others(port).for_each(MongoServer::kill);
    let in_doubt = join_all(keys.iter().enumerate().map(|(turn, &key)| stores[turn % 2].deny(key, later))).await;
    let failed = in_doubt.iter().filter(|denied| denied.is_err()).count();
    assert!(failed > 0, "a lone primary cannot acknowledge all of them");
    let kinds = in_doubt.iter().filter_map(|denied| denied.as_ref().err()).map(StoreError::kind);
    assert!(kinds.into_iter().all(|kind| kind == StoreErrorKind::Unavailable), "{in_doubt:?}");
    mongodb.member(port).kill();
    mongodb.others(port).for_each(MongoServer::respawn);
    mongodb.until_new_primary(port).await;

    for store in &stores {
        let found = until_answered(|| store.denials(keys.clone(), Utc::now())).await;
        for (turn, (found, denied)) in found.into_iter().zip(&in_doubt).enumerate() {
            let least = if denied.is_ok() { Some(later) } else { (turn % 2 == 0).then_some(earlier) };
            let [found, least] = [found, least].map(|denial| denial.map(|denial| denial.denied_at));
            assert!(found >= least, "an acknowledged denial is lost: {found:?} instead of {least:?}");
        }
    }
    // Repeated, and the earlier one once more. When the member comes back, it rolls back what it
    // alone had.
    for (turn, &key) in keys.iter().enumerate() {
        until_answered(|| stores[turn % 2].deny(key, later)).await;
        until_answered(|| stores[(turn + 1) % 2].deny(key, earlier)).await;
    }
    mongodb.member(port).respawn();
    mongodb.until_healthy().await;
    assert_eq!(redis.command(&["FLUSHALL"]), "+OK");
    for store in &stores {
        let found = until_answered(|| store.denials(keys.clone(), Utc::now())).await;
        assert_eq!(found, vec![Some(later); KEYS]);
    }
}
