//! Token status in Redis, shared by all nodes.
//!
//! Under `<prefix><token id>` stands either an *active* entry, put there by a [`fill`](StatusCache::fill), or a *tombstone*,
//! put there by a [`bury`](StatusCache::bury). Redis runs one command after the other, so everything follows from what may
//! replace what: a fill is `SET … NX`, which replaces nothing; a bury is a plain `SET`, which replaces everything.
//!
//! # Why a lost tombstone brings nothing back
//!
//! Redis may lose what it was told: it is restarted empty or from an old snapshot, or a replica takes over that had not
//! heard yet. A tombstone that is gone must then not leave an active entry behind it, and not let one in.
//!
//! - **In flight.** A fill goes out on the very connection that answered the miss. A server that has been replaced or
//!   restarted since can never be handed a status that was read before the revocation it has forgotten.
//! - **At rest.** An active entry names the server that took it (process and replication history: `run_id` and `master_replid`),
//!   and is believed only when read from that. What came back from a snapshot, stands in a replica that took over, or in one
//!   that was a primary before and is one again, is a miss.
//! - **Late.** A fill carries the moment of its end (`PXAT`), by the server's own clock and counted from the miss. One that
//!   lay in the socket of a server that was stalled meanwhile is dead on arrival.
//!
//! What is left is bounded by [`RedisOptions::active_ttl`], for active entries end on their own. A node whose connection still
//! leads to a primary that was deposed may be told "active" until [the next check](#health) finds that it cannot be written to,
//! or, where it was promoted again meanwhile, that it is another.
//! One that is cut off from its replicas together with some nodes is not deposed as far as it knows (split brain): it takes
//! writes, serves those nodes, and hears of no tombstone written at its successor. With `min-replicas-to-write 1` it stops
//! taking writes within `min-replicas-max-lag` (10 s), and with that being asked. `FLUSHALL` and `FLUSHDB` drop tombstones, and a
//! fill under way at that moment may then stand until its end. So does a full Redis under a `maxmemory-policy` other than
//! `noeviction`; use that, under which it takes no more entries and the store of record answers.
//!
//! **In a cluster** the client moves between nodes by itself, so that an entry is bound to no process and a fill to no
//! connection: after a failover that lost a tombstone an active entry may stand until its end, `active_ttl` at most. The
//! clocks of its nodes should agree.
//!
//! # Health
//!
//! Connections are made, validated and replaced by a small deadpool pool, but never checked out per request: that would
//! cost a second round trip. One task per connection keeps it, and asks once a second, and as soon as a call has failed,
//! for the server's clock, who it is and one small write. A connection that cannot is withdrawn and replaced; until
//! then calls fail at once, and the store of record answers alone.
//!
//! # News
//!
//! Nodes that keep tokens in process [subscribe](StatusCache::subscribe), and hear of each tombstone by a message that is
//! published with it; see `news.rs`. A Redis that does not let us publish or subscribe (its ACL names channels) costs them that
//! and nothing else. Channels belong to a server and not to one of its databases: services that share it need prefixes of
//! their own, else they hear each other's news, which harms neither.
//!
//! Redis 6.2 or later; the commands used are `GET`, `SET`, `TIME`, `INFO`, `PING`, `UNWATCH`, `PUBLISH`, `SUBSCRIBE` and, on
//! connecting, `AUTH`, `SELECT` and `CLIENT SETINFO`. [`RedisCache::probe`] tries them all.
//!
//! # TLS
//!
//! `rediss://` URLs speak TLS. The authorities that are trusted are the system's, or those in the
//! PEM file that the variable `SSL_CERT_FILE` names. Where the process has no rustls crypto
//! provider yet, aws-lc's is installed.

mod entry;
mod keeper;
mod line;
mod news;
mod options;
mod probe;
mod refusal;
mod report;
mod source;

use std::{
    fmt,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use deadpool_redis::redis::{self, Cmd, RedisError, Value};
use tokio::task::JoinSet;
use uuid::Uuid;

use self::{
    entry::Entry,
    keeper::{Slots, keep},
    line::Line,
    news::News,
    source::Source,
};
pub use self::{options::RedisOptions, report::EvictionPolicy};
#[cfg(doc)]
use super::CacheErrorKind;
use super::{CacheAnswer, CacheError, StatusCache};
use crate::{
    background::again_after_panics,
    clock::Timestamp,
    id::TokenId,
    store::{ActiveToken, Feed, RevocationListener},
};

/// How many tombstones one round trip carries, so that a large revocation does not hold up the checks beside it.
const BATCH: usize = 256;

/// A [`StatusCache`] in Redis. The module's documentation says what it promises when Redis fails.
pub struct RedisCache {
    slots: Arc<Slots>,
    source: Arc<Source>,
    options: RedisOptions,
    feed: Feed,
    /// Ends the tasks with the cache.
    _keepers: JoinSet<()>,
}

/// What a miss leaves for its fill.
pub struct Miss {
    line: Arc<Line>,
    at: Instant,
}

impl RedisCache {
    /// A cache in the Redis at `urls`, `redis://[user:password@]host[:port][/db]` each: one for a single server, several for
    /// the seeds of a cluster.
    ///
    /// Waits for the first connection, for [`connect_timeout`](RedisOptions::connect_timeout) and
    /// [`response_timeout`](RedisOptions::response_timeout) together at most, and goes on without it: a cache that is away
    /// is an error on each call until it is back. [`probe`](Self::probe) tells one that is away
    /// from one that is set up wrongly. Must be called within a Tokio runtime with time and I/O
    /// enabled.
    ///
    /// # Errors
    ///
    /// If there is no URL, or one is not understood.
    pub async fn connect(urls: &[String], options: RedisOptions) -> Result<Self, CacheError> {
        let source = Arc::new(Source::new(urls, &options)?);
        let slots = Arc::new(Slots::new(options.connections.max(1)));
        let mut first = source.open().await.inspect_err(|error| keeper::lost(error, &source)).ok();
        let mut keepers = JoinSet::new();
        for slot in 0..slots.len() {
            let mut first = first.take();
            if let Some(opened) = &first {
                slots.put(slot, &opened.line);
            }
            let (slots, source) = (Arc::clone(&slots), Arc::clone(&source));
            let keep = move || keep(Arc::clone(&slots), slot, Arc::clone(&source), first.take());
            keepers.spawn(again_after_panics("a connection to Redis", keep));
        }
        Ok(Self { slots, source, options, feed: Feed::new(), _keepers: keepers })
    }

    /// Tries what a cache with these URLs and options would ask of its servers: that they let it
    /// in, each of its commands, keys and channels, and that they are what the URLs say (one
    /// primary, or the members of a cluster). Leaves nothing behind.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](CacheErrorKind::Unsupported) where waiting will not help: a server answered
    /// with an error that lies in the settings. The error's text says in one sentence what to
    /// change. [`Unavailable`](CacheErrorKind::Unavailable) where no server answered, within
    /// [`connect_timeout`](RedisOptions::connect_timeout) and three times
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

    /// Where its servers are, `HOST:PORT` each, without user and password.
    pub fn addresses(&self) -> Vec<String> {
        self.source.servers().iter().map(|server| server.get_connection_info().addr().to_string()).collect()
    }

    /// What its servers do when their memory is full, as of the last health check; `None` before
    /// the first connection. In a cluster, of the member that evicts if one does.
    pub fn eviction_policy(&self) -> Option<EvictionPolicy> {
        self.source.report().eviction()
    }

    fn key(&self, id: TokenId) -> String {
        let mut buffer = Uuid::encode_buffer();
        let id = id.as_uuid().hyphenated().encode_lower(&mut buffer);
        [self.options.key_prefix.as_str(), id].concat()
    }

    /// A connection; the same one for the same token as long as it works.
    fn line(&self, id: TokenId) -> Result<Arc<Line>, CacheError> {
        // The last byte of a version 4 or 7 UUID is random.
        self.slots.pick(usize::from(id.as_bytes()[15])).ok_or_else(|| CacheError::new("no connection to Redis"))
    }

    /// Writes the tombstones on a connection at hand, or else on one made for it, and tells the other nodes.
    async fn write(&self, tombstones: &[(Uuid, Cmd)]) -> Result<(), RedisError> {
        if let Some(line) = self.slots.pick(0) {
            match self.write_all(&line, tombstones).await {
                Ok(()) => return Ok(()),
                Err(_) => line.doubt(),
            }
        }
        let spare = self.source.open().await?;
        let outcome = self.write_all(&spare.line, tombstones).await;
        if outcome.is_err() {
            spare.held.discard();
        }
        outcome
    }

    async fn write_all(&self, line: &Line, tombstones: &[(Uuid, Cmd)]) -> Result<(), RedisError> {
        for batch in tombstones.chunks(BATCH) {
            let (ids, writes): (Vec<Uuid>, Vec<Cmd>) = batch.iter().cloned().unzip();
            line.run_all(&writes, &news::message(&self.options.key_prefix, &ids)).await?;
        }
        Ok(())
    }
}

impl StatusCache for RedisCache {
    type Miss = Miss;

    async fn get(&self, id: TokenId) -> Result<CacheAnswer<Miss>, CacheError> {
        let line = self.line(id)?;
        let value = match line.ask::<Value>(&Cmd::get(self.key(id))).await {
            Ok(Value::BulkString(value)) => value,
            Ok(Value::Nil) => return Ok(CacheAnswer::Miss(Miss { at: Instant::now(), line })),
            Ok(_) => return Err(CacheError::new("Redis holds something else under the key of a token")),
            Err(error) => {
                line.doubt();
                return Err(CacheError::new("Redis did not answer").with_source(error));
            }
        };
        match Entry::decode(&value) {
            Some(Entry::Dead) => Ok(CacheAnswer::Dead),
            Some(Entry::Active { token, taken_by }) if taken_by == line.server() => Ok(CacheAnswer::Active(token)),
            Some(Entry::Active { .. }) => Ok(CacheAnswer::Miss(Miss { at: Instant::now(), line })),
            None => Err(CacheError::new("Redis holds an entry that is not understood")),
        }
    }

    async fn fill(&self, miss: Miss, id: TokenId, token: ActiveToken) -> Result<(), CacheError> {
        let Miss { line, at } = miss;
        if at.elapsed() >= self.options.active_ttl {
            return Ok(());
        }
        let mut set = redis::cmd("SET");
        set.arg(self.key(id))
            .arg(Entry::Active { token, taken_by: line.server() }.encode())
            .arg("NX")
            .arg("PXAT")
            .arg(line.server_millis(at).saturating_add(millis(self.options.active_ttl)));
        // Refused by `NX` is as good as done.
        line.ask::<Value>(&set).await.map(drop).map_err(|error| {
            line.doubt();
            CacheError::new("Redis did not take an entry").with_source(error)
        })
    }

    async fn bury(&self, tokens: &[(TokenId, Timestamp)], since: Timestamp) -> Result<(), CacheError> {
        let value = Entry::Dead.encode();
        let tombstones: Vec<(Uuid, Cmd)> = tokens
            .iter()
            .filter_map(|&(id, expires_at)| {
                let life = u64::try_from((expires_at - since).num_milliseconds()).unwrap_or(0);
                let mut set = redis::cmd("SET");
                set.arg(self.key(id)).arg(&value).arg("PX").arg(life);
                (life > 0).then(|| (id.into(), set))
            })
            .collect();
        let failed = CacheError::new("Redis did not take the tombstones");
        match tokio::time::timeout(self.options.bury_timeout(), self.write(&tombstones)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(failed.with_source(error)),
            Err(elapsed) => Err(failed.with_source(elapsed)),
        }
    }

    fn bound(&self) -> Duration {
        self.options.active_ttl
    }

    fn answers_within(&self) -> Option<Duration> {
        Some(self.options.response_timeout)
    }

    /// Writes nothing: that Redis takes writes is checked once a second, and a connection whose
    /// check failed is not among the slots.
    async fn ping(&self) -> Result<(), CacheError> {
        let line = self.slots.pick(0).ok_or_else(|| CacheError::new("no connection to Redis"))?;
        line.ping().await.map_err(|error| {
            line.doubt();
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

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
