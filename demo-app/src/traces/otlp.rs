//! Sends the span of each request to an OpenTelemetry collector, by OTLP over HTTP.
//!
//! A thread of its own sends them in batches, so no request waits for the collector. What does not
//! fit in its queue is dropped, with a warning. A span has what the log has of a request: method,
//! route, status, `request_id`, `sub` and `sid`.
//!
//! A trace goes on from a `traceparent` of a trusted proxy alone. Others could have each of their
//! requests recorded, whatever the sampler says, or shown in a trace of somebody else.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use axum::extract::Request;
use http::{HeaderMap, StatusCode};
use opentelemetry::{
    propagation::{Extractor, TextMapPropagator},
    trace::{Status, TracerProvider},
};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    resource::{EnvResourceDetector, ResourceDetector},
    trace::SdkTracerProvider,
};
use tonic::Code;
use tracing::{Metadata, Span, field::Empty};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{Layer, filter::filter_fn, registry::LookupSpan};

use crate::{
    config::Config,
    methods::{self, KNOWN},
    trusted_proxies::FromTrustedProxy,
};

/// The longest wait for the last spans when the program ends.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

/// Whether spans are sent. The subscriber that sends them is the process's, too.
static IS_ON: AtomicBool = AtomicBool::new(false);

/// The reason why spans cannot be sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TracesError {
    #[error("`--otlp-endpoint`: the exporter cannot be set up: {0}; check the URL and the variables OTEL_*")]
    Exporter(#[from] ExporterBuildError),
}

/// The traces of the process.
#[derive(Debug, Default)]
pub(crate) struct Traces(Option<SdkTracerProvider>);

impl Traces {
    /// Starts the thread that sends spans, if there is an endpoint.
    pub(crate) fn start(config: &Config) -> Result<Self, TracesError> {
        let Some(endpoint) = &config.otlp_endpoint else { return Ok(Self(None)) };
        let endpoint = format!("{}/v1/traces", endpoint.trim_end_matches('/'));
        let exporter = SpanExporter::builder().with_http().with_endpoint(endpoint).build()?;
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource()).build();
        IS_ON.store(true, Ordering::Relaxed);
        Ok(Self(Some(provider)))
    }

    /// Returns the layer that sends spans. It takes requests' spans alone, and no event.
    pub(crate) fn layer<S>(&self) -> Option<impl Layer<S> + use<S>>
    where
        S: tracing::Subscriber + for<'lookup> LookupSpan<'lookup>,
    {
        let tracer = self.0.as_ref()?.tracer(env!("CARGO_PKG_NAME"));
        let layer = tracing_opentelemetry::layer().with_tracer(tracer);
        let layer = layer.with_location(false).with_threads(false).with_target(false).with_tracked_inactivity(false);
        Some(layer.with_filter(filter_fn(is_request)))
    }

    /// Sends the last spans, for [`FLUSH_TIMEOUT`] at most, and ends.
    pub(crate) fn flush(&self) {
        if let Some(provider) = &self.0
            && let Err(error) = provider.shutdown_with_timeout(FLUSH_TIMEOUT)
        {
            tracing::warn!(%error, "the last spans were not sent to `--otlp-endpoint`");
        }
    }
}

/// Returns what the spans come from. `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` say it
/// otherwise.
fn resource() -> Resource {
    let is_named = std::env::var_os("OTEL_SERVICE_NAME").is_some_and(|name| !name.is_empty())
        || EnvResourceDetector::new().detect().get(&"service.name".into()).is_some();
    let resource = Resource::builder();
    if is_named { resource } else { resource.with_service_name(env!("CARGO_PKG_NAME")) }.build()
}

fn is_request(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.target() == module_path!()
}

/// Refuses nothing: the flag has its own check.
#[expect(clippy::unnecessary_wraps, reason = "without the feature it can fail")]
pub(crate) fn check_flags(_: &Config) -> Result<(), TracesError> {
    Ok(())
}

/// Creates the span of a request. Fields that begin with `otel.` are for the exporter alone.
pub(crate) fn request_span(request: &Request, request_id: &str, route: Option<&str>) -> Span {
    if !IS_ON.load(Ordering::Relaxed) {
        return tracing::error_span!("request", request_id, sub = Empty, sid = Empty);
    }
    let method = methods::place(request.method()).map(|place| KNOWN[place].as_str());
    let mut name = method.unwrap_or("HTTP").to_owned();
    if let Some(route) = route {
        name = name + " " + route;
    }
    let span =
        tracing::error_span!("request", request_id, sub = Empty, sid = Empty, otel.name = name, otel.kind = "server");
    if request.extensions().get::<FromTrustedProxy>().is_some() {
        // An error means that the filter of the log hides the span.
        let _ = span.set_parent(TraceContextPropagator::new().extract(&Headers(request.headers())));
    }
    span.set_attribute("http.request.method", method.unwrap_or("_OTHER"));
    if let Some(route) = route {
        span.set_attribute("http.route", route.to_owned());
    }
    span
}

/// Records how a request was answered, by the conventions of OpenTelemetry for servers.
pub(crate) fn record_answer(span: &Span, status: StatusCode, grpc_status: Option<u32>) {
    if !IS_ON.load(Ordering::Relaxed) {
        return;
    }
    span.set_attribute("http.response.status_code", i64::from(status.as_u16()));
    let is_fault = match grpc_status {
        Some(code) => {
            span.set_attribute("rpc.grpc.status_code", i64::from(code));
            is_fault_of_server(code)
        }
        None => status.is_server_error(),
    };
    if is_fault {
        span.set_status(Status::error(""));
    }
}

/// Records that a request ended without an answer.
pub(crate) fn record_abandoned(span: &Span) {
    if IS_ON.load(Ordering::Relaxed) {
        span.set_attribute("error.type", "abandoned");
    }
}

fn is_fault_of_server(grpc_status: u32) -> bool {
    let faults =
        [Code::Unknown, Code::DeadlineExceeded, Code::Unimplemented, Code::Internal, Code::Unavailable, Code::DataLoss];
    faults.iter().any(|code| *code as u32 == grpc_status)
}

/// The headers of a request, for the propagator.
struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}
