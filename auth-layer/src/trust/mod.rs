//! Checks tokens and requests against an issuer and a policy.
//!
//! A [`Trust`] knows whose tokens are good and asks the store about each token. A [`Policy`] says
//! what one layer demands of a request. [`Trust::authenticate`] is the single entry point. The
//! layer calls it, and other code can too.
//!
//! ```
//! use auth_layer::{
//!     Authority, AuthError, Grant, UserId,
//!     keys::{Keyring, SigningKey},
//!     store::MemoryStore,
//!     trust::{Authenticated, Policy, Trust},
//! };
//! use http::Request;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let authority = Authority::builder("https://auth.example", MemoryStore::new())
//!     .audience("api")
//!     .keys(Keyring::new(SigningKey::generate()?))
//!     .build()?;
//! let sign_in = authority.begin_sign_in(UserId::generate()).await?;
//! let pair = authority.sign_in(sign_in, Grant::new("web").scope("orders:read".parse()?)).await?;
//!
//! let trust = Trust::from(&authority);
//! let bearer = format!("Bearer {}", pair.access_token);
//! let request = Request::get("/orders").header("authorization", bearer).body(())?;
//!
//! let reading = Policy::builder().scope("orders:read").build();
//! assert!(matches!(trust.authenticate(&reading, &request).await?, Authenticated::Claims(_)));
//!
//! let writing = Policy::builder().scope("orders:write").build();
//! assert!(matches!(trust.authenticate(&writing, &request).await, Err(AuthError::Denied(_))));
//! # Ok(())
//! # }
//! ```

mod builder;
mod check;
mod check_foreign;
mod counts;
mod demand;
mod deny;
mod error;
mod foreign;
mod head;
mod issuer;
mod logout;
mod meter;
mod missing_key;
mod policy;
mod resume;
mod settings;
mod signature_pool;
mod single_use;
mod streams;

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::sync::Semaphore;
use uuid::Uuid;

pub use self::{
    builder::TrustBuilder,
    check::Authenticated,
    demand::{Demand, Denied},
    error::AuthError,
    head::RequestHead,
    issuer::Issuer,
    policy::{Policy, PolicyBuilder},
    settings::{BuildError, CheckOrder},
    single_use::SingleUse,
};
pub(crate) use self::{
    check::{PendingCheck, RequestCheck, expected_record},
    settings::{CheckSettings, check_duration, check_setters},
};
use self::{meter::Meter, missing_key::MissingKeyLimits, signature_pool::SignaturePool};
use crate::{
    clock::{Timestamp, earlier, later, whole_millis},
    dpop::ProofPolicy,
    layer_context::LayerContext,
    local::{Freshness, LocalCache, VerifiedTokens},
    store::{ErasedStore, Revocation, StoreError, within},
};
pub use crate::{
    credentials::{CookieName, InvalidCookieName},
    jwt::Typ,
};

/// How many wrong signatures per second are found inline before the pool verifies.
///
/// At this rate they take a twentieth of a processor.
const FORGED_SIGNATURES: u32 = 1_000;

/// Knows whose tokens are good, and checks tokens. Cloning it copies one pointer.
///
/// An [`Authority`](crate::Authority) has a trust in its own tokens: `Trust::from(&authority)`. A
/// service that only checks tokens uses [`Trust::builder`], and needs no signing key.
///
/// ```
/// use auth_layer::{AuthLayer, Authority, Trust};
///
/// fn layer(authority: &Authority) -> AuthLayer {
///     let trust = Trust::from(authority);
///     AuthLayer::new(trust) // or AuthLayer::new(authority)
/// }
/// ```
#[derive(Clone)]
pub struct Trust {
    inner: Arc<TrustInner>,
}

struct TrustInner {
    /// The issuer whose tokens a policy takes that names none.
    issuer: Arc<Issuer>,
    others: Vec<Arc<Issuer>>,
    store: Arc<dyn ErasedStore>,
    /// The store's in-process cache.
    local: LocalCache,
    /// How long entries of that cache are believed.
    freshness: Freshness,
    /// Budget for lookups made before a signature is verified. Refunded when the signature is
    /// right.
    unverified_lookups: Meter,
    /// Budget for wrong signatures found inline. When it is spent, the pool verifies.
    forged_signatures: Meter,
    signature_pool: SignaturePool,
    missing_keys: MissingKeyLimits,
    /// Bounds the denials that are tried again.
    denial_retries: Semaphore,
    /// Set once the task that finishes interrupted revocations has started.
    resume_started: OnceLock<()>,
    settings: CheckSettings,
    /// The context of claims that were checked outside a layer.
    context: LayerContext,
}

impl Trust {
    /// Returns the issuer whose tokens a policy takes that names none.
    pub(crate) fn issuer(&self) -> &Issuer {
        &self.inner.issuer
    }

    fn all_issuers(&self) -> impl Iterator<Item = &Arc<Issuer>> {
        std::iter::once(&self.inner.issuer).chain(&self.inner.others)
    }

    /// Returns the names of all issuers, first that of the one whose tokens a policy takes that names
    /// none.
    ///
    /// ```
    /// # use auth_layer::Authority;
    /// # fn example(authority: &Authority) {
    /// let names: Vec<&str> = authority.trust().issuers().collect();
    /// # }
    /// ```
    pub fn issuers(&self) -> impl Iterator<Item = &str> {
        self.all_issuers().map(|issuer| issuer.name.as_str())
    }

    pub(crate) fn store(&self) -> &Arc<dyn ErasedStore> {
        &self.inner.store
    }

    pub(crate) fn settings(&self) -> &CheckSettings {
        &self.inner.settings
    }

    /// Returns the in-process cache, if it is open.
    fn local_cache(&self) -> Option<&VerifiedTokens> {
        self.inner.local.get()
    }

    /// Returns the time, in whole milliseconds: every store can keep that.
    pub(crate) fn now(&self) -> Timestamp {
        whole_millis(self.inner.settings.clock.now())
    }

    /// Returns the monotonic time by which checks are dated.
    pub(crate) fn monotonic(&self) -> Duration {
        self.local_cache().map_or_else(|| self.inner.settings.clock.monotonic(), VerifiedTokens::now)
    }

    /// Returns the time before which expired tokens are accepted nowhere.
    ///
    /// That is leeway and clock-skew margin ago.
    pub(crate) fn accepted_since(&self) -> Timestamp {
        let settings = self.settings();
        earlier(self.now(), settings.leeway.saturating_add(settings.clock_skew_margin))
    }

    /// Returns the time from which on a token with this expiry is accepted nowhere.
    fn accepted_until(&self, exp: Timestamp) -> Timestamp {
        let settings = self.settings();
        later(exp, settings.leeway.saturating_add(settings.clock_skew_margin))
    }

    /// Checks that the store of record can serve.
    ///
    /// # Errors
    ///
    /// Fails when the store cannot serve, or does not answer within the deadline.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.with_deadline(self.inner.store.ping()).await
    }

    /// Passes to the recorder of metrics what is not counted there as it happens: the checks of this
    /// process, and the size of the store's in-process cache. Call it before each scrape.
    ///
    /// [`telemetry`](crate::telemetry) has an example.
    #[cfg(feature = "metrics")]
    pub fn record_metrics(&self) {
        use crate::telemetry::{CACHE_BYTES, CACHE_ENTRIES, CACHE_MAX_BYTES, CACHE_MAX_ENTRIES};

        counts::publish();
        let limits = self.settings().limits;
        let (entries, bytes) = self.local_cache().map_or((0, 0), VerifiedTokens::size);
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        let set = |gauge: metrics::Gauge, value: u64| gauge.set(value as f64);
        set(metrics::gauge!(CACHE_ENTRIES), entries as u64);
        set(metrics::gauge!(CACHE_BYTES), bytes);
        set(metrics::gauge!(CACHE_MAX_ENTRIES), limits.entries as u64);
        set(metrics::gauge!(CACHE_MAX_BYTES), limits.bytes as u64);
    }

    pub(crate) async fn with_deadline<T>(
        &self,
        operation: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        within(self.settings().deadline, operation).await
    }

    /// Drops cached liveness of the token, session or user with this id or tag, and asks about its
    /// streams.
    pub(crate) fn forget(&self, id: Uuid) {
        self.inner.local.forget(id);
    }

    /// Records in the background that a revocation is finished. This record may be lost.
    pub(crate) fn settle_in_background(&self, revocation: Option<Revocation>) {
        use tracing::Instrument;

        let Some(revocation) = revocation else { return };
        let (store, deadline) = (Arc::clone(&self.inner.store), self.settings().deadline);
        let note = async move {
            if let Err(error) = within(deadline, store.settle(revocation)).await {
                tracing::debug!(error = &error as &dyn std::error::Error, "not noted that a revocation is finished");
            }
        };
        tokio::spawn(note.in_current_span());
    }

    /// Logs the issuers that a policy names and that are not trusted: their tokens are refused.
    pub(crate) fn warn_of_unknown_issuers(&self, policy: &Policy) {
        for name in policy.rules().demand.named_issuers().unwrap_or_default() {
            if !self.issuers().any(|issuer| *issuer == **name) {
                tracing::warn!(issuer = %name, "a layer takes the tokens of an issuer that its trust does not know");
            }
        }
    }

    /// Returns the context of claims that are checked outside a layer.
    pub(crate) fn own_context(&self) -> &LayerContext {
        &self.inner.context
    }

    /// Returns the context that a layer with this policy attaches to claims.
    pub(crate) fn context(&self, policy: &Policy) -> LayerContext {
        let (rules, settings) = (policy.rules(), self.settings());
        let (realm, metadata) = (rules.realm.clone(), rules.resource_metadata.clone());
        let proofs = rules.proofs.as_ref().map(ProofPolicy::to_challenge);
        LayerContext::new(realm, metadata, proofs, Arc::clone(&settings.clock), settings.leeway)
    }
}

impl From<&Self> for Trust {
    fn from(trust: &Self) -> Self {
        trust.clone()
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust")
            .field("issuer", &self.inner.issuer)
            .field("others", &self.inner.others)
            .finish_non_exhaustive()
    }
}
