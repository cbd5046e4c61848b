//! Token statuses and denials in Redis, shared by all nodes.
//!
//! The key `<prefix><token id>` holds an *active* entry, written by
//! [`put_active_if_absent`](StatusCache::put_active_if_absent), or a *tombstone*, written by
//! [`put_tombstones`](StatusCache::put_tombstones). Redis runs one command at a time, so everything
//! follows from what may replace what. A fill is `SET … NX`, which replaces nothing. A tombstone is
//! a plain `SET`, which replaces everything.
//!
//! # Why a lost tombstone revives no token
//!
//! Redis may lose writes: it restarts empty or from an old snapshot, or a replica takes over that
//! had not received them. A lost tombstone must not leave an active entry behind, and must not let
//! one in.
//!
//! - **In flight.** A fill uses the connection that answered the miss. If that server was replaced
//!   or restarted since, the fill cannot reach its successor, which may have lost the tombstone.
//! - **At rest.** An active entry names the server that took it (process and replication history:
//!   `run_id` and `master_replid`), and is believed only when read from that server. An entry from
//!   a snapshot or a promoted replica is a miss. So is one in a primary that was deposed and
//!   promoted again.
//! - **Late.** A fill carries the moment of its end (`PXAT`), by the server's own clock and counted
//!   from the miss. If it waited in the socket of a stalled server, it has expired on arrival.
//!
//! Denials follow the same rules, with one more: see `denial.rs`.
//!
//! # What remains
//!
//! [`RedisOptions::active_ttl`] bounds these cases, because active entries end by themselves.
//!
//! - **Deposed primary.** A node still connected to it may be told "active" until [the next
//!   check](#health). The check finds that the primary takes no writes or, if it was promoted
//!   again, that it is another.
//! - **Split brain.** A primary that is cut off from its replicas together with some nodes does not
//!   know that it was deposed. It takes writes and serves those nodes, and gets no tombstone from
//!   its successor. With `min-replicas-to-write 1` it stops taking writes within
//!   `min-replicas-max-lag` (10 s), and is then no longer asked.
//! - **`FLUSHALL` and `FLUSHDB`** drop tombstones. A fill in progress at that moment may stand
//!   until its end.
//! - **Eviction** does the same in a full Redis, unless its `maxmemory-policy` is `noeviction`. Use
//!   that policy: Redis then accepts no more entries, and the store of record answers.
//! - **Cluster.** The client moves between nodes by itself, so an entry is bound to no process and
//!   a fill to no connection. After a failover that lost a tombstone, an active entry may stand for
//!   at most `active_ttl`. The clocks of the nodes should agree.
//!
//! # Health
//!
//! A small deadpool pool makes, validates and replaces connections. They are not checked out per
//! request, which would cost a second round trip. One task per connection checks it once a second,
//! and as soon as a call has failed. It asks for the server's clock and identity, and makes one
//! small write (none in a cluster). A connection that fails is withdrawn and replaced. Until then
//! calls fail at once, and the store of record answers alone.
//!
//! # News
//!
//! Nodes that keep tokens in process [subscribe](StatusCache::subscribe). They receive a message
//! about each tombstone and each denial, published together with it: see `news.rs`. If Redis does
//! not let us publish or subscribe (its ACL names channels), nodes lose these messages and nothing
//! else. Channels belong to a server, not to one of its databases. Services that share a server
//! need different prefixes, or they receive each other's messages, which does no harm.
//!
//! Needs Redis 6.2 or later. The commands used are `GET`, `MGET`, `SET`, `EVAL`, `TIME`, `INFO`,
//! `PING`, `UNWATCH`, `PUBLISH` and `SUBSCRIBE`, and on connecting `AUTH`, `SELECT` and `CLIENT
//! SETINFO`. [`RedisCache::probe`] tries them all.
//!
//! # TLS
//!
//! `rediss://` URLs use TLS. The trusted certificate authorities are the system's, or those in the
//! PEM file that the variable `SSL_CERT_FILE` names. If the process has no rustls crypto provider
//! yet, aws-lc's is installed.

mod connection;
mod denial;
mod entry;
mod health;
mod news;
mod options;
mod probe;
mod settings_error;
mod source;
mod status_log;

use std::{
    fmt,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use deadpool_redis::redis::{self, Cmd, RedisError, Value};
use tokio::task::JoinSet;
use uuid::Uuid;

use self::{
    connection::{Connection, ServerId, another_server},
    entry::RedisEntry,
    health::{Slots, maintain},
    news::News,
    source::Source,
};
pub use self::{options::RedisOptions, status_log::EvictionPolicy};
#[cfg(doc)]
use super::CacheErrorKind;
use super::{CacheAnswer, CacheError, DenialAnswer, StatusCache};
use crate::{
    background::again_after_panics,
    clock::Timestamp,
    id::TokenId,
    store::{ActiveToken, Denial, Feed, HashedKey, RevocationListener},
};

/// How many tombstones or denials one round trip carries, so that a large revocation does not delay
/// checks.
const BATCH: usize = 256;

/// A [`StatusCache`] in Redis. The [module's documentation](self) says what holds when Redis fails.
pub struct RedisCache {
    slots: Arc<Slots>,
    source: Arc<Source>,
    options: RedisOptions,
    feed: Feed,
    /// Ends the tasks when the cache is dropped.
    _health_tasks: JoinSet<()>,
}

/// What a miss passes to the writes that belong to it.
pub struct Miss {
    connection: Arc<Connection>,
    at: Instant,
}

impl RedisCache {
    /// Connects to the Redis at `urls`, `redis://[user:password@]host[:port][/db]` each. One URL
    /// means a single server, several mean the seeds of a cluster.
    ///
    /// Waits for the first connection, for at most
    /// [`connect_timeout`](RedisOptions::connect_timeout) plus
    /// [`response_timeout`](RedisOptions::response_timeout). Then it continues without one: each
    /// call is an error until Redis can be reached. [`probe`](Self::probe) tells a Redis that is
    /// unreachable from one that is set up wrongly. Must be called within a Tokio runtime with time
    /// and I/O enabled.
    ///
    /// # Errors
    ///
    /// If there is no URL, or if one is not understood.
    pub async fn connect(urls: &[String], options: RedisOptions) -> Result<Self, CacheError> {
        let source = Arc::new(Source::new(urls, &options)?);
        let slots = Arc::new(Slots::new(options.connections.max(1)));
        let mut first = source.open().await.inspect_err(|error| health::log_lost(error, &source)).ok();
        let mut health_tasks = JoinSet::new();
        for slot in 0..slots.len() {
            let mut first = first.take();
            if let Some(opened) = &first {
                slots.put(slot, &opened.connection);
            }
            let (slots, source) = (Arc::clone(&slots), Arc::clone(&source));
            let maintain = move || maintain(Arc::clone(&slots), slot, Arc::clone(&source), first.take());
            health_tasks.spawn(again_after_panics("a connection to Redis", maintain));
        }
        Ok(Self { slots, source, options, feed: Feed::new(), _health_tasks: health_tasks })
    }

    /// Tries everything that a cache with these URLs and options needs, and leaves nothing behind.
    ///
    /// Checks that the servers let it in and allow each of its commands, keys and channels. Also
    /// checks that they are what the URLs say: one primary, or the members of a cluster.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](CacheErrorKind::Unsupported) if waiting will not help: a server's error is
    /// due to the settings. The error's text says in one sentence what to change.
    /// [`Unavailable`](CacheErrorKind::Unavailable) if no server answered within
    /// [`connect_timeout`](RedisOptions::connect_timeout) plus three times
    /// [`response_timeout`](RedisOptions::response_timeout).
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), auth_layer::cache::CacheError> {
    /// use auth_layer::cache::{CacheErrorKind, redis::{RedisCache, RedisOptions}};
    ///
    /// let urls = ["redis://127.0.0.1".to_owned()];
    /// let options = RedisOptions::default();
    /// match RedisCache::probe(&urls, &options).await {
    ///     Err(error) if error.kind() == CacheErrorKind::Unsupported => return Err(error),
    ///     Err(error) => eprintln!("starting without Redis: {error}"),
    ///     Ok(()) => {}
    /// }
    /// let cache = RedisCache::connect(&urls, options).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn probe(urls: &[String], options: &RedisOptions) -> Result<(), CacheError> {
        probe::probe(&source::clients(urls)?, options).await
    }

    /// Returns the servers' addresses, `HOST:PORT` each, without user and password.
    pub fn addresses(&self) -> Vec<String> {
        self.source.servers().iter().map(|server| server.get_connection_info().addr().to_string()).collect()
    }

    /// Returns what the servers do when their memory is full, as of the last health check.
    ///
    /// `None` before the first connection. In a cluster, the policy of a member that evicts, if any
    /// does.
    pub fn eviction_policy(&self) -> Option<EvictionPolicy> {
        self.source.log().eviction()
    }

    fn key(&self, id: TokenId) -> String {
        let mut buffer = Uuid::encode_buffer();
        let id = id.as_uuid().hyphenated().encode_lower(&mut buffer);
        [self.options.key_prefix.as_str(), id].concat()
    }

    /// Picks a connection: the same one for the same random byte while it works.
    fn connection_for(&self, byte: u8) -> Result<Arc<Connection>, CacheError> {
        self.slots.pick(byte.into()).ok_or_else(|| CacheError::new("no connection to Redis"))
    }

    /// Writes tombstones or denials and publishes them, on this connection or else on a new one, to
    /// `only` this server if one is given. A large future, because it may connect.
    async fn write(
        &self,
        connection: Option<Arc<Connection>>,
        writes: &[(Uuid, Cmd)],
        only: Option<ServerId>,
    ) -> Result<(), RedisError> {
        if let Some(connection) = connection {
            match self.write_on(&connection, writes).await {
                Ok(()) => return Ok(()),
                Err(_) => connection.suspect(),
            }
        }
        let spare = self.source.open().await?;
        let is_another = only.is_some_and(|server| server != spare.connection.server());
        let outcome = if is_another { Err(another_server()) } else { self.write_on(&spare.connection, writes).await };
        if outcome.is_err() {
            spare.pooled.discard();
        }
        outcome
    }

    async fn write_on(&self, connection: &Connection, writes: &[(Uuid, Cmd)]) -> Result<(), RedisError> {
        for batch in writes.chunks(BATCH) {
            let (ids, writes): (Vec<Uuid>, Vec<Cmd>) = batch.iter().cloned().unzip();
            connection.run_all(&writes, &news::message(&self.options.key_prefix, &ids)).await?;
        }
        Ok(())
    }
}

impl StatusCache for RedisCache {
    type Miss = Miss;

    async fn get(&self, id: TokenId) -> Result<CacheAnswer<Miss>, CacheError> {
        // The last byte of a version 4 or 7 UUID is random.
        let connection = self.connection_for(id.as_bytes()[15])?;
        let value = match connection.send::<Value>(&Cmd::get(self.key(id))).await {
            Ok(Value::BulkString(value)) => value,
            Ok(Value::Nil) => return Ok(CacheAnswer::Miss(Miss { at: Instant::now(), connection })),
            Ok(_) => return Err(CacheError::new("Redis holds something else under the key of a token")),
            Err(error) => {
                connection.suspect();
                return Err(CacheError::new("Redis did not answer").with_source(error));
            }
        };
        match RedisEntry::decode(&value) {
            Some(RedisEntry::Dead) => Ok(CacheAnswer::Dead),
            Some(RedisEntry::Active { token, taken_by }) if taken_by == connection.server() => {
                Ok(CacheAnswer::Active(token))
            }
            Some(RedisEntry::Active { .. }) => Ok(CacheAnswer::Miss(Miss { at: Instant::now(), connection })),
            None => Err(CacheError::new("Redis holds an entry that is not understood")),
        }
    }

    async fn put_active_if_absent(&self, miss: Miss, id: TokenId, token: ActiveToken) -> Result<(), CacheError> {
        let Miss { connection, at } = miss;
        if at.elapsed() >= self.options.active_ttl {
            return Ok(());
        }
        let mut set = redis::cmd("SET");
        set.arg(self.key(id))
            .arg(RedisEntry::Active { token, taken_by: connection.server() }.encode())
            .arg("NX")
            .arg("PXAT")
            .arg(connection.server_millis(at).saturating_add(millis(self.options.active_ttl)));
        // Refused by `NX` counts as success.
        connection.send::<Value>(&set).await.map(drop).map_err(|error| {
            connection.suspect();
            CacheError::new("Redis did not take an entry").with_source(error)
        })
    }

    async fn put_tombstones(&self, tokens: &[(TokenId, Timestamp)], since: Timestamp) -> Result<(), CacheError> {
        let value = RedisEntry::Dead.encode();
        let tombstones: Vec<(Uuid, Cmd)> = tokens
            .iter()
            .filter_map(|&(id, expires_at)| {
                let life = u64::try_from((expires_at - since).num_milliseconds()).unwrap_or(0);
                let mut set = redis::cmd("SET");
                set.arg(self.key(id)).arg(&value).arg("PX").arg(life);
                (life > 0).then(|| (id.into(), set))
            })
            .collect();
        let write = Box::pin(self.write(self.slots.pick(0), &tombstones, None));
        within(self.options.revocation_timeout(), write, "Redis did not take the tombstones").await
    }

    async fn denials(&self, keys: &[HashedKey]) -> Result<(Vec<DenialAnswer>, Miss), CacheError> {
        let connection = self.connection_for(keys.first().map_or(0, |key| key.as_bytes()[31]))?;
        let names: Vec<Vec<u8>> = keys.iter().map(|&key| denial::key(&self.options.key_prefix, key)).collect();
        let values = connection.get_all(&names).await.map_err(|error| {
            connection.suspect();
            CacheError::new("Redis did not answer").with_source(error)
        })?;
        let answer = |value| match value {
            Value::BulkString(value) => match denial::decode(&value) {
                Some((Some(denial), taken_by)) if taken_by == connection.server() => DenialAnswer::Denied(denial),
                Some((None, taken_by)) if taken_by == connection.server() => DenialAnswer::NotDenied,
                _ => DenialAnswer::Miss,
            },
            _ => DenialAnswer::Miss,
        };
        let answers = values.into_iter().map(answer).collect();
        Ok((answers, Miss { at: Instant::now(), connection }))
    }

    async fn put_denials_if_absent(&self, miss: Miss, read: &[(HashedKey, Option<Denial>)]) -> Result<(), CacheError> {
        let Miss { connection, at } = miss;
        if at.elapsed() >= self.options.active_ttl {
            return Ok(());
        }
        let end = connection.server_millis(at).saturating_add(millis(self.options.active_ttl));
        let fill =
            |&(key, read)| denial::fill(&denial::key(&self.options.key_prefix, key), read, connection.server(), end);
        let fills: Vec<Cmd> = read.iter().map(fill).collect();
        // Refused by `NX` counts as success.
        connection.send_all(&fills).await.map_err(|error| {
            connection.suspect();
            CacheError::new("Redis did not take an entry").with_source(error)
        })
    }

    async fn put_denials(&self, miss: Miss, made: &[(HashedKey, Denial)]) -> Result<(), CacheError> {
        let Miss { connection, at } = miss;
        let server = connection.server();
        let life = millis(self.options.active_ttl);
        if life == 0 {
            // No node has entries.
            for (key, _) in made {
                self.announce(key.tag()).await;
            }
            return Ok(());
        }
        let latest = connection.server_millis(at).saturating_add(life);
        let put = |&(key, made): &(HashedKey, Denial)| {
            (key.tag(), denial::put(&denial::key(&self.options.key_prefix, key), made, server, life, latest))
        };
        let denials: Vec<(Uuid, Cmd)> = made.iter().map(put).collect();
        let write = Box::pin(self.write(Some(connection), &denials, Some(server)));
        within(self.options.revocation_timeout(), write, "Redis did not take the denials").await
    }

    async fn announce(&self, ended: Uuid) {
        let Some(connection) = self.slots.pick(0) else { return };
        let message = news::message(&self.options.key_prefix, &[ended]);
        // Redis may refuse it for good, so the connection is not suspected.
        if let Err(error) = connection.send::<Value>(&message).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "a revocation was not announced");
        }
    }

    fn bound(&self) -> Duration {
        self.options.active_ttl
    }

    fn answers_within(&self) -> Option<Duration> {
        Some(self.options.response_timeout)
    }

    /// Writes nothing. The health check of a single server tests writing once a second, and a
    /// connection that failed it is not in the slots.
    async fn ping(&self) -> Result<(), CacheError> {
        let connection = self.slots.pick(0).ok_or_else(|| CacheError::new("no connection to Redis"))?;
        connection.ping().await.map_err(|error| {
            connection.suspect();
            CacheError::new("Redis cannot serve").with_source(error)
        })
    }

    fn subscribe(&self, listener: Weak<dyn RevocationListener>) {
        let news = News {
            servers: self.source.servers(),
            slots: Arc::clone(&self.slots),
            key_prefix: self.options.key_prefix.clone(),
            open_timeout: self.options.open_timeout(),
        };
        self.feed.subscribe(listener, move |listeners| news.clone().follow(listeners));
    }
}

impl fmt::Debug for RedisCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the URLs: they hold passwords.
        f.debug_struct("RedisCache")
            .field("options", &self.options)
            .field("connected", &self.slots.filled())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Miss").field("at", &self.at).finish_non_exhaustive()
    }
}

/// Waits for a write of revocations, and says in its error what Redis did not do.
async fn within(
    limit: Duration,
    write: impl Future<Output = Result<(), RedisError>>,
    failure: &'static str,
) -> Result<(), CacheError> {
    match tokio::time::timeout(limit, write).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(CacheError::new(failure).with_source(error)),
        Err(elapsed) => Err(CacheError::new(failure).with_source(elapsed)),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
