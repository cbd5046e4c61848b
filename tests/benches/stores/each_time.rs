//! A server is asked on each request.

use std::{sync::Arc, time::Instant};

use auth_layer::{
    cache::{
        Cached,
        redis::{RedisCache, RedisOptions},
    },
    keys::Algorithm,
    store::{
        MemoryStore, TokenStatus, TokenStore,
        mongodb::{MongoOptions, MongoStore},
    },
};
use bson::{RawDocumentBuf, Uuid, doc};
use deadpool_redis::{Pool, Runtime, redis};
use futures_util::future::join_all;
use mongodb::Collection;
use tests::servers::{self, RedisServer};

use crate::{
    builder,
    key::{Key, PeerClaims},
    report::{head, median, row, thousands},
    sign_in,
};

const TOKENS: usize = 512;
const ROUNDS: usize = 7;

/// How many times a second `tasks` tasks together do `one`, each so many times in a row, told how often it was done before.
async fn rate<F: Future<Output = ()> + Send + 'static>(
    tasks: usize,
    each: usize,
    one: &Arc<impl Fn(usize) -> F + Send + Sync + 'static>,
) -> f64 {
    let begun = Instant::now();
    let tasks = (0..tasks).map(|task| {
        let one = Arc::clone(one);
        tokio::spawn(async move {
            for round in 0..each {
                one(task * each + round).await;
            }
        })
    });
    let done = join_all(tasks).await;
    let count = u32::try_from(done.len() * each).expect("counts here are small");
    for ended in done {
        ended.expect("no task panics");
    }
    f64::from(count) / begun.elapsed().as_secs_f64()
}

/// Takes turns between `baseline` and the others; gives the median rate of each, and the median ratio to the baseline of the round.
macro_rules! in_turns {
    ($tasks:expr, $each:expr, $baseline:expr, $($other:expr),*) => {{
        let (mut rates, mut ratios) = (Vec::new(), Vec::new());
        for round in 0..=ROUNDS {
            let baseline = rate($tasks, $each, $baseline).await;
            let row = vec![baseline, $(rate($tasks, $each, $other).await),*];
            // The first round warms up.
            if round > 0 {
                ratios.push(row.iter().map(|rate| rate / baseline).collect::<Vec<f64>>());
                rates.push(row);
            }
        }
        let column = |rows: &[Vec<f64>], at: usize| median(rows.iter().map(|row| row[at]).collect());
        (0..rates[0].len()).map(|at| (column(&rates, at), column(&ratios, at))).collect::<Vec<(f64, f64)>>()
    }};
}

/// Redis on each request: a `GET` on a shared connection, this crate, and a middleware written by hand that takes its connection from a
/// pool.
pub(crate) async fn redis() {
    let server = RedisServer::start(&[]).await;
    let key = Key::new(Algorithm::Hs256);
    let options = RedisOptions::default();
    let cache = RedisCache::connect(&[server.url()], options.clone()).await.expect("a Redis URL");
    let authority = builder(&key, Cached::new(MemoryStore::new(), cache)).build();
    let mut tokens = Vec::new();
    for _ in 0..TOKENS {
        tokens.push(sign_in(&authority).await.1);
    }
    let mut keys = Vec::new();
    for token in &tokens {
        let claims = authority.verify(token).await.expect("the token is good");
        keys.push(format!("{}{}", options.key_prefix, claims.jti));
    }
    let (tokens, keys): (Arc<[String]>, Arc<[String]>) = (tokens.into(), keys.into());

    let client = redis::Client::open(server.url()).expect("a Redis URL");
    let mut shared = Vec::new();
    for _ in 0..options.connections {
        shared.push(client.get_multiplexed_async_connection().await.expect("Redis is there"));
    }
    let names = Arc::clone(&keys);
    let raw = &Arc::new(move |at: usize| {
        let (mut connection, names) = (shared[at % shared.len()].clone(), Arc::clone(&names));
        async move {
            let value: Vec<u8> =
                redis::Cmd::get(&names[at % TOKENS]).query_async(&mut connection).await.expect("it answers");
            assert!(!value.is_empty());
        }
    });
    let known = Arc::clone(&tokens);
    let ours = &Arc::new(move |at: usize| {
        let (authority, known) = (authority.clone(), Arc::clone(&known));
        async move { drop(authority.verify(&known[at % TOKENS]).await.expect("the token is good")) }
    });
    let pool = deadpool_redis::Config::from_url(server.url()).create_pool(Some(Runtime::Tokio1)).expect("a Redis URL");
    let decoding = Arc::new(key.decoding());
    let by_hand = &Arc::new(move |at: usize| {
        let (pool, decoding) = (Pool::clone(&pool), Arc::clone(&decoding));
        let (tokens, keys) = (Arc::clone(&tokens), Arc::clone(&keys));
        async move {
            let token = &tokens[at % TOKENS];
            jsonwebtoken::decode::<PeerClaims>(token, &decoding.0, &decoding.1).expect("the token is good");
            let mut connection = pool.get().await.expect("Redis is there");
            let value: Vec<u8> =
                redis::Cmd::get(&keys[at % TOKENS]).query_async(&mut connection).await.expect("it answers");
            assert!(!value.is_empty());
        }
    });
    head(&["Redis on each request", "a second", "of a raw GET"]);
    for (tasks, each) in [(64, 600), (1, 3_000)] {
        let measured = in_turns!(tasks, each, raw, ours, by_hand);
        let names = ["raw GET, shared connections", "auth-layer, no lease", "jsonwebtoken by hand, pool"];
        for (name, (rate, ratio)) in names.into_iter().zip(measured) {
            row(&[&format!("{name}, {tasks} in flight"), &thousands(rate), &format!("{ratio:.2}")]);
        }
    }
}

/// MongoDB on each request: a `find_one` for each token, and the store's lookups, which share round trips.
pub(crate) async fn mongodb() {
    let database = servers::mongodb().await;
    let store = MongoStore::connect(&database.uri, &database.name, MongoOptions::default()).await;
    let store = store.expect("MongoDB is there");
    let issuer = builder(&Key::new(Algorithm::Hs256), store.clone()).build();
    let mut ids = Vec::new();
    for _ in 0..TOKENS {
        let claims = issuer.verify(&sign_in(&issuer).await.1).await.expect("the token is good");
        ids.push(claims.jti);
    }
    let ids: Arc<[_]> = ids.into();
    let tokens: Collection<RawDocumentBuf> = store.database().collection("tokens");
    let (names, finding) = (Arc::clone(&ids), tokens.clone());
    let alone = &Arc::new(move |at: usize| {
        let (tokens, id) = (finding.clone(), Uuid::from_bytes(*names[at % TOKENS].as_bytes()));
        async move { assert!(tokens.find_one(doc! { "_id": id }).await.expect("it answers").is_some()) }
    });
    let looking = store.clone();
    let shared = &Arc::new(move |at: usize| {
        let (store, id) = (looking.clone(), ids[at % TOKENS]);
        async move { assert!(matches!(store.token_status(id).await, Ok(TokenStatus::Active(_)))) }
    });
    head(&["MongoDB on each request", "a second", "of find_one"]);
    for (tasks, each) in [(64, 100), (8, 200), (1, 400)] {
        let measured = in_turns!(tasks, each, alone, shared);
        for (name, (rate, ratio)) in ["one find_one each", "auth-layer's lookups"].into_iter().zip(measured) {
            row(&[&format!("{name}, {tasks} in flight"), &thousands(rate), &format!("{ratio:.2}")]);
        }
    }
    store.database().drop().await.expect("a database can be dropped");
}
