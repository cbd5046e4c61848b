//! The use cases: sign in, check, refresh, revoke, clean up.
//!
//! An [`Authority`] issues tokens in one issuer's name for one audience, and knows of each whether it is still good. It is
//! what [`AuthLayer`](crate::AuthLayer) asks on every request, and works as well outside HTTP:
//!
//! ```
//! # use auth_layer::{Authority, AuthError, Grant, UserId, keys::{Keyring, SigningKey}, store::MemoryStore};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let keys = Keyring::new(SigningKey::generate()?);
//! let authority: Authority =
//!     Authority::builder("https://auth.example", "api", keys, MemoryStore::new()).build();
//!
//! let user = UserId::generate();
//! let sign_in = authority.begin_sign_in(user).await?;
//! // … check the user's password here …
//! let pair = authority.sign_in(sign_in, Grant::new("web").scope("profile".parse()?)).await?;
//!
//! let claims = authority.verify(&pair.access_token).await?;
//! assert_eq!(claims.sub, user);
//!
//! authority.revoke_session(claims.sid).await?;
//! assert!(matches!(authority.verify(&pair.access_token).await, Err(AuthError::InvalidToken(_))));
//! # Ok(())
//! # }
//! ```

mod builder;
mod check;
mod error;
mod issued;
mod meter;
mod missing_key;
mod refresh;
mod resume;
mod revoke;
mod sign_in;
mod signature_pool;
mod sweep;

use std::{
    fmt,
    num::NonZero,
    sync::{Arc, OnceLock},
    time::Duration,
};

use arc_swap::ArcSwap;
use quick_cache::sync::Cache;

pub use self::{
    builder::{AuthorityBuilder, CheckOrder},
    error::{AuthError, GrantFault, RefreshError, SignInError},
    issued::{IssuedPair, IssuedToken},
    sign_in::{Grant, SignIn},
};
pub(crate) use check::{Check, Pending};

use self::{meter::Meter, missing_key::MissingKeys, signature_pool::SignaturePool, sweep::Sweeps};
use crate::{
    cache::local::LocalCache,
    claims::{CustomClaims, NoCustomClaims},
    clock::{Clock, Timestamp, earlier, whole_millis},
    id::{SessionId, TokenId, UserId},
    keys::Keyring,
    store::{ErasedStore, Purged, Session, StoreError, TokenStore, within},
};

/// Issues tokens and knows which of them are good. Cloning it copies one pointer.
pub struct Authority<C = NoCustomClaims> {
    inner: Arc<Inner<C>>,
}

struct Inner<C> {
    issuer: String,
    audience: String,
    keys: ArcSwap<Keyring>,
    store: Arc<dyn ErasedStore>,
    local: Option<LocalCache<C>>,
    /// Budget for lookups made before a signature is verified; refunded when it is right.
    unverified_lookups: Meter,
    /// Budget for wrong signatures found inline. When it is spent, the pool verifies.
    forged_signatures: Meter,
    signature_pool: SignaturePool,
    missing_keys: MissingKeys,
    sweeps: Arc<Sweeps>,
    /// Set once revocations that broke off are looked for.
    resuming: OnceLock<()>,
    /// Revoked sessions of which nothing is left to revoke, the latest: their tokens may come again, and then cost no write.
    finished: Cache<SessionId, ()>,
    clock: Box<dyn Clock>,
    settings: Settings,
}

/// See the builder's methods of the same names.
#[derive(Clone, Copy, Debug)]
struct Settings {
    access_ttl: Duration,
    refresh_ttl: Duration,
    session_ttl: Duration,
    single_use_ttl: Duration,
    refresh_grace: Duration,
    leeway: Duration,
    clock_skew_margin: Duration,
    deadline: Duration,
    max_token_bytes: usize,
    check_order: CheckOrder,
    record_tokens: bool,
    max_sessions: Option<NonZero<usize>>,
}

impl<C: CustomClaims> Authority<C> {
    /// Begins an authority that issues as `issuer` (the `iss` of its tokens) for `audience` (their `aud`), signs with
    /// `keys` and records in `store`.
    pub fn builder(
        issuer: impl Into<String>,
        audience: impl Into<String>,
        keys: Keyring,
        store: impl TokenStore,
    ) -> AuthorityBuilder<C> {
        AuthorityBuilder::new(issuer.into(), audience.into(), keys, Arc::new(store))
    }

    /// The keys in use.
    pub fn keys(&self) -> Keyring {
        Keyring::clone(&self.inner.keys.load())
    }

    /// Replaces the keys from the next token on, issued or checked.
    pub fn set_keys(&self, keys: Keyring) {
        let new = Arc::new(keys);
        let old = self.inner.keys.swap(Arc::clone(&new));
        if let Some(local) = &self.inner.local
            && !new.has_all_of(&old)
        {
            local.begin_generation();
        }
    }

    /// The user's sessions that are neither revoked nor expired, the newest first.
    pub async fn sessions(&self, user: UserId) -> Result<Vec<Session>, StoreError> {
        self.bounded(self.inner.store.sessions(user, self.now())).await
    }

    /// The session of this id, alive or revoked; `None` where there is none or it has expired. Whether it is good is not decided
    /// here: this tells whose it is, for instance for a revocation that is tried once more.
    ///
    /// # Errors
    ///
    /// Where the store of record cannot be asked.
    pub async fn session(&self, id: SessionId) -> Result<Option<Session>, StoreError> {
        let now = self.now();
        // No token has this id: what matters is the session beside it.
        let presented = self.bounded(self.inner.store.presented(id, TokenId::generate(), now)).await?;
        Ok(presented.map(|(session, _)| session).filter(|session| session.expires_at() > now))
    }

    /// Removes what expired longer ago than the leeway and the clock-skew margin. This also happens [by
    /// itself](AuthorityBuilder::purge_every); with MongoDB its TTL indexes do it.
    ///
    /// This may take as long as there is to remove: no deadline ends it.
    pub async fn purge_expired(&self) -> Result<Purged, StoreError> {
        self.inner.store.purge_expired(self.accepted_since()).await
    }

    /// Succeeds when the store of record can serve.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.bounded(self.inner.store.ping()).await
    }

    /// The time now, as precisely as every store can keep it.
    fn now(&self) -> Timestamp {
        whole_millis(self.inner.clock.now())
    }

    /// What expired before this is accepted nowhere: not within the leeway, and by no clock that is wrong within the margin.
    fn accepted_since(&self) -> Timestamp {
        let settings = &self.inner.settings;
        earlier(self.now(), settings.leeway.saturating_add(settings.clock_skew_margin))
    }

    async fn bounded<T>(&self, operation: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        within(self.inner.settings.deadline, operation).await
    }
}

impl<C> Clone for Authority<C> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<C> fmt::Debug for Authority<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("issuer", &self.inner.issuer)
            .field("audience", &self.inner.audience)
            .field("settings", &self.inner.settings)
            .finish_non_exhaustive()
    }
}
