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

#[tokio::test(flavor = "multi_thread")]
async fn conformance_holds_for_mongodb() {
    let database = servers::mongodb().await;
    conformance::all(&Arc::new(store_in(&database).await)).await;
}

/// The store alone is tested with both kinds of users; so is this one, in the slow group.
#[tokio::test(flavor = "multi_thread")]
async fn conformance_holds_for_mongodb_behind_redis() {
    conformance::laws(&Arc::new(mongodb_behind_redis().await), Users::Texts).await;
}

/// Returns a store that shares what it knows through Redis.
pub(crate) async fn mongodb_behind_redis() -> Cached<MongoStore, RedisCache> {
    let (database, keys) = (servers::mongodb().await, servers::redis().await);
    let options = RedisOptions::default().with_key_prefix(keys.prefix);
    let cache = RedisCache::connect(&[keys.url], options).await.unwrap();
    Cached::new(store_in(&database).await, cache)
}
