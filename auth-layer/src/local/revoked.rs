//! Recent revocations.
//!
//! A lock orders what must agree, so the atomics are `Relaxed`. `tests/interleavings.rs` explores
//! all interleavings with loom.

use std::{
    collections::{HashMap, VecDeque},
    sync::PoisonError,
};

use uuid::Uuid;

// That test has loom's types here.
use super::sync::{AtomicU64, Ordering, RwLock};

/// The revocations of the last lease. Older ones are not needed: entries from before have no lease
/// left.
pub(super) struct RecentlyRevoked {
    /// How many are kept. On overflow, all cached liveness is dropped.
    capacity: usize,
    /// The longest lease of all authorities and trusts on this cache, in nanoseconds. Zero: none
    /// believes liveness, so nothing is kept. It is raised under the lock.
    lease: AtomicU64,
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
    pub(super) fn with_capacity(capacity: usize, lease: u64) -> Self {
        let [lease, newest, all_at] = [lease, 0, 0].map(AtomicU64::new);
        Self { capacity, lease, newest, all_at, revocations: RwLock::new(Revocations::default()) }
    }

    pub(super) fn lease(&self) -> u64 {
        self.lease.load(Ordering::Relaxed)
    }

    /// Remembers revocations for at least `lease` from now on.
    pub(super) fn extend_lease(&self, lease: u64, now: impl FnOnce() -> u64) {
        let _lock = self.revocations.write().unwrap_or_else(PoisonError::into_inner);
        if lease > self.lease() {
            self.lease.store(lease, Ordering::Relaxed);
            // Earlier revocations were not kept, or not for long enough. The time is read under the
            // lock, so it is later than theirs.
            self.add_all(now());
        }
    }

    /// Remembers a revocation. Returns false on an overflow, when all liveness is dropped.
    pub(super) fn add(&self, id: Uuid, now: u64) -> bool {
        let mut revocations = self.revocations.write().unwrap_or_else(PoisonError::into_inner);
        let lease = self.lease();
        if lease == 0 {
            return true;
        }
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
            return false;
        }
        let latest = revocations.by_id.entry(id).or_insert(now);
        *latest = now.max(*latest);
        let latest = *latest;
        revocations.order.push_back((latest, id));
        self.newest.fetch_max(latest, Ordering::Relaxed);
        true
    }

    pub(super) fn add_all(&self, now: u64) {
        self.all_at.fetch_max(now, Ordering::Relaxed);
    }

    /// Whether liveness of a token with these `ids`, from a check that began at `checked_at`, is no
    /// longer believed.
    pub(super) fn covers(&self, checked_at: u64, ids: impl FnOnce() -> [Option<Uuid>; 3]) -> bool {
        // Read the revocations first: `all_at` is raised before one is removed.
        self.revocation_covers(checked_at, ids) || checked_at <= self.all_at.load(Ordering::Relaxed)
    }

    fn revocation_covers(&self, checked_at: u64, ids: impl FnOnce() -> [Option<Uuid>; 3]) -> bool {
        if checked_at > self.newest.load(Ordering::Relaxed) {
            return false;
        }
        let revocations = self.revocations.read().unwrap_or_else(PoisonError::into_inner);
        let covers = |id: Uuid| revocations.by_id.get(&id).is_some_and(|revoked_at| *revoked_at >= checked_at);
        ids().into_iter().flatten().any(covers)
    }
}
