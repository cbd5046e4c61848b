use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::sync::Semaphore;

use super::{
    BuildError, CheckOrder, CheckSettings, FORGED_SIGNATURES, Issuer, Trust, TrustInner, check_setters,
    deny::MAX_RETRIES, meter::Meter, missing_key::MissingKeyLimits, signature_pool::SignaturePool,
};
use crate::{
    clock::Clock,
    layer_context::{LayerContext, Realm},
    local::{Freshness, Limits},
    store::{DynStore, ErasedStore, TokenStore},
};

/// Configures a [`Trust`]. Made by [`Trust::builder`].
#[must_use]
pub struct TrustBuilder {
    store: Arc<dyn ErasedStore>,
    /// The issuers of another trust, which are shared with it.
    shared: Vec<Arc<Issuer>>,
    issuers: Vec<Issuer>,
    checks: CheckSettings,
}

impl Trust {
    /// Begins a trust for a service that checks tokens and issues none. Each check asks `store`.
    ///
    /// ```
    /// # fn trust(
    /// #     keys: auth_layer::keys::VerifyingKeys,
    /// #     store: impl auth_layer::store::TokenStore,
    /// # ) -> Result<auth_layer::AuthLayer, Box<dyn std::error::Error>> {
    /// use auth_layer::{
    ///     AuthLayer,
    ///     trust::{Issuer, Trust},
    /// };
    ///
    /// let issuer = Issuer::recorded("https://auth.example", keys).audience("api");
    /// let trust = Trust::builder(store).issuer(issuer).build()?;
    /// let layer = AuthLayer::new(trust);
    /// # Ok(layer)
    /// # }
    /// ```
    pub fn builder(store: impl TokenStore) -> TrustBuilder {
        TrustBuilder {
            store: DynStore::new(store).into_inner(),
            shared: Vec::new(),
            issuers: Vec::new(),
            checks: CheckSettings::default(),
        }
    }

    /// Begins a trust in the tokens of an authority and of other issuers, on the authority's store
    /// and with its settings.
    ///
    /// A layer takes the authority's tokens alone, unless its policy [names](crate::Demand::issuers)
    /// others.
    ///
    /// ```
    /// # use auth_layer::{AuthLayer, Authority, Trust, trust::BuildError};
    /// use auth_layer::{
    ///     keys::VerifyingKeys,
    ///     trust::Issuer,
    /// };
    ///
    /// # fn example(authority: &Authority, keys: VerifyingKeys) -> Result<AuthLayer, BuildError> {
    /// let partner = Issuer::with_keys("https://partner.example", keys).audience("orders");
    /// let trust = Trust::new(authority).issuer(partner).build()?;
    /// let layer = AuthLayer::builder(trust)
    ///     .issuers(["https://auth.example", "https://partner.example"])
    ///     .build();
    /// # Ok(layer)
    /// # }
    /// ```
    #[expect(clippy::new_ret_no_self, reason = "further issuers are what it is for")]
    pub fn new(trust: impl Into<Self>) -> TrustBuilder {
        let inner = trust.into().inner;
        TrustBuilder {
            store: Arc::clone(&inner.store),
            shared: std::iter::once(&inner.issuer).chain(&inner.others).cloned().collect(),
            issuers: Vec::new(),
            checks: inner.settings.clone(),
        }
    }

    /// Builds a trust from settings that have been checked.
    ///
    /// A policy that names no issuers takes the tokens of `issuer` alone.
    pub(crate) fn with(
        issuer: Arc<Issuer>,
        others: Vec<Arc<Issuer>>,
        store: Arc<dyn ErasedStore>,
        settings: CheckSettings,
    ) -> Self {
        let cache = store.local_cache().clone();
        let verified = cache.open(settings.limits, &settings.clock, settings.lease);
        // Without a lease this node caches no liveness, so it needs no news of revocations.
        if !settings.lease.is_zero() && verified.is_some() && cache.start_listening() {
            store.subscribe(cache.listener());
        }
        let context = LayerContext::new(Realm::default(), None, None, Arc::clone(&settings.clock), settings.leeway);
        let inner = TrustInner {
            issuer,
            others,
            context,
            local: cache,
            freshness: Freshness::new(settings.lease, settings.leeway),
            unverified_lookups: Meter::new(settings.forged_lookups),
            forged_signatures: Meter::new(FORGED_SIGNATURES),
            signature_pool: SignaturePool::new(),
            missing_keys: MissingKeyLimits::new(),
            denial_retries: Semaphore::new(MAX_RETRIES),
            resume_started: OnceLock::new(),
            settings,
            store,
        };
        let trust = Self { inner: Arc::new(inner) };
        trust.resume_in_background();
        trust
    }
}

impl TrustBuilder {
    /// Adds an issuer whose tokens are accepted. At least one is required.
    ///
    /// Names differ, and at most one issuer records its tokens. A policy takes that one's tokens, or
    /// else the first one's, unless it [names](crate::Demand::issuers) issuers.
    pub fn issuer(mut self, issuer: Issuer) -> Self {
        self.issuers.push(issuer);
        self
    }

    check_setters!();

    /// Builds the trust. Waits for no issuer.
    ///
    /// # Errors
    ///
    /// [`BuildError`] if there is no issuer, two have one name, or a setting cannot work.
    pub fn build(self) -> Result<Trust, BuildError> {
        let Self { store, shared: mut issuers, issuers: new, checks } = self;
        checks.check(&*store)?;
        for mut issuer in new {
            issuer.prepare(&checks.clock)?;
            issuers.push(Arc::new(issuer));
        }
        if issuers.is_empty() {
            return Err(BuildError::Missing("issuer"));
        }
        for (at, issuer) in issuers.iter().enumerate() {
            if issuers[..at].iter().any(|other| other.name == issuer.name) {
                return Err(BuildError::SameName(issuer.name.clone()));
            }
        }
        let mut recorded = issuers.iter().enumerate().filter(|(_, issuer)| issuer.rules().is_none());
        let own = recorded.next().map_or(0, |(at, _)| at);
        if let Some((_, second)) = recorded.next() {
            return Err(BuildError::SecondRecorded(second.name.clone()));
        }
        for issuer in &issuers {
            issuer.start();
        }
        let issuer = issuers.remove(own);
        Ok(Trust::with(issuer, issuers, store, checks))
    }
}

impl fmt::Debug for TrustBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustBuilder").field("issuers", &self.issuers).finish_non_exhaustive()
    }
}
