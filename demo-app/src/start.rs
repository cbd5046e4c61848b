//! From flags to a running server.

use std::{
    future::Future, io, io::Write as _, path::Path, pin::Pin, sync::Arc, time::Duration, time::Instant,
    time::SystemTime,
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
        StoreError, StoreErrorKind, TokenStore,
        embedded::{EmbeddedStore, OpenError},
        mongodb::{MongoOptions, MongoStore},
    },
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use secrecy::ExposeSecret;
use tokio::net::TcpListener;

use crate::{
    app::app,
    config::{Config, Switch},
    keys_dir::{self, KeysError},
    password::{HashError, Passwords},
    rate_limit::RateLimit,
    serve,
    state::{AppState, Identity, SharedCache},
    users::{EmbeddedUsers, MongoUsers, Users, UsersError},
};

/// How often the keys directory is read again.
const KEYS_EVERY: Duration = Duration::from_secs(2);

/// How often expired records are removed. MongoDB does it by itself as well.
const PURGE_EVERY: Duration = Duration::from_mins(10);

/// How long a MongoDB that is away at the start is waited for.
const MONGODB_PATIENCE: Duration = Duration::from_secs(30);

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("the data directory {0} cannot be used")]
    DataDir(String, #[source] io::Error),
    #[error("the signing keys cannot be loaded")]
    Keys(#[from] KeysError),
    #[error("the token store cannot be opened")]
    Embedded(#[from] OpenError),
    #[error("the token store cannot be opened")]
    Store(#[from] StoreError),
    #[error("the users cannot be opened")]
    Users(#[from] UsersError),
    #[error("the Redis URL is not understood")]
    Redis(#[source] auth_layer::cache::CacheError),
    #[error("--redis-url needs --mongodb-uri: the embedded store belongs to one process, which has nothing to share")]
    RedisAlone,
    #[error("passwords cannot be hashed")]
    Passwords(#[from] HashError),
    #[error("{0} cannot be listened on")]
    Listen(std::net::SocketAddr, #[source] io::Error),
    #[error("signals cannot be received")]
    Signals(#[source] io::Error),
}

/// What keeps the tokens and the users.
struct Stores {
    authority: Authority<Identity>,
    users: Users,
    shared_cache: Option<Arc<dyn SharedCache>>,
}

/// Serves until the process is told to stop.
pub(crate) async fn serve(config: Config, clock: impl Clock) -> Result<(), StartError> {
    if config.mongodb_uri.is_none() && !config.redis_url.is_empty() {
        return Err(StartError::RedisAlone);
    }
    if !config.clients.is_empty() {
        tracing::warn!(
            count = config.clients.len(),
            "OAuth clients are configured; this version has no endpoint for them"
        );
    }
    let stop = stop_signal().map_err(StartError::Signals)?;
    create_data_dir(&config)?;
    let keys = keys_dir::load(&config.keys_dir(), config.key_publish_delay, SystemTime::now())?;
    let metrics = count();
    let stores = match &config.mongodb_uri {
        Some(uri) => mongodb(&config, uri.expose_secret(), keys, clock).await?,
        None => embedded(&config, keys, clock)?,
    };
    let state = AppState {
        authority: stores.authority,
        users: stores.users,
        passwords: Passwords::new()?,
        rate_limit: (config.rate_limit == Switch::On).then(Arc::<RateLimit>::default),
        shared_cache: stores.shared_cache,
        metrics,
        started: Instant::now(),
    };
    let keys = tokio::spawn(follow_keys(config.clone(), state.authority.clone()));
    let purge = tokio::spawn(purge(state.authority.clone()));

    let listener = TcpListener::bind(config.listen).await.map_err(|error| StartError::Listen(config.listen, error))?;
    let address = listener.local_addr().map_err(|error| StartError::Listen(config.listen, error))?;
    announce(address);
    serve::serve(listener, app(state), stop).await;
    keys.abort();
    purge.abort();
    Ok(())
}

fn embedded(config: &Config, keys: Keyring, clock: impl Clock) -> Result<Stores, StartError> {
    let store = EmbeddedStore::open(config.data_dir.join("tokens.redb"))?;
    let users = EmbeddedUsers::open(&config.data_dir.join("users.redb"))?;
    Ok(Stores { authority: authority(config, keys, store, clock), users: Users::Embedded(users), shared_cache: None })
}

async fn mongodb(config: &Config, uri: &str, keys: Keyring, clock: impl Clock) -> Result<Stores, StartError> {
    let store = connect(uri, &config.mongodb_database).await?;
    let users = Users::Mongo(MongoUsers::open(store.database()).await?);
    if config.redis_url.is_empty() {
        return Ok(Stores { authority: authority(config, keys, store, clock), users, shared_cache: None });
    }
    let urls: Vec<String> = config.redis_url.iter().map(|url| url.expose_secret().to_owned()).collect();
    let options = RedisOptions { active_ttl: config.redis_ttl, ..RedisOptions::default() };
    let cache = RedisCache::connect(&urls, options).await.map_err(StartError::Redis)?;
    let cached = Arc::new(Cached::new(store, cache));
    let shared_cache: Arc<dyn SharedCache> = Arc::new(Health(Arc::clone(&cached)));
    Ok(Stores { authority: authority(config, keys, cached, clock), users, shared_cache: Some(shared_cache) })
}

/// Connects to MongoDB. A fleet may start before its database has: one that cannot be reached is tried again for a while.
async fn connect(uri: &str, database: &str) -> Result<MongoStore, StoreError> {
    let started = Instant::now();
    loop {
        match MongoStore::connect(uri, database, MongoOptions::default()).await {
            Err(error) if error.kind() == StoreErrorKind::Unavailable && started.elapsed() < MONGODB_PATIENCE => {
                tracing::warn!(error = &error as &dyn std::error::Error, "waiting for MongoDB");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            connected => return connected,
        }
    }
}

fn authority(config: &Config, keys: Keyring, store: impl TokenStore, clock: impl Clock) -> Authority<Identity> {
    Authority::builder(&config.issuer, &config.audience, keys, store)
        .access_ttl(config.access_ttl)
        .refresh_ttl(config.refresh_ttl)
        .refresh_grace(config.refresh_grace)
        .local_cache(config.local_cache)
        .clock(clock)
        .build()
}

/// Takes up whatever is counted in this process.
fn count() -> PrometheusHandle {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    if metrics::set_global_recorder(recorder).is_err() {
        tracing::warn!("something else in this process takes the metrics; /metrics stays empty");
    }
    metrics::describe_counter!("auth_refresh_reuse_total", "Retired refresh tokens that were presented once more");
    // There from the start, so that the first one is an increase.
    metrics::counter!("auth_refresh_reuse_total").increment(0);
    handle
}

struct Health(Arc<Cached<MongoStore, RedisCache>>);

impl SharedCache for Health {
    fn is_up(&self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        Box::pin(async { self.0.cache().ping().await.is_ok() })
    }
}

fn create_data_dir(config: &Config) -> Result<(), StartError> {
    let create = |path: &Path| {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(path)
    };
    create(&config.data_dir).map_err(|error| StartError::DataDir(config.data_dir.display().to_string(), error))
}

/// Takes changes of the keys directory up. While it cannot be read, or a file in it is no key, the ring stays as it is.
async fn follow_keys(config: Config, authority: Authority<Identity>) {
    let mut complained = false;
    loop {
        tokio::time::sleep(KEYS_EVERY).await;
        let (directory, delay) = (config.keys_dir(), config.key_publish_delay);
        let loaded = tokio::task::spawn_blocking(move || keys_dir::load(&directory, delay, SystemTime::now()));
        match loaded.await {
            Ok(Ok(keys)) => {
                complained = false;
                let kids = |keys: &Keyring| keys.verifying_keys().map(|key| key.kid().to_owned()).collect::<Vec<_>>();
                if kids(&keys) != kids(&authority.keys()) {
                    tracing::info!(?keys, "the signing keys changed");
                    authority.set_keys(keys);
                }
            }
            Ok(Err(error)) if !complained => {
                complained = true;
                tracing::error!(error = &error as &dyn std::error::Error, "the signing keys stay as they are");
            }
            Ok(Err(_)) | Err(_) => {}
        }
    }
}

async fn purge(authority: Authority<Identity>) {
    loop {
        tokio::time::sleep(PURGE_EVERY).await;
        match authority.purge_expired().await {
            Ok(purged) => {
                tracing::info!(tokens = purged.tokens, sessions = purged.sessions, "removed what had expired");
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "what has expired cannot be removed");
            }
        }
    }
}

fn announce(address: std::net::SocketAddr) {
    tracing::info!(%address, "listening");
    // Whoever started us may have closed the pipe; that is no reason to stop.
    let mut stdout = io::stdout();
    let _ = writeln!(stdout, "listening on http://{address}").and_then(|()| stdout.flush());
}

/// Done when the process is asked to stop: SIGINT, and where there is one SIGTERM.
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    #[cfg(unix)]
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    Ok(async move {
        #[cfg(unix)]
        let terminated = terminate.recv();
        #[cfg(not(unix))]
        let terminated = std::future::pending::<Option<()>>();
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminated => {}
        }
    })
}
