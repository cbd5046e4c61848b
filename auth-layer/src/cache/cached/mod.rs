//! A store with a shared cache in front.

mod breaker;
mod denials;
mod retry;
#[cfg(test)]
mod tests;

use std::{
    error::Error,
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::time::Instant;
use uuid::Uuid;

use self::{
    breaker::Breaker,
    retry::{DueDenial, DueTombstone, Retries},
};
use super::{CacheAnswer, CacheError, StatusCache};
use crate::{
    clock::Timestamp,
    id::{SessionId, Subject, TokenId},
    store::{
        Denial, HashedKey, Resumed, Revocation, RevocationListener, Revoked, StoreError, TokenKind, TokenStatus,
        TokenStore, only_live,
    },
    tier::{self, Tier},
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
/// - A denial goes the same way: the store first, then the cache, then retries. What is denied is
///   asked in one round trip, and the keys that the cache does not know in one read of the store.
/// - [`ping`](TokenStore::ping) asks the store of record only, because the cache is optional.
/// - If the future of a revocation or a denial is dropped, it may be recorded and the cache not be
///   told. Run it in a task, as [`Authority`](crate::Authority) does.
///
/// # Why no check accepts a token after its revocation returned
///
/// A check that had read the store filled each "active" entry. If it read after the revocation was
/// recorded, it read "revoked" and filled nothing. If it read before, its fill reached the cache
/// before the tombstone, which overwrote it, or after, and was refused. The revocation returned
/// success only with the tombstone in place.
#[derive(Debug)]
pub struct Cached<S, C> {
    store: Arc<S>,
    cache: Arc<C>,
    breaker: Breaker,
    tombstones: Retries<TokenId, DueTombstone>,
    denials: Retries<HashedKey, DueDenial>,
}

/// How long a failed cache is not asked.
const PAUSE: Duration = Duration::from_secs(1);

impl<S: TokenStore, C: StatusCache> Cached<S, C> {
    /// Puts `cache` in front of `store`.
    pub fn new(store: S, cache: C) -> Self {
        Self {
            store: Arc::new(store),
            cache: Arc::new(cache),
            breaker: Breaker::new(PAUSE),
            tombstones: Retries::default(),
            denials: Retries::default(),
        }
    }

    /// Returns the cache, for example to check its health.
    pub fn cache(&self) -> &C {
        &self.cache
    }

    /// Writes the tombstones of a recorded revocation. Then tells the other nodes which session has
    /// ended, or which user's sessions. Nobody waits for that.
    async fn tell(&self, revoked: Revoked, ended: Option<Uuid>, since: Timestamp) -> Result<Revoked, StoreError> {
        if !revoked.access_tokens.is_empty() {
            let put = self.cache.put_tombstones(&revoked.access_tokens, since).await;
            put.map_err(|error| {
                self.retry_tombstones(&revoked.access_tokens, since);
                StoreError::unavailable("recorded as revoked, but the shared cache could not be told", error)
            })?;
        }
        if let Some(ended) = ended {
            let cache = Arc::clone(&self.cache);
            tokio::spawn(async move { cache.announce(ended).await });
        }
        Ok(revoked)
    }

    fn retry_tombstones(&self, tokens: &[(TokenId, Timestamp)], since: Timestamp) {
        let (cache, added) = (Arc::clone(&self.cache), Instant::now());
        let due = tokens.iter().map(|&(id, expires_at)| (id, DueTombstone { expires_at, added }));
        self.tombstones.add(due, self.cache.bound(), move |due| {
            let cache = Arc::clone(&cache);
            async move {
                let tokens: Vec<_> = due.into_iter().map(|(id, tombstone)| (id, tombstone.expires_at)).collect();
                // With an old `since` a tombstone only lives longer.
                cache.put_tombstones(&tokens, since).await.is_ok()
            }
        });
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
            return self.inner().token_status(id).await;
        }
        match self.cache.get(id).await {
            Ok(CacheAnswer::Active(token)) if token.kind == TokenKind::Access => {
                self.breaker.reset();
                tier::note(Tier::Shared);
                Ok(TokenStatus::Active(token))
            }
            Ok(CacheAnswer::Dead) => {
                self.breaker.reset();
                tier::note(Tier::Shared);
                Ok(TokenStatus::Revoked)
            }
            // Boxed, so that nearly all checks have a small future.
            other => Box::pin(self.read(id, other)).await,
        }
    }

    async fn revoke_token(&self, id: TokenId, since: Timestamp) -> Result<Revoked, StoreError> {
        let revoked = self.inner().revoke_token(id, since).await?;
        // A refresh token stands for its session.
        let session = match revoked.unsettled {
            Some(Revocation::Session(session)) => Some(session.into()),
            _ => None,
        };
        self.tell(revoked, session, since).await
    }

    async fn revoke_session(&self, session: SessionId, since: Timestamp) -> Result<Revoked, StoreError> {
        let revoked = self.inner().revoke_session(session, since).await?;
        self.tell(revoked, Some(session.into()), since).await
    }

    async fn revoke_for_reuse(
        &self,
        session: SessionId,
        current: TokenId,
        since: Timestamp,
    ) -> Result<Option<Revoked>, StoreError> {
        let Some(revoked) = self.inner().revoke_for_reuse(session, current, since).await? else { return Ok(None) };
        self.tell(revoked, Some(session.into()), since).await.map(Some)
    }

    async fn revoke_user(
        &self,
        user: Subject,
        except: Option<SessionId>,
        since: Timestamp,
    ) -> Result<Revoked, StoreError> {
        let tag = user.tag();
        let revoked = self.inner().revoke_user(user, except, since).await?;
        self.tell(revoked, Some(tag), since).await
    }

    async fn set_user_disabled(&self, user: Subject, disabled: bool, since: Timestamp) -> Result<Revoked, StoreError> {
        let tag = user.tag();
        let revoked = self.inner().set_user_disabled(user, disabled, since).await?;
        self.tell(revoked, disabled.then_some(tag), since).await
    }

    async fn deny(&self, key: HashedKey, denial: Denial) -> Result<(), StoreError> {
        let denied = self.record_denial(key, denial).await;
        self.inner().local_cache().forget(key.tag());
        denied
    }

    async fn denials(&self, keys: Vec<HashedKey>, now: Timestamp) -> Result<Vec<Option<Denial>>, StoreError> {
        Ok(only_live(self.all_denials(keys).await?, now))
    }

    async fn resume(&self, since: Timestamp) -> Result<Vec<Resumed>, StoreError> {
        let mut known = Vec::new();
        let mut failed = None;
        for resumed in self.inner().resume(since).await? {
            // Older than the bound: no entry says "active" any more, so no tombstone is needed.
            let is_old = resumed.age > self.cache.bound();
            // The cache has failed once, so skip it. Skipped revocations are resumed again.
            if failed.is_some() && !is_old {
                continue;
            }
            let revoked = if is_old { Revoked::default() } else { resumed.revoked.clone() };
            let ended = resumed.revoked.unsettled.as_ref().map(Revocation::news_id);
            match self.tell(revoked, ended, since).await {
                Ok(_) => known.push(resumed),
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) if known.is_empty() => Err(error),
            _ => Ok(known),
        }
    }

    /// The sum for a check that asks the cache, reads the store and fills the cache.
    fn answers_within(&self) -> Option<Duration> {
        Some(self.cache.answers_within()?.saturating_mul(2).saturating_add(self.inner().answers_within()?))
    }

    /// Listens to the cache only. The store's reports may come before the tombstone, and until then
    /// the cache may still say "active".
    fn subscribe(&self, listener: Weak<dyn RevocationListener>) {
        self.cache.subscribe(listener);
    }
}
