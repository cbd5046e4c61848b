//! Starts the server from the flags.

mod hosts;
mod listen;
pub(crate) mod sampler;
mod signals;
mod stores;
mod summary;

use std::{convert::Infallible, error::Error, fmt, future::Future, io, pin::pin, sync::Arc, time::SystemTime};

use auth_layer::{
    Authority,
    cache::CacheError,
    clock::Clock,
    keys::{Keyring, VerifyingKey},
    store::StoreError,
    trust::BuildError,
};
use secrecy::ExposeSecret;
use tokio::{sync::oneshot, task::JoinSet, time::Instant};

pub(crate) use self::hosts::hosts;
pub(crate) use self::stores::{
    CLOCK_SKEW_MARGIN, Stores, eviction_warning, longest_acceptance, open_mongodb, redis_error, redis_settings,
};
use crate::{
    app::{app, metrics_app},
    audit::{self, Audit, Event},
    clients::{self, ClientsError, FixedClientsError},
    config::{Config, Switch},
    cors::Cors,
    csrf::OriginCheck,
    data_dir::{self, DataDirError},
    keys_dir::{self, KeysDir, KeysError},
    logging,
    oauth::{self, OAuth, OAuthError},
    open_streams::OpenStreams,
    password::{HashError, PasswordCost, Passwords},
    rate_limit::RateLimit,
    readiness::Readiness,
    serve,
    shutdown::Shutdown,
    state::{AppState, SharedState},
    telemetry::Telemetry,
    tls::{self, CurrentCertificate, LoadedFiles, TlsError, TlsFiles},
    traces::{self, TracesError},
    trusted_proxies::TrustedProxies,
    users::UsersError,
};

/// The reason why the server does not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("`--data-dir {0}` is a file or below one; use a directory")]
    DataDirIsFile(String),
    #[error("`--data-dir {0}` cannot be created: {1}; check the permissions of its parent, or use another directory")]
    DataDir(String, io::Error),
    #[error(transparent)]
    Keys(#[from] KeysError),
    #[error(transparent)]
    Databases(#[from] DataDirError),
    #[error(transparent)]
    Store(WithSubject<StoreError>),
    #[error(transparent)]
    Users(WithSubject<UsersError>),
    #[error(transparent)]
    Clients(WithSubject<ClientsError>),
    #[error(transparent)]
    FixedClients(#[from] FixedClientsError),
    #[error(transparent)]
    Redis(WithSubject<CacheError>),
    #[error("`--refresh-ttl` is shorter than `--access-ttl`; make it at least as long")]
    RefreshTooShort,
    #[error(
        "`--mongodb-uri`: mongodb+srv:// is not supported; list the members, mongodb://HOST,HOST,HOST/?replicaSet=NAME"
    )]
    MongodbSrv,
    #[error("`--redis-url` needs `--mongodb-uri`; add it, or omit `--redis-url`")]
    RedisWithoutMongodb,
    #[error(transparent)]
    OAuth(#[from] OAuthError),
    #[error("the flags do not work together")]
    Settings(#[from] BuildError),
    #[error("the password hash function does not work (a bug; please report it)")]
    Passwords(#[from] HashError),
    #[error("`{0} {1}`: the host cannot be resolved: {2}; check the name or use an IP address")]
    UnknownHost(&'static str, String, io::Error),
    #[error("`{0} {1}` cannot be bound: {2}; use a free port and an address of this machine")]
    Listen(&'static str, String, io::Error),
    #[error("the handlers for SIGINT and SIGTERM cannot be installed")]
    Signals(#[source] io::Error),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Traces(#[from] TracesError),
}

/// An error and its subject, for instance a flag.
#[derive(Debug)]
pub(crate) struct WithSubject<E> {
    subject: String,
    error: E,
}

impl<E: fmt::Display> fmt::Display for WithSubject<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.error)
    }
}

impl<E: Error> Error for WithSubject<E> {
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
    check_flags(&config)?;
    let tls = TlsFiles::of(&config)?.map(Tls::load).transpose()?;
    if let Some(warning) = issuer_warning(&config) {
        tracing::warn!(issuer = config.issuer, "{warning}");
    }
    create_data_dir(&config)?;
    let mut keys_dir = KeysDir::new(config.keys_dir(), config.key_publish_delay);
    let keys = match keys_dir.open(SystemTime::now())? {
        Some(ring) => stores::StartKeys::Loaded(ring),
        None => stores::StartKeys::Missing(&mut keys_dir),
    };
    let telemetry = Telemetry::install();
    logging::describe_metrics();
    audit::describe_metrics();
    let clock = Arc::new(clock);
    let stores = tokio::select! {
        stores = stores::open(&config, keys, Arc::clone(&clock)) => stores?,
        () = &mut stop => {
            tracing::info!("stopping: a signal came before the stores were open");
            return Ok(());
        }
    };
    let (listener, address) = listen::bind("--listen", &config.listen).await?;
    let metrics_listener = match &config.metrics_listen {
        Some(listen) => Some(listen::bind("--metrics-listen", listen).await?),
        None => None,
    };
    summary::log(&config, &stores, &keys_dir.waiting(SystemTime::now()));
    let (trigger, shutdown) = Shutdown::new();
    let readiness = Readiness::new(stores.authority.clone(), stores.users.clone(), stores.shared_cache);
    let state = AppState(Arc::new(SharedState {
        oauth: Arc::new(OAuth::new(&config, &stores.authority.keys())?),
        authority: stores.authority,
        users: stores.users,
        clients: stores.clients,
        clock,
        passwords: Passwords::new(passwords)?,
        rate_limit: (config.rate_limit == Switch::On).then(Arc::<RateLimit>::default),
        open_streams: OpenStreams::default(),
        proxies: Arc::new(TrustedProxies::new(&config)),
        origin_check: OriginCheck::new(&config.issuer),
        cors: Cors::new(&config.cors_origin),
        readiness,
        sessions: stores.sessions,
        telemetry,
        metrics_are_elsewhere: metrics_listener.is_some(),
        started: Instant::now(),
        shutdown,
    }));
    let acceptor = tls.as_ref().map(|tls| tls.current.acceptor()).transpose()?;
    keys_dir.record_metrics(SystemTime::now());
    let mut background = JoinSet::new();
    background.spawn(sampler::sample(state.clone()));
    background.spawn(follow_keys(keys_dir, state.authority.clone(), Arc::clone(&state.oauth)));
    let (metrics_end, metrics_ended) = oneshot::channel::<Infallible>();
    let metrics = metrics_listener.map(|(listener, address)| {
        tracing::info!(%address, "serving metrics");
        logging::print_line(format!("metrics on http://{address}"));
        // Until the last request is answered, so that the last scrape sees it.
        let end = async { drop(metrics_ended.await) };
        tokio::spawn(serve::serve(listener, None, metrics_app(state.clone()), end))
    });

    announce(address, if tls.is_some() { "https" } else { "http" });
    if let Some(Tls { loaded, current, warnings }) = tls {
        background.spawn(tls::follow(loaded, current, warnings));
    }
    let stop = async {
        stop.await;
        let grace = serve::SHUTDOWN_GRACE.as_secs();
        tracing::info!("stopping: accepting no connections, waiting up to {grace} s for open requests");
        trigger.begin();
    };
    serve::serve(listener, acceptor, app(state), stop).await;
    drop(metrics_end);
    if let Some(metrics) = metrics {
        // An error means that it panicked, which is logged.
        let _ = metrics.await;
    }
    Ok(())
}

/// What a command does with stores that do not exist yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IfNew {
    /// Creates them.
    Create,
    /// Creates them, and the first signing key if they are empty.
    CreateWithKey,
    /// Fails: there is nothing to list or change.
    Fail,
}

/// Opens the stores for a command. They are those of a server with the same flags.
///
/// The authority signs with a key of its own, so it can revoke and must not issue.
pub(crate) async fn open_stores(config: &Config, if_new: IfNew, clock: impl Clock) -> Result<Stores, StartError> {
    if config.mongodb_uri.is_none() {
        match if_new {
            IfNew::Create | IfNew::CreateWithKey => create_data_dir(config)?,
            IfNew::Fail => data_dir::check_created(&config.data_dir)?,
        }
    }
    let mut keys_dir = KeysDir::new(config.keys_dir(), config.key_publish_delay);
    let first_key = (if_new == IfNew::CreateWithKey).then_some(&mut keys_dir);
    stores::open(config, stores::StartKeys::Unneeded(first_key), clock).await
}

/// Checks the flags that depend on each other.
pub(crate) fn check_flags(config: &Config) -> Result<(), StartError> {
    if config.refresh_ttl < config.access_ttl {
        return Err(StartError::RefreshTooShort);
    }
    oauth::check_flags(config)?;
    clients::check_named(&config.clients)?;
    TlsFiles::of(config)?;
    traces::check_flags(config)?;
    match &config.mongodb_uri {
        None if !config.redis_url.is_empty() => Err(StartError::RedisWithoutMongodb),
        Some(uri) if uri.expose_secret().starts_with("mongodb+srv:") => Err(StartError::MongodbSrv),
        _ => Ok(()),
    }
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
async fn follow_keys(keys_dir: KeysDir, authority: Authority, oauth: Arc<OAuth>) {
    let change = |keys: Keyring| {
        let kids: Vec<&str> = keys.verifying_keys().map(VerifyingKey::kid).collect();
        Audit::begin(Event::KeyChange).about(kids.join(", ")).granted();
        if let Some(nonces) = &oauth.nonces {
            nonces.set_keys(&keys);
        }
        authority.set_keys(keys);
    };
    keys_dir::follow(keys_dir, || authority.keys(), change).await;
}

/// Returns what is wrong with an issuer of plain http, if it is.
pub(crate) fn issuer_warning(config: &Config) -> Option<&'static str> {
    if config.tls_cert.is_some() && config.issuer.starts_with("http:") {
        Some("`--issuer` is plain http, and `--tls-cert` is set: clients are sent to URLs that do not work; use https")
    } else if oauth::is_without_tls(config) {
        Some("`--issuer` is plain http: anyone on the network can read passwords, codes and tokens; use https")
    } else {
        None
    }
}

/// The certificate that is served, and where it comes from.
struct Tls {
    loaded: LoadedFiles,
    current: CurrentCertificate,
    warnings: tls::Warnings,
}

impl Tls {
    fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let loaded = LoadedFiles::new(files)?;
        let mut warnings = tls::Warnings::default();
        warnings.report(loaded.certificate(), loaded.files(), SystemTime::now().into());
        let current = CurrentCertificate::new(loaded.certificate());
        Ok(Self { loaded, current, warnings })
    }
}

fn announce(address: std::net::SocketAddr, scheme: &str) {
    tracing::info!(%address, scheme, "listening");
    logging::print_line(format!("listening on {scheme}://{address}"));
}

#[cfg(test)]
mod tests;
