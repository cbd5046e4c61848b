//! Starts the server from the flags.

mod hosts;
mod listen;
mod signals;
mod stores;
mod summary;

use std::{error::Error, fmt, future::Future, io, pin::pin, sync::Arc, time::SystemTime};

use auth_layer::{Authority, cache::CacheError, clock::Clock, store::StoreError, trust::BuildError};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use secrecy::ExposeSecret;
use tokio::time::Instant;

use crate::{
    app::app,
    config::{Config, Switch},
    data_dir::DataDirError,
    keys_dir::{self, KeysDir, KeysError},
    logging,
    password::{HashError, PasswordCost, Passwords},
    rate_limit::RateLimit,
    serve,
    state::AppState,
    users::UsersError,
};

/// The reason why the server does not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("--data-dir {0} is a file: name a directory, or one that can be made")]
    DataDirIsFile(String),
    #[error("--data-dir {0} cannot be made")]
    DataDir(String, #[source] io::Error),
    #[error("the signing keys cannot be loaded")]
    Keys(#[from] KeysError),
    #[error(transparent)]
    Databases(#[from] DataDirError),
    #[error(transparent)]
    Store(Of<StoreError>),
    #[error(transparent)]
    Users(Of<UsersError>),
    #[error(transparent)]
    Redis(Of<CacheError>),
    #[error(
        "--refresh-ttl is shorter than --access-ttl: a refresh token must last as long as the access token beside it"
    )]
    RefreshTooShort,
    #[error(
        "mongodb+srv:// is not supported by this build, which has no resolver of its own: name the members, \
         mongodb://HOST,HOST,HOST/?replicaSet=NAME"
    )]
    MongodbSrv,
    #[error("--redis-url needs --mongodb-uri: the embedded store belongs to one process, which has nothing to share")]
    RedisAlone,
    #[error("the settings cannot work")]
    Settings(#[from] BuildError),
    #[error("passwords cannot be hashed")]
    Passwords(#[from] HashError),
    #[error("--listen {0}: no such host or name")]
    NoHost(String, #[source] io::Error),
    #[error("--listen {0} cannot be listened on")]
    Listen(String, #[source] io::Error),
    #[error("signals cannot be received")]
    Signals(#[source] io::Error),
}

/// An error and its subject, for instance a flag.
#[derive(Debug)]
pub(crate) struct Of<E> {
    what: String,
    error: E,
}

impl<E: fmt::Display> fmt::Display for Of<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.error)
    }
}

impl<E: Error> Error for Of<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

/// Serves until a signal stops the process.
pub(crate) async fn serve(config: Config, clock: impl Clock, passwords: PasswordCost) -> Result<(), StartError> {
    let stop = signals::stop().map_err(StartError::Signals)?;
    serve_until(stop, config, clock, passwords).await
}

/// Serves until `stop` completes, which may be before the server listens.
async fn serve_until(
    stop: impl Future<Output = ()>,
    config: Config,
    clock: impl Clock,
    passwords: PasswordCost,
) -> Result<(), StartError> {
    let mut stop = pin!(stop);
    check(&config)?;
    if !config.clients.is_empty() {
        tracing::warn!(
            count = config.clients.len(),
            "OAuth clients are configured; this version has no endpoint for them"
        );
    }
    create_data_dir(&config)?;
    let mut keys_dir = KeysDir::new(config.keys_dir(), config.key_publish_delay);
    let keys = match keys_dir.open(SystemTime::now())? {
        Some(ring) => stores::Keys::Found(ring),
        None => stores::Keys::None(&mut keys_dir),
    };
    let metrics = count();
    let stores = tokio::select! {
        stores = stores::open(&config, keys, clock) => stores?,
        () = &mut stop => {
            tracing::info!("stopping: told to before there was a store");
            return Ok(());
        }
    };
    let listener = listen::bind(&config.listen).await?;
    let address = listener.local_addr().map_err(|error| StartError::Listen(config.listen.clone(), error))?;
    summary::log(&config, &stores, &keys_dir.waiting(SystemTime::now()));
    let state = AppState {
        authority: stores.authority,
        users: stores.users,
        passwords: Passwords::new(passwords)?,
        rate_limit: (config.rate_limit == Switch::On).then(Arc::<RateLimit>::default),
        shared_cache: stores.shared_cache,
        metrics,
        started: Instant::now(),
    };
    let keys = tokio::spawn(follow_keys(keys_dir, state.authority.clone()));

    announce(address);
    serve::serve(listener, app(state), stop).await;
    keys.abort();
    Ok(())
}

/// Checks the flags that depend on each other.
fn check(config: &Config) -> Result<(), StartError> {
    if config.refresh_ttl < config.access_ttl {
        return Err(StartError::RefreshTooShort);
    }
    match &config.mongodb_uri {
        None if !config.redis_url.is_empty() => Err(StartError::RedisAlone),
        Some(uri) if uri.expose_secret().starts_with("mongodb+srv:") => Err(StartError::MongodbSrv),
        _ => Ok(()),
    }
}

/// Installs the metrics recorder.
fn count() -> PrometheusHandle {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    if metrics::set_global_recorder(recorder).is_err() {
        tracing::warn!("something else in this process takes the metrics; /metrics stays empty");
    }
    metrics::describe_counter!("auth_refresh_reuse_total", "Retired refresh tokens that were presented once more");
    // Exported from the start, so that the first reuse is an increase.
    metrics::counter!("auth_refresh_reuse_total").increment(0);
    logging::describe_metrics();
    handle
}

/// Creates the data directory unless nothing is stored there. A fleet's node with `--keys-dir` can
/// run on a read-only file system.
fn create_data_dir(config: &Config) -> Result<(), StartError> {
    if config.mongodb_uri.is_some() && config.keys_dir.is_some() {
        return Ok(());
    }
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    let path = config.data_dir.display().to_string();
    builder.create(&config.data_dir).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => StartError::DataDirIsFile(path),
        _ => StartError::DataDir(path, error),
    })
}

/// Applies changes of the keys directory.
async fn follow_keys(keys_dir: KeysDir, authority: Authority) {
    keys_dir::follow(keys_dir, || authority.keys(), |keys| authority.set_keys(keys)).await;
}

fn announce(address: std::net::SocketAddr) {
    tracing::info!(%address, "listening");
    logging::print(format!("listening on http://{address}"));
}

#[cfg(test)]
mod tests;
