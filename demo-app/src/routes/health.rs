//! Handlers for operators and other services.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};
use serde::Serialize;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};
use utoipa::ToSchema;

use crate::state::AppState;

#[derive(Serialize, ToSchema)]
pub(crate) struct AliveResponse {
    status: &'static str,
}

/// Answers 200 while the process runs.
pub(crate) async fn alive() -> Json<AliveResponse> {
    Json(AliveResponse { status: "ok" })
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
}

/// Returns whether the store of record is up.
fn is_ready(checks: &[StoreCheck]) -> bool {
    checks.iter().any(|check| !check.is_cache) && checks.iter().all(|check| check.is_up || check.is_cache)
}

#[derive(Serialize, ToSchema)]
pub(crate) struct ReadyResponse {
    status: ReadyStatus,
    store: UpOrDown,
    /// Absent without a shared cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    cache: Option<UpOrDown>,
    /// Each store by its name: `embedded`, `mongodb`, `redis`.
    checks: BTreeMap<&'static str, StoreAnswer>,
    /// What an operator should change.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    warnings: Vec<String>,
    /// Present with status 503, as with each error.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    error: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    error_description: Option<&'static str>,
}

/// What a store answered. It says nothing of why or where it is down: anybody may ask.
#[derive(Serialize, ToSchema)]
struct StoreAnswer {
    status: UpOrDown,
    /// Absent while it is down.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    latency_ms: Option<f64>,
}

impl From<&StoreCheck> for StoreAnswer {
    fn from(check: &StoreCheck) -> Self {
        let micros = u32::try_from(check.took.as_micros()).unwrap_or(u32::MAX);
        Self { status: check.is_up.into(), latency_ms: check.is_up.then(|| f64::from(micros) / 1_000.0) }
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum ReadyStatus {
    Ok,
    /// The shared cache is down, and the node serves.
    Degraded,
    Unavailable,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum UpOrDown {
    Up,
    Down,
}

impl From<bool> for UpOrDown {
    fn from(is_up: bool) -> Self {
        if is_up { Self::Up } else { Self::Down }
    }
}

/// Answers 503 if the store of record is down. Without its shared cache the process is `degraded`
/// and serves.
pub(crate) async fn ready(readiness: Readiness) -> Response {
    let checks = readiness.checks().await;
    let is_ready = is_ready(&checks);
    let answer = ReadyResponse {
        status: match (is_ready, checks.iter().all(|check| check.is_up)) {
            (false, _) => ReadyStatus::Unavailable,
            (true, false) => ReadyStatus::Degraded,
            (true, true) => ReadyStatus::Ok,
        },
        store: is_ready.into(),
        cache: checks.iter().find(|check| check.is_cache).map(|cache| cache.is_up.into()),
        checks: checks.iter().map(|check| (check.store, check.into())).collect(),
        warnings: readiness.state.shared_cache.as_ref().map(|cache| cache.warnings()).unwrap_or_default(),
        error: (!is_ready).then_some("temporarily_unavailable"),
        error_description: (!is_ready).then_some("The store is unavailable; retry after the time in Retry-After"),
    };
    if is_ready {
        return Json(answer).into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], Json(answer)).into_response()
}

/// Returns the metrics in Prometheus' text format.
pub(crate) async fn metrics(State(state): State<AppState>) -> impl IntoResponse {
    state.telemetry.render(&state.authority)
}
