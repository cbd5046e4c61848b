//! The use cases: sign in, check, refresh, revoke, clean up.
//!
//! An [`Authority`] issues tokens in one issuer's name, and knows of each whether it is still good. A layer in front of the
//! service's routes is built on it, and it works as well outside HTTP:
//!
//! ```
//! # use auth_layer::{Authority, AuthError, Grant, UserId, keys::{Keyring, SigningKey}, store::MemoryStore};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let keys = Keyring::new(SigningKey::generate()?);
//! let authority =
//!     Authority::builder("https://auth.example", MemoryStore::new()).audience("api").keys(keys).build()?;
//!
//! let user = UserId::generate();
//! let sign_in = authority.begin_sign_in(user).await?;
//! // … check the user's password here …
//! let pair = authority.sign_in(sign_in, Grant::new("web").scope("profile".parse()?)).await?;
//!
//! let claims = authority.verify(&pair.access_token).await?;
//! assert_eq!(claims.sub, user);
//!
//! authority.sign_out(&claims).await?;
//! assert!(matches!(authority.verify(&pair.access_token).await, Err(AuthError::InvalidToken(_))));
//! # Ok(())
//! # }
//! ```

mod builder;
mod error;
mod introspect;
mod issued;
mod refresh;
mod revoke;
mod sign_in;
mod sweep;

use std::{fmt, num::NonZero, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use quick_cache::sync::Cache;

use self::sweep::Sweeps;
pub use self::{
    builder::AuthorityBuilder,
    error::{GrantFault, RefreshError, SignInError},
    introspect::Introspection,
    issued::{IssuedPair, IssuedToken},
    sign_in::{Grant, SignIn},
};
use crate::{
    claims::Claims,
    clock::Timestamp,
    fault::TokenFault,
    id::{SessionId, Subject},
    jwt::Unverified,
    keys::Keyring,
    store::{DynStore, ErasedStore, Purged, Session, StoreError, TokenStore},
    trust::{AuthError, Trust},
};

/// Issues tokens and knows which of them are good. Cloning it copies one pointer.
#[derive(Clone)]
pub struct Authority {
    inner: Arc<Inner>,
}

struct Inner {
    trust: Trust,
    keys: ArcSwap<Keyring>,
    /// Fails for issued custom claims that are not what the application expects.
    check_custom: Option<CustomCheck>,
    sweeps: Arc<Sweeps>,
    /// Revoked sessions of which nothing is left to revoke, the latest: their tokens may come again, and then cost no write.
    finished: Cache<SessionId, ()>,
    settings: Settings,
}

/// Fails for a token whose custom claims are not of one type.
type CustomCheck = fn(&Unverified) -> Result<(), TokenFault>;

/// See the builder's methods of the same names.
#[derive(Clone, Copy, Debug)]
struct Settings {
    access_ttl: Duration,
    refresh_ttl: Duration,
    session_ttl: Duration,
    single_use_ttl: Duration,
    refresh_grace: Duration,
    record_tokens: bool,
    max_sessions: Option<NonZero<usize>>,
}

impl Authority {
    /// Begins an authority that issues as `issuer` (the `iss` of its tokens) and records in `store`. It needs
    /// [keys](AuthorityBuilder::keys) and an [audience](AuthorityBuilder::audience).
    pub fn builder(issuer: impl Into<String>, store: impl TokenStore) -> AuthorityBuilder {
        AuthorityBuilder::new(issuer.into(), DynStore::new(store).into_inner())
    }

    /// The trust in this authority's tokens.
    pub fn trust(&self) -> &Trust {
        &self.inner.trust
    }

    fn store(&self) -> &Arc<dyn ErasedStore> {
        self.inner.trust.store()
    }

    fn now(&self) -> Timestamp {
        self.inner.trust.now()
    }

    /// The keys in use.
    pub fn keys(&self) -> Keyring {
        Keyring::clone(&self.inner.keys.load())
    }

    /// Replaces the keys from the next token on, issued or checked.
    pub fn set_keys(&self, keys: Keyring) {
        // First those that verify: what is issued is accepted.
        self.inner.trust.issuer().set_keys(keys.verifying().clone());
        self.inner.keys.store(Arc::new(keys));
    }

    /// See [`Trust::verify`].
    ///
    /// # Errors
    ///
    /// As that.
    pub async fn verify(&self, access_token: &str) -> Result<Claims, AuthError> {
        self.inner.trust.verify(access_token).await
    }

    /// See [`Trust::spend`].
    ///
    /// # Errors
    ///
    /// As that.
    pub async fn spend(&self, single_use_token: &str) -> Result<Claims, AuthError> {
        self.inner.trust.spend(single_use_token).await
    }

    /// The user's sessions that are neither revoked nor expired, the newest first.
    pub async fn sessions(&self, user: impl Into<Subject>) -> Result<Vec<Session>, StoreError> {
        self.inner.trust.bounded(self.store().sessions(user.into(), self.now())).await
    }

    /// The session of this id, alive or revoked; `None` where there is none or it has expired. Whether it is good is not decided
    /// here: this tells whose it is, for instance for a revocation that is tried once more.
    ///
    /// # Errors
    ///
    /// Where the store of record cannot be asked.
    pub async fn session(&self, id: SessionId) -> Result<Option<Session>, StoreError> {
        let now = self.now();
        let session = self.inner.trust.bounded(self.store().session(id, now)).await?;
        Ok(session.filter(|session| session.expires_at() > now))
    }

    /// Removes what expired longer ago than the leeway and the clock-skew margin. This also happens [by
    /// itself](AuthorityBuilder::purge_every); with MongoDB its TTL indexes do it.
    ///
    /// This may take as long as there is to remove: no deadline ends it.
    pub async fn purge_expired(&self) -> Result<Purged, StoreError> {
        self.store().purge_expired(self.inner.trust.accepted_since()).await
    }

    /// Succeeds when the store of record can serve.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.inner.trust.ping().await
    }
}

impl From<Authority> for Trust {
    fn from(authority: Authority) -> Self {
        authority.inner.trust.clone()
    }
}

impl From<&Authority> for Trust {
    fn from(authority: &Authority) -> Self {
        authority.inner.trust.clone()
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("issuer", self.inner.trust.issuer())
            .field("settings", &self.inner.settings)
            .finish_non_exhaustive()
    }
}
