//! Opens the stores that the flags name.

use std::{
    error::Error,
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use auth_layer::{
    Authority,
    authority::AuthorityBuilder,
    cache::{
        CacheError, CacheErrorKind, Cached, MeasuredCache, StatusCache,
        redis::{EvictionPolicy, RedisCache, RedisOptions},
    },
    clock::Clock,
    keys::{Keyring, SigningKey},
    store::{
        DynStore, MeasuredStore, StoreErrorKind, TokenStore,
        mongodb::{MongoOptions, MongoStore},
    },
    trust::BuildError,
};
use chrono::SecondsFormat;
use secrecy::ExposeSecret;
use tokio::time::Instant;

use super::{StartError, WithSubject, hosts};
use crate::{
    clients::{ClientStore, Clients, EmbeddedClients, MongoClients},
    config::Config,
    data_dir,
    keys_dir::{KeysDir, KeysError},
    readiness::SharedCache,
    state::{SessionCount, TokenClaims},
    users::{MongoUsers, Users},
};

/// The longest wait for an unreachable MongoDB at start.
const MONGODB_WAIT: Duration = Duration::from_secs(30);

/// The stores of tokens, users and clients.
pub(crate) struct Stores {
    pub(crate) authority: Authority,
    /// The store of record of the authority's tokens, without a cache in front.
    pub(crate) record: DynStore,
    pub(crate) users: Users,
    pub(crate) clients: Clients,
    pub(crate) shared_cache: Option<Arc<dyn SharedCache>>,
    pub(crate) sessions: SessionCount,
}

/// The signing keys as found before the stores are open.
pub(super) enum StartKeys<'a> {
    Loaded(Keyring),
    /// There is no key yet. The first is made if the stores are empty too.
    Missing(&'a mut KeysDir),
    /// For a command, which signs nothing. With a directory, the first key is made there if the
    /// stores are empty: a server refuses users without one.
    Unneeded(Option<&'a mut KeysDir>),
}

impl StartKeys<'_> {
    /// Returns the ring, and makes the first key if there is none.
    async fn load_or_create(
        self,
        is_empty: impl Future<Output = Result<bool, StartError>>,
    ) -> Result<Keyring, StartError> {
        match self {
            Self::Loaded(ring) => Ok(ring),
            Self::Missing(directory) => Ok(directory.create_first(is_empty.await?, SystemTime::now())?),
            Self::Unneeded(directory) => {
                if let Some(directory) = directory
                    && is_empty.await?
                {
                    directory.create_first(true, SystemTime::now())?;
                }
                Ok(Keyring::new(SigningKey::generate().map_err(KeysError::from)?))
            }
        }
    }
}

pub(super) async fn open(config: &Config, keys: StartKeys<'_>, clock: impl Clock) -> Result<Stores, StartError> {
    match &config.mongodb_uri {
        Some(uri) => mongodb(config, uri.expose_secret(), keys, clock).await,
        None => embedded(config, keys, clock).await,
    }
}

async fn embedded(config: &Config, keys: StartKeys<'_>, clock: impl Clock) -> Result<Stores, StartError> {
    let (store, users) = data_dir::open(&config.data_dir, config.embedded_options()).await?;
    let clients = ClientStore::Embedded(EmbeddedClients::new(users.clone()));
    let users = Users::Embedded(users);
    let is_empty = async {
        let store = store.is_empty().await.map_err(|error| data_dir_error(config, StartError::Store, error))?;
        Ok(store && users.is_empty().await.map_err(|error| data_dir_error(config, StartError::Users, error))?)
    };
    let keys = keys.load_or_create(is_empty).await?;
    let store = Arc::new(store);
    let sessions = SessionCount::Embedded(Arc::clone(&store));
    let record = DynStore::new(MeasuredStore::new(users.store_name(), store));
    Ok(Stores {
        authority: authority(config, keys, record.clone(), clock)?,
        record,
        users,
        clients: Clients::new(clients, &config.clients)?,
        shared_cache: None,
        sessions,
    })
}

fn data_dir_error<E>(config: &Config, kind: fn(WithSubject<E>) -> StartError, error: E) -> StartError {
    kind(WithSubject { subject: format!("`--data-dir {}`", config.data_dir.display()), error })
}

/// Returns the URLs of Redis, none if it is not used, and how it is used.
pub(crate) fn redis_settings(config: &Config) -> (Vec<String>, RedisOptions) {
    let urls = config.redis_url.iter().map(|url| url.expose_secret().to_owned()).collect();
    // The database's name keeps fleets apart in a shared Redis.
    let key_prefix = format!("{}:", config.mongodb_database);
    (urls, RedisOptions::default().with_active_ttl(config.redis_ttl).with_key_prefix(key_prefix))
}

async fn mongodb(config: &Config, uri: &str, keys: StartKeys<'_>, clock: impl Clock) -> Result<Stores, StartError> {
    let (urls, options) = redis_settings(config);
    if !urls.is_empty() {
        probe(&urls, &options).await?;
    }
    let database = &config.mongodb_database;
    let (store, users, clients) = connect(uri, database, &clock).await?;
    let users = Users::Mongo(users);
    let clients = Clients::new(ClientStore::Mongo(clients), &config.clients)?;
    let is_empty = async {
        let store = store
            .is_empty()
            .await
            .map_err(|error| StartError::Store(WithSubject { subject: mongodb_subject(database), error }))?;
        let users = users
            .is_empty()
            .await
            .map_err(|error| StartError::Users(WithSubject { subject: mongodb_subject(database), error }))?;
        Ok(store && users)
    };
    let keys = keys.load_or_create(is_empty).await?;
    let sessions = SessionCount::Mongo(store.clone());
    let store = MeasuredStore::new(users.store_name(), store);
    let record = DynStore::new(store.clone());
    if urls.is_empty() {
        let authority = authority(config, keys, record.clone(), clock)?;
        return Ok(Stores { authority, record, users, clients, shared_cache: None, sessions });
    }
    let cache = RedisCache::connect(&urls, options).await.map_err(redis_error)?;
    let cached = Arc::new(Cached::new(store, MeasuredCache::new("redis", cache)));
    let shared_cache: Arc<dyn SharedCache> = Arc::new(RedisHealth(Arc::clone(&cached)));
    let authority = authority(config, keys, cached, clock)?;
    Ok(Stores { authority, record, users, clients, shared_cache: Some(shared_cache), sessions })
}

/// Refuses a Redis that can never serve. An unreachable one is accepted: it is only a cache.
async fn probe(urls: &[String], options: &RedisOptions) -> Result<(), StartError> {
    match RedisCache::probe(urls, options).await {
        Err(error) if error.kind() == CacheErrorKind::Unavailable => {
            tracing::warn!(
                error = &error as &dyn Error,
                "`--redis-url` is unreachable; starting without Redis. Until it is back, MongoDB answers every check, and \
                 sign-outs fail with 503"
            );
            Ok(())
        }
        probed => probed.map_err(redis_error),
    }
}

pub(crate) fn redis_error(error: CacheError) -> StartError {
    StartError::Redis(WithSubject { subject: "`--redis-url`".to_owned(), error })
}

/// The stores of one MongoDB database.
pub(crate) type MongoStores = (MongoStore, MongoUsers, MongoClients);

/// Connects to MongoDB and retries for a while, because the fleet may start before its database.
async fn connect(uri: &str, database: &str, clock: &impl Clock) -> Result<MongoStores, StartError> {
    let (started, until) = (Instant::now(), clock.now() + MONGODB_WAIT);
    let mut logged_reason = None;
    loop {
        let error = match open_mongodb(uri, database).await {
            Err(error) if error.is_unavailable() && started.elapsed() < MONGODB_WAIT => error,
            connected => return connected,
        };
        tracing::debug!(error = &error as &dyn Error, "MongoDB is still unreachable");
        // Logs each reason once.
        let reason = error.to_string();
        if logged_reason.as_ref() != Some(&reason) {
            let until = until.to_rfc3339_opts(SecondsFormat::Secs, true);
            tracing::warn!(servers = hosts(uri), until, "waiting for MongoDB: {reason}");
            logged_reason = Some(reason);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Returns the subject of a MongoDB error.
fn mongodb_subject(database: &str) -> String {
    format!("`--mongodb-uri` with `--mongodb-database {database}`")
}

pub(crate) async fn open_mongodb(uri: &str, database: &str) -> Result<MongoStores, StartError> {
    let subject = || mongodb_subject(database);
    let opened = MongoStore::connect(uri, database, MongoOptions::default()).await;
    let store = opened.map_err(|error| StartError::Store(WithSubject { subject: subject(), error }))?;
    let opened = MongoUsers::open(store.database()).await;
    let users = opened.map_err(|error| StartError::Users(WithSubject { subject: subject(), error }))?;
    let opened = MongoClients::open(store.database()).await;
    let clients = opened.map_err(|error| StartError::Clients(WithSubject { subject: subject(), error }))?;
    Ok((store, users, clients))
}

impl StartError {
    /// Returns whether MongoDB may be down or electing a primary.
    fn is_unavailable(&self) -> bool {
        match self {
            Self::Store(of) => of.error.kind() == StoreErrorKind::Unavailable,
            Self::Users(of) => !of.error.is_refused(),
            Self::Clients(of) => !of.error.is_refused(),
            _ => false,
        }
    }
}

/// The maximum life of a session: 90 days, or one refresh token's lifetime if that is longer.
const SESSION_TTL: Duration = Duration::from_hours(90 * 24);

/// The lifetime of a single-use token.
const SINGLE_USE_TTL: Duration = Duration::from_mins(1);

/// The error that is allowed in a token's times.
const LEEWAY: Duration = Duration::from_secs(30);

/// How far the clocks of nodes may differ.
pub(crate) const CLOCK_SKEW_MARGIN: Duration = Duration::from_mins(5);

/// Returns how long after a signature a node may still accept the token, at most.
pub(crate) fn longest_acceptance(config: &Config) -> Duration {
    // A refresh token lives the longest, unless its lifetime is set to seconds.
    config.refresh_ttl.max(config.access_ttl).max(SINGLE_USE_TTL) + LEEWAY + CLOCK_SKEW_MARGIN
}

pub(super) fn authority(
    config: &Config,
    keys: Keyring,
    store: impl TokenStore,
    clock: impl Clock,
) -> Result<Authority, BuildError> {
    let builder = Authority::builder(&config.issuer, store);
    let builder = config.audience.iter().fold(builder, AuthorityBuilder::audience);
    builder
        .keys(keys)
        .access_ttl(config.access_ttl)
        .refresh_ttl(config.refresh_ttl)
        // Otherwise the session would end before a long-lived refresh token.
        .session_ttl(config.refresh_ttl.max(SESSION_TTL))
        .single_use_ttl(SINGLE_USE_TTL)
        .refresh_grace(config.refresh_grace)
        .leeway(LEEWAY)
        .clock_skew_margin(CLOCK_SKEW_MARGIN)
        .local_cache(config.local_cache)
        .max_sessions(config.max_sessions)
        .custom_claims::<TokenClaims>()
        .clock(clock)
        .build()
}

/// Returns what is wrong with the `maxmemory-policy` of Redis, as far as it is known.
pub(crate) fn eviction_warning(policy: Option<&EvictionPolicy>) -> Option<String> {
    match policy? {
        EvictionPolicy::Evicts(policy) => Some(format!(
            "Redis may evict revocations (maxmemory-policy {policy}): set its maxmemory-policy to noeviction"
        )),
        EvictionPolicy::Unknown => Some(
            "Redis's maxmemory-policy cannot be read; make sure that it is noeviction, or Redis may evict revocations"
                .to_owned(),
        ),
        _ => None,
    }
}

struct RedisHealth(Arc<Cached<MeasuredStore<MongoStore>, MeasuredCache<RedisCache>>>);

impl SharedCache for RedisHealth {
    fn addresses(&self) -> Vec<String> {
        self.0.cache().get_ref().addresses()
    }

    fn warnings(&self) -> Vec<String> {
        eviction_warning(self.0.cache().get_ref().eviction_policy().as_ref()).into_iter().collect()
    }

    fn is_up(&self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        Box::pin(async { self.0.cache().ping().await.is_ok() })
    }
}
