//! Handlers for operators and other services.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    readiness::{StoreCheck, is_ready},
    state::AppState,
};

#[derive(Serialize, ToSchema)]
pub(crate) struct AliveResponse {
    status: &'static str,
}

/// Answers 200 while the process runs.
pub(crate) async fn alive() -> Json<AliveResponse> {
    Json(AliveResponse { status: "ok" })
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
pub(crate) async fn ready(State(state): State<AppState>) -> Response {
    let checks = state.readiness.checks().await;
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
        warnings: state.readiness.warnings(),
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
