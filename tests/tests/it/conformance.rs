//! The laws of a store, on stores that need a server.

use std::sync::Arc;

use auth_layer::{
    cache::{
        Cached,
        redis::{RedisCache, RedisOptions},
    },
    store::{
        conformance,
        mongodb::{MongoOptions, MongoStore},
    },
};
use tests::servers;

async fn mongodb() -> MongoStore {
    let database = servers::mongodb().await;
    MongoStore::connect(&database.uri, &database.name, MongoOptions::default()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_mongodb() {
    conformance::all(&Arc::new(mongodb().await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_mongodb_behind_redis() {
    let keys = servers::redis().await;
    let options = RedisOptions { key_prefix: keys.prefix, ..RedisOptions::default() };
    let cache = RedisCache::connect(&[keys.url], options).await.unwrap();
    conformance::all(&Arc::new(Cached::new(mongodb().await, cache))).await;
}
