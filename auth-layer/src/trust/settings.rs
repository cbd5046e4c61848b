//! Settings that an authority and a trust have in common.

use std::{sync::Arc, time::Duration};

use crate::{
    clock::{Clock, SystemClock},
    keys::KeyError,
    local::Limits,
    store::ErasedStore,
};

/// What is checked first: a token's record or its signature.
///
/// ```
/// # use auth_layer::authority::AuthorityBuilder;
/// use auth_layer::trust::CheckOrder;
///
/// # fn example(builder: AuthorityBuilder) -> AuthorityBuilder {
/// builder.check_order(CheckOrder::SignatureFirst)
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckOrder {
    /// The record, then the signature. A revoked token costs no signature check.
    ///
    /// A forged token costs a lookup in the cache or the store, within a budget per second
    /// (`forged_lookups`). When it is spent, signatures are verified first.
    #[default]
    RecordFirst,
    /// The signature, then the record. A forged token never reaches a store.
    ///
    /// It costs a signature check: tens of microseconds of one core, see the table in the
    /// documentation.
    SignatureFirst,
}

/// How tokens are checked, independent of any layer.
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
    /// `None` for the default.
    pub(crate) stream_outage_limit: Option<Duration>,
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
            stream_outage_limit: None,
            clock: Arc::new(SystemClock::new()),
        }
    }
}

/// A setting is missing or cannot work.
///
/// ```
/// use auth_layer::{Authority, store::MemoryStore, trust::BuildError};
///
/// let built = Authority::builder("https://auth.example", MemoryStore::new()).build();
/// assert!(matches!(built, Err(BuildError::Missing("key"))));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A name that tokens carry is empty.
    #[error("the {0} is empty")]
    Empty(&'static str),
    /// A required setting is missing.
    #[error("no {0} was given")]
    Missing(&'static str),
    /// Two issuers have the same name: a token must be of one alone.
    #[error("two issuers are named {0:?}")]
    SameName(String),
    /// There are two issuers that record their tokens. A store has the records of one.
    #[error("{0:?} is a second issuer that records its tokens")]
    SecondRecorded(String),
    /// A setting for other issuers was made on one that records its tokens.
    #[error("`{0}` is a setting for issuers that record no tokens")]
    Misplaced(&'static str),
    /// A claim has a setting of its own, and no [`claim`](crate::trust::Issuer::claim) may name it.
    #[error("the claim `{0}` is always checked, and has a setting of its own")]
    Claim(&'static str),
    /// The keys of an issuer cannot be used.
    #[error("the keys of {issuer:?} cannot be used")]
    Keys {
        /// The issuer's name.
        issuer: String,
        /// What is wrong with them.
        source: KeyError,
    },
    /// Keys cannot be fetched from this URL, or from an issuer of this name.
    #[error("the keys of {issuer:?} cannot be fetched: {fault}")]
    Url {
        /// The issuer's name.
        issuer: String,
        /// What is wrong with the URL.
        fault: String,
    },
    /// A duration is zero or longer than ten years.
    #[error("`{0}` is zero or longer than ten years")]
    Duration(&'static str),
    /// Two settings are in the wrong order.
    #[error("`{longer}` is shorter than `{shorter}`")]
    Order {
        /// The setting that must be at least as long.
        longer: &'static str,
        /// The setting that must not be longer.
        shorter: &'static str,
    },
}

/// How long a stream goes on while its state is unknown, unless the deadline is longer.
const STREAM_OUTAGE_LIMIT: Duration = Duration::from_secs(15);

/// The longest duration that any setting may have: ten years.
const MAX_DURATION: Duration = Duration::from_hours(10 * 366 * 24);

/// Fails if a duration is zero or longer than ten years.
pub(crate) fn check_duration(name: &'static str, duration: Duration) -> Result<(), BuildError> {
    if duration.is_zero() || duration > MAX_DURATION { Err(BuildError::Duration(name)) } else { Ok(()) }
}

impl CheckSettings {
    pub(crate) fn stream_outage_limit(&self) -> Duration {
        self.stream_outage_limit.unwrap_or(self.deadline.max(STREAM_OUTAGE_LIMIT))
    }

    pub(crate) fn check(&self, store: &dyn ErasedStore) -> Result<(), BuildError> {
        check_duration("deadline", self.deadline)?;
        check_duration("stream_outage_limit", self.stream_outage_limit())?;
        // Else a stream would end while the store may still answer in time.
        if self.stream_outage_limit() < self.deadline {
            return Err(BuildError::Order { longer: "stream_outage_limit", shorter: "deadline" });
        }
        for (name, duration) in
            [("leeway", self.leeway), ("clock_skew_margin", self.clock_skew_margin), ("local_cache", self.lease)]
        {
            if duration > MAX_DURATION {
                return Err(BuildError::Duration(name));
            }
        }
        // A revocation, retried or by hand, must find the record while the token is still accepted.
        let accepted = self.leeway + self.clock_skew_margin;
        if store.retention_margin().is_some_and(|margin| margin < accepted) {
            return Err(BuildError::Order { longer: "retention_margin", shorter: "leeway + clock_skew_margin" });
        }
        if self.max_token_bytes == 0 { Err(BuildError::Empty("longest token")) } else { Ok(()) }
    }
}

/// The methods that set [`CheckSettings`], for a builder with a field `checks`.
macro_rules! check_setters {
    () => {
        /// Sets the leeway for `exp`, `nbf` and `iat`, for clocks that differ. Default: 30 seconds.
        pub fn leeway(mut self, leeway: Duration) -> Self {
            self.checks.leeway = leeway;
            self
        }

        /// Sets how far the clocks of nodes may differ. Default: 5 minutes.
        ///
        /// Expired records are kept, and revocations cover them, for the leeway and this margin.
        pub fn clock_skew_margin(mut self, margin: Duration) -> Self {
            self.checks.clock_skew_margin = margin;
            self
        }

        /// Sets how long one call may wait for the stores. Default: 2.5 seconds.
        ///
        /// A call that takes longer fails as "unavailable".
        pub fn deadline(mut self, deadline: Duration) -> Self {
            self.checks.deadline = deadline;
            self
        }

        /// Sets the largest size of a token, in bytes. Default: 8 KiB.
        ///
        /// ```
        /// # use std::time::Duration;
        /// # use auth_layer::authority::AuthorityBuilder;
        /// # fn example(builder: AuthorityBuilder) -> AuthorityBuilder {
        /// // Well-kept clocks, nearby stores, small tokens.
        /// builder
        ///     .leeway(Duration::from_secs(5))
        ///     .clock_skew_margin(Duration::from_mins(1))
        ///     .deadline(Duration::from_secs(1))
        ///     .max_token_bytes(2 * 1024)
        /// # }
        /// ```
        pub fn max_token_bytes(mut self, bytes: usize) -> Self {
            self.checks.max_token_bytes = bytes;
            self
        }

        /// Sets what is checked first. Default: the record.
        ///
        /// For single-use tokens the signature always comes first.
        pub fn check_order(mut self, order: CheckOrder) -> Self {
            self.checks.check_order = order;
            self
        }

        /// Sets the lease of the in-process cache. Default: zero, which asks the store on every
        /// request.
        ///
        /// The lease is an upper bound on how long this node accepts a token that another node
        /// revoked. With Redis or a change stream it is usually milliseconds. Revocations on the
        /// same store handle take effect at once.
        pub fn local_cache(mut self, lease: Duration) -> Self {
            self.checks.lease = lease;
            self
        }

        /// Sets the size of the in-process cache. Default: 100,000 entries and 64 MiB (estimated).
        ///
        /// The cache keeps the claims of verified tokens until they expire or are evicted, which
        /// saves decoding and verifying them again. It belongs to the store's handle: the first
        /// authority or trust that is built on a handle sets the size. Zero entries or zero bytes
        /// switch the cache off.
        ///
        /// ```
        /// # use std::time::Duration;
        /// # use auth_layer::authority::AuthorityBuilder;
        /// # fn example(builder: AuthorityBuilder) -> AuthorityBuilder {
        /// builder.local_cache(Duration::from_secs(1)).local_cache_limits(1_000_000, 1 << 30)
        /// # }
        /// ```
        pub fn local_cache_limits(mut self, entries: usize, bytes: usize) -> Self {
            self.checks.limits = Limits { entries, bytes };
            self
        }

        /// Sets the budget for store lookups made before a signature is verified, per second.
        /// Default: 100.
        ///
        /// It applies to the order [`RecordFirst`](crate::trust::CheckOrder::RecordFirst). When it
        /// is spent, signatures are verified first. Lookups of genuine tokens are refunded. A burst
        /// may use one second's worth. `u32::MAX` is no limit.
        ///
        /// When many signatures are wrong, in either order, a pool of half the processors verifies
        /// them. Known tokens then do not wait for them.
        ///
        /// ```
        /// # use auth_layer::authority::AuthorityBuilder;
        /// use auth_layer::trust::CheckOrder;
        ///
        /// # fn example(builder: AuthorityBuilder) -> AuthorityBuilder {
        /// builder.check_order(CheckOrder::RecordFirst).forged_lookups(20)
        /// # }
        /// ```
        pub fn forged_lookups(mut self, per_second: u32) -> Self {
            self.checks.forged_lookups = per_second;
            self
        }

        /// Sets how long a stream goes on while its state is unknown. Default: 15 seconds, or the
        /// deadline if that is longer.
        ///
        /// Then it ends as [`StreamEnd::Unavailable`](crate::stream::StreamEnd::Unavailable), within
        /// five more seconds: the clients of a node do not come back all at once. It cannot be
        /// shorter than the deadline.
        ///
        /// ```
        /// # use std::time::Duration;
        /// # use auth_layer::authority::AuthorityBuilder;
        /// # fn example(builder: AuthorityBuilder) -> AuthorityBuilder {
        /// // Streams may outlast a restart of the store.
        /// builder.stream_outage_limit(Duration::from_mins(1))
        /// # }
        /// ```
        pub fn stream_outage_limit(mut self, limit: Duration) -> Self {
            self.checks.stream_outage_limit = Some(limit);
            self
        }

        /// Sets the clock. Default: [`SystemClock`](crate::clock::SystemClock).
        ///
        /// ```
        /// # use auth_layer::authority::AuthorityBuilder;
        /// use auth_layer::clock::{ManualClock, Timestamp};
        ///
        /// # fn example(builder: AuthorityBuilder) -> AuthorityBuilder {
        /// // In a test. Its clones are the same clock: advance one of them.
        /// let clock = ManualClock::starting_at(Timestamp::UNIX_EPOCH);
        /// builder.clock(clock.clone())
        /// # }
        /// ```
        pub fn clock(mut self, clock: impl Clock) -> Self {
            self.checks.clock = std::sync::Arc::new(clock);
            self
        }
    };
}

pub(crate) use check_setters;
