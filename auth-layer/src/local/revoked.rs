//! Recent revocations.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use uuid::Uuid;

use super::Entry;
use crate::id::TextId;

/// The revocations of the last lease. Older ones are not needed: entries from before have no lease
/// left.
pub(super) struct RecentlyRevoked {
    /// How many are kept. On overflow, all cached liveness is dropped.
    most: usize,
    /// When the last revocation was made. Checks that began later need no lock. Zero: never.
    newest: AtomicU64,
    /// Liveness checked until then is not believed, on a revocation of everything or an overflow.
    /// Zero: never.
    all_at: AtomicU64,
    pub(super) notes: RwLock<Notes>,
}

#[derive(Default)]
pub(super) struct Notes {
    pub(super) at: HashMap<Uuid, u64, foldhash::fast::RandomState>,
    /// The same revocations in the order of insertion.
    pub(super) order: VecDeque<(u64, Uuid)>,
}

impl RecentlyRevoked {
    pub(super) fn of_at_most(most: usize) -> Self {
        Self { most, newest: AtomicU64::new(0), all_at: AtomicU64::new(0), notes: RwLock::default() }
    }

    pub(super) fn add(&self, id: Uuid, now: u64, lease: u64) {
        let mut notes = self.notes.write().unwrap_or_else(PoisonError::into_inner);
        // A check's thread may be suspended after it read the clock. To that check an old lease
        // still runs.
        self.add_all(now.saturating_sub(lease));
        while let Some((at, old)) = notes.order.front().copied()
            && now.saturating_sub(at) > lease
        {
            notes.order.pop_front();
            // Keep it if it was revoked again since.
            if notes.at.get(&old) == Some(&at) {
                notes.at.remove(&old);
            }
        }
        if notes.order.len() >= self.most {
            self.add_all(now);
            *notes = Notes::default();
            return;
        }
        let latest = notes.at.entry(id).or_insert(now);
        *latest = now.max(*latest);
        let latest = *latest;
        notes.order.push_back((latest, id));
        self.newest.fetch_max(latest, Ordering::AcqRel);
    }

    pub(super) fn add_all(&self, now: u64) {
        self.all_at.fetch_max(now, Ordering::AcqRel);
    }

    pub(super) fn covers(&self, entry: &Entry) -> bool {
        // Read the notes first: `all_at` is raised before a note is removed.
        self.notes_cover(entry) || entry.checked_at <= self.all_at.load(Ordering::Acquire)
    }

    fn notes_cover(&self, entry: &Entry) -> bool {
        if entry.checked_at > self.newest.load(Ordering::Acquire) {
            return false;
        }
        let notes = self.notes.read().unwrap_or_else(PoisonError::into_inner);
        let claims = &entry.claims;
        let ids = [claims.jti.as_ref().map(TextId::tag), claims.sid.as_ref().map(TextId::tag), Some(claims.sub.tag())];
        let covers = |id: Uuid| notes.at.get(&id).is_some_and(|revoked_at| *revoked_at >= entry.checked_at);
        ids.into_iter().flatten().any(covers)
    }
}
