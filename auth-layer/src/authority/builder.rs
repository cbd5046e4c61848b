//! Setting an [`Authority`] up.

use std::{fmt, num::NonZero, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use quick_cache::sync::Cache;

use super::{Authority, CustomCheck, Inner, Settings, sweep::Sweeps};
use crate::{
    claims::CustomClaims,
    clock::Clock,
    jwt::Unverified,
    keys::Keyring,
    local::Limits,
    store::ErasedStore,
    trust::{BuildError, CheckOrder, CheckSettings, Issuer, Trust, check_duration, check_setters},
};

/// How many sessions are remembered of which nothing is left to revoke.
const FINISHED: usize = 4_096;

/// Sets an [`Authority`] up. Made by [`Authority::builder`].
#[must_use]
pub struct AuthorityBuilder {
    issuer: String,
    audiences: Vec<String>,
    keys: Option<Keyring>,
    store: Arc<dyn ErasedStore>,
    check_custom: Option<CustomCheck>,
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

    /// The keys: one that signs, and those that verify. Needed.
    pub fn keys(mut self, keys: Keyring) -> Self {
        self.keys = Some(keys);
        self
    }

    /// An audience of its tokens (their `aud`). One is needed. Of several the first is the default, and a
    /// [grant](super::Grant::audience) names another.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audiences.push(audience.into());
        self
    }

    /// What the custom claims of issued access and single-use tokens must read as. A sign-in or a refresh whose claims do not
    /// fails before anything is recorded. Default: anything.
    pub fn custom_claims<T: CustomClaims>(mut self) -> Self {
        self.check_custom = Some(Unverified::check_custom::<T>);
        self
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

    /// Whether each token itself is stored with its record, in the clear: whoever reads the store can then use it, and each lookup in
    /// MongoDB reads it along. Default: no.
    pub fn record_tokens(mut self, record: bool) -> Self {
        self.settings.record_tokens = record;
        self
    }

    /// How often what has expired is removed ([`Authority::purge_expired`]): when a token is issued and the last time was longer
    /// ago, in the background, one at a time, and first when the first token is issued. A store that [does it by
    /// itself](crate::store::TokenStore::retention_margin) is not asked to. Zero: never, so that records stay until something else
    /// removes them. Default: 10 minutes.
    pub fn purge_every(mut self, interval: Duration) -> Self {
        self.purge_every = interval;
        self
    }

    check_setters!();

    /// The authority.
    ///
    /// # Errors
    ///
    /// [`BuildError`] if there are no keys or no audience, or a setting cannot work: an empty name, a lifetime of zero or of
    /// more than ten years, a refresh token that does not live as long as an access token.
    pub fn build(self) -> Result<Authority, BuildError> {
        let Self { issuer, audiences, keys, store, check_custom, purge_every, settings, checks } = self;
        let keys = keys.ok_or(BuildError::Missing("key"))?;
        let issuer = audiences.into_iter().fold(Issuer::recorded(issuer, &keys), Issuer::audience);
        issuer.check()?;
        checks.check(&*store)?;
        settings.check()?;
        let purge_every = if store.retention_margin().is_some() { Duration::ZERO } else { purge_every };
        let inner = Inner {
            trust: Trust::with(issuer, store, checks),
            keys: ArcSwap::from_pointee(keys),
            check_custom,
            sweeps: Sweeps::new(purge_every),
            finished: Cache::new(FINISHED),
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
