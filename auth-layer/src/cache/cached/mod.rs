//! A store with a shared cache in front.

mod breaker;
mod retry;
#[cfg(test)]
mod tests;

use std::{
    error::Error,
    future::Future,
    sync::{Arc, Weak},
    time::Duration,
};

use uuid::Uuid;

use self::{breaker::Breaker, retry::TombstoneRetries};
use super::{CacheAnswer, CacheError, StatusCache};
use crate::{
    clock::Timestamp,
    id::{SessionId, Subject, TokenId},
    store::{Resumed, Revocation, RevocationListener, Revoked, StoreError, TokenKind, TokenStatus, TokenStore},
};

/// A [`TokenStore`] with a [`StatusCache`] in front of its status checks.
///
/// ```no_run
/// # #[cfg(all(feature = "mongodb", feature = "redis"))]
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use auth_layer::cache::{Cached, redis::{RedisCache, RedisOptions}};
/// use auth_layer::store::mongodb::{MongoOptions, MongoStore};
///
/// let uri = "mongodb://127.0.0.1/?replicaSet=rs0";
/// let store = MongoStore::connect(uri, "auth", MongoOptions::default()).await?;
/// let urls = ["redis://127.0.0.1".to_owned()];
/// let cache = RedisCache::connect(&urls, RedisOptions::default()).await?;
/// let store = Cached::new(store, cache); // a store for `Authority::builder`
/// # let _ = store;
/// # Ok(())
/// # }
/// ```
///
/// - A check asks the cache. On a miss it reads the store and fills the cache. If the cache fails,
///   the store answers alone, and one request per second tries the cache again.
/// - Only access tokens are cached, so a revocation writes tombstones for no others
///   ([`Revoked::access_tokens`]). The store decides refresh and single use.
/// - A revocation is recorded in the store first. Its tombstones are then written to the cache. If
///   that fails, the caller gets an error although the revocation is recorded: the cache may tell
///   other nodes "active" for at most [`StatusCache::bound`]. Calling again is safe. The tombstones
///   are retried in the background until that time has passed.
/// - [`ping`](TokenStore::ping) asks the store of record only, because the cache is optional.
/// - If a revocation's future is dropped, it may be recorded without tombstones. Run it in a task,
///   as [`Authority`](crate::Authority) does.
///
/// # Why no check accepts a token after its revocation returned
///
/// A check that had read the store filled each "active" entry. If it read after the revocation was
/// recorded, it read "revoked" and filled nothing. If it read before, its fill reached the cache
/// before the tombstone, which overwrote it, or after, and was refused. The revocation returned
/// success only with the tombstone in place.
#[derive(Debug)]
pub struct Cached<S, C> {
    store: S,
    cache: Arc<C>,
    breaker: Breaker,
    retries: TombstoneRetries,
}

/// How long a failed cache is not asked.
const PAUSE: Duration = Duration::from_secs(1);

impl<S: TokenStore, C: StatusCache> Cached<S, C> {
    /// Puts `cache` in front of `store`.
    pub fn new(store: S, cache: C) -> Self {
        Self { store, cache: Arc::new(cache), breaker: Breaker::new(PAUSE), retries: TombstoneRetries::default() }
    }

    /// Returns the cache, for example to check its health.
    pub fn cache(&self) -> &C {
        &self.cache
    }

    /// Records a revocation, then writes its tombstones.
    async fn revoke(
        &self,
        record: impl Future<Output = Result<Revoked, StoreError>>,
        since: Timestamp,
    ) -> Result<Revoked, StoreError> {
        self.put_tombstones(record.await?, since).await
    }

    /// Tells the other nodes of a recorded revocation. Nobody waits for it.
    fn announce(&self, ended: Uuid) {
        let cache = Arc::clone(&self.cache);
        tokio::spawn(async move { cache.announce(ended).await });
    }

    /// Writes the tombstones of a recorded revocation.
    async fn put_tombstones(&self, revoked: Revoked, since: Timestamp) -> Result<Revoked, StoreError> {
        if revoked.access_tokens.is_empty() {
            return Ok(revoked);
        }
        match self.cache.put_tombstones(&revoked.access_tokens, since).await {
            Ok(()) => Ok(revoked),
            Err(error) => {
                self.retries.add(&self.cache, &revoked.access_tokens, since);
                Err(StoreError::unavailable("recorded as revoked, but the shared cache could not be told", error))
            }
        }
    }

    /// Reads the store when the cache could not answer. Fills the cache after a miss.
    async fn read(
        &self,
        id: TokenId,
        answer: Result<CacheAnswer<C::Miss>, CacheError>,
    ) -> Result<TokenStatus, StoreError> {
        let miss = match answer {
            Ok(CacheAnswer::Miss(miss)) => miss,
            // No node of ours wrote this entry, and no tombstone would replace it.
            Ok(_) => return self.store.token_status(id).await,
            Err(error) => {
                self.cache_failed(&error);
                return self.store.token_status(id).await;
            }
        };
        let status = self.store.token_status(id).await?;
        match &status {
            TokenStatus::Active(token) if token.kind == TokenKind::Access => {
                // A cache that answers but takes no entry (it is full, or a replica now) has failed
                // too.
                match self.cache.put_active_if_absent(miss, id, token.clone()).await {
                    Ok(()) => self.breaker.reset(),
                    Err(error) => self.cache_failed(&error),
                }
            }
            _ => self.breaker.reset(),
        }
        Ok(status)
    }

    fn cache_failed(&self, error: &CacheError) {
        if self.breaker.trip() {
            tracing::warn!(error = error as &dyn Error, "the shared cache failed; the store of record answers alone");
        }
    }
}

// Not imported: with both traits in scope, a method call on a `Cached` would be ambiguous.
impl<S: TokenStore, C: StatusCache> crate::store::StoreDecorator for Cached<S, C> {
    type Inner = S;

    fn inner(&self) -> &S {
        &self.store
    }

    async fn token_status(&self, id: TokenId) -> Result<TokenStatus, StoreError> {
        if !self.breaker.allows() {
            return self.store.token_status(id).await;
        }
        match self.cache.get(id).await {
            Ok(CacheAnswer::Active(token)) if token.kind == TokenKind::Access => {
                self.breaker.reset();
                Ok(TokenStatus::Active(token))
            }
            Ok(CacheAnswer::Dead) => {
                self.breaker.reset();
                Ok(TokenStatus::Revoked)
            }
            // Boxed, so that nearly all checks have a small future.
            other => Box::pin(self.read(id, other)).await,
        }
    }

    async fn revoke_token(&self, id: TokenId, since: Timestamp) -> Result<Revoked, StoreError> {
        let revoked = self.revoke(self.store.revoke_token(id, since), since).await?;
        // A refresh token stands for its session.
        if let Some(Revocation::Session(session)) = revoked.unsettled {
            self.announce(session.into());
        }
        Ok(revoked)
    }

    async fn revoke_session(&self, session: SessionId, since: Timestamp) -> Result<Revoked, StoreError> {
        let revoked = self.revoke(self.store.revoke_session(session, since), since).await?;
        self.announce(session.into());
        Ok(revoked)
    }

    async fn revoke_for_reuse(
        &self,
        session: SessionId,
        current: TokenId,
        since: Timestamp,
    ) -> Result<Option<Revoked>, StoreError> {
        let Some(revoked) = self.store.revoke_for_reuse(session, current, since).await? else { return Ok(None) };
        let revoked = self.put_tombstones(revoked, since).await?;
        self.announce(session.into());
        Ok(Some(revoked))
    }

    async fn revoke_user(
        &self,
        user: Subject,
        except: Option<SessionId>,
        since: Timestamp,
    ) -> Result<Revoked, StoreError> {
        let tag = user.tag();
        let revoked = self.revoke(self.store.revoke_user(user, except, since), since).await?;
        self.announce(tag);
        Ok(revoked)
    }

    async fn set_user_disabled(&self, user: Subject, disabled: bool, since: Timestamp) -> Result<Revoked, StoreError> {
        let tag = user.tag();
        let revoked = self.revoke(self.store.set_user_disabled(user, disabled, since), since).await?;
        if disabled {
            self.announce(tag);
        }
        Ok(revoked)
    }

    async fn resume(&self, since: Timestamp) -> Result<Vec<Resumed>, StoreError> {
        let mut known = Vec::new();
        let mut failed = None;
        for resumed in self.store.resume(since).await? {
            // Older than the bound: no entry says "active" any more, so no tombstone is needed.
            if resumed.age <= self.cache.bound() {
                // The cache has failed once, so skip it. Skipped revocations are resumed again.
                if failed.is_some() {
                    continue;
                }
                if let Err(error) = self.put_tombstones(resumed.revoked.clone(), since).await {
                    failed = Some(error);
                    continue;
                }
            }
            if let Some(revocation) = &resumed.revoked.unsettled {
                self.announce(revocation.news_id());
            }
            known.push(resumed);
        }
        match failed {
            Some(error) if known.is_empty() => Err(error),
            _ => Ok(known),
        }
    }

    /// The sum for a check that asks the cache, reads the store and fills the cache.
    fn answers_within(&self) -> Option<Duration> {
        Some(self.cache.answers_within()?.saturating_mul(2).saturating_add(self.store.answers_within()?))
    }

    /// Listens to the cache only. The store's reports may come before the tombstone, and until then
    /// the cache may still say "active".
    fn subscribe(&self, listener: Weak<dyn RevocationListener>) {
        self.cache.subscribe(listener);
    }
}
