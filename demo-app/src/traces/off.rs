//! No traces: the program is built without the feature `otel`.

use axum::extract::Request;
use http::StatusCode;
use tracing::{Span, field::Empty};
use tracing_subscriber::layer::Identity;

use crate::config::Config;

/// The reason why there are no traces.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TracesError {
    #[error("`--otlp-endpoint` needs a program that is built with `--features otel`; use one, or omit the flag")]
    NotBuilt,
}

/// The traces of the process: none.
#[derive(Debug, Default)]
pub(crate) struct Traces(());

impl Traces {
    #[expect(clippy::unnecessary_wraps, reason = "with the feature it can fail")]
    pub(crate) fn start(_: &Config) -> Result<Self, TracesError> {
        Ok(Self(()))
    }

    #[expect(clippy::unused_self, reason = "with the feature it is needed")]
    pub(crate) fn layer(&self) -> Identity {
        Identity::new()
    }

    #[expect(clippy::unused_self, reason = "with the feature it is needed")]
    pub(crate) fn flush(&self) {}
}

/// Refuses an endpoint.
pub(crate) fn check_flags(config: &Config) -> Result<(), TracesError> {
    if config.otlp_endpoint.is_some() { Err(TracesError::NotBuilt) } else { Ok(()) }
}

/// Creates the span of a request.
pub(crate) fn request_span(_: &Request, request_id: &str, _: Option<&str>) -> Span {
    tracing::error_span!("request", request_id, sub = Empty, sid = Empty)
}

pub(crate) fn record_answer(_: &Span, _: StatusCode, _: Option<u32>) {}

pub(crate) fn record_abandoned(_: &Span) {}
