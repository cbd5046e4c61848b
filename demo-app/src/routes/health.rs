//! Handlers for operators and other services.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};
use serde_json::{Value, json};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use crate::state::AppState;

/// Answers 200 while the process runs.
pub(crate) async fn alive() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// The time for which a readiness result is kept.
pub(crate) const RESULT_TTL: Duration = Duration::from_secs(1);

/// The longest wait for a store's answer.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// Checks whether the process can serve, at most once per [`RESULT_TTL`] and one check at a time:
/// anybody may call it.
#[derive(Clone)]
pub(crate) struct Readiness {
    state: AppState,
    last: Arc<Mutex<Option<(Instant, HealthStatus)>>>,
}

#[derive(Clone, Copy)]
struct HealthStatus {
    /// True if both tokens and users can be read.
    store: bool,
    /// `None` without a shared cache.
    cache: Option<bool>,
}

impl Readiness {
    pub(crate) fn new(state: &AppState) -> Self {
        Self { state: state.clone(), last: Arc::default() }
    }

    /// Returns whether both tokens and users can be read.
    pub(crate) async fn store_is_up(&self) -> bool {
        self.health().await.store
    }

    async fn health(&self) -> HealthStatus {
        let mut last = Arc::clone(&self.last).lock_owned().await;
        if let Some((at, health)) = *last
            && at.elapsed() < RESULT_TTL
        {
            return health;
        }
        let state = self.state.clone();
        // Runs to its end, so that a client that disconnects does not cause another check.
        let check = tokio::spawn(async move {
            let health = HealthStatus::of(&state).await;
            *last = Some((Instant::now(), health));
            health
        });
        // An error means that the check panicked.
        check.await.unwrap_or(HealthStatus { store: false, cache: None })
    }
}

impl HealthStatus {
    async fn of(state: &AppState) -> Self {
        let cache = async {
            match &state.shared_cache {
                Some(cache) => Some(timeout(PING_TIMEOUT, cache.is_up()).await.unwrap_or(false)),
                None => None,
            }
        };
        let tokens = async { matches!(timeout(PING_TIMEOUT, state.authority.ping()).await, Ok(Ok(()))) };
        let users = async { matches!(timeout(PING_TIMEOUT, state.users.ping()).await, Ok(Ok(()))) };
        let (tokens, users, cache) = tokio::join!(tokens, users, cache);
        Self { store: tokens && users, cache }
    }
}

/// Answers 503 if a store is down. Without its shared cache the process is `degraded` and serves.
pub(crate) async fn ready(State(readiness): State<Readiness>) -> Response {
    let HealthStatus { store, cache } = readiness.health().await;
    let up = |up: bool| if up { "up" } else { "down" };
    let status = match (store, cache) {
        (false, _) => "unavailable",
        (true, Some(false)) => "degraded",
        (true, _) => "ok",
    };
    let mut answer = json!({ "status": status, "store": up(store) });
    if let Some(cache) = cache {
        answer["cache"] = up(cache).into();
    }
    if let Some(cache) = &readiness.state.shared_cache {
        let warnings = cache.warnings();
        if !warnings.is_empty() {
            answer["warnings"] = warnings.into();
        }
    }
    if store {
        return Json(answer).into_response();
    }
    answer["error"] = "temporarily_unavailable".into();
    answer["error_description"] = "The store is unavailable; retry after the time in Retry-After".into();
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], Json(answer)).into_response()
}

/// Returns the metrics in Prometheus' text format.
pub(crate) async fn metrics(State(state): State<AppState>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], state.metrics.render())
}
