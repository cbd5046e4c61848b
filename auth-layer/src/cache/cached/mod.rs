//! A store with a shared cache in front.

mod breaker;
mod pending;

use std::{sync::Arc, time::Duration};

use self::{breaker::Breaker, pending::Pending};
use super::{CacheAnswer, CacheError, StatusCache};
use crate::{
    clock::Timestamp,
    id::{SessionId, TokenId, UserId},
    store::{
        Admission, Consumed, Purged, Revoked, Rotated, Rotation, Session, StoreError, TokenRecord, TokenStatus,
        TokenStore, UserFence,
    },
};

/// A [`TokenStore`] whose status checks are answered by a [`StatusCache`] where it can.
///
/// - A check asks the cache; on a miss it reads the store and fills. Where the cache fails, the store answers alone, and the
///   cache is left in peace for a moment, so that not every request waits for it.
/// - A revocation is recorded in the store first and then buried in the cache. Where the cache cannot be told, the caller gets an
///   error although the record is made: other nodes may still be told "active" by the cache, for [`StatusCache::bound`] at
///   most. Calling again is safe, and the tombstones are tried again in the background until that time has passed.
/// - Refresh and single use never look at the cache.
#[derive(Debug)]
pub struct Cached<S, C> {
    store: S,
    cache: Arc<C>,
    breaker: Breaker,
    pending: Pending,
}

/// How long the cache is left in peace after it failed.
const PAUSE: Duration = Duration::from_secs(1);

impl<S: TokenStore, C: StatusCache> Cached<S, C> {
    /// Puts `cache` in front of `store`.
    pub fn new(store: S, cache: C) -> Self {
        Self { store, cache: Arc::new(cache), breaker: Breaker::new(PAUSE), pending: Pending::default() }
    }

    /// The cache, to ask after its health.
    pub fn cache(&self) -> &C {
        &self.cache
    }

    async fn bury(&self, revoked: Revoked, now: Timestamp) -> Result<Revoked, StoreError> {
        if revoked.access_tokens.is_empty() {
            return Ok(revoked);
        }
        match self.cache.bury(&revoked.access_tokens, now).await {
            Ok(()) => Ok(revoked),
            Err(error) => {
                self.pending.add(&self.cache, &revoked.access_tokens, now);
                Err(StoreError::unavailable("recorded as revoked, but the shared cache could not be told", error))
            }
        }
    }

    fn cache_failed(&self, error: &CacheError) {
        if self.breaker.trip() {
            tracing::warn!(
                error = error as &dyn std::error::Error,
                "the shared cache failed; the store of record answers alone"
            );
        }
    }
}

impl<S: TokenStore, C: StatusCache> TokenStore for Cached<S, C> {
    async fn token_status(&self, id: TokenId) -> Result<TokenStatus, StoreError> {
        if !self.breaker.allows() {
            return self.store.token_status(id).await;
        }
        let miss = match self.cache.get(id).await {
            Ok(CacheAnswer::Active(token)) => {
                self.breaker.reset();
                return Ok(TokenStatus::Active(token));
            }
            Ok(CacheAnswer::Dead) => {
                self.breaker.reset();
                return Ok(TokenStatus::Revoked);
            }
            Ok(CacheAnswer::Miss(miss)) => {
                self.breaker.reset();
                miss
            }
            Err(error) => {
                self.cache_failed(&error);
                return self.store.token_status(id).await;
            }
        };
        let status = self.store.token_status(id).await?;
        if let TokenStatus::Active(token) = status
            && let Err(error) = self.cache.fill(miss, id, token).await
        {
            self.cache_failed(&error);
        }
        Ok(status)
    }

    async fn user_fence(&self, user: UserId) -> Result<UserFence, StoreError> {
        self.store.user_fence(user).await
    }

    async fn open_session(
        &self,
        session: Session,
        tokens: Vec<TokenRecord>,
        epoch: u64,
    ) -> Result<Admission, StoreError> {
        self.store.open_session(session, tokens, epoch).await
    }

    async fn presented(
        &self,
        session: SessionId,
        refresh: TokenId,
    ) -> Result<Option<(Session, TokenStatus)>, StoreError> {
        self.store.presented(session, refresh).await
    }

    async fn rotate(&self, rotation: Rotation) -> Result<Rotated, StoreError> {
        self.store.rotate(rotation).await
    }

    async fn record_token(&self, token: TokenRecord) -> Result<Admission, StoreError> {
        self.store.record_token(token).await
    }

    async fn consume(&self, id: TokenId, now: Timestamp) -> Result<Consumed, StoreError> {
        self.store.consume(id, now).await
    }

    async fn revoke_token(&self, id: TokenId, now: Timestamp) -> Result<Revoked, StoreError> {
        let revoked = self.store.revoke_token(id, now).await?;
        self.bury(revoked, now).await
    }

    async fn revoke_session(&self, session: SessionId, now: Timestamp) -> Result<Revoked, StoreError> {
        let revoked = self.store.revoke_session(session, now).await?;
        self.bury(revoked, now).await
    }

    async fn revoke_user(
        &self,
        user: UserId,
        except: Option<SessionId>,
        now: Timestamp,
    ) -> Result<Revoked, StoreError> {
        let revoked = self.store.revoke_user(user, except, now).await?;
        self.bury(revoked, now).await
    }

    async fn set_user_disabled(&self, user: UserId, disabled: bool, now: Timestamp) -> Result<Revoked, StoreError> {
        let revoked = self.store.set_user_disabled(user, disabled, now).await?;
        self.bury(revoked, now).await
    }

    async fn sessions(&self, user: UserId, now: Timestamp) -> Result<Vec<Session>, StoreError> {
        self.store.sessions(user, now).await
    }

    async fn purge_expired(&self, before: Timestamp) -> Result<Purged, StoreError> {
        self.store.purge_expired(before).await
    }

    /// Succeeds when the store of record can serve; the cache can be done without.
    async fn ping(&self) -> Result<(), StoreError> {
        self.store.ping().await
    }
}
