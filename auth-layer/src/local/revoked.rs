//! Recent revocations.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use uuid::Uuid;

use super::CacheEntry;
use crate::id::TextId;

/// The revocations of the last lease. Older ones are not needed: entries from before have no lease
/// left.
pub(super) struct RecentlyRevoked {
    /// How many are kept. On overflow, all cached liveness is dropped.
    capacity: usize,
    /// When the last revocation was made. Checks that began later need no lock. Zero: never.
    newest: AtomicU64,
    /// Liveness checked until then is not believed, on a revocation of everything or an overflow.
    /// Zero: never.
    all_at: AtomicU64,
    pub(super) revocations: RwLock<Revocations>,
}

#[derive(Default)]
pub(super) struct Revocations {
    pub(super) by_id: HashMap<Uuid, u64, foldhash::fast::RandomState>,
    /// The same revocations in the order of insertion.
    pub(super) order: VecDeque<(u64, Uuid)>,
}

impl RecentlyRevoked {
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self { capacity, newest: AtomicU64::new(0), all_at: AtomicU64::new(0), revocations: RwLock::default() }
    }

    pub(super) fn add(&self, id: Uuid, now: u64, lease: u64) {
        let mut revocations = self.revocations.write().unwrap_or_else(PoisonError::into_inner);
        // A check's thread may be suspended after it read the clock. To that check an old lease
        // still runs.
        self.add_all(now.saturating_sub(lease));
        while let Some((at, old)) = revocations.order.front().copied()
            && now.saturating_sub(at) > lease
        {
            revocations.order.pop_front();
            // Keep it if it was revoked again since.
            if revocations.by_id.get(&old) == Some(&at) {
                revocations.by_id.remove(&old);
            }
        }
        if revocations.order.len() >= self.capacity {
            self.add_all(now);
            *revocations = Revocations::default();
            return;
        }
        let latest = revocations.by_id.entry(id).or_insert(now);
        *latest = now.max(*latest);
        let latest = *latest;
        revocations.order.push_back((latest, id));
        self.newest.fetch_max(latest, Ordering::AcqRel);
    }

    pub(super) fn add_all(&self, now: u64) {
        self.all_at.fetch_max(now, Ordering::AcqRel);
    }

    pub(super) fn covers(&self, entry: &CacheEntry) -> bool {
        // Read the notes first: `all_at` is raised before a note is removed.
        self.revocation_covers(entry) || entry.checked_at <= self.all_at.load(Ordering::Acquire)
    }

    fn revocation_covers(&self, entry: &CacheEntry) -> bool {
        if entry.checked_at > self.newest.load(Ordering::Acquire) {
            return false;
        }
        let revocations = self.revocations.read().unwrap_or_else(PoisonError::into_inner);
        let claims = &entry.claims;
        let ids = [claims.jti.as_ref().map(TextId::tag), claims.sid.as_ref().map(TextId::tag), Some(claims.sub.tag())];
        let covers = |id: Uuid| revocations.by_id.get(&id).is_some_and(|revoked_at| *revoked_at >= entry.checked_at);
        ids.into_iter().flatten().any(covers)
    }
}
