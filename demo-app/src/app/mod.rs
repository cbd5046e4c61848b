//! Builds the router and its middleware.

mod request_id;
mod request_line;

use std::any::Any;

use auth_layer::AuthLayer;
use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use tower::ServiceBuilder;
use tower_http::{
    catch_panic::CatchPanicLayer,
    request_id::{PropagateRequestIdLayer, SetRequestIdLayer},
};
use tracing::Instrument;

use self::request_line::RequestLine;
use crate::{
    deadline::Deadline,
    error::{ApiError, realm},
    routes::{
        account,
        health::{self, Readiness},
        session, single_use,
    },
    state::AppState,
};

/// The maximum size of a request body, in bytes.
const BODY_LIMIT: usize = 64 * 1024;

/// Returns the router of the whole application.
pub fn app(state: AppState) -> Router {
    let layer = || AuthLayer::builder(&state.authority).realm(realm());
    let signed_in = Router::new()
        .route("/auth/logout", post(session::logout))
        .route("/auth/logout-all", post(session::logout_all))
        .route("/auth/sessions", get(session::list))
        .route("/auth/sessions/{session_id}", delete(session::end))
        .route("/auth/password", post(account::change_password))
        .route("/auth/single-use", post(single_use::issue))
        .route("/me", get(account::me))
        .route_layer(layer().build());
    let once =
        Router::new().route("/demo/single-use", post(single_use::spend)).route_layer(layer().single_use().build());
    Router::new()
        .route("/auth/register", post(account::register))
        .route("/auth/login", post(session::login))
        .route("/auth/refresh", post(session::refresh))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready).with_state(Readiness::new(&state)))
        .route("/metrics", get(health::metrics))
        .route("/.well-known/jwks.json", get(health::jwks))
        .merge(signed_in)
        .merge(once)
        .fallback(async || ApiError::NotFound)
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        .layer(
            ServiceBuilder::new()
                .map_request(request_id::keep_plain)
                .layer(SetRequestIdLayer::new(request_id::HEADER, request_id::UuidV7))
                .layer(PropagateRequestIdLayer::new(request_id::HEADER))
                .layer(from_fn(with_deadline_and_log))
                .layer(CatchPanicLayer::custom(respond_to_panic))
                // axum's limit, because tower-http's answers 413 by itself, in plain text.
                .layer(DefaultBodyLimit::max(BODY_LIMIT)),
        )
        .with_state(state)
}

/// Answers within the deadline and logs one line.
async fn with_deadline_and_log(mut request: Request, next: Next) -> Response {
    let line = RequestLine::begin(&request);
    let deadline = Deadline::start();
    request.extensions_mut().insert(deadline.clone());
    let answer = deadline.until(next.run(request)).instrument(line.span()).await;
    let response = answer.unwrap_or_else(|| ApiError::unavailable().into_response());
    line.log_response(&response);
    response
}

/// Answers 500 without the panic's message, which may hold a secret. The panic hook has logged it.
fn respond_to_panic(_: Box<dyn Any + Send>) -> Response {
    tracing::error!("a handler panicked; answered 500");
    ApiError::Internal.into_response()
}

#[cfg(test)]
mod tests;
