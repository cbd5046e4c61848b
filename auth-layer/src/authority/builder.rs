//! Configures an [`Authority`].

use std::{
    fmt,
    num::NonZero,
    sync::{Arc, Mutex},
    time::Duration,
};

use arc_swap::ArcSwap;
use quick_cache::sync::Cache;

use super::{Authority, AuthorityInner, IssuedCustomCheck, Settings, purge::PurgeSchedule, signed::SignedTokens};
use crate::{
    claims::CustomClaims,
    clock::Clock,
    jwt::Unverified,
    keys::Keyring,
    local::Limits,
    store::ErasedStore,
    trust::{BuildError, CheckOrder, CheckSettings, Issuer, Trust, check_duration, check_setters},
};

/// How many fully revoked sessions are remembered.
const FULLY_REVOKED: usize = 4_096;

/// Configures an [`Authority`]. Made by [`Authority::builder`].
///
/// ```
/// # use auth_layer::{Authority, keys::Keyring, store::MemoryStore, trust::BuildError};
/// # fn authority(keys: Keyring) -> Result<Authority, BuildError> {
/// use std::time::Duration;
///
/// let authority = Authority::builder("https://auth.example", MemoryStore::new())
///     .audience("api")
///     .keys(keys)
///     .access_ttl(Duration::from_mins(5))
///     .local_cache(Duration::from_secs(1))
///     .build()?;
/// # Ok(authority)
/// # }
/// ```
#[must_use]
pub struct AuthorityBuilder {
    issuer: String,
    audiences: Vec<String>,
    keys: Option<Keyring>,
    store: Arc<dyn ErasedStore>,
    check_custom: Option<IssuedCustomCheck>,
    purge_every: Duration,
    settings: Settings,
    checks: CheckSettings,
}

impl AuthorityBuilder {
    pub(super) fn new(issuer: String, store: Arc<dyn ErasedStore>) -> Self {
        Self {
            issuer,
            audiences: Vec::new(),
            keys: None,
            store,
            check_custom: None,
            purge_every: Duration::from_mins(10),
            settings: Settings {
                access_ttl: Duration::from_mins(15),
                refresh_ttl: Duration::from_hours(30 * 24),
                session_ttl: Duration::from_hours(90 * 24),
                single_use_ttl: Duration::from_mins(1),
                refresh_grace: Duration::from_secs(10),
                record_tokens: false,
                max_sessions: None,
            },
            checks: CheckSettings::default(),
        }
    }

    /// Sets the keys: one that signs, and all that verify. Required.
    ///
    /// ```
    /// # use auth_layer::authority::AuthorityBuilder;
    /// use auth_layer::keys::{Algorithm, KeyError, Keyring, SigningKey};
    ///
    /// # fn example(builder: AuthorityBuilder, pem: &[u8]) -> Result<AuthorityBuilder, KeyError> {
    /// let key = SigningKey::from_pem(Algorithm::EdDsa, pem)?;
    /// let builder = builder.keys(Keyring::new(key));
    /// # Ok(builder)
    /// # }
    /// ```
    pub fn keys(mut self, keys: Keyring) -> Self {
        self.keys = Some(keys);
        self
    }

    /// Adds an audience of the tokens (`aud`). At least one is required.
    ///
    /// The first is the default; a [grant](super::Grant::audience) can name another.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audiences.push(audience.into());
        self
    }

    /// Sets the type that custom claims of access and single-use tokens must read as. Default: any.
    ///
    /// A sign-in or refresh with other claims fails before anything is recorded.
    ///
    /// ```
    /// # use auth_layer::authority::AuthorityBuilder;
    /// #[derive(serde::Serialize, serde::Deserialize)]
    /// struct Tenant {
    ///     tenant: u64,
    /// }
    ///
    /// # fn example(builder: AuthorityBuilder) -> AuthorityBuilder {
    /// builder.custom_claims::<Tenant>()
    /// # }
    /// ```
    pub fn custom_claims<T: CustomClaims>(mut self) -> Self {
        self.check_custom = Some(Unverified::check_custom::<T>);
        self
    }

    /// Sets how long an access token is valid. Default: 15 minutes.
    pub fn access_ttl(mut self, ttl: Duration) -> Self {
        self.settings.access_ttl = ttl;
        self
    }

    /// Sets how long a refresh token is valid. Default: 30 days.
    ///
    /// A session that is idle for longer ends.
    pub fn refresh_ttl(mut self, ttl: Duration) -> Self {
        self.settings.refresh_ttl = ttl;
        self
    }

    /// Sets the longest life of a session, however often it is refreshed. Default: 90 days.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use auth_layer::authority::AuthorityBuilder;
    /// # fn example(builder: AuthorityBuilder) -> AuthorityBuilder {
    /// // Sign in again after two weeks without use, or after half a year.
    /// builder
    ///     .access_ttl(Duration::from_mins(5))
    ///     .refresh_ttl(Duration::from_hours(14 * 24))
    ///     .session_ttl(Duration::from_hours(180 * 24))
    /// # }
    /// ```
    pub fn session_ttl(mut self, ttl: Duration) -> Self {
        self.settings.session_ttl = ttl;
        self
    }

    /// Sets how many sessions a user may have at a time. Default: no limit.
    ///
    /// A sign-in beyond the limit succeeds and ends the session that signed in or refreshed longest
    /// ago. Without a limit, anyone who can sign in as a user can open so many sessions that ending
    /// them all is slow.
    ///
    /// ```
    /// # use std::num::NonZero;
    /// # use auth_layer::authority::AuthorityBuilder;
    /// # fn example(builder: AuthorityBuilder) -> Option<AuthorityBuilder> {
    /// let builder = builder.max_sessions(NonZero::new(100)?);
    /// # Some(builder)
    /// # }
    /// ```
    pub fn max_sessions(mut self, sessions: NonZero<usize>) -> Self {
        self.settings.max_sessions = Some(sessions);
        self
    }

    /// Sets how long a single-use token is valid. Default: 60 seconds.
    pub fn single_use_ttl(mut self, ttl: Duration) -> Self {
        self.settings.single_use_ttl = ttl;
        self
    }

    /// Sets the grace window of a retired refresh token. Default: 10 seconds.
    ///
    /// A client that lost the answer to a refresh may retry within the window. It gets the same
    /// pair, unless that pair's refresh token has been used. A stolen copy works for no longer than
    /// that.
    ///
    /// The window starts when the pair is first handed out. If a store failed between commit and
    /// answer, the pair can be asked for until it is handed out or the retired token expires. With
    /// zero, every second use of a refresh token is reuse.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use auth_layer::authority::AuthorityBuilder;
    /// # fn example(builder: AuthorityBuilder) -> AuthorityBuilder {
    /// // No retries; single-use tokens for half a minute.
    /// builder.refresh_grace(Duration::ZERO).single_use_ttl(Duration::from_secs(30))
    /// # }
    /// ```
    pub fn refresh_grace(mut self, window: Duration) -> Self {
        self.settings.refresh_grace = window;
        self
    }

    /// Stores each token with its record, in the clear. Default: no.
    ///
    /// Anyone who can read the store can then use the tokens, and each lookup in MongoDB also reads
    /// them.
    pub fn record_tokens(mut self, record: bool) -> Self {
        self.settings.record_tokens = record;
        self
    }

    /// Sets how often expired records are removed, see [`Authority::purge_expired`]. Default: 10
    /// minutes.
    ///
    /// Issuing a token starts a removal in the background if the last one began at least `interval`
    /// ago. The first token that a process issues starts the first one, and only one runs at a
    /// time. Zero switches it off; expired records then stay until something else removes them. A
    /// store that [removes them itself](crate::store::TokenStore::retention_margin) is not asked.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use auth_layer::authority::AuthorityBuilder;
    /// # fn example(builder: AuthorityBuilder) -> AuthorityBuilder {
    /// // A job of your own calls `purge_expired`. Records hold their tokens.
    /// builder.purge_every(Duration::ZERO).record_tokens(true)
    /// # }
    /// ```
    pub fn purge_every(mut self, interval: Duration) -> Self {
        self.purge_every = interval;
        self
    }

    check_setters!();

    /// Builds the authority.
    ///
    /// # Errors
    ///
    /// [`BuildError`] if there are no keys or no audience, or if a setting cannot work: an empty
    /// name, a lifetime of zero or of more than ten years, a refresh token that expires before an
    /// access token.
    pub fn build(self) -> Result<Authority, BuildError> {
        let Self { issuer, audiences, keys, store, check_custom, purge_every, settings, checks } = self;
        let keys = keys.ok_or(BuildError::Missing("key"))?;
        let issuer = Arc::new(audiences.into_iter().fold(Issuer::recorded(issuer, &keys), Issuer::audience));
        issuer.check()?;
        checks.check(&*store)?;
        settings.check()?;
        let purge_every = if store.retention_margin().is_some() { Duration::ZERO } else { purge_every };
        let inner = AuthorityInner {
            trust: Trust::with(issuer, Vec::new(), store, checks),
            keys: ArcSwap::from_pointee(keys),
            replacing_keys: Mutex::default(),
            check_custom,
            purges: PurgeSchedule::new(purge_every),
            fully_revoked: Cache::new(FULLY_REVOKED),
            signed: SignedTokens::new(),
            settings,
        };
        Ok(Authority { inner: Arc::new(inner) })
    }
}

impl Settings {
    fn check(&self) -> Result<(), BuildError> {
        for (name, duration) in [
            ("access_ttl", self.access_ttl),
            ("refresh_ttl", self.refresh_ttl),
            ("session_ttl", self.session_ttl),
            ("single_use_ttl", self.single_use_ttl),
        ] {
            check_duration(name, duration)?;
        }
        for (longer, shorter, are_in_order) in [
            ("refresh_ttl", "access_ttl", self.refresh_ttl >= self.access_ttl),
            ("refresh_ttl", "refresh_grace", self.refresh_ttl >= self.refresh_grace),
        ] {
            if !are_in_order {
                return Err(BuildError::Order { longer, shorter });
            }
        }
        Ok(())
    }
}

impl fmt::Debug for AuthorityBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorityBuilder")
            .field("issuer", &self.issuer)
            .field("audiences", &self.audiences)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
