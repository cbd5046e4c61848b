//! Measures the calls of a shared cache.

use std::{fmt, sync::Weak, time::Duration};

use metrics::Counter;
use uuid::Uuid;

use super::{CacheAnswer, CacheError, DenialAnswer, StatusCache};
use crate::{
    clock::Timestamp,
    id::TokenId,
    store::{ActiveToken, Denial, HashedKey, RevocationListener},
    telemetry::{SHARED_LOOKUPS, Timer},
};

/// Measures how long each call of a shared cache takes, as
/// [`MeasuredStore`](crate::store::MeasuredStore) does for a store. It also counts what lookups of
/// tokens found: `auth_shared_cache_lookups_total`, by `store` and `result`.
///
/// ```no_run
/// # #[cfg(all(feature = "mongodb", feature = "redis"))]
/// # fn example(
/// #     store: auth_layer::store::mongodb::MongoStore,
/// #     cache: auth_layer::cache::redis::RedisCache,
/// # ) {
/// use auth_layer::{
///     cache::{Cached, MeasuredCache},
///     store::MeasuredStore,
/// };
///
/// let store = MeasuredStore::new("mongodb", store);
/// let cache = MeasuredCache::new("redis", cache);
/// let store = Cached::new(store, cache); // a store for `Authority::builder`
/// # let _ = store;
/// # }
/// ```
pub struct MeasuredCache<C> {
    cache: C,
    get: Timer,
    put_active_if_absent: Timer,
    put_tombstones: Timer,
    denials: Timer,
    put_denials_if_absent: Timer,
    put_denials: Timer,
    ping: Timer,
    active: Counter,
    dead: Counter,
    miss: Counter,
    error: Counter,
}

impl<C> MeasuredCache<C> {
    /// Measures `cache`, and calls it `name` in the label `store`.
    pub fn new(name: &'static str, cache: C) -> Self {
        let timer = |operation| Timer::new(name, operation);
        let lookups = |result: &'static str| metrics::counter!(SHARED_LOOKUPS, "store" => name, "result" => result);
        Self {
            cache,
            get: timer("get"),
            put_active_if_absent: timer("put_active_if_absent"),
            put_tombstones: timer("put_tombstones"),
            denials: timer("denials"),
            put_denials_if_absent: timer("put_denials_if_absent"),
            put_denials: timer("put_denials"),
            ping: timer("ping"),
            active: lookups("active"),
            dead: lookups("dead"),
            miss: lookups("miss"),
            error: lookups("error"),
        }
    }

    /// Returns the cache that is measured, for example to check its health.
    pub fn get_ref(&self) -> &C {
        &self.cache
    }
}

impl<C: StatusCache> StatusCache for MeasuredCache<C> {
    type Miss = C::Miss;

    async fn get(&self, id: TokenId) -> Result<CacheAnswer<C::Miss>, CacheError> {
        let answer = self.get.time(self.cache.get(id)).await;
        let found = match &answer {
            Ok(CacheAnswer::Active(_)) => &self.active,
            Ok(CacheAnswer::Dead) => &self.dead,
            Ok(CacheAnswer::Miss(_)) => &self.miss,
            Err(_) => &self.error,
        };
        found.increment(1);
        answer
    }

    async fn put_active_if_absent(&self, miss: C::Miss, id: TokenId, token: ActiveToken) -> Result<(), CacheError> {
        self.put_active_if_absent.time(self.cache.put_active_if_absent(miss, id, token)).await
    }

    async fn put_tombstones(&self, tokens: &[(TokenId, Timestamp)], since: Timestamp) -> Result<(), CacheError> {
        self.put_tombstones.time(self.cache.put_tombstones(tokens, since)).await
    }

    async fn denials(&self, keys: &[HashedKey]) -> Result<(Vec<DenialAnswer>, C::Miss), CacheError> {
        self.denials.time(self.cache.denials(keys)).await
    }

    async fn put_denials_if_absent(
        &self,
        miss: C::Miss,
        read: &[(HashedKey, Option<Denial>)],
    ) -> Result<(), CacheError> {
        self.put_denials_if_absent.time(self.cache.put_denials_if_absent(miss, read)).await
    }

    async fn put_denials(&self, miss: C::Miss, made: &[(HashedKey, Denial)]) -> Result<(), CacheError> {
        self.put_denials.time(self.cache.put_denials(miss, made)).await
    }

    async fn announce(&self, ended: Uuid) {
        self.cache.announce(ended).await;
    }

    fn bound(&self) -> Duration {
        self.cache.bound()
    }

    fn answers_within(&self) -> Option<Duration> {
        self.cache.answers_within()
    }

    async fn ping(&self) -> Result<(), CacheError> {
        self.ping.time(self.cache.ping()).await
    }

    fn subscribe(&self, listener: Weak<dyn RevocationListener>) {
        self.cache.subscribe(listener);
    }
}

impl<C: fmt::Debug> fmt::Debug for MeasuredCache<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeasuredCache").field("cache", &self.cache).finish_non_exhaustive()
    }
}
