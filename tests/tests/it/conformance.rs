//! The laws of a store, checked on stores that need a server.

use std::sync::Arc;

use auth_layer::{
    cache::{
        Cached,
        redis::{RedisCache, RedisOptions},
    },
    store::conformance,
};
use tests::servers;

use crate::fleet::store_in;

#[tokio::test(flavor = "multi_thread")]
async fn conformance_holds_for_mongodb() {
    let database = servers::mongodb().await;
    conformance::all(&Arc::new(store_in(&database).await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conformance_holds_for_mongodb_behind_redis() {
    let (database, keys) = (servers::mongodb().await, servers::redis().await);
    let options = RedisOptions::default().with_key_prefix(keys.prefix);
    let cache = RedisCache::connect(&[keys.url], options).await.unwrap();
    conformance::all(&Arc::new(Cached::new(store_in(&database).await, cache))).await;
}
