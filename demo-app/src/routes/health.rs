//! What operators and other services ask.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};
use serde_json::{Value, json};

use crate::state::AppState;

/// The process runs.
pub(crate) async fn alive() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// The process can serve: with the shared cache alone away it can, only slower. The store is up when both tokens and users are.
pub(crate) async fn ready(State(state): State<AppState>) -> Response {
    let cache = async {
        match &state.shared_cache {
            Some(cache) => Some(cache.is_up().await),
            None => None,
        }
    };
    let (tokens, users, cache) = tokio::join!(state.authority.ping(), state.users.ping(), cache);
    let store = tokens.is_ok() && users.is_ok();
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
    if let Some(cache) = &state.shared_cache {
        let warnings = cache.warnings();
        if !warnings.is_empty() {
            answer["warnings"] = warnings.into();
        }
    }
    if store {
        return Json(answer).into_response();
    }
    answer["error"] = "temporarily_unavailable".into();
    answer["error_description"] = "The store cannot be asked at the moment".into();
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], Json(answer)).into_response()
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
