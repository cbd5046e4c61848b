//! Logs what an operator should know of the servers: once, and again when it changes.

use std::sync::{Mutex, MutexGuard, PoisonError};

use deadpool_redis::redis::{InfoDict, RedisError};

use super::settings_error::settings_error;

/// What Redis does when its memory is full (`maxmemory-policy`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EvictionPolicy {
    /// `noeviction`: Redis refuses new entries, and the store of record answers.
    NoEviction,
    /// This policy drops entries, tombstones included. A fill in progress at that moment may then
    /// stand for [`active_ttl`](super::RedisOptions::active_ttl).
    Evicts(String),
    /// The server does not report its policy.
    Unknown,
}

impl EvictionPolicy {
    /// Combines the policies in `INFO memory` of each server.
    pub(super) fn of<'a>(servers: impl IntoIterator<Item = &'a InfoDict>) -> Self {
        let mut found = Self::Unknown;
        for server in servers {
            match server.get::<String>("maxmemory_policy") {
                Some(policy) if policy == "noeviction" => {
                    if found == Self::Unknown {
                        found = Self::NoEviction;
                    }
                }
                Some(policy) => return Self::Evicts(policy),
                None => return Self::Unknown,
            }
        }
        found
    }
}

/// What was last logged.
#[derive(Debug, Default)]
pub(super) struct StatusLog {
    eviction: Mutex<Option<EvictionPolicy>>,
    settings_error: Mutex<Option<String>>,
}

impl StatusLog {
    /// Returns the last policy found, or `None` before the first connection.
    pub(super) fn eviction(&self) -> Option<EvictionPolicy> {
        lock(&self.eviction).clone()
    }

    /// Logs the policy if it has changed.
    pub(super) fn log_eviction_policy(&self, policy: EvictionPolicy) {
        let mut last = lock(&self.eviction);
        if last.as_ref() == Some(&policy) {
            return;
        }
        match &policy {
            EvictionPolicy::NoEviction if last.is_some() => tracing::info!("Redis evicts nothing now"),
            EvictionPolicy::NoEviction => {}
            EvictionPolicy::Evicts(policy) => {
                tracing::warn!(policy, "Redis may evict revocations: set its maxmemory-policy to noeviction");
            }
            EvictionPolicy::Unknown => {
                tracing::warn!("Redis does not say whether it evicts: its maxmemory-policy should be noeviction");
            }
        }
        *last = Some(policy);
    }

    /// Logs an error that waiting will not mend, unless it was logged since the last connection.
    pub(super) fn log_settings_error(&self, error: &RedisError) {
        let Some(sentence) = settings_error(error) else { return };
        let mut last = lock(&self.settings_error);
        if last.as_ref() != Some(&sentence) {
            tracing::error!("Redis {sentence}; until then the store of record answers alone");
            *last = Some(sentence);
        }
    }

    /// Forgets the last error, because a connection works.
    pub(super) fn clear_settings_error(&self) {
        *lock(&self.settings_error) = None;
    }
}

fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redis_eviction_policy_is_that_of_a_server_that_evicts_or_unknown() {
        let info = |policy: &str| InfoDict::new(&format!("# Memory\r\nmaxmemory_policy:{policy}\r\n"));
        let (safe, evicts, silent) = (info("noeviction"), info("volatile-ttl"), InfoDict::new("# Memory\r\n"));
        assert_eq!(EvictionPolicy::of([&safe, &safe]), EvictionPolicy::NoEviction);
        assert_eq!(EvictionPolicy::of([&safe, &evicts]), EvictionPolicy::Evicts("volatile-ttl".to_owned()));
        assert_eq!(EvictionPolicy::of([&safe, &silent]), EvictionPolicy::Unknown);
        assert_eq!(EvictionPolicy::of([]), EvictionPolicy::Unknown);
    }
}
