//! The in-process cache of verified tokens.
//!
//! It keeps what a check has found out about a token, in two parts that last differently long:
//!
//! - **claims and signature verdict** cannot change while the keys are in the ring, so they are kept until the token expires, its
//!   place is needed, or a key is taken out of the ring. A token that is known by them is neither decoded nor verified again;
//! - **liveness**, that the token was not revoked, is believed for one lease from the beginning of the check that found it. With
//!   a lease of zero it is never believed, and the store is asked each time.
//!
//! A revocation on this node ends the belief at once, and no insertion can undo that: an entry is dated from before its check
//! began, and one that is not younger than the revocation is not believed.
//!
//! # By the whole token, without keeping it
//!
//! An entry's key is `HighwayHash` of the whole token, 128 bits wide, under a secret of this cache. That is a keyed hash made to withstand
//! inputs chosen by an attacker: without the secret nobody can find a token that is taken for another one. So the tokens
//! themselves need not be kept, which more than halves an entry, and cannot be printed.
//!
//! # What gets in, and what goes
//!
//! Only a token that passed every check is kept, so that a flood of forged ones changes nothing here. Among the kept ones
//! those go first that were asked for once: many tokens that come one time each do not push out those that come again. What has
//! expired is removed once a minute, by the first check that comes then and off its thread.
//!
//! The bytes are an estimate, from the length of the token and what its claims take that are the same for all. Custom claims that take
//! many times more in memory than as JSON weigh too little.

use std::{
    collections::{HashMap, VecDeque},
    mem::size_of,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use aws_lc_rs::rand;
use highway::{HighwayHash, HighwayHasher};
use quick_cache::{Weighter, sync::Cache};
use uuid::Uuid;

use crate::claims::{ClaimSet, Claims};

/// How often what has expired is removed, at the most.
const SWEEP_EVERY: Duration = Duration::from_mins(1);

/// What an entry costs beyond its claims: its key, itself, its place in the cache's tables, and what the allocator rounds up.
const OVERHEAD: usize = 176;

/// How large the cache may become.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) entries: usize,
    pub(crate) bytes: usize,
}

/// Verified tokens. Times are [`Clock::monotonic`](crate::clock::Clock::monotonic).
pub(crate) struct LocalCache<C> {
    /// In nanoseconds; zero where nothing is believed without a look into the store.
    lease: u64,
    secret: highway::Key,
    entries: Arc<Entries<C>>,
    /// What the lightest entry weighs, so that there are never more of them than the limit.
    lightest: usize,
    /// How often keys were taken out of the ring.
    generation: AtomicU32,
    next_sweep: AtomicU64,
    revoked: RecentlyRevoked,
}

type Entries<C> = Cache<Key, Entry<C>, ByBytes, foldhash::fast::RandomState>;

/// What stands for a token. In words, for with the alignment of an `u128` an entry would take a quarter more room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key([u64; 2]);

/// What is known of a token.
pub(crate) enum Known<C> {
    /// That it is good now.
    Good(Claims<C>),
    /// That it is what it says; not whether it was revoked.
    Genuine(Claims<C>),
    /// Nothing.
    Nothing,
}

/// What a check has found out.
pub(crate) struct Finding<'a, C> {
    pub(crate) claims: &'a Claims<C>,
    /// The [generation](LocalCache::generation) before the keys were taken that the signature was checked with.
    pub(crate) generation: u32,
    /// When the check began.
    pub(crate) began: Duration,
    /// For how long from then the token is accepted at the most, whatever happens to its record.
    pub(crate) remaining: Duration,
    /// The length of the token, in bytes.
    pub(crate) length: usize,
}

struct Entry<C> {
    claims: Claims<C>,
    /// When the check began that found it alive, in nanoseconds, as everything here.
    checked_at: u64,
    ends_at: u64,
    generation: u32,
    weight: u32,
}

impl<C> Clone for Entry<C> {
    fn clone(&self) -> Self {
        Self { claims: self.claims.clone(), ..*self }
    }
}

#[derive(Clone)]
struct ByBytes;

impl<C> Weighter<Key, Entry<C>> for ByBytes {
    fn weight(&self, _: &Key, entry: &Entry<C>) -> u64 {
        entry.weight.into()
    }
}

impl<C: Send + Sync + 'static> LocalCache<C> {
    /// A cache of this size; none where it is to hold nothing, or where there is no randomness to be had for its secret.
    pub(crate) fn new(lease: Duration, limits: Limits) -> Option<Self> {
        let mut secret = [0; 32];
        if limits.entries == 0 || limits.bytes == 0 || rand::fill(&mut secret).is_err() {
            return None;
        }
        let (words, _) = secret.as_chunks();
        let secret = std::array::from_fn(|word| u64::from_ne_bytes(words[word]));
        // So that what the lightest entry weighs fits into its place.
        let bytes = limits.bytes.min(limits.entries.saturating_mul(u32::MAX as usize));
        let lightest = bytes.div_ceil(limits.entries).max(OVERHEAD);
        let entries = Cache::with(
            bytes / lightest,
            bytes as u64,
            ByBytes,
            foldhash::fast::RandomState::default(),
            quick_cache::sync::DefaultLifecycle::default(),
        );
        Some(Self {
            lease: u64::try_from(lease.as_nanos()).unwrap_or(u64::MAX),
            secret: highway::Key(secret),
            entries: Arc::new(entries),
            lightest,
            generation: AtomicU32::new(0),
            next_sweep: AtomicU64::new(0),
            revoked: RecentlyRevoked::of_at_most(limits.entries),
        })
    }

    /// What stands for this token here.
    pub(crate) fn key(&self, token: &[u8]) -> Key {
        Key(HighwayHasher::new(self.secret).hash128(token))
    }

    /// What a check that begins now is to keep beside its verdict, read before the keys are.
    pub(crate) fn generation(&self) -> u32 {
        self.generation.load(Ordering::Acquire)
    }

    /// Ends the trust in every signature verdict: a key is gone from the ring, which was replaced before.
    pub(crate) fn begin_generation(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// What is known of a token.
    pub(crate) fn get(&self, key: Key, now: Duration) -> Known<C> {
        let now = nanos(now);
        self.sweep_if_due(now);
        match self.entries.get(&key) {
            Some(entry) if entry.generation == self.generation() && now < entry.ends_at => {
                if now < entry.checked_at.saturating_add(self.lease) && !self.revoked.covers(&entry) {
                    Known::Good(entry.claims)
                } else {
                    Known::Genuine(entry.claims)
                }
            }
            Some(_) => {
                self.entries.remove(&key);
                Known::Nothing
            }
            None => Known::Nothing,
        }
    }

    /// Keeps what a check found out. Of a token that was known already that is news only where there is a lease.
    pub(crate) fn insert(&self, key: Key, finding: &Finding<'_, C>, was_known: bool) {
        if was_known && self.lease == 0 {
            return;
        }
        let Finding { claims, generation, began, remaining, length } = *finding;
        // What the claims say stands in the token, in a third more characters.
        let bytes = OVERHEAD + size_of::<ClaimSet<C>>() + length * 3 / 4;
        self.entries.insert(
            key,
            Entry {
                claims: claims.clone(),
                generation,
                checked_at: nanos(began),
                ends_at: nanos(began.saturating_add(remaining)),
                weight: u32::try_from(bytes.max(self.lightest)).unwrap_or(u32::MAX),
            },
        );
    }

    /// Forgets a token.
    pub(crate) fn remove(&self, key: Key) {
        self.entries.remove(&key);
    }

    /// Ends the trust in every token that this is the id of, or of its session or its user.
    pub(crate) fn revoke(&self, id: Uuid, now: Duration) {
        if self.lease > 0 {
            self.revoked.add(id, nanos(now), self.lease);
        }
    }

    /// Ends the trust in everything that was checked until now.
    pub(crate) fn revoke_all(&self, now: Duration) {
        self.revoked.add_all(nanos(now));
    }

    /// Removes what has expired, off the threads that serve where there are others.
    fn sweep_if_due(&self, now: u64) {
        let due = self.next_sweep.load(Ordering::Relaxed);
        let next = now.saturating_add(nanos(SWEEP_EVERY));
        if now < due || self.next_sweep.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        let entries = Arc::clone(&self.entries);
        let sweep = move || entries.retain(|_, entry| now < entry.ends_at);
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(sweep)),
            Err(_) => sweep(),
        }
    }
}

/// What was revoked within the last lease, and when. Older entries need no reminder: they are past their lease.
struct RecentlyRevoked {
    /// So many reminders are kept. Where more come, everything is asked about once.
    most: usize,
    /// When the last one was made, so that a check need not take the lock for what was checked since. Zero for never.
    newest: AtomicU64,
    /// What was checked until then is not believed: everything was revoked then, or reminders of it are gone. Zero for never.
    all_at: AtomicU64,
    notes: RwLock<Notes>,
}

#[derive(Default)]
struct Notes {
    at: HashMap<Uuid, u64, foldhash::fast::RandomState>,
    /// The same in the order in which they were made.
    order: VecDeque<(u64, Uuid)>,
}

impl RecentlyRevoked {
    fn of_at_most(most: usize) -> Self {
        Self { most, newest: AtomicU64::new(0), all_at: AtomicU64::new(0), notes: RwLock::default() }
    }

    fn add(&self, id: Uuid, now: u64, lease: u64) {
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

    fn add_all(&self, now: u64) {
        self.all_at.fetch_max(now, Ordering::AcqRel);
    }

    fn covers<C>(&self, entry: &Entry<C>) -> bool {
        // In this order: whoever removes a reminder has said before that nothing of its time is to be believed.
        self.notes_cover(entry) || entry.checked_at <= self.all_at.load(Ordering::Acquire)
    }

    fn notes_cover<C>(&self, entry: &Entry<C>) -> bool {
        if entry.checked_at > self.newest.load(Ordering::Acquire) {
            return false;
        }
        let notes = self.notes.read().unwrap_or_else(PoisonError::into_inner);
        let claims = &entry.claims;
        [claims.jti.as_uuid(), claims.sid.as_uuid(), claims.sub.as_uuid()]
            .into_iter()
            .any(|id| notes.at.get(id).is_some_and(|revoked_at| *revoked_at >= entry.checked_at))
    }
}

/// At least one: zero is no time.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests;
