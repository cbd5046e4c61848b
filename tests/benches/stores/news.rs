//! Measures how long a revocation takes to reach the other node.

use std::time::{Duration, Instant};

use auth_layer::{
    AuthError,
    cache::{
        Cached,
        redis::{RedisCache, RedisOptions},
    },
    keys::Algorithm,
    store::mongodb::{MongoOptions, MongoStore},
};
use tests::servers;

use crate::{
    builder,
    key::Key,
    report::{head, row},
    sign_in,
};

/// Measures, for two nodes with an in-process cache, how long one accepts a token after the other
/// returned from revoking it.
pub(crate) async fn spread() {
    head(&["revoked on one node, refused on the other", "p50, ms", "p99, ms", "most, ms"]);
    let key = Key::new(Algorithm::EdDsa);
    let database = servers::mongodb().await;
    for with_redis in [true, false] {
        let keys = servers::redis().await;
        let mut nodes = Vec::new();
        for _ in 0..2 {
            // Long enough that only news of the revocation can end the trust.
            const LEASE: Duration = Duration::from_secs(30);
            let store = MongoStore::connect(&database.uri, &database.name, MongoOptions::default()).await;
            let store = store.expect("MongoDB is there");
            nodes.push(if with_redis {
                let options = RedisOptions::default().with_key_prefix(&keys.prefix);
                let cache = RedisCache::connect(std::slice::from_ref(&keys.url), options).await.expect("a Redis URL");
                builder(&key, Cached::new(store, cache)).local_cache(LEASE).build().unwrap()
            } else {
                builder(&key, store).local_cache(LEASE).build().unwrap()
            });
        }
        let mut took = Vec::new();
        for round in 0..350 {
            let token = sign_in(&nodes[0]).await.1;
            let claims = nodes[1].verify(&token).await.expect("the token is good");
            nodes[0].revoke_token(claims.token_id().unwrap()).await.expect("the stores serve");
            let revoked = Instant::now();
            loop {
                let asked = revoked.elapsed();
                match nodes[1].verify(&token).await {
                    Ok(_) => tokio::task::yield_now().await,
                    Err(AuthError::InvalidToken(_)) => {
                        // In the first rounds the nodes begin to listen.
                        if round >= 50 {
                            took.push(asked.as_secs_f64() * 1e3);
                        }
                        break;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        }
        took.sort_by(f64::total_cmp);
        let name = if with_redis { "MongoDB and Redis" } else { "MongoDB alone" };
        let at = |share: usize| format!("{:.2}", took[(took.len() - 1) * share / 100]);
        row(&[name, &at(50), &at(99), &at(100)]);
    }
}
