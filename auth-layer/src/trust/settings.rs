//! What an authority and a trust are set up with alike.

use std::{sync::Arc, time::Duration};

use crate::{
    clock::{Clock, SystemClock},
    local::Limits,
    store::ErasedStore,
};

/// What is looked at first: a token's record or its signature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckOrder {
    /// The record, then the signature: a revoked token costs no signature. A forged token costs a lookup in the cache or the
    /// store, up to a number a second (`forged_lookups`); beyond that signatures come first.
    #[default]
    RecordFirst,
    /// The signature, then the record: a forged token costs a signature check (tens of microseconds of one core, see the
    /// documentation's table) and never reaches a store.
    SignatureFirst,
}

/// How tokens are checked, whatever a layer demands of them.
#[derive(Clone)]
pub(crate) struct CheckSettings {
    pub(crate) leeway: Duration,
    pub(crate) clock_skew_margin: Duration,
    pub(crate) deadline: Duration,
    pub(crate) max_token_bytes: usize,
    pub(crate) check_order: CheckOrder,
    pub(crate) lease: Duration,
    pub(crate) limits: Limits,
    pub(crate) forged_lookups: u32,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Default for CheckSettings {
    fn default() -> Self {
        Self {
            leeway: Duration::from_secs(30),
            clock_skew_margin: Duration::from_mins(5),
            deadline: Duration::from_millis(2_500),
            max_token_bytes: 8 * 1024,
            check_order: CheckOrder::default(),
            lease: Duration::ZERO,
            limits: Limits { entries: 100_000, bytes: 64 << 20 },
            forged_lookups: 100,
            clock: Arc::new(SystemClock::new()),
        }
    }
}

/// Settings that cannot work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A name that tokens carry is empty.
    #[error("the {0} is empty")]
    Empty(&'static str),
    /// Something without which nothing can be built was not given.
    #[error("no {0} was given")]
    Missing(&'static str),
    /// This is zero, or longer than ten years.
    #[error("`{0}` is zero or longer than ten years")]
    Duration(&'static str),
    /// The first is shorter than the second, or longer, where it must not be.
    #[error("`{longer}` is shorter than `{shorter}`")]
    Order {
        /// What must be as long at least.
        longer: &'static str,
        /// As this.
        shorter: &'static str,
    },
}

/// The longest duration that any setting may have.
const LONGEST: Duration = Duration::from_hours(10 * 366 * 24);

/// Fails if a duration is zero or longer than ten years.
pub(crate) fn check_duration(name: &'static str, duration: Duration) -> Result<(), BuildError> {
    if duration.is_zero() || duration > LONGEST { Err(BuildError::Duration(name)) } else { Ok(()) }
}

impl CheckSettings {
    pub(crate) fn check(&self, store: &dyn ErasedStore) -> Result<(), BuildError> {
        check_duration("deadline", self.deadline)?;
        for (name, duration) in
            [("leeway", self.leeway), ("clock_skew_margin", self.clock_skew_margin), ("local_cache", self.lease)]
        {
            if duration > LONGEST {
                return Err(BuildError::Duration(name));
            }
        }
        // A revocation by hand, or one that is retried, must find the record for as long as the token is accepted.
        let accepted = self.leeway + self.clock_skew_margin;
        if store.retention_margin().is_some_and(|margin| margin < accepted) {
            return Err(BuildError::Order { longer: "retention_margin", shorter: "leeway + clock_skew_margin" });
        }
        if self.max_token_bytes == 0 { Err(BuildError::Empty("longest token")) } else { Ok(()) }
    }
}

/// The methods that set [`CheckSettings`], for a builder that has them in its field `checks`.
macro_rules! check_setters {
    () => {
        /// By how much `exp`, `nbf` and `iat` may be missed, for clocks that differ. Default: 30 seconds.
        pub fn leeway(mut self, leeway: Duration) -> Self {
            self.checks.leeway = leeway;
            self
        }

        /// By how much the clocks of nodes may differ. Expired records are kept for this and the leeway longer, and a
        /// revocation covers them. Default: 5 minutes.
        pub fn clock_skew_margin(mut self, margin: Duration) -> Self {
            self.checks.clock_skew_margin = margin;
            self
        }

        /// How long any one use case may wait for its stores; past that its answer is "unavailable". Default: 2.5 seconds.
        pub fn deadline(mut self, deadline: Duration) -> Self {
            self.checks.deadline = deadline;
            self
        }

        /// How long a token may be, in bytes. Default: 8 KiB.
        pub fn max_token_bytes(mut self, bytes: usize) -> Self {
            self.checks.max_token_bytes = bytes;
            self
        }

        /// What is looked at first. Default: the record. Single-use tokens have their signature checked first, always.
        pub fn check_order(mut self, order: CheckOrder) -> Self {
            self.checks.check_order = order;
            self
        }

        /// The lease of the in-process cache: an upper bound on how long this node accepts a token that another node has
        /// revoked. With Redis or a change stream it is usually milliseconds. Revocations made in this process, on the same
        /// store handle, take effect at once. Zero, the default, asks the store for each request.
        pub fn local_cache(mut self, lease: Duration) -> Self {
            self.checks.lease = lease;
            self
        }

        /// How large the in-process cache may become: in entries, 100,000 by default, and in bytes, estimated, 64 MiB by
        /// default. It keeps the claims of tokens that were verified, so that these are neither decoded nor verified again
        /// until they expire or their place is needed. It belongs to the store's handle: the first that is built on a handle
        /// decides. Zero of either is no cache at all.
        pub fn local_cache_limits(mut self, entries: usize, bytes: usize) -> Self {
            self.checks.limits = Limits { entries, bytes };
            self
        }

        /// Budget for store lookups made before a signature is verified, per second, in the order
        /// [`RecordFirst`](crate::trust::CheckOrder::RecordFirst). When it is spent, signatures are verified first.
        /// Genuine tokens use nothing up: their lookups are refunded. A burst may use one second's worth.
        /// Default: 100 a second. `u32::MAX` is no limit.
        ///
        /// When many signatures are wrong, in either order, a pool of half the processors verifies them.
        /// Known tokens then do not wait for them.
        pub fn forged_lookups(mut self, per_second: u32) -> Self {
            self.checks.forged_lookups = per_second;
            self
        }

        /// Where the time comes from. Default: [`SystemClock`](crate::clock::SystemClock).
        pub fn clock(mut self, clock: impl Clock) -> Self {
            self.checks.clock = std::sync::Arc::new(clock);
            self
        }
    };
}

pub(crate) use check_setters;
