//! The state that handlers share.

use std::{ops::Deref, sync::Arc};

use auth_layer::{
    Authority,
    clock::Clock,
    store::{StoreError, embedded::EmbeddedStore, mongodb::MongoStore},
};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::{
    clients::Clients, cors::Cors, csrf::OriginCheck, oauth::OAuth, open_streams::OpenStreams, password::Passwords,
    rate_limit::RateLimit, readiness::Readiness, shutdown::Shutdown, telemetry::Telemetry,
    trusted_proxies::TrustedProxies, users::Users,
};

/// The custom claims of a user's tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The username as registered.
    pub username: String,
}

/// The custom claims of any token: a user's has an [`Identity`], a client's own has none.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TokenClaims {
    username: Option<String>,
}

/// The state that handlers share. Cloning it copies one pointer: each route and layer has a clone,
/// and axum clones them with every request.
#[derive(Clone)]
pub struct AppState(pub(crate) Arc<SharedState>);

/// What [`AppState`] points to.
#[derive(Clone)]
pub struct SharedState {
    pub(crate) authority: Authority,
    pub(crate) users: Users,
    pub(crate) clients: Clients,
    pub(crate) oauth: Arc<OAuth>,
    /// Dates proofs of possession. The authority has the same clock.
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) passwords: Passwords,
    /// `None` when `--rate-limit` is off.
    pub(crate) rate_limit: Option<Arc<RateLimit>>,
    pub(crate) open_streams: OpenStreams,
    pub(crate) proxies: Arc<TrustedProxies>,
    pub(crate) origin_check: OriginCheck,
    pub(crate) cors: Cors,
    pub(crate) readiness: Readiness,
    pub(crate) sessions: SessionCount,
    pub(crate) telemetry: Telemetry,
    /// Whether the metrics have an address of their own.
    pub(crate) metrics_are_elsewhere: bool,
    /// The moment from which the rate limit counts.
    pub(crate) started: Instant,
    pub(crate) shutdown: Shutdown,
}

impl Deref for AppState {
    type Target = SharedState;

    fn deref(&self) -> &SharedState {
        &self.0
    }
}

/// Counts the sessions in a store.
#[derive(Clone)]
pub(crate) enum SessionCount {
    Embedded(Arc<EmbeddedStore>),
    Mongo(MongoStore),
    /// A store of a test.
    #[cfg(test)]
    Unknown,
}

impl SessionCount {
    /// Returns the number of sessions that are recorded, also those that have ended and are not
    /// removed yet.
    pub(crate) async fn count(&self) -> Result<u64, StoreError> {
        match self {
            Self::Embedded(store) => store.session_count().await,
            Self::Mongo(store) => store.session_count().await,
            #[cfg(test)]
            Self::Unknown => Ok(0),
        }
    }
}
