//! The laws of a store, checked on stores that need a server.

use std::sync::Arc;

use auth_layer::{
    cache::{
        Cached,
        redis::{RedisCache, RedisOptions},
    },
    store::{
        conformance::{self, Users},
        mongodb::MongoStore,
    },
};
use tests::servers;

use crate::fleet::store_in;

/// Here with one kind of users; with both in the slow group.
#[tokio::test(flavor = "multi_thread")]
async fn conformance_holds_for_mongodb() {
    let database = servers::mongodb().await;
    let store = Arc::new(store_in(&database).await);
    conformance::laws(&store, Users::Uuids).await;
    conformance::keys(&store).await;
    conformance::check::similar_subjects_are_different_users(&*store).await;
}

/// Here with the other kind of users.
#[tokio::test(flavor = "multi_thread")]
async fn conformance_holds_for_mongodb_behind_redis() {
    let store = Arc::new(mongodb_behind_redis().await);
    conformance::laws(&store, Users::Texts).await;
    conformance::keys(&store).await;
}

/// Returns a store that shares what it knows through Redis.
pub(crate) async fn mongodb_behind_redis() -> Cached<MongoStore, RedisCache> {
    let (database, keys) = (servers::mongodb().await, servers::redis().await);
    let options = RedisOptions::default().with_key_prefix(keys.prefix);
    let cache = RedisCache::connect(&[keys.url], options).await.unwrap();
    Cached::new(store_in(&database).await, cache)
}
