//! What each request leaves in the log: one line, and a span around the others.
//!
//! tower-http's `TraceLayer` says nothing of a request whose client goes away. Its line of an answer
//! could name method and route only by a span, and each other line of the request would repeat them.

use axum::{
    extract::{MatchedPath, Request},
    response::Response,
};
use http::Method;
use tokio::time::Instant;
use tower_http::request_id::RequestId;
use tracing::{Span, field::Empty};

/// A request under way. It has the route as the router writes it, never the path or the query that
/// was sent.
pub(super) struct RequestLine {
    id: String,
    method: Method,
    route: String,
    started: Instant,
    answered: bool,
}

impl RequestLine {
    pub(super) fn begin(request: &Request) -> Self {
        Self {
            id: request_id(request).unwrap_or("-").to_owned(),
            method: request.method().clone(),
            route: request.extensions().get::<MatchedPath>().map_or("-".into(), |path| path.as_str().to_owned()),
            started: Instant::now(),
            answered: false,
        }
    }

    /// The span of what is logged while the request is answered. It has the highest level, so that
    /// the identifier is also there where only errors are logged. `AuthLayer` records `sub` and `sid`.
    pub(super) fn span(&self) -> Span {
        tracing::error_span!("request", request_id = self.id, sub = Empty, sid = Empty)
    }

    /// Logs what is answered. gRPC refuses with HTTP 200 and a status of its own.
    pub(super) fn answered(mut self, response: &Response) {
        self.answered = true;
        let grpc_status =
            response.headers().get("grpc-status").and_then(|status| status.to_str().ok()?.parse::<u32>().ok());
        tracing::info!(
            request_id = self.id,
            method = %self.method,
            route = self.route,
            status = response.status().as_u16(),
            grpc_status,
            latency_us = self.latency(),
            "request"
        );
    }

    fn latency(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

fn request_id(request: &Request) -> Option<&str> {
    request.extensions().get::<RequestId>()?.header_value().to_str().ok()
}

impl Drop for RequestLine {
    /// The client went away, or the server ends and did not wait.
    fn drop(&mut self) {
        if !self.answered {
            tracing::info!(
                request_id = self.id,
                method = %self.method,
                route = self.route,
                latency_us = self.latency(),
                "request without an answer"
            );
        }
    }
}
