//! Setting an [`Authority`] up.

use std::{
    fmt,
    marker::PhantomData,
    num::NonZero,
    sync::{Arc, OnceLock, Weak},
    time::Duration,
};

use arc_swap::ArcSwap;
use quick_cache::sync::Cache;

use super::{
    Authority, Inner, Settings, meter::Meter, missing_key::MissingKeys, signature_pool::SignaturePool, sweep::Sweeps,
};
use crate::{
    cache::local::{Limits, LocalCache},
    claims::CustomClaims,
    clock::{Clock, SystemClock},
    keys::Keyring,
    store::ErasedStore,
};

/// How many wrong signatures a second are found inline, before a pool of threads verifies. So many
/// take a twentieth of a processor.
const FORGED_SIGNATURES: u32 = 1_000;

/// How many sessions are remembered of which nothing is left to revoke.
const FINISHED: usize = 4_096;

/// Sets an [`Authority`] up. Made by [`Authority::builder`].
#[must_use]
pub struct AuthorityBuilder<C> {
    issuer: String,
    audience: String,
    keys: Keyring,
    store: Arc<dyn ErasedStore>,
    clock: Box<dyn Clock>,
    lease: Duration,
    limits: Limits,
    forged_lookups: u32,
    purge_every: Duration,
    settings: Settings,
    custom: PhantomData<fn() -> C>,
}

/// What is looked at first: a token's record or its signature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CheckOrder {
    /// The record, then the signature: a revoked token costs no signature. A forged token costs a look into the cache or the
    /// store, up to [a number a second](AuthorityBuilder::forged_lookups); beyond that signatures come first.
    #[default]
    RecordFirst,
    /// The signature, then the record: a forged token costs a signature check (tens of microseconds of one core, see the
    /// documentation's table) and never reaches a store.
    SignatureFirst,
}

impl<C: CustomClaims> AuthorityBuilder<C> {
    pub(super) fn new(issuer: String, audience: String, keys: Keyring, store: Arc<dyn ErasedStore>) -> Self {
        Self {
            issuer,
            audience,
            keys,
            store,
            clock: Box::new(SystemClock::new()),
            lease: Duration::ZERO,
            limits: Limits { entries: 100_000, bytes: 64 << 20 },
            forged_lookups: 100,
            purge_every: Duration::from_mins(10),
            settings: Settings {
                access_ttl: Duration::from_mins(15),
                refresh_ttl: Duration::from_hours(30 * 24),
                session_ttl: Duration::from_hours(90 * 24),
                single_use_ttl: Duration::from_mins(1),
                refresh_grace: Duration::from_secs(10),
                leeway: Duration::from_secs(30),
                clock_skew_margin: Duration::from_mins(5),
                deadline: Duration::from_millis(2_500),
                max_token_bytes: 8 * 1024,
                check_order: CheckOrder::default(),
                record_tokens: false,
                max_sessions: None,
            },
            custom: PhantomData,
        }
    }

    /// How long an access token is good. Default: 15 minutes.
    pub fn access_ttl(mut self, ttl: Duration) -> Self {
        self.settings.access_ttl = ttl;
        self
    }

    /// How long a refresh token is good, and so how long a session may stay idle. Default: 30 days.
    pub fn refresh_ttl(mut self, ttl: Duration) -> Self {
        self.settings.refresh_ttl = ttl;
        self
    }

    /// How long a session lasts at the most, however often it is refreshed. Default: 90 days.
    pub fn session_ttl(mut self, ttl: Duration) -> Self {
        self.settings.session_ttl = ttl;
        self
    }

    /// How many sessions a user may have at a time. A sign-in beyond that ends the session that
    /// signed in or refreshed longest ago, and does not fail for it. Default: no limit.
    ///
    /// Without a limit anybody who can sign in can make ending all of a user's sessions slow.
    pub fn max_sessions(mut self, sessions: NonZero<usize>) -> Self {
        self.settings.max_sessions = Some(sessions);
        self
    }

    /// How long a single-use token is good. Default: 60 seconds.
    pub fn single_use_ttl(mut self, ttl: Duration) -> Self {
        self.settings.single_use_ttl = ttl;
        self
    }

    /// For how long a retired refresh token is answered with the pair that replaced it, while that pair's refresh token has
    /// not been used: what a client needs whose answer was lost, and what an attacker with a copy has at most. It closes on a
    /// pair that was handed out; a pair that never was (a store failed between the commit and the answer) can be asked for until
    /// it has been, or the retired token expires. Zero: never, in any case. Default: 10 seconds.
    pub fn refresh_grace(mut self, window: Duration) -> Self {
        self.settings.refresh_grace = window;
        self
    }

    /// By how much `exp`, `nbf` and `iat` may be missed, for clocks that differ. Default: 30 seconds.
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.settings.leeway = leeway;
        self
    }

    /// By how much the clocks of nodes may differ: so much longer than the leeway [`Authority::purge_expired`] keeps what has
    /// expired, and a revocation covers it. Default: 5 minutes.
    pub fn clock_skew_margin(mut self, margin: Duration) -> Self {
        self.settings.clock_skew_margin = margin;
        self
    }

    /// How long any one use case may wait for its stores; past that its answer is "unavailable". Default: 2.5 seconds.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.settings.deadline = deadline;
        self
    }

    /// How long a token may be, in bytes. Default: 8 KiB.
    pub fn max_token_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_token_bytes = bytes;
        self
    }

    /// What is looked at first. Default: the record. Single-use tokens always have their signature checked first, since
    /// looking at their record uses them up.
    pub fn check_order(mut self, order: CheckOrder) -> Self {
        self.settings.check_order = order;
        self
    }

    /// Whether each token itself is stored with its record, in the clear: whoever reads the store can then use it, and each lookup in
    /// MongoDB reads it along. Default: no.
    pub fn record_tokens(mut self, record: bool) -> Self {
        self.settings.record_tokens = record;
        self
    }

    /// The lease of the in-process cache: for how long an access token that was checked is believed without a look at its
    /// record. A revocation made here takes effect at once, one made elsewhere within that time. Where the store hears of those
    /// ([`TokenStore::subscribe`](crate::store::TokenStore::subscribe); with Redis, and with MongoDB alone) that is a few
    /// milliseconds, and the lease is what holds while it does not. Zero, the default, is off.
    pub fn local_cache(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// How large the in-process cache may become: in entries, 100,000 by default, and in bytes, estimated, 64 MiB by default. It keeps the
    /// claims of tokens that were verified, so that these are neither decoded nor verified again until they expire or their
    /// place is needed; with a lease, also that they were alive. Zero of either is no cache at all.
    pub fn local_cache_limits(mut self, entries: usize, bytes: usize) -> Self {
        self.limits = Limits { entries, bytes };
        self
    }

    /// Budget for store lookups made before a signature is verified, per second, in the order
    /// [`RecordFirst`](CheckOrder::RecordFirst). When it is spent, signatures are verified first.
    /// Genuine tokens use nothing up: their lookups are refunded. A burst may use one second's worth.
    /// Default: 100 a second. `u32::MAX` is no limit.
    ///
    /// When many signatures are wrong, in either order, a pool of half the processors verifies them.
    /// Known tokens then do not wait for them.
    pub fn forged_lookups(mut self, per_second: u32) -> Self {
        self.forged_lookups = per_second;
        self
    }

    /// How often what has expired is removed ([`Authority::purge_expired`]): when a token is issued and the last time was longer
    /// ago, in the background, one at a time, and first when the first token is issued. A store that [does it by
    /// itself](crate::store::TokenStore::expires_by_itself) is not asked to. Zero: never, so that records stay until something else
    /// removes them. Default: 10 minutes.
    pub fn purge_every(mut self, interval: Duration) -> Self {
        self.purge_every = interval;
        self
    }

    /// Where the time comes from. Default: [`SystemClock`].
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// The authority.
    #[must_use]
    pub fn build(self) -> Authority<C> {
        let purge_every = if self.store.expires_by_itself() { Duration::ZERO } else { self.purge_every };
        let inner = Arc::new(Inner {
            issuer: self.issuer,
            audience: self.audience,
            keys: ArcSwap::from_pointee(self.keys),
            store: self.store,
            local: LocalCache::new(self.lease, self.limits),
            unverified_lookups: Meter::new(self.forged_lookups),
            forged_signatures: Meter::new(FORGED_SIGNATURES),
            signature_pool: SignaturePool::new(),
            missing_keys: MissingKeys::new(),
            sweeps: Sweeps::new(purge_every),
            resuming: OnceLock::new(),
            finished: Cache::new(FINISHED),
            clock: self.clock,
            settings: self.settings,
        });
        // Without a lease nothing is believed that news could end.
        if inner.local.is_some() && !self.lease.is_zero() {
            let listener: Weak<Inner<C>> = Arc::downgrade(&inner);
            inner.store.subscribe(listener);
        }
        let authority = Authority { inner };
        authority.resume_in_background();
        authority
    }
}

impl<C> fmt::Debug for AuthorityBuilder<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorityBuilder")
            .field("issuer", &self.issuer)
            .field("audience", &self.audience)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
