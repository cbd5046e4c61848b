//! Tries at startup everything that the cache will need.

use deadpool_redis::redis::{
    self, AsyncConnectionConfig, Client, Cmd, ErrorKind, InfoDict, RedisError, ServerErrorKind, Value, from_redis_value,
};
use futures_util::future::join_all;
use tokio::time::timeout;
use uuid::Uuid;

use super::{
    connection::timed_out,
    news,
    options::RedisOptions,
    settings_error::{IS_CLUSTER_MEMBER, IS_REPLICA, NOT_IN_CLUSTER, settings_error},
};
use crate::cache::CacheError;

/// Whether the URLs name one server or the members of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Topology {
    Single,
    Cluster,
}

/// Why a server did not pass.
enum ProbeError {
    /// The settings are wrong. The sentence begins after "Redis at ADDRESS".
    Misconfigured(String),
    /// The server cannot be reached.
    Unavailable(RedisError),
}

impl From<RedisError> for ProbeError {
    fn from(error: RedisError) -> Self {
        settings_error(&error).map_or(Self::Unavailable(error), Self::Misconfigured)
    }
}

/// Asks each server. A cluster passes if one member passes and none is set up wrongly.
pub(super) async fn probe(servers: &[Client], options: &RedisOptions) -> Result<(), CacheError> {
    let topology = if servers.len() > 1 { Topology::Cluster } else { Topology::Single };
    let asked = servers.iter().map(|server| async move {
        let limit = options.open_timeout().saturating_add(options.response_timeout.saturating_mul(2));
        let done =
            timeout(limit, probe_server(server, options, topology)).await.unwrap_or_else(|_| Err(timed_out().into()));
        (server.get_connection_info().addr(), done)
    });
    let mut unavailable = None;
    let mut served = false;
    for (address, done) in join_all(asked).await {
        match done {
            Ok(()) => served = true,
            Err(ProbeError::Misconfigured(why)) => {
                return Err(CacheError::unsupported(format!("Redis at {address} {why}")));
            }
            Err(ProbeError::Unavailable(error)) => {
                unavailable.get_or_insert(CacheError::new(format!("Redis at {address} is away")).with_source(error));
            }
        }
    }
    match unavailable {
        Some(error) if !served => Err(error),
        _ => Ok(()),
    }
}

async fn probe_server(server: &Client, options: &RedisOptions, topology: Topology) -> Result<(), ProbeError> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(options.connect_timeout))
        .set_response_timeout(Some(options.response_timeout));
    let mut connection = server.get_multiplexed_async_connection_with_config(&config).await?;
    let mut pipeline = redis::pipe();
    for command in commands(&options.key_prefix) {
        pipeline.add_command(command);
    }
    let answers: Vec<Result<Value, RedisError>> = pipeline.ignore_errors().query_async(&mut connection).await?;
    let mut infos = Vec::new();
    for answer in answers {
        match answer {
            Ok(answer) => infos.extend(from_redis_value::<InfoDict>(answer).ok()),
            // Another member has this key. The server checks its ACL before that, so the command is
            // allowed.
            Err(error) if topology == Topology::Cluster && is_redirect(&error) => {}
            Err(error) => {
                return Err(role_error(&infos, topology).map_or_else(|| error.into(), ProbeError::Misconfigured));
            }
        }
    }
    if let Some(why) = role_error(&infos, topology) {
        return Err(ProbeError::Misconfigured(why));
    }
    let mut subscription = server.get_async_pubsub().await?;
    let channels = [news::channel(&options.key_prefix), own_channel(&options.key_prefix)];
    Ok(subscription.subscribe(&channels).await?)
}

/// Returns every command that the cache sends. The entries expire at once, and nobody receives the
/// message.
fn commands(key_prefix: &str) -> Vec<Cmd> {
    let key = format!("{key_prefix}{}", Uuid::new_v4());
    let command = |words: &[&str]| {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command
    };
    vec![
        command(&["INFO", "replication"]),
        command(&["INFO", "cluster"]),
        command(&["INFO", "server"]),
        command(&["INFO", "memory"]),
        command(&["TIME"]),
        command(&["UNWATCH"]),
        command(&["PING"]),
        command(&["GET", &key]),
        command(&["MGET", &key]),
        command(&["SET", &key, "", "NX", "PXAT", "1"]),
        command(&["SET", &key, "", "PX", "1"]),
        command(&["EVAL", "return redis.call('SET', KEYS[1], '', 'PX', 1)", "1", &key]),
        command(&["PUBLISH", &own_channel(key_prefix), ""]),
        command(&["PUBLISH", &news::channel(key_prefix), ""]),
    ]
}

/// Returns the name of one node's own channel.
fn own_channel(key_prefix: &str) -> String {
    format!("{key_prefix}news:{}", Uuid::new_v4())
}

/// Returns why a server of this role cannot serve, or `None` if it can.
fn role_error(infos: &[InfoDict], topology: Topology) -> Option<String> {
    let says = |name: &str| infos.iter().find_map(|info| info.get::<String>(name));
    let cluster = says("cluster_enabled");
    let why = match (topology, cluster.as_deref()) {
        (Topology::Single, Some("1")) => IS_CLUSTER_MEMBER,
        (Topology::Cluster, Some("0")) => NOT_IN_CLUSTER,
        (Topology::Single, _) if says("role").as_deref() == Some("slave") => IS_REPLICA,
        _ => return None,
    };
    Some(why.to_owned())
}

fn is_redirect(error: &RedisError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::Ask | ServerErrorKind::ClusterDown)
    )
}
