//! One connection, and what is known of its server.

use std::{
    collections::HashMap,
    future::Future,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use deadpool_redis::{
    cluster::ClusterConnection,
    redis::{
        self, Cmd, FromRedisValue, InfoDict, Pipeline, RedisError, Value,
        aio::MultiplexedConnection,
        cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo},
        from_redis_value,
    },
};
use futures_util::future::{try_join, try_join_all};
use tokio::{sync::Notify, time::timeout};

use super::{
    millis,
    status_log::{EvictionPolicy, StatusLog},
};

/// Identifies a server process and its replication history.
///
/// Combines the first 64 bits of `run_id` and of `master_replid`, both random. Zero for a cluster.
/// The process alone is not enough: a primary that was deposed, followed another and was promoted
/// again has the other's data under its own `run_id`. But each promotion begins a new history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ServerId(pub(super) u64);

/// A connection that many callers share.
pub(super) enum RawConnection {
    /// Has its own time limit for each call.
    Single(MultiplexedConnection),
    Cluster {
        connection: ClusterConnection,
        limit: Duration,
    },
}

/// A connection with the identity and the clock of its server.
pub(super) struct Connection {
    conn: RawConnection,
    probe: Cmd,
    log: Arc<StatusLog>,
    server: ServerId,
    opened: Instant,
    /// The server's time at `opened`, in milliseconds since 1970. Too early, if anything.
    server_at_opened: AtomicU64,
    check_requested: Notify,
}

impl Connection {
    /// Asks the server for its identity and clock. `probe` is the key of the small write in each
    /// check.
    pub(super) async fn new(
        conn: RawConnection,
        probe: String,
        probe_life: Duration,
        log: Arc<StatusLog>,
    ) -> Result<Self, RedisError> {
        let mut write = redis::cmd("SET");
        write.arg(probe).arg("").arg("PX").arg(millis(probe_life));
        let opened = Instant::now();
        let ServerState { server, time, eviction } = conn.inspect(&write).await?;
        log.log_eviction_policy(eviction);
        let connection = Self {
            conn,
            probe: write,
            log,
            server,
            opened,
            server_at_opened: AtomicU64::new(0),
            check_requested: Notify::new(),
        };
        connection.set_clock(time);
        Ok(connection)
    }

    pub(super) fn server(&self) -> ServerId {
        self.server
    }

    /// Returns the server's time at `moment`, in milliseconds since 1970.
    pub(super) fn server_millis(&self, moment: Instant) -> u64 {
        self.server_at_opened
            .load(Ordering::Relaxed)
            .saturating_add(millis(moment.saturating_duration_since(self.opened)))
    }

    /// Reads the clock again. Checks that the same server answers and accepts writes or, in a
    /// cluster, that every primary answers.
    pub(super) async fn check(&self) -> Result<(), RedisError> {
        let ServerState { server, time, eviction } = self.conn.inspect(&self.probe).await?;
        self.log.log_eviction_policy(eviction);
        if server != self.server {
            return Err(another_server());
        }
        self.set_clock(time);
        Ok(())
    }

    /// Checks that the server, or each primary of the cluster, answers. Writes nothing.
    pub(super) async fn ping(&self) -> Result<(), RedisError> {
        match &self.conn {
            RawConnection::Single(_) => self.send::<Value>(&redis::cmd("PING")).await.map(drop),
            RawConnection::Cluster { .. } => self.check().await,
        }
    }

    /// Sets the clock from a time that was read before now, so the result is too early, if
    /// anything.
    fn set_clock(&self, time: u64) {
        self.server_at_opened.store(time.saturating_sub(millis(self.opened.elapsed())), Ordering::Relaxed);
    }

    /// Asks for a check now, because a call has failed.
    pub(super) fn suspect(&self) {
        self.check_requested.notify_one();
    }

    pub(super) async fn suspected(&self) {
        self.check_requested.notified().await;
    }

    /// Sends one command in one round trip.
    pub(super) async fn send<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, RedisError> {
        match &self.conn {
            RawConnection::Single(connection) => command.query_async(&mut connection.clone()).await,
            RawConnection::Cluster { connection, limit } => {
                with_timeout(*limit, command.query_async(&mut connection.clone())).await
            }
        }
    }

    /// Returns the values of these keys, in their order and in one round trip.
    pub(super) async fn get_all(&self, keys: &[Vec<u8>]) -> Result<Vec<Value>, RedisError> {
        match &self.conn {
            RawConnection::Single(_) => self.send(redis::cmd("MGET").arg(keys)).await,
            // Keys of different nodes cannot share a command.
            RawConnection::Cluster { .. } => {
                try_join_all(keys.iter().map(|key| async { self.send(&Cmd::get(key.as_slice())).await })).await
            }
        }
    }

    /// Sends several writes in one round trip. Every write must succeed.
    pub(super) async fn send_all(&self, writes: &[Cmd]) -> Result<(), RedisError> {
        match &self.conn {
            RawConnection::Single(connection) => {
                let mut pipeline = Pipeline::with_capacity(writes.len());
                for write in writes {
                    pipeline.add_command(write.clone()).ignore();
                }
                pipeline.query_async(&mut connection.clone()).await
            }
            RawConnection::Cluster { .. } => {
                try_join_all(writes.iter().map(|write| self.send::<Value>(write))).await.map(drop)
            }
        }
    }

    /// Sends several writes, then a command. Every write must succeed; the server may refuse the
    /// command.
    pub(super) async fn run_all(&self, writes: &[Cmd], then: &Cmd) -> Result<(), RedisError> {
        match &self.conn {
            RawConnection::Single(connection) => {
                let mut pipeline = Pipeline::with_capacity(writes.len() + 1);
                for write in writes {
                    pipeline.add_command(write.clone());
                }
                pipeline.add_command(then.clone()).ignore().ignore_errors();
                let written: Vec<Result<(), RedisError>> = pipeline.query_async(&mut connection.clone()).await?;
                written.into_iter().collect()
            }
            // Keys of different nodes cannot share a pipeline.
            RawConnection::Cluster { .. } => {
                try_join_all(writes.iter().map(|write| self.send::<()>(write))).await?;
                match self.send::<Value>(then).await {
                    Ok(_) => Ok(()),
                    // The server answered with an error: it refused the command.
                    Err(error) if error.code().is_some() => Ok(()),
                    Err(error) => Err(error),
                }
            }
        }
    }
}

/// A server's answers to a check.
struct ServerState {
    server: ServerId,
    /// In milliseconds since 1970.
    time: u64,
    eviction: EvictionPolicy,
}

impl RawConnection {
    /// Asks for the server's identity and clock. Fails if a single server does not accept `write`.
    /// A cluster gets no write.
    async fn inspect(&self, write: &Cmd) -> Result<ServerState, RedisError> {
        match self {
            Self::Single(connection) => {
                let mut pipeline = redis::pipe();
                pipeline.cmd("TIME").add_command(write.clone());
                // One section each: several in one command need Redis 7.
                pipeline.cmd("INFO").arg("server").cmd("INFO").arg("replication").cmd("INFO").arg("memory");
                let (time, (), server, replication, memory): ((u64, u64), (), InfoDict, InfoDict, InfoDict) =
                    pipeline.query_async(&mut connection.clone()).await?;
                let process = identity(&server, "run_id")?;
                let history = identity(&replication, "master_replid")?;
                Ok(ServerState {
                    server: ServerId(process ^ history),
                    time: to_millis(time),
                    eviction: EvictionPolicy::of([&memory]),
                })
            }
            Self::Cluster { connection, limit } => {
                let all = || RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
                let mut memory = redis::cmd("INFO");
                memory.arg("memory");
                let (mut of_time, mut of_memory) = (connection.clone(), connection.clone());
                let (times, memories): (Value, Value) = with_timeout(*limit, async {
                    try_join(of_time.route_command(redis::cmd("TIME"), all()), of_memory.route_command(memory, all()))
                        .await
                })
                .await?;
                let times: HashMap<String, (u64, u64)> = from_redis_value(times)?;
                let memories: HashMap<String, InfoDict> = from_redis_value(memories)?;
                // The slowest clock of all: entries end early on the other nodes.
                let time = times.into_values().map(to_millis).min();
                Ok(ServerState {
                    server: ServerId(0),
                    time: time.ok_or_else(|| io::Error::other("the cluster has no primaries"))?,
                    eviction: EvictionPolicy::of(memories.values()),
                })
            }
        }
    }
}

/// Returns the first 64 bits of a hexadecimal identifier.
fn identity(info: &InfoDict, name: &str) -> Result<u64, RedisError> {
    let id: Option<String> = info.get(name);
    let id = id.and_then(|id| u64::from_str_radix(id.get(..16)?, 16).ok());
    id.ok_or_else(|| io::Error::other("INFO does not say who the server is").into())
}

/// Converts the answer to `TIME`: seconds and microseconds.
fn to_millis((seconds, micros): (u64, u64)) -> u64 {
    seconds.saturating_mul(1000).saturating_add(micros / 1000)
}

async fn with_timeout<T>(limit: Duration, call: impl Future<Output = Result<T, RedisError>>) -> Result<T, RedisError> {
    timeout(limit, call).await.unwrap_or_else(|_| Err(timed_out()))
}

/// The error of a connection that leads to another server than before.
pub(super) fn another_server() -> RedisError {
    io::Error::other("another server answers on this connection").into()
}

pub(super) fn timed_out() -> RedisError {
    io::Error::from(io::ErrorKind::TimedOut).into()
}
