//! Measures what open streams cost a node, and how long after a revocation on another node they
//! end.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use auth_layer::{
    Authority, Claims, SessionId, TokenId, Trust,
    cache::{
        Cached,
        redis::{RedisCache, RedisOptions},
    },
    clock::Timestamp,
    keys::Algorithm,
    store::{
        DynStore, RevocationListener, Session, StoreDecorator, StoreError, TokenStatus, TokenStore,
        mongodb::{MongoOptions, MongoStore},
    },
    stream::Revoked,
};
use futures_util::{StreamExt, stream};
use rustix::time::{ClockId, clock_gettime};
use tests::servers::{self, MongoDatabase, RedisKeys};
use tokio::time::sleep;

use crate::{
    builder,
    key::Key,
    report::{head, progress, row, thousands},
    sign_in,
};

/// The open streams, each of a session of its own.
const STREAMS: u32 = 10_000;

/// How long questions and processor time are counted.
const COUNTED: Duration = Duration::from_secs(20);

/// After this time the first questions are answered.
const SETTLED: Duration = Duration::from_secs(3);

/// The life of the tokens that have expired when the streams are open.
const EXPIRY: Duration = Duration::from_secs(5);

/// A store that counts questions, and may keep news back.
struct CountingStore {
    store: DynStore,
    questions: Arc<AtomicU32>,
    hears_news: bool,
}

impl StoreDecorator for CountingStore {
    type Inner = DynStore;

    fn inner(&self) -> &DynStore {
        &self.store
    }

    async fn token_status(&self, id: TokenId) -> Result<TokenStatus, StoreError> {
        self.questions.fetch_add(1, Ordering::Relaxed);
        TokenStore::token_status(&self.store, id).await
    }

    async fn session(&self, id: SessionId, now: Timestamp) -> Result<Option<Session>, StoreError> {
        self.questions.fetch_add(1, Ordering::Relaxed);
        TokenStore::session(&self.store, id, now).await
    }

    fn subscribe(&self, listener: Weak<dyn RevocationListener>) {
        if self.hears_news {
            TokenStore::subscribe(&self.store, listener);
        }
    }
}

/// What is measured together.
struct Setup {
    name: &'static str,
    with_redis: bool,
    hears_news: bool,
    /// Whether the tokens have expired, so that the sessions are asked about.
    expired: bool,
    lease: Duration,
}

impl Setup {
    const fn new(name: &'static str, with_redis: bool) -> Self {
        Self { name, with_redis, hears_news: true, expired: false, lease: Duration::from_secs(1) }
    }
}

const SETUPS: [Setup; 7] = [
    Setup::new("MongoDB and Redis", true),
    Setup { lease: Duration::from_secs(10), ..Setup::new("MongoDB and Redis, lease of 10 s", true) },
    Setup { expired: true, ..Setup::new("MongoDB and Redis, tokens expired", true) },
    Setup { hears_news: false, ..Setup::new("MongoDB and Redis, no news", true) },
    Setup::new("MongoDB alone", false),
    Setup { expired: true, ..Setup::new("MongoDB alone, tokens expired", false) },
    Setup { hears_news: false, ..Setup::new("MongoDB alone, no news", false) },
];

/// Opens streams on one node, counts what they cost, and revokes some on another node.
pub(crate) async fn open(rounds: usize) {
    head(&[
        "10,000 streams on one node",
        "questions a second",
        "processor, % of a core",
        "ends after p50, ms",
        "p99, ms",
        "most, ms",
    ]);
    let key = Key::new(Algorithm::EdDsa);
    for setup in &SETUPS {
        measure(&key, setup, rounds).await;
    }
}

async fn measure(key: &Key, setup: &Setup, rounds: usize) {
    let (database, keys) = (servers::mongodb().await, servers::redis().await);
    let redis = setup.with_redis.then_some(&keys);
    let questions = Arc::new(AtomicU32::new(0));
    let revoking = node(key, setup, &database, redis, &Arc::default()).await;
    let serving = node(key, setup, &database, redis, &questions).await;
    progress(&format!("{}: {STREAMS} sign-ins", setup.name));
    let claims: Vec<Claims> = stream::iter(0..STREAMS)
        .map(|_| async {
            let token = sign_in(&revoking).await.1;
            serving.verify(&token).await.expect("the token is good")
        })
        .buffer_unordered(64)
        .collect()
        .await;
    if setup.expired {
        sleep(EXPIRY).await;
    }
    let trust = Trust::from(&serving);
    let mut streams: Vec<(Claims, Revoked)> = claims
        .into_iter()
        .map(|claims| {
            let revoked = trust.revoked(&claims);
            (claims, revoked)
        })
        .collect();
    sleep(SETTLED).await;

    progress(&format!("{}: counting for {COUNTED:?}", setup.name));
    questions.store(0, Ordering::Relaxed);
    let processor = processor_time();
    sleep(COUNTED).await;
    let asked = f64::from(questions.load(Ordering::Relaxed)) / COUNTED.as_secs_f64();
    let busy = processor_time().saturating_sub(processor).as_secs_f64() / COUNTED.as_secs_f64();

    let mut took = Vec::new();
    for round in 0..rounds {
        if round.is_multiple_of(100) {
            progress(&format!("{}: revocation {} of {rounds}", setup.name, round + 1));
        }
        let (claims, revoked) = streams.swap_remove(round * 31 % streams.len());
        let asked = Instant::now();
        let (done, ended) = tokio::join!(revoking.sign_out(&claims), async {
            revoked.await;
            asked.elapsed()
        });
        done.expect("the stores serve");
        took.push(ended.as_secs_f64() * 1e3);
    }
    took.sort_by(f64::total_cmp);
    let at = |share: usize| format!("{:.1}", took[(took.len() - 1) * share / 100]);
    row(&[setup.name, &thousands(asked), &format!("{:.0}", busy * 100.0), &at(50), &at(99), &at(100)]);
}

async fn node(
    key: &Key,
    setup: &Setup,
    database: &MongoDatabase,
    redis: Option<&RedisKeys>,
    questions: &Arc<AtomicU32>,
) -> Authority {
    let store = MongoStore::connect(&database.uri, &database.name, MongoOptions::default()).await;
    let store = store.expect("MongoDB is there");
    let store = match redis {
        None => DynStore::new(store),
        Some(keys) => {
            let options = RedisOptions::default().with_key_prefix(&keys.prefix);
            let cache = RedisCache::connect(std::slice::from_ref(&keys.url), options).await.expect("a Redis URL");
            DynStore::new(Cached::new(store, cache))
        }
    };
    let store = CountingStore { store, questions: Arc::clone(questions), hears_news: setup.hears_news };
    let builder = builder(key, store).local_cache(setup.lease);
    let builder = if setup.expired { builder.access_ttl(EXPIRY).leeway(Duration::ZERO) } else { builder };
    builder.build().expect("the settings can work")
}

fn processor_time() -> Duration {
    clock_gettime(ClockId::ProcessCPUTime).try_into().expect("it is not negative")
}
