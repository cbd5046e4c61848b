//! The state that handlers share.

use std::{future::Future, pin::Pin, sync::Arc};

use auth_layer::Authority;
use metrics_exporter_prometheus::PrometheusHandle;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::{password::Passwords, rate_limit::RateLimit, users::Users};

/// The application's custom claims.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The username as registered.
    pub username: String,
}

/// The state that handlers share. Clones are cheap: they copy a few pointers.
#[derive(Clone)]
pub struct AppState {
    pub(crate) authority: Authority,
    pub(crate) users: Users,
    pub(crate) passwords: Passwords,
    /// `None` when `--rate-limit` is off.
    pub(crate) rate_limit: Option<Arc<RateLimit>>,
    pub(crate) shared_cache: Option<Arc<dyn SharedCache>>,
    pub(crate) metrics: PrometheusHandle,
    /// The moment from which the rate limit counts.
    pub(crate) started: Instant,
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
