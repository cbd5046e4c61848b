//! What can be set.

use std::time::Duration;

/// How a [`RedisCache`](super::RedisCache) behaves. Nodes that share a Redis must have the same `active_ttl` and
/// `key_prefix`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
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
    /// The same with this [`active_ttl`](Self::active_ttl).
    #[must_use]
    pub fn with_active_ttl(self, ttl: Duration) -> Self {
        Self { active_ttl: ttl, ..self }
    }

    /// The same with this [`response_timeout`](Self::response_timeout).
    #[must_use]
    pub fn with_response_timeout(self, timeout: Duration) -> Self {
        Self { response_timeout: timeout, ..self }
    }

    /// The same with this [`connect_timeout`](Self::connect_timeout).
    #[must_use]
    pub fn with_connect_timeout(self, timeout: Duration) -> Self {
        Self { connect_timeout: timeout, ..self }
    }

    /// The same with so many [`connections`](Self::connections).
    #[must_use]
    pub fn with_connections(self, connections: usize) -> Self {
        Self { connections, ..self }
    }

    /// The same with this [`key_prefix`](Self::key_prefix).
    #[must_use]
    pub fn with_key_prefix(self, prefix: impl Into<String>) -> Self {
        Self { key_prefix: prefix.into(), ..self }
    }

    pub(super) fn bury_timeout(&self) -> Duration {
        self.response_timeout.saturating_mul(4)
    }

    /// How long making a connection and checking it may take.
    pub(super) fn open_timeout(&self) -> Duration {
        self.connect_timeout.saturating_add(self.response_timeout)
    }
}
