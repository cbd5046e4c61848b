//! Handlers for operators and other services.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};
use serde_json::{Map, Value, json};
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
    took: Duration,
    /// Whether it is a cache, which the process can do without.
    is_cache: bool,
}

impl Readiness {
    pub(crate) fn new(state: &AppState) -> Self {
        Self { state: state.clone(), last: Arc::default() }
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
        let state = self.state.clone();
        // Runs to its end, so that a client that disconnects does not cause another check.
        let check = tokio::spawn(async move {
            let checks = check_stores(&state).await;
            *last = Some((Instant::now(), checks.clone()));
            checks
        });
        // An error means that the check panicked.
        check.await.unwrap_or_default()
    }
}

async fn check_stores(state: &AppState) -> StoreChecks {
    let record = StoreCheck::run(state.users.store_name(), false, async {
        let (tokens, users) = tokio::join!(state.authority.ping(), state.users.ping());
        tokens.is_ok() && users.is_ok()
    });
    match &state.shared_cache {
        Some(cache) => {
            let (record, cache) = tokio::join!(record, StoreCheck::run("redis", true, cache.is_up()));
            vec![record, cache]
        }
        None => vec![record.await],
    }
}

impl StoreCheck {
    async fn run(store: &'static str, is_cache: bool, ping: impl Future<Output = bool>) -> Self {
        let begun = Instant::now();
        let is_up = timeout(PING_TIMEOUT, ping).await.unwrap_or(false);
        Self { store, is_up, took: begun.elapsed(), is_cache }
    }

    /// Says nothing of why or where a store is down: anybody may ask.
    fn to_json(self) -> Value {
        if self.is_up {
            let micros = u32::try_from(self.took.as_micros()).unwrap_or(u32::MAX);
            json!({ "status": "up", "latency_ms": f64::from(micros) / 1_000.0 })
        } else {
            json!({ "status": "down" })
        }
    }
}

/// Returns whether the store of record is up.
fn is_ready(checks: &[StoreCheck]) -> bool {
    checks.iter().any(|check| !check.is_cache) && checks.iter().all(|check| check.is_up || check.is_cache)
}

/// Answers 503 if the store of record is down. Without its shared cache the process is `degraded`
/// and serves.
pub(crate) async fn ready(State(readiness): State<Readiness>) -> Response {
    let checks = readiness.checks().await;
    let is_ready = is_ready(&checks);
    let up = |up: bool| if up { "up" } else { "down" };
    let status = if !is_ready {
        "unavailable"
    } else if checks.iter().all(|check| check.is_up) {
        "ok"
    } else {
        "degraded"
    };
    let by_store: Map<String, Value> = checks.iter().map(|check| (check.store.to_owned(), check.to_json())).collect();
    let mut answer = json!({ "status": status, "store": up(is_ready), "checks": by_store });
    if let Some(cache) = checks.iter().find(|check| check.is_cache) {
        answer["cache"] = up(cache.is_up).into();
    }
    if let Some(cache) = &readiness.state.shared_cache {
        let warnings = cache.warnings();
        if !warnings.is_empty() {
            answer["warnings"] = warnings.into();
        }
    }
    if is_ready {
        return Json(answer).into_response();
    }
    answer["error"] = "temporarily_unavailable".into();
    answer["error_description"] = "The store is unavailable; retry after the time in Retry-After".into();
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], Json(answer)).into_response()
}

/// Returns the metrics in Prometheus' text format.
pub(crate) async fn metrics(State(state): State<AppState>) -> impl IntoResponse {
    state.telemetry.render(&state.authority)
}
