use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use super::{
    BuildError, CheckOrder, CheckSettings, FORGED_SIGNATURES, Issuer, Trust, TrustInner, check_setters, meter::Meter,
    missing_key::MissingKeyLimits, signature_pool::SignaturePool,
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
    issuer: Option<Issuer>,
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
        TrustBuilder { store: DynStore::new(store).into_inner(), issuer: None, checks: CheckSettings::default() }
    }

    /// Builds a trust from settings that have been checked.
    pub(crate) fn with(issuer: Issuer, store: Arc<dyn ErasedStore>, settings: CheckSettings) -> Self {
        let cache = store.local_cache().clone();
        let verified = cache.open(settings.limits, &settings.clock, settings.lease);
        // Without a lease this node caches no liveness, so it needs no news of revocations.
        if !settings.lease.is_zero() && verified.is_some() && cache.start_listening() {
            store.subscribe(cache.listener());
        }
        let context = LayerContext::new(Realm::default(), None, None, Arc::clone(&settings.clock), settings.leeway);
        let inner = TrustInner {
            issuer,
            context,
            local: cache,
            freshness: Freshness::new(settings.lease, settings.leeway),
            unverified_lookups: Meter::new(settings.forged_lookups),
            forged_signatures: Meter::new(FORGED_SIGNATURES),
            signature_pool: SignaturePool::new(),
            missing_keys: MissingKeyLimits::new(),
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
    /// Sets the issuer whose tokens are accepted. Required.
    pub fn issuer(mut self, issuer: Issuer) -> Self {
        self.issuer = Some(issuer);
        self
    }

    check_setters!();

    /// Builds the trust.
    pub fn build(self) -> Result<Trust, BuildError> {
        let Self { store, issuer, checks } = self;
        let issuer = issuer.ok_or(BuildError::Missing("issuer"))?;
        issuer.check()?;
        checks.check(&*store)?;
        Ok(Trust::with(issuer, store, checks))
    }
}

impl fmt::Debug for TrustBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustBuilder").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}
