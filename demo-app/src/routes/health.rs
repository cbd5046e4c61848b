//! What operators and other services ask.

use axum::{Json, extract::State, response::IntoResponse};
use http::{StatusCode, header};
use serde_json::{Value, json};

use crate::state::AppState;

/// The process runs.
pub(crate) async fn alive() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// The process can serve: with the shared cache alone away it can, only slower.
pub(crate) async fn ready(State(state): State<AppState>) -> (StatusCode, Json<Value>) {
    let cache = async {
        match &state.shared_cache {
            Some(cache) => Some(cache.is_up().await),
            None => None,
        }
    };
    let (store, cache) = tokio::join!(state.authority.ping(), cache);
    let up = |up: bool| if up { "up" } else { "down" };
    let (code, status) = match (&store, cache) {
        (Err(_), _) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        (Ok(()), Some(false)) => (StatusCode::OK, "degraded"),
        (Ok(()), _) => (StatusCode::OK, "ok"),
    };
    let mut answer = json!({ "status": status, "store": up(store.is_ok()) });
    if let Some(cache) = cache {
        answer["cache"] = up(cache).into();
    }
    (code, Json(answer))
}

/// What was counted, in the text format of Prometheus.
pub(crate) async fn metrics(State(state): State<AppState>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], state.metrics.render())
}

/// The public keys (RFC 7517 §5).
pub(crate) async fn jwks(State(state): State<AppState>) -> Json<Value> {
    let keys = state.authority.keys();
    let keys: Vec<Value> = keys.verifying_keys().filter_map(auth_layer::keys::VerifyingKey::to_jwk).collect();
    Json(json!({ "keys": keys }))
}
