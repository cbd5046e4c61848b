//! What an operator sees of a process: the names of the metrics, and what they count.
//!
//! The feature `metrics` counts through the [`metrics`](https://docs.rs/metrics) facade. Install the
//! recorder first, then call [`describe`]. [`MeasuredStore`](crate::store::MeasuredStore)
//! measures a store. [`Trust::record_metrics`](crate::Trust::record_metrics) is called before
//! each scrape: checks are too frequent to be counted in a recorder one by one.
//!
//! ```
//! # #[cfg(feature = "metrics")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use auth_layer::{
//!     AuthLayer, Authority,
//!     keys::{Keyring, SigningKey},
//!     store::{MeasuredStore, MemoryStore},
//!     telemetry,
//! };
//! use metrics_exporter_prometheus::PrometheusBuilder;
//!
//! let recorder = PrometheusBuilder::new().set_buckets(&telemetry::BUCKETS)?.build_recorder();
//! let exporter = recorder.handle();
//! metrics::set_global_recorder(recorder)?;
//! telemetry::describe();
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
//! # let _inside = runtime.enter();
//! let store = MeasuredStore::new("memory", MemoryStore::new());
//! let keys = Keyring::new(SigningKey::generate()?);
//! let authority = Authority::builder("https://auth.example", store)
//!     .audience("api")
//!     .keys(keys)
//!     .build()?;
//!
//! // The answer to `GET /metrics`:
//! authority.trust().record_metrics();
//! let text = exporter.render();
//! assert!(text.contains(r#"auth_checks_total{tier="store",outcome="accepted"} 0"#));
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "metrics"))]
//! # fn main() {}
//! ```

#[cfg(feature = "metrics")]
mod described;
#[cfg(feature = "metrics")]
mod timer;

#[cfg(feature = "metrics")]
pub use self::described::{BUCKETS, describe};
#[cfg(feature = "metrics")]
pub(crate) use self::{
    described::{
        CACHE_BYTES, CACHE_ENTRIES, CACHE_MAX_BYTES, CACHE_MAX_ENTRIES, CHECKS, SHARED_LOOKUPS, STORE_OPERATIONS,
    },
    timer::Timer,
};

pub(crate) const DENIALS: &str = "auth_denials_total";
pub(crate) const LEASE_LOSSES: &str = "auth_lease_losses_total";
pub(crate) const REVOCATIONS: &str = "auth_revocations_total";
pub(crate) const SINGLE_USES: &str = "auth_single_uses_total";
#[cfg(feature = "discovery")]
pub(crate) const JWKS_FETCHES: &str = "auth_jwks_fetches_total";

/// Adds one to a counter with these labels.
#[cfg(feature = "metrics")]
pub(crate) fn count<const LABELS: usize>(counter: &'static str, labels: [(&'static str, &str); LABELS]) {
    let labels = labels.map(|(name, value)| metrics::Label::new(name, value.to_owned()));
    metrics::counter!(counter, labels.to_vec()).increment(1);
}

/// Counts nothing without the feature.
#[cfg(not(feature = "metrics"))]
pub(crate) fn count<const LABELS: usize>(_: &'static str, _: [(&'static str, &str); LABELS]) {}

/// Returns the label of an outcome that is a success or a failure.
pub(crate) fn outcome<T, E>(done: &Result<T, E>) -> &'static str {
    if done.is_ok() { "ok" } else { "error" }
}
