//! Options of the cache.

use std::time::Duration;

/// Options of a [`RedisCache`](super::RedisCache).
///
/// Nodes that share a Redis need the same `active_ttl` and `key_prefix`.
///
/// ```
/// use std::time::Duration;
///
/// use auth_layer::cache::redis::RedisOptions;
///
/// let options = RedisOptions::default()
///     .with_active_ttl(Duration::from_secs(30))
///     .with_key_prefix("shop:");
/// # let _ = options;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RedisOptions {
    /// How long Redis may call a token active or not denied, counted from the lookup in the store of
    /// record. Default: 60 s.
    ///
    /// A revocation that could not be written to Redis holds after this time at the latest.
    pub active_ttl: Duration,
    /// How long one call waits for an answer. Default: 250 ms.
    ///
    /// A revocation waits four times as long, because it may have to connect.
    pub response_timeout: Duration,
    /// How long connecting may take. Default: 500 ms.
    pub connect_timeout: Duration,
    /// How many connections all calls share, at least one. Default: 2.
    pub connections: usize,
    /// The prefix of every key and channel. Default: `auth:`.
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
    /// Sets [`active_ttl`](Self::active_ttl).
    #[must_use]
    pub fn with_active_ttl(self, ttl: Duration) -> Self {
        Self { active_ttl: ttl, ..self }
    }

    /// Sets [`response_timeout`](Self::response_timeout).
    #[must_use]
    pub fn with_response_timeout(self, timeout: Duration) -> Self {
        Self { response_timeout: timeout, ..self }
    }

    /// Sets [`connect_timeout`](Self::connect_timeout).
    #[must_use]
    pub fn with_connect_timeout(self, timeout: Duration) -> Self {
        Self { connect_timeout: timeout, ..self }
    }

    /// Sets [`connections`](Self::connections).
    #[must_use]
    pub fn with_connections(self, connections: usize) -> Self {
        Self { connections, ..self }
    }

    /// Sets [`key_prefix`](Self::key_prefix).
    #[must_use]
    pub fn with_key_prefix(self, prefix: impl Into<String>) -> Self {
        Self { key_prefix: prefix.into(), ..self }
    }

    pub(super) fn revocation_timeout(&self) -> Duration {
        self.response_timeout.saturating_mul(4)
    }

    /// Returns how long connecting and the first check may take together.
    pub(super) fn open_timeout(&self) -> Duration {
        self.connect_timeout.saturating_add(self.response_timeout)
    }
}
