//! From flags to a running server.

mod stores;

use std::{
    future::Future,
    io,
    pin::pin,
    sync::Arc,
    time::SystemTime,
};

use auth_layer::{Authority, clock::Clock, store::StoreError};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use secrecy::ExposeSecret;
use tokio::{net::TcpListener, time::Instant};

use crate::{
    app::app,
    config::{Config, Switch},
    data_dir::DataDirError,
    keys_dir::{self, KeysDir, KeysError},
    logging,
    password::{HashError, PasswordCost, Passwords},
    rate_limit::RateLimit,
    serve,
    state::{AppState, Identity},
    users::UsersError,
};

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("the data directory {0} cannot be used")]
    DataDir(String, #[source] io::Error),
    #[error("the signing keys cannot be loaded")]
    Keys(#[from] KeysError),
    #[error("the databases cannot be opened")]
    Databases(#[from] DataDirError),
    #[error("the token store cannot be opened")]
    Store(#[from] StoreError),
    #[error("the users cannot be opened")]
    Users(#[from] UsersError),
    #[error("the Redis URL is not understood")]
    Redis(#[source] auth_layer::cache::CacheError),
    #[error(
        "mongodb+srv:// is not supported by this build, which has no resolver of its own: name the members, \
         mongodb://HOST,HOST,HOST/?replicaSet=NAME"
    )]
    MongodbSrv,
    #[error("--redis-url needs --mongodb-uri: the embedded store belongs to one process, which has nothing to share")]
    RedisAlone,
    #[error("passwords cannot be hashed")]
    Passwords(#[from] HashError),
    #[error("{0} cannot be listened on")]
    Listen(std::net::SocketAddr, #[source] io::Error),
    #[error("signals cannot be received")]
    Signals(#[source] io::Error),
}

/// Serves until the process is told to stop.
pub(crate) async fn serve(config: Config, clock: impl Clock, passwords: PasswordCost) -> Result<(), StartError> {
    let stop = stop_signal().map_err(StartError::Signals)?;
    serve_until(stop, config, clock, passwords).await
}

/// Serves until `stop` is done, which may be before there is anything to serve from.
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

    let listener = TcpListener::bind(config.listen).await.map_err(|error| StartError::Listen(config.listen, error))?;
    let address = listener.local_addr().map_err(|error| StartError::Listen(config.listen, error))?;
    announce(address);
    serve::serve(listener, app(state), stop).await;
    keys.abort();
    Ok(())
}

/// What the flags ask for together and cannot have.
fn check(config: &Config) -> Result<(), StartError> {
    match &config.mongodb_uri {
        None if !config.redis_url.is_empty() => Err(StartError::RedisAlone),
        Some(uri) if uri.expose_secret().starts_with("mongodb+srv:") => Err(StartError::MongodbSrv),
        _ => Ok(()),
    }
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
    logging::describe_metrics();
    handle
}

/// Only where something is to be in it: a node of a fleet whose keys are elsewhere runs on a file system that is all read-only.
fn create_data_dir(config: &Config) -> Result<(), StartError> {
    if config.mongodb_uri.is_some() && config.keys_dir.is_some() {
        return Ok(());
    }
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    let created = builder.create(&config.data_dir);
    created.map_err(|error| StartError::DataDir(config.data_dir.display().to_string(), error))
}

/// Takes changes of the keys directory up.
async fn follow_keys(keys_dir: KeysDir, authority: Authority<Identity>) {
    keys_dir::follow(keys_dir, || authority.keys(), |keys| authority.set_keys(keys)).await;
}

fn announce(address: std::net::SocketAddr) {
    tracing::info!(%address, "listening");
    logging::print(format!("listening on http://{address}"));
}

/// Done when the process is asked to stop: SIGINT, and where there is one SIGTERM. Both are caught from this call on.
#[cfg(unix)]
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};

    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    Ok(async {
        let _ = tokio::signal::ctrl_c().await;
    })
}

#[cfg(test)]
mod tests;
