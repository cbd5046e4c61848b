//! Denials, which no request to the demo makes: the library's handles stand for the two nodes.

use std::sync::Arc;

use auth_layer::{
    cache::{
        Cached,
        redis::{RedisCache, RedisOptions},
    },
    store::{Denial, HashedKey, TokenStore, mongodb::MongoStore},
};
use chrono::Utc;

use super::*;
use crate::{
    denials::{denial, new_key},
    fleet::{PATIENCE, patient_store},
};

type Store = Arc<Cached<MongoStore, RedisCache>>;

/// Opens the store of a node that waits for its servers however long they take.
async fn node(mongodb: &str, redis: &str) -> Store {
    let options = RedisOptions::default().with_response_timeout(PATIENCE).with_key_prefix("denied:");
    let cache = RedisCache::connect(&[redis.to_owned()], options).await.unwrap();
    Arc::new(Cached::new(patient_store(mongodb, "denied").await, cache))
}

impl SteppedNodes {
    /// Opens the stores of a node behind the relay and of another.
    async fn stores(&self) -> [Store; 2] {
        let first = node(&self.relayed, &self.relayed_redis).await;
        [first, node(&self.servers.0.uri(), &self.servers.1.url()).await]
    }
}

/// Returns the denials of these keys.
async fn found(store: &Store, keys: &[HashedKey]) -> Vec<Option<Denial>> {
    store.denials(keys.to_vec(), Utc::now()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn denial_meets_checks_and_a_later_denial_at_each_step() {
    let nodes = SteppedNodes::start().await;
    let [first, second] = nodes.stores().await;
    for is_cached in [false, true] {
        for denied_meanwhile in [false, true] {
            // The record, what the cache has, what the store has, and the cache's own record.
            let mut steps = StepWalk::at_least(4);
            while steps.has_next() {
                let (keys, made, later) = ([new_key(), new_key()], denial(9), denial(1));
                if is_cached {
                    assert_eq!(found(&second, &keys).await, [None; 2]);
                }
                let (denier, key) = (Arc::clone(&first), keys[0]);
                let denying = async move { denier.deny(key, made).await };
                let Some(denying) = nodes.stop_after_next_step(&mut steps, denying).await else { continue };
                let meanwhile = found(&second, &keys).await;
                assert!(meanwhile[0].is_none_or(|denial| denial == made) && meanwhile[1].is_none(), "{meanwhile:?}");
                if denied_meanwhile {
                    second.deny(key, later).await.unwrap();
                    assert_eq!(found(&second, &keys).await, [Some(later), None], "the later one has returned");
                }
                nodes.relay.release();
                let when = format!("a denial that met others after {:?}", nodes.relay.steps());
                denying.await.unwrap().expect(&when);
                let expected = [Some(if denied_meanwhile { later } else { made }), None];
                for store in [&first, &second] {
                    assert_eq!(found(store, &keys).await, expected, "{when}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_of_denials_meets_a_denial_at_each_step() {
    let nodes = SteppedNodes::start().await;
    let [first, second] = nodes.stores().await;
    // What the cache has, what the store has, and the fill of each key.
    let mut steps = StepWalk::at_least(3);
    while steps.has_next() {
        let (keys, made) = ([new_key(), new_key(), new_key()], denial(0));
        let store = Arc::clone(&first);
        let checking = async move { found(&store, &keys).await };
        let Some(check) = nodes.stop_after_next_step(&mut steps, checking).await else { continue };
        second.deny(keys[1], made).await.unwrap();
        nodes.relay.release();
        let when = format!("a check that met a denial after {:?}", nodes.relay.steps());
        let checked = check.await.unwrap();
        assert!(checked[1].is_none_or(|denial| denial == made), "{when}: {checked:?}");
        for store in [&first, &second] {
            assert_eq!(found(store, &keys).await, [None, Some(made), None], "{when}");
        }
    }
}

/// The node is gone with its retries. It has said nothing, and the caller denies again elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn denial_that_is_given_up_at_each_step_is_made_again_elsewhere() {
    let nodes = SteppedNodes::start().await;
    let second = node(&nodes.servers.0.uri(), &nodes.servers.1.url()).await;
    let mut steps = StepWalk::at_least(4);
    while steps.has_next() {
        let (key, earlier, made) = (new_key(), denial(9), denial(1));
        assert_eq!(found(&second, &[key]).await, [None]);
        let first = node(&nodes.relayed, &nodes.relayed_redis).await;
        let denying = async move { first.deny(key, made).await };
        let Some(denying) = nodes.stop_after_next_step(&mut steps, denying).await else { continue };
        denying.abort();
        assert!(denying.await.unwrap_err().is_cancelled());
        let when = format!("a denial that was given up after {:?}", nodes.relay.steps());
        let left = found(&second, &[key]).await[0];
        assert!(left.is_none_or(|denial| denial == made), "{when}: {left:?}");
        // An earlier one: what the first has recorded is no less for it.
        second.deny(key, earlier).await.expect(&when);
        let after = found(&second, &[key]).await[0];
        assert!(after == Some(made) || after == Some(earlier), "{when}: {after:?}");
        second.deny(key, made).await.expect(&when);
        nodes.relay.release();
        assert_eq!(found(&second, &[key]).await, [Some(made)], "{when}");
    }
}
