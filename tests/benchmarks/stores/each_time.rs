//! Measures checks that ask a server each time.

use std::{future::Future, pin::Pin, sync::Arc, time::Instant};

use auth_layer::{
    Authority,
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
use deadpool_redis::{Pool, PoolConfig, Runtime, redis};
use futures_util::future::join_all;
use mongodb::Collection;
use tests::servers::{self, RedisServer};

use crate::{
    builder,
    key::{Key, PeerClaims},
    report::{head, median, progress, round_name, row, thousands},
    sign_in,
};

const TOKENS: usize = 512;

/// The maximum number of tokens in one round trip to MongoDB.
const GROUP: usize = 64;

/// Returns how often per second `tasks` tasks together run `one`. Each runs it `each` times in a
/// row and passes the number of the run.
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

/// A way to measure; returns its rate per second.
type Way<'a> = &'a dyn Fn() -> Pin<Box<dyn Future<Output = f64> + 'a>>;

/// Runs the ways in turns, for `count` rounds of `name`. Returns each median rate, and the median
/// ratio to the first way in the same round.
async fn in_turns(name: &str, count: usize, ways: &[Way<'_>]) -> Vec<(f64, f64)> {
    let mut rates = vec![Vec::new(); ways.len()];
    for round in 0..=count {
        progress(&format!("{}: {name}", round_name(round, count)));
        for (way, rates) in ways.iter().zip(&mut rates) {
            let rate = way().await;
            // The first round warms up.
            if round > 0 {
                rates.push(rate);
            }
        }
    }
    let ratio = |rates: &Vec<f64>, first: &Vec<f64>| {
        median(rates.iter().zip(first).map(|(rate, first)| rate / first).collect())
    };
    let ratios: Vec<f64> = rates.iter().map(|each| ratio(each, &rates[0])).collect();
    rates.into_iter().map(median).zip(ratios).collect()
}

/// Measures Redis on each request: a `GET` on a shared connection, this crate, and a hand-written
/// middleware with a pool. `tasks` run at a time, each `each` times a round.
pub(crate) async fn redis(tasks: usize, each: usize, rounds: usize) {
    let server = RedisServer::start(&[]).await;
    let key = Key::new(Algorithm::Hs256);
    let options = RedisOptions::default();
    let cache = RedisCache::connect(&[server.url()], options.clone()).await.expect("a Redis URL");
    let store = Arc::new(Cached::new(MemoryStore::new(), cache));
    let authority = builder(&key, Arc::clone(&store)).build().unwrap();
    let forgetful = builder(&key, store).local_cache_limits(0, 0).build().unwrap();
    let mut tokens = Vec::new();
    for _ in 0..TOKENS {
        tokens.push(sign_in(&authority).await.1);
    }
    let mut keys = Vec::new();
    for token in &tokens {
        let claims = authority.verify(token).await.expect("the token is good");
        keys.push(format!("{}{}", options.key_prefix, claims.token_id().expect("it is ours")));
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
    let checked_by = move |authority: Authority| {
        let known = Arc::clone(&known);
        Arc::new(move |at: usize| {
            let (authority, known) = (authority.clone(), Arc::clone(&known));
            async move { drop(authority.verify(&known[at % TOKENS]).await.expect("the token is good")) }
        })
    };
    let (ours, anew) = (&checked_by(authority), &checked_by(forgetful));
    let mut config = deadpool_redis::Config::from_url(server.url());
    config.pool = Some(PoolConfig::new(tasks));
    let pool = config.create_pool(Some(Runtime::Tokio1)).expect("a Redis URL");
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
    let ways: [Way<'_>; 4] = [
        &|| Box::pin(rate(tasks, each, raw)),
        &|| Box::pin(rate(tasks, each, ours)),
        &|| Box::pin(rate(tasks, each, anew)),
        &|| Box::pin(rate(tasks, each, by_hand)),
    ];
    let measured = in_turns(&format!("Redis, {tasks} in flight"), rounds, &ways).await;
    let names = [
        "raw GET, shared connections",
        "auth-layer, no lease",
        "auth-layer, nothing kept in process",
        "jsonwebtoken by hand, pool",
    ];
    for (name, (rate, ratio)) in names.into_iter().zip(measured) {
        row(&[&format!("{name}, {tasks} in flight"), &thousands(rate), &format!("{ratio:.2}")]);
    }
}

/// Measures MongoDB on each request: a `find_one` per token, and the store's lookups, which share
/// round trips.
pub(crate) async fn mongodb(rounds: usize) {
    let database = servers::mongodb().await;
    let store = MongoStore::connect(&database.uri, &database.name, MongoOptions::default()).await;
    let store = store.expect("MongoDB is there");
    let issuer = builder(&Key::new(Algorithm::Hs256), store.clone()).build().unwrap();
    let mut ids = Vec::new();
    for _ in 0..TOKENS {
        let claims = issuer.verify(&sign_in(&issuer).await.1).await.expect("the token is good");
        ids.push(claims.token_id().expect("it is ours"));
    }
    let ids: Arc<[_]> = ids.into();
    let tokens: Collection<RawDocumentBuf> = store.database().collection("tokens");
    let (names, finding) = (Arc::clone(&ids), tokens.clone());
    let alone = &Arc::new(move |at: usize| {
        let (tokens, id) = (finding.clone(), Uuid::from_bytes(*names[at % TOKENS].as_bytes()));
        async move { assert!(tokens.find_one(doc! { "_id": id }).await.expect("it answers").is_some()) }
    });
    let all = Arc::clone(&ids);
    let looking = store.clone();
    let shared = &Arc::new(move |at: usize| {
        let (store, id) = (looking.clone(), ids[at % TOKENS]);
        async move { assert!(matches!(store.token_status(id).await, Ok(TokenStatus::Active(_)))) }
    });
    let group = &Arc::new(move |at: usize| {
        let tokens = tokens.clone();
        let wanted: Vec<Uuid> =
            (0..GROUP).map(|next| Uuid::from_bytes(*all[(at * GROUP + next) % TOKENS].as_bytes())).collect();
        async move {
            let mut found = tokens.find(doc! { "_id": { "$in": wanted } }).await.expect("it answers");
            let mut count = 0;
            while found.advance().await.expect("it answers") {
                count += 1;
            }
            assert_eq!(count, GROUP);
        }
    });
    head(&["MongoDB on each request", "a second", "of find_one"]);
    for (tasks, each) in [(64, 400), (8, 800), (1, 1_500)] {
        let ways: [Way<'_>; 3] =
            [&|| Box::pin(rate(tasks, each, alone)), &|| Box::pin(rate(tasks, each, shared)), &|| {
                Box::pin(async move { rate(2, 200, group).await * 64.0 })
            }];
        let measured = in_turns(&format!("MongoDB, {tasks} in flight"), rounds, &ways).await;
        let names =
            ["one find_one each", "auth-layer's lookups", "finds of 64, two at a time, in place of one find each"];
        for (name, (rate, ratio)) in names.into_iter().zip(measured).take(if tasks == 64 { 3 } else { 2 }) {
            row(&[&format!("{name}, {tasks} in flight"), &thousands(rate), &format!("{ratio:.2}")]);
        }
    }
    store.database().drop().await.expect("a database can be dropped");
}
