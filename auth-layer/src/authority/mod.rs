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
mod code;
mod csrf;
mod error;
mod introspect;
mod issued;
mod owner;
mod purge;
mod refresh;
mod refresh_request;
mod revoke;
mod sign_in;
mod signed;

use std::{
    fmt,
    num::NonZero,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use quick_cache::sync::Cache;

pub use self::{
    builder::AuthorityBuilder,
    code::CodePresentation,
    error::{CodeError, CodeFault, GrantFault, RefreshError, SignInError},
    introspect::Introspection,
    issued::{IssuedPair, IssuedToken, TokenType},
    owner::TokenOwner,
    refresh_request::{RefreshRequest, Renewal},
    revoke::RevokeOutcome,
    sign_in::{Grant, SignIn},
};
use self::{purge::PurgeSchedule, signed::SignedTokens};
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
///
/// A program has one. Clone it into handlers and give it to layers.
///
/// ```
/// # use auth_layer::{AuthLayer, keys::Keyring, store::MemoryStore, trust::BuildError};
/// # fn example(keys: Keyring) -> Result<(), BuildError> {
/// use auth_layer::Authority;
///
/// let authority = Authority::builder("https://auth.example", MemoryStore::new())
///     .audience("api")
///     .keys(keys)
///     .build()?;
/// let layer = AuthLayer::new(&authority);
/// # let _ = layer;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Authority {
    inner: Arc<AuthorityInner>,
}

struct AuthorityInner {
    trust: Trust,
    keys: ArcSwap<Keyring>,
    replacing_keys: Mutex<()>,
    /// Fails if issued custom claims are not what the application expects.
    check_custom: Option<IssuedCustomCheck>,
    purges: Arc<PurgeSchedule>,
    /// The last sessions that are fully revoked. Another refresh in one of them then costs no
    /// write.
    fully_revoked: Cache<SessionId, ()>,
    /// `None` if there was no randomness for its secret.
    signed: Option<SignedTokens>,
    settings: Settings,
}

/// Fails if a token's custom claims do not read as one type.
type IssuedCustomCheck = fn(&Unverified) -> Result<(), TokenFault>;

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
    ///
    /// A node of a fleet, on MongoDB with Redis as shared cache:
    ///
    /// ```no_run
    /// # #[cfg(all(feature = "mongodb", feature = "redis"))]
    /// # async fn example(
    /// #     keys: auth_layer::keys::Keyring,
    /// # ) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// use auth_layer::{
    ///     Authority,
    ///     cache::{Cached, redis::{RedisCache, RedisOptions}},
    ///     store::mongodb::{MongoOptions, MongoStore},
    /// };
    ///
    /// let uri = "mongodb://127.0.0.1/?replicaSet=rs0";
    /// let store = MongoStore::connect(uri, "auth", MongoOptions::default()).await?;
    /// let urls = ["redis://127.0.0.1".to_owned()];
    /// let cache = RedisCache::connect(&urls, RedisOptions::default()).await?;
    /// let authority = Authority::builder("https://auth.example", Cached::new(store, cache))
    ///     .audience("api")
    ///     .keys(keys)
    ///     .local_cache(Duration::from_secs(1))
    ///     .build()?;
    /// # let _ = authority;
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder(issuer: impl Into<String>, store: impl TokenStore) -> AuthorityBuilder {
        AuthorityBuilder::new(issuer.into(), DynStore::new(store).into_inner())
    }

    /// Returns the trust in this authority's tokens.
    ///
    /// ```
    /// # use auth_layer::{AuthError, Authority, trust::Policy};
    /// # use http::Request;
    /// # async fn example(authority: &Authority, request: &Request<()>) -> Result<(), AuthError> {
    /// let policy = Policy::builder().scope("orders:read").build();
    /// authority.trust().authenticate(&policy, request).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn trust(&self) -> &Trust {
        &self.inner.trust
    }

    fn store(&self) -> &Arc<dyn ErasedStore> {
        self.inner.trust.store()
    }

    /// Returns the time by this authority's clock.
    ///
    /// Judge by it what the authority then uses, such as a
    /// [proof](crate::dpop::ProofPolicy::read).
    pub fn now(&self) -> Timestamp {
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
        // One replacement at a time: two at once could leave one's keys signing and the other's
        // verifying.
        let _replacing = self.inner.replacing_keys.lock().unwrap_or_else(PoisonError::into_inner);
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
    ///
    /// ```
    /// # use auth_layer::{AuthError, Authority};
    /// // For messages that pass no layer, such as those of a queue.
    /// async fn handle(authority: &Authority, token: &str) -> Result<String, AuthError> {
    ///     let claims = authority.verify(token).await?;
    ///     Ok(format!("a message of {}", claims.sub))
    /// }
    /// ```
    pub async fn verify(&self, access_token: &str) -> Result<Claims, AuthError> {
        self.inner.trust.verify(access_token).await
    }

    /// Uses up a single-use token, see [`Trust::spend`].
    ///
    /// # Errors
    ///
    /// [`AuthError::InvalidToken`] if the token is not good, [`AuthError::Unavailable`] if its
    /// state cannot be learnt.
    ///
    /// ```
    /// # use auth_layer::{AuthError, Authority};
    /// # async fn example(authority: &Authority, token: &str) -> Result<(), AuthError> {
    /// let claims = authority.spend(token).await?;
    /// // A second call fails: the token is used up.
    /// assert!(authority.spend(token).await.is_err());
    /// # let _ = claims;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn spend(&self, single_use_token: &str) -> Result<Claims, AuthError> {
        self.inner.trust.spend(single_use_token).await
    }

    /// Lists the user's sessions that are neither revoked nor expired, newest first.
    ///
    /// ```
    /// # use auth_layer::{Authority, Claims, store::StoreError};
    /// # async fn example(authority: &Authority, claims: &Claims) -> Result<(), StoreError> {
    /// for session in authority.sessions(&claims.sub).await? {
    ///     let device = session.user_agent().unwrap_or("an unknown device");
    ///     println!("{device}, last used {}", session.last_used_at);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn sessions(&self, user: impl Into<Subject>) -> Result<Vec<Session>, StoreError> {
        self.inner.trust.with_deadline(self.store().sessions(user.into(), self.now())).await
    }

    /// Lists the live sessions that an OAuth client opened, for any user, in the order of their
    /// ids. At most `limit` of them, those after `after`.
    ///
    /// Fewer than `limit` sessions mean that there are no more. The call has no deadline: a store
    /// may read all its sessions.
    ///
    /// ```
    /// # use auth_layer::{Authority, store::StoreError};
    /// // After the client's registration is deleted.
    /// async fn end_sessions(authority: &Authority, client_id: &str) -> Result<(), StoreError> {
    ///     loop {
    ///         let sessions = authority.sessions_of_client(client_id, None, 100).await?;
    ///         for session in &sessions {
    ///             authority.revoke_session(*session).await?;
    ///         }
    ///         if sessions.len() < 100 {
    ///             return Ok(());
    ///         }
    ///     }
    /// }
    /// ```
    pub async fn sessions_of_client(
        &self,
        client_id: impl Into<String>,
        after: Option<SessionId>,
        limit: usize,
    ) -> Result<Vec<SessionId>, StoreError> {
        self.store().sessions_of_client(client_id.into(), after, limit, self.now()).await
    }

    /// Returns the session with this id, revoked or not; `None` if it is unknown or has expired.
    ///
    /// This tells whose session it is, for example to retry a revocation. It does not check the
    /// session.
    ///
    /// # Errors
    ///
    /// Fails if the store of record is unavailable.
    ///
    /// [`revoke_session`](Self::revoke_session) has an example.
    pub async fn session(&self, id: SessionId) -> Result<Option<Session>, StoreError> {
        let now = self.now();
        let session = self.inner.trust.with_deadline(self.store().session(id, now)).await?;
        Ok(session.filter(|session| session.expires_at() > now))
    }

    /// Removes what expired longer ago than the leeway and the clock-skew margin.
    ///
    /// This also happens [automatically](AuthorityBuilder::purge_every), and in MongoDB by TTL
    /// indexes. The call has no deadline: it takes as long as there is something to remove.
    ///
    /// ```
    /// # use auth_layer::{Authority, store::StoreError};
    /// # async fn example(authority: &Authority) -> Result<(), StoreError> {
    /// let purged = authority.purge_expired().await?;
    /// println!("removed {} tokens and {} sessions", purged.tokens, purged.sessions);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn purge_expired(&self) -> Result<Purged, StoreError> {
        self.store().purge_expired(self.inner.trust.accepted_since()).await
    }

    /// Checks that the store of record can serve.
    ///
    /// ```
    /// # use auth_layer::{Authority, Rejection};
    /// # use axum::extract::State;
    /// // Readiness: 503 while the store is away.
    /// async fn ready(State(authority): State<Authority>) -> Result<(), Rejection> {
    ///     Ok(authority.ping().await?)
    /// }
    /// ```
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
