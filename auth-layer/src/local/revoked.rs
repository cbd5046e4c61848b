//! What was revoked a moment ago.

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

/// What was revoked within the last lease, and when. Older entries need no reminder: they are past their lease.
pub(super) struct RecentlyRevoked {
    /// So many reminders are kept. Where more come, everything is asked about once.
    most: usize,
    /// When the last one was made, so that a check need not take the lock for what was checked since. Zero for never.
    newest: AtomicU64,
    /// What was checked until then is not believed: everything was revoked then, or reminders of it are gone. Zero for never.
    all_at: AtomicU64,
    pub(super) notes: RwLock<Notes>,
}

#[derive(Default)]
pub(super) struct Notes {
    pub(super) at: HashMap<Uuid, u64, foldhash::fast::RandomState>,
    /// The same in the order in which they were made.
    pub(super) order: VecDeque<(u64, Uuid)>,
}

impl RecentlyRevoked {
    pub(super) fn of_at_most(most: usize) -> Self {
        Self { most, newest: AtomicU64::new(0), all_at: AtomicU64::new(0), notes: RwLock::default() }
    }

    pub(super) fn add(&self, id: Uuid, now: u64, lease: u64) {
        let mut notes = self.notes.write().unwrap_or_else(PoisonError::into_inner);
        // A check may have read the clock long ago, if its thread was put aside since: by its time the lease still runs.
        self.add_all(now.saturating_sub(lease));
        while let Some((at, old)) = notes.order.front().copied()
            && now.saturating_sub(at) > lease
        {
            notes.order.pop_front();
            // Unless it was revoked again since.
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
        // In this order: whoever removes a reminder has said before that nothing of its time is to be believed.
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
