//! A store with a shared cache in front.

mod breaker;
mod pending;
#[cfg(test)]
mod tests;

use std::{
    error::Error,
    future::Future,
    sync::{Arc, Weak},
    time::Duration,
};

use self::{breaker::Breaker, pending::Pending};
use super::{CacheAnswer, CacheError, StatusCache};
use crate::{
    clock::Timestamp,
    id::{SessionId, Subject, TokenId},
    store::{Resumed, RevocationListener, Revoked, StoreError, TokenKind, TokenStatus, TokenStore},
};

/// A [`TokenStore`] whose status checks are answered by a [`StatusCache`] where it can.
///
/// - A check asks the cache; on a miss it reads the store and fills. Where the cache fails, the store answers alone, and the
///   cache is left in peace for a moment, so that not every request waits for it.
/// - Only access tokens are cached: a revocation buries no others ([`Revoked::access_tokens`]), and refresh and single use are
///   the store's to decide.
/// - A revocation is recorded in the store first and then buried in the cache. Where the cache cannot be told, the caller gets an
///   error although the record is made: other nodes may still be told "active" by the cache, for [`StatusCache::bound`] at
///   most. Calling again is safe, and the tombstones are tried again in the background until that time has passed.
/// - Whether the store of record can serve is all that [`ping`](TokenStore::ping) asks; the cache can be done without.
/// - A revocation whose future is dropped may be recorded and not buried: whoever may be cut off runs it in a task, as
///   [`Authority`](crate::Authority) does.
///
/// # Why no check accepts a token after its revocation returned
///
/// An entry that says "active" was filled by a check that had read the store. Either it read after the revocation was
/// recorded: then it read "revoked" and filled nothing. Or it read before: then its fill came to the cache before the
/// tombstone, which overwrote it, or after, and was refused. The revocation returned success only with the tombstone in
/// place.
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

    /// Records a revocation, then buries what it covers.
    async fn revoke(
        &self,
        record: impl Future<Output = Result<Revoked, StoreError>>,
        since: Timestamp,
    ) -> Result<Revoked, StoreError> {
        self.bury(record.await?, since).await
    }

    /// Buries what a revocation that is recorded covers.
    async fn bury(&self, revoked: Revoked, since: Timestamp) -> Result<Revoked, StoreError> {
        if revoked.access_tokens.is_empty() {
            return Ok(revoked);
        }
        match self.cache.bury(&revoked.access_tokens, since).await {
            Ok(()) => Ok(revoked),
            Err(error) => {
                self.pending.add(&self.cache, &revoked.access_tokens, since);
                Err(StoreError::unavailable("recorded as revoked, but the shared cache could not be told", error))
            }
        }
    }

    /// Reads the store, where the cache's answer leaves no other way, and fills the cache where it had nothing.
    async fn read(
        &self,
        id: TokenId,
        answer: Result<CacheAnswer<C::Miss>, CacheError>,
    ) -> Result<TokenStatus, StoreError> {
        let miss = match answer {
            Ok(CacheAnswer::Miss(miss)) => miss,
            // Not written by a node of ours, and no tombstone would replace it.
            Ok(_) => return self.store.token_status(id).await,
            Err(error) => {
                self.cache_failed(&error);
                return self.store.token_status(id).await;
            }
        };
        let status = self.store.token_status(id).await?;
        match &status {
            TokenStatus::Active(token) if token.kind == TokenKind::Access => {
                // A cache that answers and takes nothing (it is full, or became a replica) has failed too.
                match self.cache.fill(miss, id, token.clone()).await {
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

// By its path: with both traits in scope a call on a `Cached` would name neither.
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
            // A box, so that the way of nearly all checks has no large future to carry.
            other => Box::pin(self.read(id, other)).await,
        }
    }

    async fn revoke_token(&self, id: TokenId, since: Timestamp) -> Result<Revoked, StoreError> {
        self.revoke(self.store.revoke_token(id, since), since).await
    }

    async fn revoke_session(&self, session: SessionId, since: Timestamp) -> Result<Revoked, StoreError> {
        self.revoke(self.store.revoke_session(session, since), since).await
    }

    async fn punish(
        &self,
        session: SessionId,
        current: TokenId,
        since: Timestamp,
    ) -> Result<Option<Revoked>, StoreError> {
        let Some(revoked) = self.store.punish(session, current, since).await? else { return Ok(None) };
        self.bury(revoked, since).await.map(Some)
    }

    async fn revoke_user(
        &self,
        user: Subject,
        except: Option<SessionId>,
        since: Timestamp,
    ) -> Result<Revoked, StoreError> {
        self.revoke(self.store.revoke_user(user, except, since), since).await
    }

    async fn set_user_disabled(&self, user: Subject, disabled: bool, since: Timestamp) -> Result<Revoked, StoreError> {
        self.revoke(self.store.set_user_disabled(user, disabled, since), since).await
    }

    async fn resume(&self, since: Timestamp) -> Result<Vec<Resumed>, StoreError> {
        let mut known = Vec::new();
        let mut failed = None;
        for resumed in self.store.resume(since).await? {
            // Beyond its bound no entry of the cache says "active", so there is nothing to tell it.
            if resumed.age <= self.cache.bound() {
                // One failure is enough to see that the cache is away. What it was not told comes
                // again.
                if failed.is_some() {
                    continue;
                }
                if let Err(error) = self.bury(resumed.revoked.clone(), since).await {
                    failed = Some(error);
                    continue;
                }
            }
            known.push(resumed);
        }
        match failed {
            Some(error) if known.is_empty() => Err(error),
            _ => Ok(known),
        }
    }

    /// The cache is asked, then the store, then the cache is filled.
    fn answers_within(&self) -> Option<Duration> {
        Some(self.cache.answers_within()?.saturating_mul(2).saturating_add(self.store.answers_within()?))
    }

    /// Only the cache is listened to: until it has a token's tombstone, a check may still be told "active" by it, so that what
    /// the store knows earlier would be told too early.
    fn subscribe(&self, listener: Weak<dyn RevocationListener>) {
        self.cache.subscribe(listener);
    }
}
