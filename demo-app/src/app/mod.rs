//! Builds the router and its middleware.

mod challenge;
mod endpoint;
mod grpc_call;
mod request_line;

use std::{panic::AssertUnwindSafe, sync::Arc};

use auth_layer::{AuthLayer, middleware::AuthLayerBuilder, rejection::is_grpc};
use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    middleware::{Next, from_fn, from_fn_with_state, map_response_with_state},
    response::{IntoResponse, Response},
    routing::get,
};
use futures_util::FutureExt;
use tower::ServiceBuilder;
use tower_http::request_id::{PropagateRequestIdLayer, SetRequestIdLayer};
use tracing::Instrument;

use self::{endpoint::RouteEndpoint, grpc_call::Call, request_line::RequestLine};
use crate::{
    cookies, csrf,
    deadline::Deadline,
    error::{ApiError, realm},
    grpc, openapi as api, pages, request_id,
    routes::{
        account, admin, events, health,
        oauth::{authorize, introspect, revoke, token, well_known},
        proof, session, signed_in, single_use,
    },
    state::AppState,
    unread::Unread,
};

/// The path of the metrics.
const METRICS: &str = "/metrics";

/// The maximum size of a request body, in bytes.
pub(crate) const BODY_LIMIT: usize = 64 * 1024;

/// Returns the router of the whole application.
pub fn app(state: AppState) -> Router {
    let layer = || layer(&state);
    let first_party = Router::new()
        .endpoint(api::LOGOUT, session::logout)
        .endpoint(api::LOGOUT_ALL, session::logout_all)
        .endpoint(api::LIST_SESSIONS, session::list)
        .endpoint(api::END_SESSION, session::end)
        .endpoint(api::CHANGE_PASSWORD, account::change_password)
        .endpoint(api::ISSUE_SINGLE_USE, single_use::issue)
        .route_layer(from_fn(signed_in::require_first_party))
        .route_layer(layer().build());
    let signed_in =
        Router::new().endpoint(api::ME, account::me).endpoint(api::EVENTS, events::events).route_layer(layer().build());
    let admin = Router::new().endpoint(api::LIST_USERS, admin::list_users).route_layer(layer().scope("admin").build());
    let once =
        Router::new().endpoint(api::SPEND_SINGLE_USE, single_use::spend).route_layer(layer().single_use().build());
    let proxies = Arc::clone(&state.proxies);
    let with_proofs = Router::new()
        .endpoint(api::LOGIN, session::login)
        .endpoint(api::REFRESH, session::refresh)
        .endpoint(api::ISSUE_TOKEN, token::token)
        .endpoint(api::REVOKE_TOKEN, revoke::revoke);
    let with_proofs = match state.oauth.proofs {
        Some(_) => with_proofs.route_layer(map_response_with_state(state.clone(), proof::offer_nonce)),
        None => with_proofs,
    };
    let metrics = Router::new();
    let metrics = if state.metrics_are_elsewhere { metrics } else { metrics.route(METRICS, get(health::metrics)) };
    Router::new()
        .endpoint(api::REGISTER, account::register)
        .endpoint(api::SHOW_SIGN_IN, authorize::show)
        .endpoint(api::SUBMIT_SIGN_IN, authorize::submit)
        .endpoint(api::INTROSPECT_TOKEN, introspect::introspect)
        .endpoint(api::KEYS, well_known::jwks)
        .endpoint(api::SERVER_METADATA, well_known::server)
        .endpoint(api::RESOURCE_METADATA, well_known::resource)
        .endpoint(api::DESCRIPTION, pages::description)
        .endpoint(api::ALIVE, health::alive)
        .endpoint(api::READY, health::ready)
        .route("/", get(pages::page))
        .route("/docs", get(pages::docs))
        .route("/assets/{file}", get(pages::file))
        .route("/.well-known/oauth-authorization-server/{*path}", get(well_known::server))
        .route("/.well-known/oauth-protected-resource/{*path}", get(well_known::resource))
        .merge(metrics)
        .merge(with_proofs)
        .merge(first_party)
        .merge(signed_in)
        .merge(admin)
        .merge(once)
        .merge(grpc::routes(layer().build(), state.readiness.clone()))
        .fallback(async || ApiError::NotFound)
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        .layer(
            ServiceBuilder::new()
                .map_request(move |request| proxies.identify(request))
                .layer(SetRequestIdLayer::new(request_id::HEADER, request_id::UuidV7))
                .layer(PropagateRequestIdLayer::new(request_id::HEADER))
                // One function for all that concerns every request: each `from_fn` boxes the future of
                // what is inside and clones its service.
                .layer(from_fn_with_state(state.clone(), respond))
                // axum's limit, because tower-http's answers 413 by itself, in plain text.
                .layer(DefaultBodyLimit::max(BODY_LIMIT)),
        )
        .with_state(state)
}

/// Returns the router of the address that metrics have of their own.
pub(crate) fn metrics_app(state: AppState) -> Router {
    Router::new()
        .route(METRICS, get(health::metrics))
        .fallback(async || ApiError::NotFound)
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        .with_state(state)
}

/// Begins a layer for tokens of this service's own audience.
fn layer(state: &AppState) -> AuthLayerBuilder {
    let oauth = &state.oauth;
    let layer = AuthLayer::builder(&state.authority).realm(realm()).audience(&oauth.audience);
    let layer = layer.cookie(cookies::access_name());
    oauth.proofs.iter().cloned().fold(layer, AuthLayerBuilder::dpop)
}

/// Answers within the deadline and logs one line. The deadline ends with the headers, so it cuts no
/// stream. The line of a gRPC call comes at its end.
async fn respond(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let line = RequestLine::begin(&request, &state.telemetry);
    let span = line.span();
    if is_grpc(request.method(), request.version(), request.headers()) {
        let (call, request) = Call::begin(request, line);
        let response = if grpc_call::is_misdirected(&request) {
            ApiError::NotFound.into_response()
        } else {
            within_deadline(&state, request, next).instrument(span).await
        };
        return call.respond(response, state.shutdown.clone());
    }
    let (request, unread) = Unread::hold(request);
    let answer = |request| within_deadline(&state, request, next.clone());
    let mut response = state.cors.respond(request, answer).instrument(span).await;
    if let Some(unread) = unread {
        unread.end(&mut response).await;
    }
    line.log_response(&response);
    response
}

/// Answers within the deadline, also if a handler panics.
async fn within_deadline(state: &AppState, mut request: Request, next: Next) -> Response {
    let deadline = Deadline::start();
    request.extensions_mut().insert(deadline.clone());
    // What a panic may leave behind is the request's alone.
    let answer = AssertUnwindSafe(defended(state, request, next)).catch_unwind();
    match deadline.until(answer).await {
        Some(Ok(response)) => response,
        // Without the panic's message, which may hold a secret. The panic hook has logged it.
        Some(Err(_)) => {
            tracing::error!("a handler panicked; answered 500");
            ApiError::Internal.into_response()
        }
        None => ApiError::unavailable().into_response(),
    }
}

async fn defended(state: &AppState, request: Request, next: Next) -> Response {
    let asks_for_proof = challenge::asks_for_proof(&state.oauth, request.headers());
    let response = csrf::defend(state, request, next).await;
    challenge::complete(response, &state.oauth, asks_for_proof)
}

#[cfg(test)]
mod tests;
