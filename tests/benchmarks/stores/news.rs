//! Measures how long a revocation takes to reach the other node.

use std::time::{Duration, Instant};

use auth_layer::{
    AuthError, Authority,
    cache::{
        Cached,
        redis::{RedisCache, RedisOptions},
    },
    keys::Algorithm,
    store::mongodb::{MongoOptions, MongoStore},
};
use tests::servers::{self, MongoDatabase, RedisKeys};

use crate::{
    builder,
    key::Key,
    report::{head, progress, row},
    sign_in,
};

/// In the first rounds the nodes begin to listen.
const WARM_UP: usize = 50;

/// Returns a node with an in-process cache, with or without Redis.
pub(crate) async fn node(key: &Key, database: &MongoDatabase, redis: Option<&RedisKeys>) -> Authority {
    // Long enough that only news of the revocation can end the trust.
    const LEASE: Duration = Duration::from_secs(30);
    let store = MongoStore::connect(&database.uri, &database.name, MongoOptions::default()).await;
    let store = store.expect("MongoDB is there");
    let Some(keys) = redis else {
        return builder(key, store).local_cache(LEASE).build().unwrap();
    };
    let options = RedisOptions::default().with_key_prefix(&keys.prefix);
    let cache = RedisCache::connect(std::slice::from_ref(&keys.url), options).await.expect("a Redis URL");
    builder(key, Cached::new(store, cache)).local_cache(LEASE).build().unwrap()
}

/// Measures, for two nodes with an in-process cache, how long one accepts a token after the other
/// returned from revoking it.
pub(crate) async fn spread(rounds: usize) {
    head(&["revoked on one node, refused on the other", "p50, ms", "p99, ms", "most, ms"]);
    let key = Key::new(Algorithm::EdDsa);
    let database = servers::mongodb().await;
    for with_redis in [true, false] {
        let name = if with_redis { "MongoDB and Redis" } else { "MongoDB alone" };
        let keys = servers::redis().await;
        let redis = with_redis.then_some(&keys);
        let nodes = [node(&key, &database, redis).await, node(&key, &database, redis).await];
        let mut took = Vec::new();
        for round in 0..WARM_UP + rounds {
            if round == 0 {
                progress(&format!("{name}: {WARM_UP} revocations to warm up"));
            } else if let Some(measured) = round.checked_sub(WARM_UP)
                && measured.is_multiple_of(100)
            {
                progress(&format!("{name}: revocation {} of {rounds}", measured + 1));
            }
            let token = sign_in(&nodes[0]).await.1;
            let claims = nodes[1].verify(&token).await.expect("the token is good");
            nodes[0].revoke_token(claims.token_id().unwrap()).await.expect("the stores serve");
            let revoked = Instant::now();
            loop {
                let asked = revoked.elapsed();
                match nodes[1].verify(&token).await {
                    Ok(_) => tokio::task::yield_now().await,
                    Err(AuthError::InvalidToken(_)) => {
                        if round >= WARM_UP {
                            took.push(asked.as_secs_f64() * 1e3);
                        }
                        break;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        }
        took.sort_by(f64::total_cmp);
        let at = |share: usize| format!("{:.2}", took[(took.len() - 1) * share / 100]);
        row(&[name, &at(50), &at(99), &at(100)]);
    }
}
