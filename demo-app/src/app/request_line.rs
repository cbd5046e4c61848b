//! Logs one line for each request, in a span that all lines of the request share.
//!
//! tower-http's `TraceLayer` logs nothing when the client disconnects. It could name method and
//! route only in a span, and every line of the request would repeat them.

use std::sync::Arc;

use axum::{
    extract::{MatchedPath, Request},
    response::Response,
};
use http::{HeaderMap, Method, StatusCode};
use tokio::time::Instant;
use tower_http::request_id::RequestId;
use tracing::Span;

use crate::{
    telemetry::{RouteMetrics, Telemetry},
    traces,
};

/// A request in progress. It holds the route's pattern, never the path or the query of the request.
pub(super) struct RequestLine {
    span: Span,
    method: Method,
    metrics: Arc<RouteMetrics>,
    started: Instant,
    answered: bool,
}

impl RequestLine {
    /// Begins the line and its span. The span's level is `error`, so that the request id is present
    /// when only errors are logged. `AuthLayer` records `sub` and `sid` in it.
    pub(super) fn begin(request: &Request, telemetry: &Telemetry) -> Self {
        let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
        Self {
            span: traces::request_span(request, request_id(request).unwrap_or("-"), route),
            method: request.method().clone(),
            metrics: telemetry.route(route),
            started: Instant::now(),
            answered: false,
        }
    }

    /// Returns the span for what is logged during the request.
    pub(super) fn span(&self) -> Span {
        self.span.clone()
    }

    /// Logs the response. A gRPC rejection has HTTP status 200 and a `grpc-status`.
    pub(super) fn log_response(self, response: &Response) {
        self.log(response.status(), grpc_status(response.headers()));
    }

    /// Logs the end of a gRPC call, whose status is in its trailers.
    pub(super) fn log_trailers(self, trailers: &HeaderMap) {
        self.log(StatusCode::OK, grpc_status(trailers));
    }

    fn log(mut self, status: StatusCode, grpc_status: Option<u32>) {
        self.answered = true;
        traces::record_answer(&self.span, status, grpc_status);
        tracing::info!(
            parent: &self.span,
            method = %self.method,
            route = self.metrics.route(),
            status = status.as_u16(),
            grpc_status,
            latency_us = self.latency(),
            "request"
        );
        if let Some(code) = grpc_status {
            self.metrics.count_call(code);
        }
        self.record(Some(status));
    }

    /// Records the request in the metrics.
    fn record(&self, status: Option<StatusCode>) {
        self.metrics.record_request(&self.method, status, self.started.elapsed());
    }

    fn latency(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// Returns the status of a gRPC call from its trailers, which may be the headers of the response.
pub(super) fn grpc_status(headers: &HeaderMap) -> Option<u32> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}

fn request_id(request: &Request) -> Option<&str> {
    request.extensions().get::<RequestId>()?.header_value().to_str().ok()
}

impl Drop for RequestLine {
    /// Logs that the client disconnected, or that the server stopped without waiting.
    fn drop(&mut self) {
        if !self.answered {
            traces::record_abandoned(&self.span);
            tracing::info!(
                parent: &self.span,
                method = %self.method,
                route = self.metrics.route(),
                latency_us = self.latency(),
                "request abandoned: the client disconnected or the server stopped"
            );
            self.record(None);
        }
    }
}
