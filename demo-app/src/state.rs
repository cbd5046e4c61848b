//! What the handlers share.

use std::{future::Future, pin::Pin, sync::Arc};

use auth_layer::Authority;
use metrics_exporter_prometheus::PrometheusHandle;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::{password::Passwords, rate_limit::RateLimit, users::Users};

/// The application's own claims.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The user's name as it was registered.
    pub username: String,
}

/// What the handlers share. Cloning it copies a few pointers.
#[derive(Clone)]
pub struct AppState {
    pub(crate) authority: Authority,
    pub(crate) users: Users,
    pub(crate) passwords: Passwords,
    /// None where it is switched off.
    pub(crate) rate_limit: Option<Arc<RateLimit>>,
    pub(crate) shared_cache: Option<Arc<dyn SharedCache>>,
    pub(crate) metrics: PrometheusHandle,
    /// What the rate limit counts from.
    pub(crate) started: Instant,
}

/// The shared cache, to ask after its health.
pub(crate) trait SharedCache: Send + Sync {
    /// Where its servers are, without user and password.
    fn addresses(&self) -> Vec<String>;

    /// What an operator should change, in one sentence each.
    fn warnings(&self) -> Vec<String>;

    /// Whether it can serve.
    fn is_up(&self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>>;
}
