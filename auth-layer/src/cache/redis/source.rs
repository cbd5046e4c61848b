//! Opens connections.

use std::{sync::Arc, time::Duration};

use deadpool_redis::{
    PoolError, Runtime, cluster,
    redis::{AsyncConnectionConfig, Client, ConnectionAddr, RedisError},
};
use tokio::time::timeout;

use super::{
    connection::{Connection, RawConnection, timed_out},
    options::RedisOptions,
    status_log::StatusLog,
};
use crate::cache::CacheError;

/// How many connections the pool may have beyond those in use, for revocations whose connection
/// failed.
const SPARE: usize = 4;

/// How many calls may wait to be written on one connection.
const QUEUE: usize = 256;

/// Opens connections that have passed a check. Another way to find Redis (for example Sentinel)
/// becomes a new variant of [`Pool`].
pub(super) struct Source {
    pool: Pool,
    options: RedisOptions,
    servers: Arc<[Client]>,
    log: Arc<StatusLog>,
}

enum Pool {
    Single(deadpool_redis::Pool),
    Cluster(cluster::Pool),
}

/// A connection and its place in the pool.
pub(super) struct OpenedConnection {
    pub(super) connection: Arc<Connection>,
    pub(super) pooled: PooledConnection,
}

/// A place in the pool. Dropping it returns the connection to the pool.
pub(super) enum PooledConnection {
    Single(deadpool_redis::Connection),
    Cluster(cluster::Connection),
}

impl PooledConnection {
    /// Closes the connection, instead of returning it: a deposed server still answers the pool's
    /// `PING`.
    pub(super) fn discard(self) {
        match self {
            Self::Single(connection) => drop(deadpool_redis::Connection::take(connection)),
            Self::Cluster(connection) => drop(cluster::Connection::take(connection)),
        }
    }
}

impl Source {
    pub(super) fn new(urls: &[String], options: &RedisOptions) -> Result<Self, CacheError> {
        let size = options.connections.max(1) + SPARE;
        // Parse each URL here: a cluster's manager accepts any.
        let servers = clients(urls)?.into();
        let pool = match urls {
            [] => return Err(CacheError::unsupported("no Redis URL is given")),
            [url] => {
                let config = AsyncConnectionConfig::new()
                    .set_connection_timeout(Some(options.connect_timeout))
                    .set_response_timeout(Some(options.response_timeout))
                    .set_pipeline_buffer_size(QUEUE);
                let manager = deadpool_redis::Manager::new_with_config(url.as_str(), config).map_err(bad)?;
                deadpool_redis::Pool::builder(manager).max_size(size).runtime(Runtime::Tokio1).build().map(Pool::Single)
            }
            seeds => {
                let seeds = seeds.iter().map(String::as_str).collect();
                let manager = cluster::Manager::new(seeds, false).map_err(bad)?;
                cluster::Pool::builder(manager).max_size(size).runtime(Runtime::Tokio1).build().map(Pool::Cluster)
            }
        };
        let pool = pool.map_err(|error| CacheError::new("no pool for Redis").with_source(error))?;
        Ok(Self { pool, options: options.clone(), servers, log: Arc::default() })
    }

    /// Returns the servers in the URLs, for connections outside the pool.
    pub(super) fn servers(&self) -> Arc<[Client]> {
        Arc::clone(&self.servers)
    }

    /// Returns what has been logged.
    pub(super) fn log(&self) -> &StatusLog {
        &self.log
    }

    /// Opens a connection that has passed a check.
    pub(super) async fn open(&self) -> Result<OpenedConnection, RedisError> {
        timeout(self.options.open_timeout(), self.open_unbounded()).await.unwrap_or_else(|_| Err(timed_out()))
    }

    async fn open_unbounded(&self) -> Result<OpenedConnection, RedisError> {
        let limit = self.options.response_timeout;
        let (pooled, conn) = match &self.pool {
            Pool::Single(pool) => {
                let pooled = pool.get().await.map_err(redis_error)?;
                let conn = RawConnection::Single((*pooled).clone());
                (PooledConnection::Single(pooled), conn)
            }
            Pool::Cluster(pool) => {
                let pooled = pool.get().await.map_err(redis_error)?;
                let conn = RawConnection::Cluster { connection: (*pooled).clone(), limit };
                (PooledConnection::Cluster(pooled), conn)
            }
        };
        let probe = format!("{}probe", self.options.key_prefix);
        match Connection::new(conn, probe, PROBE_LIFE, Arc::clone(&self.log)).await {
            Ok(connection) => Ok(OpenedConnection { connection: Arc::new(connection), pooled }),
            Err(error) => {
                pooled.discard();
                Err(error)
            }
        }
    }
}

/// How long the small write of a check stays.
const PROBE_LIFE: Duration = Duration::from_secs(10);

fn bad(error: RedisError) -> CacheError {
    CacheError::unsupported("a Redis URL is not understood").with_source(error)
}

/// Creates a client for each URL. Connects to nothing yet.
pub(super) fn clients(urls: &[String]) -> Result<Vec<Client>, CacheError> {
    let clients: Vec<Client> =
        urls.iter().map(|url| Client::open(url.as_str())).collect::<Result<_, _>>().map_err(bad)?;
    if clients.iter().any(|client| matches!(client.get_connection_info().addr(), ConnectionAddr::TcpTls { .. })) {
        // The driver panics without a provider. An error means that the process has one already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    }
    Ok(clients)
}

fn redis_error(error: PoolError) -> RedisError {
    match error {
        PoolError::Backend(error) => error,
        other => std::io::Error::other(other).into(),
    }
}
