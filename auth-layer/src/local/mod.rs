//! What a process has verified of a store's tokens.
//!
//! A store's handle has one [`LocalCache`], its clones and wrappers the same. So all authorities and layers of a process that
//! share a handle share what they have verified, and a revocation through any of them ends it for all.
//!
//! Two parts of an entry last differently long:
//!
//! - **Claims and the signature's verdict** cannot change. They are kept until the token expires or its place is needed. A
//!   check believes the verdict if its own keys include the key that verified the signature.
//! - **Liveness**, that the token was not revoked, is believed for one lease from the beginning of the check that found it.
//!   With a lease of zero it is never believed, and the store is asked each time.
//!
//! What a layer demands (issuer, audience, scope, age) is no part of an entry. It is judged on every request.
//!
//! A revocation on this node ends the belief at once, and no insertion can undo that: an entry is dated from before its check
//! began, and one that is not younger than the revocation is not believed.
//!
//! # By the whole token, without keeping it
//!
//! An entry's key is `HighwayHash` of the whole token, 128 bits wide, under a secret of this cache. That is a keyed hash made
//! to withstand inputs chosen by an attacker: without the secret nobody can find a token that is taken for another one. So the
//! tokens themselves need not be kept, which more than halves an entry, and cannot be printed.
//!
//! # What gets in, and what goes
//!
//! Only a token that passed every check is kept, so that a flood of forged ones changes nothing here. Of the kept ones those
//! go first that were asked for once: many tokens that come one time each do not push out those that come again. What has
//! expired is removed once a minute, by the first check that comes then and off its thread.
//!
//! The bytes are an estimate, from what the claims take.

mod listener;
mod revoked;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use aws_lc_rs::rand;
use highway::{HighwayHash, HighwayHasher};
use quick_cache::{Weighter, sync::Cache};
use uuid::Uuid;

pub use self::listener::RevocationListener;
use self::revoked::RecentlyRevoked;
use crate::{
    claims::Claims,
    clock::{Clock, Timestamp},
};

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

/// What this process has verified of a store's tokens: a part of the store's handle, see
/// [`TokenStore::local_cache`](crate::store::TokenStore::local_cache). Cloning it copies one pointer.
///
/// It is empty, and keeps nothing, until an [`Authority`](crate::Authority) or a [`Trust`](crate::Trust) is built on the store.
#[derive(Clone, Default)]
pub struct LocalCache(Arc<OnceLock<Option<VerifiedTokens>>>);

impl LocalCache {
    /// An empty cache.
    pub fn new() -> Self {
        Self::default()
    }

    /// The cache, for one more that believes what it holds for `lease`. The first that asks decides its size and its clock.
    /// None where it is to hold nothing, or where there is no randomness to be had for its secret.
    pub(crate) fn open(&self, limits: Limits, clock: &Arc<dyn Clock>, lease: Duration) -> Option<&VerifiedTokens> {
        let mut is_new = false;
        let open = || {
            is_new = true;
            VerifiedTokens::new(limits, Arc::clone(clock))
        };
        let verified = self.0.get_or_init(open).as_ref()?;
        verified.extend_lease(lease, is_new);
        Some(verified)
    }

    /// The cache, where it is open.
    pub(crate) fn get(&self) -> Option<&VerifiedTokens> {
        self.0.get()?.as_ref()
    }
}

impl fmt::Debug for LocalCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalCache").finish_non_exhaustive()
    }
}

/// What is heard of other nodes. A check that began before it was heard leaves nothing to believe, and one that begins after it
/// sees the revocation in the store.
impl RevocationListener for OnceLock<Option<VerifiedTokens>> {
    fn revoked(&self, id: Uuid) {
        if let Some(Some(verified)) = self.get() {
            verified.revoke(id);
        }
    }

    fn gap(&self) {
        if let Some(Some(verified)) = self.get() {
            verified.revoke_all();
        }
    }
}

impl LocalCache {
    /// Who is to be told of revocations.
    pub(crate) fn listener(&self) -> std::sync::Weak<dyn RevocationListener> {
        let listener: std::sync::Weak<OnceLock<Option<VerifiedTokens>>> = Arc::downgrade(&self.0);
        listener
    }
}

/// Verified tokens. Times are those of its own clock's [`monotonic`](Clock::monotonic).
pub(crate) struct VerifiedTokens {
    clock: Arc<dyn Clock>,
    /// The longest lease of those that believe what is held here, in nanoseconds. Zero where nobody believes anything
    /// without asking the store.
    lease: AtomicU64,
    secret: highway::Key,
    entries: Arc<Entries>,
    /// What the lightest entry weighs, so that there are never more of them than the limit.
    lightest: usize,
    next_sweep: AtomicU64,
    revoked: RecentlyRevoked,
    listens: AtomicBool,
}

type Entries = Cache<Key, Entry, ByBytes, foldhash::fast::RandomState>;

/// What stands for a token. In words, for with the alignment of an `u128` an entry would take a quarter more room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key([u64; 2]);

/// What is known of a token.
pub(crate) enum Known {
    /// That it is good now.
    Good(Claims),
    /// That it is what it says; not whether it was revoked.
    Genuine(Claims),
    /// Nothing.
    Nothing,
}

/// How long somebody believes what is kept here.
#[derive(Clone, Copy)]
pub(crate) struct Belief {
    lease: u64,
    leeway: u64,
}

impl Belief {
    /// That a token is alive, for `lease` after it was found so; and that it is what it says, until `leeway` after its expiry.
    pub(crate) fn new(lease: Duration, leeway: Duration) -> Self {
        Self { lease: nanos_or_zero(lease), leeway: nanos_or_zero(leeway) }
    }
}

/// What a check has found out.
pub(crate) struct Finding<'a> {
    pub(crate) claims: &'a Claims,
    /// When the check began.
    pub(crate) began: Duration,
    /// The time of day then, or later.
    pub(crate) now: Timestamp,
}

#[derive(Clone)]
struct Entry {
    claims: Claims,
    /// When the check began that found it alive, in nanoseconds, as everything here.
    checked_at: u64,
    valid_from: u64,
    expires_at: u64,
    weight: u32,
    /// What the types took that the custom claims had been read as when it was weighed.
    read_bytes: u32,
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<Key, Entry> for ByBytes {
    fn weight(&self, _: &Key, entry: &Entry) -> u64 {
        entry.weight.into()
    }
}

impl VerifiedTokens {
    fn new(limits: Limits, clock: Arc<dyn Clock>) -> Option<Self> {
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
            clock,
            lease: AtomicU64::new(0),
            secret: highway::Key(secret),
            entries: Arc::new(entries),
            lightest,
            next_sweep: AtomicU64::new(0),
            revoked: RecentlyRevoked::of_at_most(limits.entries),
            listens: AtomicBool::new(false),
        })
    }

    /// The time now, as entries are dated by.
    pub(crate) fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    /// True the first time: from then on the store tells it of revocations.
    pub(crate) fn begin_to_listen(&self) -> bool {
        !self.listens.swap(true, Ordering::AcqRel)
    }

    /// Remembers revocations for this long from now on, if that is longer than before.
    fn extend_lease(&self, lease: Duration, is_new: bool) {
        let lease = nanos_or_zero(lease);
        let before = self.lease.fetch_max(lease, Ordering::AcqRel);
        if before < lease && !is_new {
            // What was checked before may have been revoked since, and no longer be remembered.
            self.revoke_all();
        }
    }

    /// What stands for this token here.
    pub(crate) fn key(&self, token: &[u8]) -> Key {
        Key(HighwayHasher::new(self.secret).hash128(token))
    }

    /// What is known at `now` of a token.
    pub(crate) fn get(&self, key: Key, now: Duration, belief: Belief) -> Known {
        let (now, Belief { lease, leeway }) = (nanos(now), belief);
        self.sweep_if_due(now);
        match self.entries.get(&key) {
            // One with a longer leeway may have kept it.
            Some(entry) if now.saturating_add(leeway) < entry.valid_from => Known::Nothing,
            Some(entry) if now < entry.expires_at.saturating_add(leeway) => {
                if entry.claims.read_bytes() != entry.read_bytes {
                    self.weigh_again(key, &entry);
                }
                if now < entry.checked_at.saturating_add(lease) && !self.revoked.covers(&entry) {
                    Known::Good(entry.claims)
                } else {
                    Known::Genuine(entry.claims)
                }
            }
            Some(_) => {
                self.remove(key);
                Known::Nothing
            }
            None => Known::Nothing,
        }
    }

    /// Keeps what a check found out. Of a token that was known already that is news only where there is a lease.
    pub(crate) fn insert(&self, key: Key, finding: &Finding<'_>, was_known: bool) {
        if was_known && self.lease.load(Ordering::Acquire) == 0 {
            return;
        }
        let Finding { claims, began, now } = *finding;
        let Some(expires_at) = moment(claims.exp, now, began) else { return };
        let valid_from = claims.valid_from().and_then(|from| moment(from, now, began)).unwrap_or(0);
        let entry = Entry {
            claims: claims.clone(),
            checked_at: nanos(began),
            valid_from,
            expires_at,
            weight: self.weight(claims),
            read_bytes: claims.read_bytes(),
        };
        self.entries.insert(key, entry);
    }

    fn weight(&self, claims: &Claims) -> u32 {
        u32::try_from((OVERHEAD + claims.bytes()).max(self.lightest)).unwrap_or(u32::MAX)
    }

    /// Counts what an entry has come to weigh since its custom claims were read as a type.
    #[cold]
    fn weigh_again(&self, key: Key, entry: &Entry) {
        let (weight, read_bytes) = (self.weight(&entry.claims), entry.claims.read_bytes());
        self.entries.replace(key, Entry { weight, read_bytes, ..entry.clone() }, true).ok();
    }

    /// Forgets a token.
    #[cold]
    pub(crate) fn remove(&self, key: Key) {
        self.entries.remove(&key);
    }

    /// Ends the trust in every token that this is the id of, or of its session, or its user's tag.
    pub(crate) fn revoke(&self, id: Uuid) {
        let lease = self.lease.load(Ordering::Acquire);
        if lease > 0 {
            self.revoked.add(id, nanos(self.now()), lease);
        }
    }

    /// Ends the trust in everything that was checked until now.
    pub(crate) fn revoke_all(&self) {
        self.revoked.add_all(nanos(self.now()));
    }

    /// Removes what has expired, off the threads that serve where there are others.
    fn sweep_if_due(&self, now: u64) {
        let due = self.next_sweep.load(Ordering::Relaxed);
        if now >= due {
            self.sweep(now, due);
        }
    }

    #[cold]
    fn sweep(&self, now: u64, due: u64) {
        let next = now.saturating_add(nanos(SWEEP_EVERY));
        if self.next_sweep.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        let entries = Arc::clone(&self.entries);
        let sweep = move || entries.retain(|_, entry| now < entry.expires_at);
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(sweep)),
            Err(_) => sweep(),
        }
    }
}

/// A time of day on the clock of the cache, which showed `then` at `now`. None for what was before that clock began.
fn moment(at: Timestamp, now: Timestamp, then: Duration) -> Option<u64> {
    match (at - now).to_std() {
        Ok(later) => Some(nanos(then.saturating_add(later))),
        Err(_) => (now - at).to_std().ok().and_then(|earlier| then.checked_sub(earlier)).map(nanos),
    }
}

/// At least one: zero is no time.
fn nanos(time: Duration) -> u64 {
    nanos_or_zero(time).max(1)
}

fn nanos_or_zero(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
