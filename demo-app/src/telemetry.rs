//! The metrics of a node: their names and the recorder.
//!
//! `docs/metrics.md` lists them all. A test compares the list with what a running node shows.

mod requests;

use std::{sync::Arc, time::Duration};

use auth_layer::{Authority, telemetry};
use chrono::{DateTime, Utc};
use http::header;
use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;

pub(crate) use self::requests::RouteMetrics;
use self::requests::Routes;

const BUILD_INFO: &str = "demo_app_build_info";
const STORE_UP: &str = "store_up";
const SESSIONS: &str = "sessions_recorded";
const SIGN_INS: &str = "sign_ins_total";
const HTTP_REQUESTS: &str = "http_request_duration_seconds";
const HTTP_CONNECTIONS: &str = "http_connections_open";
const GRPC_CALLS: &str = "grpc_calls_total";
const HASHES_WAITING: &str = "password_hashes_waiting";
const HASHES_RUNNING: &str = "password_hashes_running";
const HASH_WAITS: &str = "password_hash_wait_seconds";
const HASHES: &str = "password_hash_duration_seconds";
const HASHES_REFUSED: &str = "password_hashes_refused_total";
const KEYS: &str = "signing_keys";
const KEY_ACTIVE_FROM: &str = "signing_key_active_from_timestamp_seconds";
const CERTIFICATE_NOT_AFTER: &str = "tls_certificate_not_after_timestamp_seconds";

/// The metrics of this process. Cloning it copies pointers.
#[derive(Clone)]
pub(crate) struct Telemetry {
    exporter: PrometheusHandle,
    process: Collector,
    routes: Routes,
}

impl Telemetry {
    /// Installs the recorder. Call it before the stores are opened.
    pub(crate) fn install() -> Self {
        let builder = PrometheusBuilder::new().set_buckets(&telemetry::BUCKETS).unwrap_or_else(|error| {
            tracing::warn!(%error, "histograms are shown as summaries");
            PrometheusBuilder::new()
        });
        let recorder = builder.build_recorder();
        let this = Self::new(recorder.handle());
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("another metrics recorder is installed in this process; /metrics stays empty");
        }
        describe();
        this.process.describe();
        this
    }

    /// Returns the metrics of a recorder that nobody uses.
    #[cfg(test)]
    pub(crate) fn unused() -> Self {
        Self::new(PrometheusBuilder::new().build_recorder().handle())
    }

    fn new(exporter: PrometheusHandle) -> Self {
        Self { exporter, process: Collector::default(), routes: Routes::default() }
    }

    /// Returns the metrics of a route of the router, by its pattern; `None` is a path that has none.
    pub(crate) fn route(&self, pattern: Option<&str>) -> Arc<RouteMetrics> {
        self.routes.get(pattern)
    }

    /// Samples the process, and empties the histograms' buffers. It may block: a process may have
    /// many open files to count.
    pub(crate) fn sample(&self) {
        self.process.collect();
        self.exporter.run_upkeep();
    }

    /// Returns the metrics in Prometheus' text format, with its content type.
    pub(crate) fn render(&self, authority: &Authority) -> ([(header::HeaderName, &'static str); 1], String) {
        authority.trust().record_metrics();
        ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], self.exporter.render())
    }
}

fn describe() {
    telemetry::describe();
    describe_gauge!(BUILD_INFO, "Version of the program; always 1");
    describe_gauge!(STORE_UP, Unit::Count, "Whether the store answered the last check: 1 or 0");
    describe_gauge!(SESSIONS, Unit::Count, "Sessions in the store, also those that have ended and are not removed yet");
    describe_counter!(SIGN_INS, Unit::Count, "Sign-ins, by method and outcome");
    describe_histogram!(
        HTTP_REQUESTS,
        Unit::Seconds,
        "Time to a response's headers, or to the end of a gRPC call, by route, method and class of status"
    );
    describe_gauge!(HTTP_CONNECTIONS, Unit::Count, "Open connections of clients");
    describe_counter!(GRPC_CALLS, Unit::Count, "gRPC calls, by route and status code");
    describe_gauge!(HASHES_WAITING, Unit::Count, "Passwords that wait to be hashed");
    describe_gauge!(HASHES_RUNNING, Unit::Count, "Passwords that are being hashed");
    describe_histogram!(HASH_WAITS, Unit::Seconds, "Time that passwords wait to be hashed");
    describe_histogram!(HASHES, Unit::Seconds, "Time to hash or verify a password");
    describe_counter!(HASHES_REFUSED, Unit::Count, "Passwords that were not hashed because too many others waited");
    describe_gauge!(KEYS, Unit::Count, "Keys in the ring, by state");
    describe_gauge!(KEY_ACTIVE_FROM, Unit::Seconds, "Time from which the present signing key may sign");
    describe_gauge!(CERTIFICATE_NOT_AFTER, Unit::Seconds, "Time at which the served TLS certificate expires");
    metrics::gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    // Exported from the start, so that the first one is an increase.
    metrics::counter!(HASHES_REFUSED).increment(0);
    for gauge in [HTTP_CONNECTIONS, HASHES_WAITING, HASHES_RUNNING] {
        metrics::gauge!(gauge).increment(0.0);
    }
}

/// Sets whether a store answered the last check.
pub(crate) fn set_store_up(store: &'static str, is_up: bool) {
    metrics::gauge!(STORE_UP, "store" => store).set(if is_up { 1.0 } else { 0.0 });
}

/// Sets the number of sessions in the store.
pub(crate) fn set_sessions(sessions: u64) {
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    metrics::gauge!(SESSIONS).set(sessions as f64);
}

/// Counts a sign-in.
pub(crate) fn count_sign_in(method: &'static str, outcome: &'static str) {
    metrics::counter!(SIGN_INS, "method" => method, "outcome" => outcome).increment(1);
}

/// Records how long a password waited.
pub(crate) fn record_hash_wait(waited: Duration) {
    metrics::histogram!(HASH_WAITS).record(waited);
}

/// Records how long it took to hash or verify a password.
pub(crate) fn record_hash(took: Duration) {
    metrics::histogram!(HASHES).record(took);
}

/// Counts a password that waited in vain.
pub(crate) fn count_refused_hash() {
    metrics::counter!(HASHES_REFUSED).increment(1);
}

/// Sets what the ring holds, and from when its present signing key may sign.
pub(crate) fn set_keys(signing: usize, waiting: usize, verifying: usize, active_from: Option<DateTime<Utc>>) {
    for (state, keys) in [("signing", signing), ("waiting", waiting), ("verifying", verifying)] {
        metrics::gauge!(KEYS, "state" => state).set(u32::try_from(keys).unwrap_or(u32::MAX));
    }
    if let Some(active_from) = active_from {
        set_time(KEY_ACTIVE_FROM, active_from);
    }
}

/// Sets when the served certificate expires.
pub(crate) fn set_certificate_end(valid_until: DateTime<Utc>) {
    set_time(CERTIFICATE_NOT_AFTER, valid_until);
}

fn set_time(gauge: &'static str, time: DateTime<Utc>) {
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    metrics::gauge!(gauge).set(time.timestamp() as f64);
}

/// Counts one more until it is dropped.
pub(crate) struct Counted(metrics::Gauge);

impl Counted {
    /// Counts an open connection.
    pub(crate) fn connection() -> Self {
        Self::new(metrics::gauge!(HTTP_CONNECTIONS))
    }

    /// Counts a password that waits to be hashed.
    pub(crate) fn waiting_hash() -> Self {
        Self::new(metrics::gauge!(HASHES_WAITING))
    }

    /// Counts a password that is being hashed.
    pub(crate) fn running_hash() -> Self {
        Self::new(metrics::gauge!(HASHES_RUNNING))
    }

    fn new(gauge: metrics::Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
