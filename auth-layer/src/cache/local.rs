//! The in-process cache of verified tokens.
//!
//! It holds the claims of tokens that passed every check, under the whole token, for one lease at most. A revocation on this
//! node ends the trust at once, and no fill can undo that: an entry is dated from before its check began, and one that is
//! not younger than the revocation is not believed.

use std::{
    collections::HashMap,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use quick_cache::{Weighter, sync::Cache};
use uuid::Uuid;

use crate::claims::Claims;

/// What all entries may weigh, in bytes, and the least that one is taken for.
const CAPACITY_BYTES: u64 = 64 << 20;
const ENTRY_BYTES: usize = 512;

/// Verified tokens, each for one lease at most. Times are [`Clock::monotonic`](crate::clock::Clock::monotonic).
pub(crate) struct LocalCache<C> {
    lease: Duration,
    entries: Cache<Box<str>, Entry<C>, ByBytes, foldhash::fast::RandomState>,
    revoked: RecentlyRevoked,
}

struct Entry<C> {
    claims: Claims<C>,
    checked_at: Duration,
    good_until: Duration,
}

impl<C> Clone for Entry<C> {
    fn clone(&self) -> Self {
        Self { claims: self.claims.clone(), checked_at: self.checked_at, good_until: self.good_until }
    }
}

#[derive(Clone)]
struct ByBytes;

impl<C> Weighter<Box<str>, Entry<C>> for ByBytes {
    fn weight(&self, token: &Box<str>, _: &Entry<C>) -> u64 {
        // The claims are about as large again as the token they were read from.
        (ENTRY_BYTES + 2 * token.len()) as u64
    }
}

impl<C> LocalCache<C> {
    pub(crate) fn new(lease: Duration) -> Self {
        let items = usize::try_from(CAPACITY_BYTES).unwrap_or(usize::MAX) / (2 * ENTRY_BYTES);
        let entries = Cache::with(
            items,
            CAPACITY_BYTES,
            ByBytes,
            foldhash::fast::RandomState::default(),
            quick_cache::sync::DefaultLifecycle::default(),
        );
        Self { lease, entries, revoked: RecentlyRevoked::default() }
    }

    /// The claims of a token that was checked within the lease.
    pub(crate) fn get(&self, token: &str, now: Duration) -> Option<Claims<C>> {
        let entry = self.entries.get(token)?;
        if now < entry.good_until && !self.revoked.covers(&entry) {
            return Some(entry.claims);
        }
        self.entries.remove(token);
        None
    }

    /// Keeps the claims of a token whose check began at `checked_at` and which is good for `remaining` from then, whatever
    /// happens to its record.
    pub(crate) fn insert(&self, token: &str, claims: &Claims<C>, checked_at: Duration, remaining: Duration) {
        let good_until = checked_at + self.lease.min(remaining);
        self.entries.insert(token.into(), Entry { claims: claims.clone(), checked_at, good_until });
    }

    /// Ends the trust in every token that this is the id of, or of its session or its user.
    pub(crate) fn revoke(&self, id: Uuid, now: Duration) {
        self.revoked.add(id, now, self.lease);
    }
}

/// What was revoked within the last lease, and when. Older entries need no reminder: they are past their lease.
#[derive(Default)]
struct RecentlyRevoked {
    /// How many there are, so that a check need not take the lock while there are none.
    count: AtomicUsize,
    at: RwLock<HashMap<Uuid, Duration, foldhash::fast::RandomState>>,
}

impl RecentlyRevoked {
    fn add(&self, id: Uuid, now: Duration, lease: Duration) {
        let mut at = self.at.write().unwrap_or_else(PoisonError::into_inner);
        at.retain(|_, revoked_at| now.saturating_sub(*revoked_at) <= lease);
        let revoked_at = at.entry(id).or_insert(now);
        *revoked_at = now.max(*revoked_at);
        self.count.store(at.len(), Ordering::Release);
    }

    fn covers<C>(&self, entry: &Entry<C>) -> bool {
        if self.count.load(Ordering::Acquire) == 0 {
            return false;
        }
        let at = self.at.read().unwrap_or_else(PoisonError::into_inner);
        let claims = &entry.claims;
        [claims.jti.as_uuid(), claims.sid.as_uuid(), claims.sub.as_uuid()]
            .into_iter()
            .any(|id| at.get(id).is_some_and(|revoked_at| *revoked_at >= entry.checked_at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        claims::{ClaimSet, NoCustomClaims, Scope},
        clock::Timestamp,
        id::{SessionId, TokenId, UserId},
    };

    const LEASE: Duration = Duration::from_secs(1);
    const FOREVER: Duration = Duration::MAX;

    fn claims() -> Claims {
        Claims::checked(ClaimSet {
            iss: String::new(),
            sub: UserId::generate(),
            aud: Vec::new(),
            exp: Timestamp::MAX_UTC,
            iat: Timestamp::MIN_UTC,
            jti: TokenId::generate(),
            client_id: String::new(),
            sid: SessionId::generate(),
            scope: Scope::empty(),
            custom: NoCustomClaims {},
        })
    }

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn an_entry_is_good_for_one_lease_from_the_beginning_of_its_check() {
        let cache = LocalCache::new(LEASE);
        cache.insert("token", &claims(), at(100), FOREVER);
        assert!(cache.get("token", at(1_099)).is_some());
        assert!(cache.get("token", at(1_100)).is_none());
        assert!(cache.get("token", at(100)).is_none(), "it was dropped");
    }

    #[test]
    fn a_check_that_began_before_a_revocation_leaves_nothing_to_believe() {
        let claims = claims();
        for id in [claims.jti.into(), claims.sid.into(), claims.sub.into()] {
            let cache = LocalCache::new(LEASE);
            cache.revoke(id, at(200));
            cache.insert("token", &claims, at(200), FOREVER);
            assert!(cache.get("token", at(300)).is_none());
            cache.insert("token", &claims, at(201), FOREVER);
            assert!(cache.get("token", at(300)).is_some(), "this check began after the revocation");
        }
    }

    #[test]
    fn a_revocation_is_remembered_for_as_long_as_an_older_entry_could_be_believed() {
        let claims = claims();
        let cache = LocalCache::new(LEASE);
        cache.insert("token", &claims, at(200), FOREVER);
        cache.revoke(claims.sid.into(), at(200));
        // Others come and have the old ones dropped.
        for millis in (250..=1_199).step_by(50) {
            cache.revoke(Uuid::now_v7(), at(millis));
            assert!(cache.get("token", at(millis)).is_none());
            cache.insert("token", &claims, at(200), FOREVER);
        }
        cache.revoke(Uuid::now_v7(), at(9_000));
        assert_eq!(cache.revoked.count.load(Ordering::Relaxed), 1, "the old ones are dropped");
    }
}
