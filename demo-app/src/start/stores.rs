//! The stores that the flags name, opened.

use std::{
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use auth_layer::{
    Authority,
    cache::{
        Cached, StatusCache,
        redis::{RedisCache, RedisOptions},
    },
    clock::Clock,
    keys::Keyring,
    store::{
        StoreErrorKind, TokenStore,
        mongodb::{MongoOptions, MongoStore},
    },
};
use secrecy::ExposeSecret;
use tokio::time::Instant;

use super::StartError;
use crate::{
    config::Config,
    data_dir,
    keys_dir::KeysDir,
    state::{Identity, SharedCache},
    users::{MongoUsers, Users},
};

/// How long a MongoDB that is away at the start is waited for.
const MONGODB_PATIENCE: Duration = Duration::from_secs(30);

/// What keeps the tokens and the users.
pub(super) struct Stores {
    pub(super) authority: Authority<Identity>,
    pub(super) users: Users,
    pub(super) shared_cache: Option<Arc<dyn SharedCache>>,
}

/// The signing keys, as far as they are known before the stores are open.
pub(super) enum Keys<'a> {
    Found(Keyring),
    /// There are none yet. The directory gets its first one if the stores hold nothing either.
    None(&'a mut KeysDir),
}

impl Keys<'_> {
    /// The ring, with a first key where there is none.
    async fn ring(self, is_empty: impl Future<Output = Result<bool, StartError>>) -> Result<Keyring, StartError> {
        match self {
            Self::Found(ring) => Ok(ring),
            Self::None(directory) => Ok(directory.create_first(is_empty.await?, SystemTime::now())?),
        }
    }
}

pub(super) async fn open(config: &Config, keys: Keys<'_>, clock: impl Clock) -> Result<Stores, StartError> {
    match &config.mongodb_uri {
        Some(uri) => mongodb(config, uri.expose_secret(), keys, clock).await,
        None => embedded(config, keys, clock).await,
    }
}

async fn embedded(config: &Config, keys: Keys<'_>, clock: impl Clock) -> Result<Stores, StartError> {
    let (store, users) = data_dir::open(&config.data_dir).await?;
    let users = Users::Embedded(users);
    let keys = keys.ring(async { Ok(store.is_empty().await? && users.is_empty().await?) }).await?;
    Ok(Stores { authority: authority(config, keys, store, clock), users, shared_cache: None })
}

async fn mongodb(config: &Config, uri: &str, keys: Keys<'_>, clock: impl Clock) -> Result<Stores, StartError> {
    let (store, users) = connect(uri, &config.mongodb_database).await?;
    let users = Users::Mongo(users);
    let keys = keys.ring(async { Ok(store.is_empty().await? && users.is_empty().await?) }).await?;
    if config.redis_url.is_empty() {
        return Ok(Stores { authority: authority(config, keys, store, clock), users, shared_cache: None });
    }
    let urls: Vec<String> = config.redis_url.iter().map(|url| url.expose_secret().to_owned()).collect();
    // Fleets with databases of their own do not meet in Redis either.
    let key_prefix = format!("{}:", config.mongodb_database);
    let options = RedisOptions { active_ttl: config.redis_ttl, key_prefix, ..RedisOptions::default() };
    let cache = RedisCache::connect(&urls, options).await.map_err(StartError::Redis)?;
    let cached = Arc::new(Cached::new(store, cache));
    let shared_cache: Arc<dyn SharedCache> = Arc::new(Health(Arc::clone(&cached)));
    Ok(Stores { authority: authority(config, keys, cached, clock), users, shared_cache: Some(shared_cache) })
}

/// Connects to MongoDB. A fleet may start before its database has: one that cannot be reached is tried again for a while.
async fn connect(uri: &str, database: &str) -> Result<(MongoStore, MongoUsers), StartError> {
    let started = Instant::now();
    loop {
        let error = match open_mongodb(uri, database).await {
            Err(error) if error.is_unavailable() && started.elapsed() < MONGODB_PATIENCE => error,
            connected => return connected,
        };
        tracing::warn!(error = &error as &dyn std::error::Error, "waiting for MongoDB");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

async fn open_mongodb(uri: &str, database: &str) -> Result<(MongoStore, MongoUsers), StartError> {
    let store = MongoStore::connect(uri, database, MongoOptions::default()).await?;
    let users = MongoUsers::open(store.database()).await?;
    Ok((store, users))
}

impl StartError {
    /// Whether a database that is away, or is just electing its primary, may be the reason.
    fn is_unavailable(&self) -> bool {
        match self {
            Self::Store(error) => error.kind() == StoreErrorKind::Unavailable,
            Self::Users(error) => !error.is_not_ours(),
            _ => false,
        }
    }
}

/// How long a session may last although it is refreshed: 90 days, or as long as one refresh token.
const SESSION_TTL: Duration = Duration::from_hours(90 * 24);

pub(super) fn authority(
    config: &Config,
    keys: Keyring,
    store: impl TokenStore,
    clock: impl Clock,
) -> Authority<Identity> {
    Authority::builder(&config.issuer, &config.audience, keys, store)
        .access_ttl(config.access_ttl)
        .refresh_ttl(config.refresh_ttl)
        // Otherwise the session's end would cut a longer refresh token off.
        .session_ttl(config.refresh_ttl.max(SESSION_TTL))
        .refresh_grace(config.refresh_grace)
        .local_cache(config.local_cache)
        .clock(clock)
        .build()
}

struct Health(Arc<Cached<MongoStore, RedisCache>>);

impl SharedCache for Health {
    fn is_up(&self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        Box::pin(async { self.0.cache().ping().await.is_ok() })
    }
}
