//! The line that each request leaves in the log.

use axum::{
    extract::{MatchedPath, Request},
    response::Response,
};
use http::Method;
use tokio::time::Instant;

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
            id: uuid::Uuid::now_v7().to_string(),
            method: request.method().clone(),
            route: request.extensions().get::<MatchedPath>().map_or("-".into(), |path| path.as_str().to_owned()),
            started: Instant::now(),
            answered: false,
        }
    }

    /// Logs what is answered, and returns the identifier of the request. gRPC refuses with HTTP 200
    /// and a status of its own.
    pub(super) fn answered(mut self, response: &Response) -> String {
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
        std::mem::take(&mut self.id)
    }

    fn latency(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
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
