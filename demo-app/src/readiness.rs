//! Asks the stores whether they are up.

use std::{pin::Pin, sync::Arc, time::Duration};

use auth_layer::Authority;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use crate::users::Users;

/// The time for which a readiness result is kept.
pub(crate) const RESULT_TTL: Duration = Duration::from_secs(1);

/// The longest wait for a store's answer.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// Checks whether the process can serve, at most once per [`RESULT_TTL`] and one check at a time:
/// anybody may call it. Clones share the result.
#[derive(Clone)]
pub(crate) struct Readiness {
    authority: Authority,
    users: Users,
    shared_cache: Option<Arc<dyn SharedCache>>,
    last: Arc<Mutex<Option<(Instant, StoreChecks)>>>,
}

/// What a check of the stores found: the store of record first, then the shared cache if there is
/// one.
type StoreChecks = Vec<StoreCheck>;

/// What the check of one store found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoreCheck {
    /// Its kind, such as `mongodb`.
    pub(crate) store: &'static str,
    pub(crate) is_up: bool,
    /// How long the answer took.
    pub(crate) took: Duration,
    /// Whether it is a cache, which the process can do without.
    pub(crate) is_cache: bool,
}

/// The shared cache, as the health checks see it.
pub(crate) trait SharedCache: Send + Sync {
    /// Returns the addresses of its servers, without user and password.
    fn addresses(&self) -> Vec<String>;

    /// Returns what an operator should change, one sentence each.
    fn warnings(&self) -> Vec<String>;

    /// Returns whether it can serve.
    fn is_up(&self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>>;
}

impl Readiness {
    pub(crate) fn new(authority: Authority, users: Users, shared_cache: Option<Arc<dyn SharedCache>>) -> Self {
        Self { authority, users, shared_cache, last: Arc::default() }
    }

    /// Returns whether both tokens and users can be read.
    pub(crate) async fn store_is_up(&self) -> bool {
        is_ready(&self.checks().await)
    }

    /// Returns what the last check of each store found.
    pub(crate) async fn checks(&self) -> StoreChecks {
        let mut last = Arc::clone(&self.last).lock_owned().await;
        if let Some((at, checks)) = &*last
            && at.elapsed() < RESULT_TTL
        {
            return checks.clone();
        }
        let this = self.clone();
        // Runs to its end, so that a client that disconnects does not cause another check.
        let check = tokio::spawn(async move {
            let checks = this.check_stores().await;
            *last = Some((Instant::now(), checks.clone()));
            checks
        });
        // An error means that the check panicked.
        check.await.unwrap_or_default()
    }

    /// Returns what an operator should change about the stores, one sentence each.
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.shared_cache.as_ref().map(|cache| cache.warnings()).unwrap_or_default()
    }

    async fn check_stores(&self) -> StoreChecks {
        let record = StoreCheck::run(self.users.store_name(), false, async {
            let (tokens, users) = tokio::join!(self.authority.ping(), self.users.ping());
            tokens.is_ok() && users.is_ok()
        });
        match &self.shared_cache {
            Some(cache) => {
                let (record, cache) = tokio::join!(record, StoreCheck::run("redis", true, cache.is_up()));
                vec![record, cache]
            }
            None => vec![record.await],
        }
    }
}

impl StoreCheck {
    async fn run(store: &'static str, is_cache: bool, ping: impl Future<Output = bool>) -> Self {
        let begun = Instant::now();
        let is_up = timeout(PING_TIMEOUT, ping).await.unwrap_or(false);
        Self { store, is_up, took: begun.elapsed(), is_cache }
    }
}

/// Returns whether the store of record is up.
pub(crate) fn is_ready(checks: &[StoreCheck]) -> bool {
    checks.iter().any(|check| !check.is_cache) && checks.iter().all(|check| check.is_up || check.is_cache)
}
