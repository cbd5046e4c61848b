//! What an operator should hear of the servers: once, and again when it changes.

use std::sync::{Mutex, MutexGuard, PoisonError};

use deadpool_redis::redis::{InfoDict, RedisError};

use super::refusal::refusal;

/// What Redis does when its memory is full (`maxmemory-policy`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EvictionPolicy {
    /// `noeviction`: it refuses what is new, and the store of record answers.
    NoEviction,
    /// The policy of this name drops entries, tombstones among them: a fill under way at that
    /// moment may then stand for [`active_ttl`](super::RedisOptions::active_ttl).
    Evicts(String),
    /// The server does not say.
    Unknown,
}

impl EvictionPolicy {
    /// From `INFO memory` of each server.
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

/// What was said last.
#[derive(Debug, Default)]
pub(super) struct Report {
    eviction: Mutex<Option<EvictionPolicy>>,
    refusal: Mutex<Option<String>>,
}

impl Report {
    /// As it was found last; `None` before the first connection.
    pub(super) fn eviction(&self) -> Option<EvictionPolicy> {
        held(&self.eviction).clone()
    }

    /// Says what was found, if it is not what was found before.
    pub(super) fn found(&self, policy: EvictionPolicy) {
        let mut last = held(&self.eviction);
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

    /// Says what a server answered, if waiting will not mend it and it was not said since the last
    /// connection.
    pub(super) fn failed(&self, error: &RedisError) {
        let Some(sentence) = refusal(error) else { return };
        let mut last = held(&self.refusal);
        if last.as_ref() != Some(&sentence) {
            tracing::error!("Redis {sentence}; until then the store of record answers alone");
            *last = Some(sentence);
        }
    }

    /// A connection serves.
    pub(super) fn serves(&self) {
        *held(&self.refusal) = None;
    }
}

fn held<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redis_eviction_is_that_of_the_server_that_evicts_and_unknown_where_one_does_not_say() {
        let info = |policy: &str| InfoDict::new(&format!("# Memory\r\nmaxmemory_policy:{policy}\r\n"));
        let (safe, evicts, silent) = (info("noeviction"), info("volatile-ttl"), InfoDict::new("# Memory\r\n"));
        assert_eq!(EvictionPolicy::of([&safe, &safe]), EvictionPolicy::NoEviction);
        assert_eq!(EvictionPolicy::of([&safe, &evicts]), EvictionPolicy::Evicts("volatile-ttl".to_owned()));
        assert_eq!(EvictionPolicy::of([&safe, &silent]), EvictionPolicy::Unknown);
        assert_eq!(EvictionPolicy::of([]), EvictionPolicy::Unknown);
    }
}
