//! Routes with a description.

use axum::{Router, handler::Handler, routing::on};

use crate::{openapi::Endpoint, state::AppState};

/// Adds described routes to a router.
pub(super) trait RouteEndpoint {
    /// Adds a route: method and path are those of the description.
    fn endpoint<H: Handler<T, AppState>, T: 'static>(self, endpoint: Endpoint, handler: H) -> Self;
}

impl RouteEndpoint for Router<AppState> {
    fn endpoint<H: Handler<T, AppState>, T: 'static>(self, endpoint: Endpoint, handler: H) -> Self {
        self.route(endpoint.path, on(endpoint.method.into(), handler))
    }
}
