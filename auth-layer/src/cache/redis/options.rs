//! What can be set.

use std::time::Duration;

/// How a [`RedisCache`](super::RedisCache) behaves. Nodes that share a Redis must have the same `active_ttl` and
/// `key_prefix`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisOptions {
    /// How long Redis may call a token active, counted from the moment that it was looked up in the store of record. The
    /// bound within which a revocation holds that Redis could not be told of. 60 s by default.
    pub active_ttl: Duration,
    /// How long one call waits for an answer. A revocation, which may have to connect anew, waits for four times as long.
    /// 250 ms by default.
    pub response_timeout: Duration,
    /// How long connecting may take. 500 ms by default.
    pub connect_timeout: Duration,
    /// How many connections are held open and shared by all calls, one at least. 2 by default.
    pub connections: usize,
    /// What every key begins with: `auth:` by default.
    pub key_prefix: String,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self {
            active_ttl: Duration::from_mins(1),
            response_timeout: Duration::from_millis(250),
            connect_timeout: Duration::from_millis(500),
            connections: 2,
            key_prefix: "auth:".to_owned(),
        }
    }
}

impl RedisOptions {
    pub(super) fn bury_timeout(&self) -> Duration {
        self.response_timeout.saturating_mul(4)
    }

    /// How long making a connection and checking it may take.
    pub(super) fn open_timeout(&self) -> Duration {
        self.connect_timeout.saturating_add(self.response_timeout)
    }
}
