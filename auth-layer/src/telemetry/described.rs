//! Names and descriptions of the metrics.

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge};

use super::{DENIALS, LEASE_LOSSES, REVOCATIONS, SINGLE_USES};

pub(crate) const CHECKS: &str = "auth_checks_total";
pub(crate) const STORE_OPERATIONS: &str = "auth_store_operation_duration_seconds";
pub(crate) const SHARED_LOOKUPS: &str = "auth_shared_cache_lookups_total";
pub(crate) const CACHE_ENTRIES: &str = "auth_local_cache_entries";
pub(crate) const CACHE_BYTES: &str = "auth_local_cache_bytes";
pub(crate) const CACHE_MAX_ENTRIES: &str = "auth_local_cache_max_entries";
pub(crate) const CACHE_MAX_BYTES: &str = "auth_local_cache_max_bytes";
const REUSE: &str = "auth_refresh_reuse_total";
const STREAMS: &str = "auth_streams_open";
const STREAMS_ENDED: &str = "auth_streams_ended_total";

/// Upper bounds for histograms of times, in seconds: from an answer of a file's cache to the
/// default deadline of a check.
pub const BUCKETS: [f64; 14] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];

/// Describes the metrics to the recorder, and exports the counters for alerts from zero: the
/// first event must be an increase.
///
/// The [module's documentation](super) has an example.
pub fn describe() {
    describe_counter!(CHECKS, Unit::Count, "Checks of tokens, by the tier that answered and by outcome");
    describe_histogram!(
        STORE_OPERATIONS,
        Unit::Seconds,
        "Time that calls of a store or a shared cache take, by operation and outcome"
    );
    describe_counter!(
        SHARED_LOOKUPS,
        Unit::Count,
        "Tokens looked up in a shared cache, by what it knew; errors included"
    );
    describe_gauge!(CACHE_ENTRIES, Unit::Count, "Tokens in the in-process cache");
    describe_gauge!(CACHE_BYTES, Unit::Bytes, "Estimated size of the in-process cache");
    describe_gauge!(CACHE_MAX_ENTRIES, Unit::Count, "Limit of tokens in the in-process cache");
    describe_gauge!(CACHE_MAX_BYTES, Unit::Bytes, "Limit of the size of the in-process cache");
    describe_counter!(
        LEASE_LOSSES,
        Unit::Count,
        "Times that all cached liveness was dropped, because news may have been missed or were too many"
    );
    describe_counter!(REVOCATIONS, Unit::Count, "Calls that revoke, by what they revoke and by outcome");
    describe_counter!(DENIALS, Unit::Count, "Denials of other issuers' tokens, sessions and subjects, by outcome");
    describe_counter!(SINGLE_USES, Unit::Count, "Tries to use up a single-use token, by outcome");
    describe_counter!(REUSE, Unit::Count, "Reused refresh tokens; each reuse revoked its session");
    describe_gauge!(STREAMS, Unit::Count, "Open streams that end with their session");
    describe_counter!(STREAMS_ENDED, Unit::Count, "Streams that were ended, by reason");
    #[cfg(feature = "discovery")]
    describe_counter!(super::JWKS_FETCHES, Unit::Count, "Fetches of other issuers' keys, by issuer and outcome");
    counter!(REUSE).increment(0);
    counter!(LEASE_LOSSES, "reason" => "gap").increment(0);
    gauge!(STREAMS).increment(0.0);
}
