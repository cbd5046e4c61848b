//! Issues tokens: sign in, refresh, revoke, introspect, clean up.
//!
//! An [`Authority`] issues tokens in one issuer's name and knows which of them are good. A layer in
//! front of the routes is built on it. It also works outside HTTP:
//!
//! ```
//! # use auth_layer::{Authority, AuthError, Grant, UserId};
//! # use auth_layer::{keys::{Keyring, SigningKey}, store::MemoryStore};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let keys = Keyring::new(SigningKey::generate()?);
//! let authority = Authority::builder("https://auth.example", MemoryStore::new())
//!     .audience("api")
//!     .keys(keys)
//!     .build()?;
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
    /// Fails if issued custom claims are not what the application expects.
    check_custom: Option<CustomCheck>,
    sweeps: Arc<Sweeps>,
    /// The last sessions that are fully revoked. Another refresh in one of them then costs no
    /// write.
    finished: Cache<SessionId, ()>,
    settings: Settings,
}

/// Fails if a token's custom claims do not read as one type.
type CustomCheck = fn(&Unverified) -> Result<(), TokenFault>;

/// The settings, named as the builder's methods.
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
    /// Begins an authority that issues as `issuer` (`iss`) and records tokens in `store`.
    ///
    /// [Keys](AuthorityBuilder::keys) and an [audience](AuthorityBuilder::audience) are required.
    pub fn builder(issuer: impl Into<String>, store: impl TokenStore) -> AuthorityBuilder {
        AuthorityBuilder::new(issuer.into(), DynStore::new(store).into_inner())
    }

    /// Returns the trust in this authority's tokens.
    pub fn trust(&self) -> &Trust {
        &self.inner.trust
    }

    fn store(&self) -> &Arc<dyn ErasedStore> {
        self.inner.trust.store()
    }

    fn now(&self) -> Timestamp {
        self.inner.trust.now()
    }

    /// Returns the keys in use.
    pub fn keys(&self) -> Keyring {
        Keyring::clone(&self.inner.keys.load())
    }

    /// Replaces the keys, for every token issued or checked from now on.
    ///
    /// ```
    /// # use auth_layer::{Authority, keys::{KeyError, Keyring, SigningKey}};
    /// # fn rotate(authority: &Authority, old: SigningKey, new: SigningKey)
    /// # -> Result<(), KeyError> {
    /// // First, on every node: the new key verifies.
    /// authority.set_keys(Keyring::new(old.clone()).with_retired(new.clone())?);
    /// // Once all nodes have it: the new key signs.
    /// authority.set_keys(Keyring::new(new).with_retired(old)?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_keys(&self, keys: Keyring) {
        // Replace the verifying keys first: issued tokens must be accepted.
        self.inner.trust.issuer().set_keys(keys.verifying().clone());
        self.inner.keys.store(Arc::new(keys));
    }

    /// Checks an access token, see [`Trust::verify`].
    ///
    /// # Errors
    ///
    /// [`AuthError::InvalidToken`] if the token is not good, [`AuthError::Unavailable`] if its
    /// state cannot be learnt.
    pub async fn verify(&self, access_token: &str) -> Result<Claims, AuthError> {
        self.inner.trust.verify(access_token).await
    }

    /// Uses up a single-use token, see [`Trust::spend`].
    ///
    /// # Errors
    ///
    /// [`AuthError::InvalidToken`] if the token is not good, [`AuthError::Unavailable`] if its
    /// state cannot be learnt.
    pub async fn spend(&self, single_use_token: &str) -> Result<Claims, AuthError> {
        self.inner.trust.spend(single_use_token).await
    }

    /// Lists the user's sessions that are neither revoked nor expired, newest first.
    pub async fn sessions(&self, user: impl Into<Subject>) -> Result<Vec<Session>, StoreError> {
        self.inner.trust.bounded(self.store().sessions(user.into(), self.now())).await
    }

    /// Returns the session with this id, revoked or not; `None` if it is unknown or has expired.
    ///
    /// This tells whose session it is, for example to retry a revocation. It does not check the
    /// session.
    ///
    /// # Errors
    ///
    /// Fails if the store of record is unavailable.
    pub async fn session(&self, id: SessionId) -> Result<Option<Session>, StoreError> {
        let now = self.now();
        let session = self.inner.trust.bounded(self.store().session(id, now)).await?;
        Ok(session.filter(|session| session.expires_at() > now))
    }

    /// Removes what expired longer ago than the leeway and the clock-skew margin.
    ///
    /// This also happens [automatically](AuthorityBuilder::purge_every), and in MongoDB by TTL
    /// indexes. The call has no deadline: it takes as long as there is something to remove.
    pub async fn purge_expired(&self) -> Result<Purged, StoreError> {
        self.store().purge_expired(self.inner.trust.accepted_since()).await
    }

    /// Checks that the store of record can serve.
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
