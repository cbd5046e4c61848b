//! The in-process cache: what a process has verified of a store's tokens.
//!
//! A store handle has one [`LocalCache`], shared by its clones and wrappers. All authorities and
//! layers on the handle use it, so a revocation through one of them takes effect in all.
//!
//! The two parts of an entry have different lifetimes:
//!
//! - **Claims and signature verdict** cannot change. They are kept until the token expires or is
//!   evicted. A check uses the verdict only if the key that verified the signature is one of its
//!   own.
//! - **Liveness** (not revoked) is believed for one lease, counted from the start of the check that
//!   found it. With a lease of zero the store is asked each time.
//!
//! What a layer demands (issuer, audience, scope, age) is not part of an entry. It is judged on
//! every request.
//!
//! A revocation on this node takes effect at once, and no insertion can undo it. An entry is dated
//! from before its check began, and one that is not younger than the revocation is not believed.
//!
//! # Keyed by a hash of the token
//!
//! The key is a 128-bit `HighwayHash` of the whole token under a secret of this cache. Without the
//! secret nobody can construct a token that collides with another. So tokens are not stored: an
//! entry takes less than half the space, and no token can be printed.
//!
//! # Insertion and eviction
//!
//! Only tokens that passed every check are inserted, so a flood of forged tokens changes nothing.
//! Entries that were used once are evicted first: many one-time tokens do not displace frequent
//! ones. Expired entries are removed at most once a minute, by a task that a check starts.
//!
//! The size in bytes is an estimate, from the size of the claims.

mod listener;
mod revoked;
#[cfg(test)]
mod tests;

/// What `revoked` synchronises with. Its test has loom's types instead.
mod sync {
    pub(super) use std::sync::{
        RwLock,
        atomic::{AtomicU64, Ordering},
    };
}

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use highway::{HighwayHash, HighwayHasher};
use quick_cache::{Weighter, sync::Cache};
use uuid::Uuid;

pub use self::listener::RevocationListener;
use self::revoked::RecentlyRevoked;
use crate::{
    claims::Claims,
    clock::{Clock, Timestamp},
    hash::highway_secret,
    id::TextId,
    telemetry::{self, LEASE_LOSSES},
    watch::Watches,
};

/// The shortest time between two removals of expired entries.
const REMOVAL_INTERVAL: Duration = Duration::from_mins(1);

/// What an entry costs beyond its claims: key, entry, table space and allocator rounding, in bytes.
const OVERHEAD: usize = 176;

/// The largest size of the cache.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) entries: usize,
    pub(crate) bytes: usize,
}

/// The in-process cache of a store handle, see
/// [`TokenStore::local_cache`](crate::store::TokenStore::local_cache). Cloning it copies one
/// pointer.
///
/// It is empty until an [`Authority`](crate::Authority) or a [`Trust`](crate::Trust) is built on
/// the store. It also knows the open streams of the process, see
/// [`Trust::revoked`](crate::Trust::revoked).
#[derive(Clone, Default)]
pub struct LocalCache(Arc<HandleState>);

/// What a process knows of one store handle.
#[derive(Default)]
struct HandleState {
    verified: OnceLock<Option<VerifiedTokens>>,
    /// Empty until the first stream.
    watches: OnceLock<Arc<Watches>>,
    listens: AtomicBool,
}

impl LocalCache {
    /// Creates an empty cache.
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens the cache for an authority or trust with this `lease`.
    ///
    /// The first caller decides size and clock. Returns `None` if a limit is zero, or if there is
    /// no randomness for the secret.
    pub(crate) fn open(&self, limits: Limits, clock: &Arc<dyn Clock>, lease: Duration) -> Option<&VerifiedTokens> {
        let lease = nanos_or_zero(lease);
        let open = || VerifiedTokens::new(limits, Arc::clone(clock), lease);
        let verified = self.0.verified.get_or_init(open).as_ref()?;
        verified.revoked.extend_lease(lease, || nanos(verified.now()));
        Some(verified)
    }

    /// Returns the cache, if it is open.
    pub(crate) fn get(&self) -> Option<&VerifiedTokens> {
        self.0.verified.get()?.as_ref()
    }

    /// Returns the open streams. The first caller decides the clock.
    pub(crate) fn watches(&self, clock: &Arc<dyn Clock>) -> &Arc<Watches> {
        self.0.watches.get_or_init(|| Arc::new(Watches::new(Arc::clone(clock))))
    }

    /// Ends belief in what this token id, session id or user tag names, and asks about its streams.
    pub(crate) fn forget(&self, id: Uuid) {
        self.0.revoked(id);
    }

    /// Returns true the first time only. The caller then subscribes [`listener`](Self::listener) to
    /// the store's revocations.
    pub(crate) fn start_listening(&self) -> bool {
        !self.0.listens.swap(true, Ordering::Relaxed)
    }

    /// Returns the listener for revocations made by other processes.
    pub(crate) fn listener(&self) -> Weak<dyn RevocationListener> {
        let listener: Weak<HandleState> = Arc::downgrade(&self.0);
        listener
    }
}

impl fmt::Debug for LocalCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalCache").finish_non_exhaustive()
    }
}

/// A check that began before the news leaves nothing to believe. A later one sees the revocation in
/// the store.
impl RevocationListener for HandleState {
    fn revoked(&self, id: Uuid) {
        if let Some(Some(verified)) = self.verified.get() {
            verified.revoke(id);
        }
        if let Some(watches) = self.watches.get() {
            watches.wake(id);
        }
    }

    fn gap(&self) {
        if let Some(Some(verified)) = self.verified.get() {
            verified.revoke_all();
            telemetry::count(LEASE_LOSSES, [("reason", "gap")]);
        }
        if let Some(watches) = self.watches.get() {
            watches.wake_all();
        }
    }
}

/// Verified tokens. Times are those of its clock's [`monotonic`](Clock::monotonic).
pub(crate) struct VerifiedTokens {
    clock: Arc<dyn Clock>,
    secret: highway::Key,
    entries: Arc<Entries>,
    /// The smallest weight of an entry, which bounds their number.
    lightest: usize,
    next_removal: AtomicU64,
    revoked: RecentlyRevoked,
}

type Entries = Cache<Key, CacheEntry, ByBytes, foldhash::fast::RandomState>;

/// Stands for a token. Two words: the alignment of a `u128` would make an entry a quarter larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key([u64; 2]);

impl Hash for Key {
    /// Hashes one word. Each is half of a keyed hash, so one distributes the tokens as well as both.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0[0]);
    }
}

impl Key {
    /// Returns bits that spread the tokens evenly.
    #[expect(clippy::cast_possible_truncation, reason = "the low bits are wanted")]
    #[inline]
    pub(crate) fn low_bits(self) -> usize {
        self.0[0] as usize
    }
}

/// What the cache knows of a token.
pub(crate) enum Known {
    /// The token is good now.
    Good(Claims),
    /// The signature is right. Whether the token was revoked is not known.
    Verified(Claims),
    /// The token is not cached.
    Nothing,
}

/// How long an authority or trust believes the cache's entries.
#[derive(Clone, Copy)]
pub(crate) struct Freshness {
    lease: u64,
    leeway: u64,
}

impl Freshness {
    /// Believes liveness for `lease` after it was found, and claims until `leeway` after the
    /// expiry.
    pub(crate) fn new(lease: Duration, leeway: Duration) -> Self {
        Self { lease: nanos_or_zero(lease), leeway: nanos_or_zero(leeway) }
    }
}

/// The result of a successful check.
pub(crate) struct CheckOutcome<'a> {
    pub(crate) claims: &'a Claims,
    /// When the check began.
    pub(crate) began: Duration,
    /// The time of day when the check began, or later.
    pub(crate) now: Timestamp,
}

#[derive(Clone)]
struct CacheEntry {
    claims: Claims,
    /// When the check that found it alive began. All times are in nanoseconds.
    checked_at: u64,
    valid_from: u64,
    expires_at: u64,
    weight: u32,
    /// The bytes of custom claims that had been parsed as types when the entry was weighed.
    read_bytes: u32,
}

impl CacheEntry {
    /// Returns the ids that a revocation or denial of this token may name.
    fn ids(&self) -> [Option<Uuid>; 3] {
        let claims = &self.claims;
        if let Some(keys) = claims.denial_keys() {
            return keys.tags();
        }
        [claims.jti.as_ref().map(TextId::tag), claims.sid.as_ref().map(TextId::tag), Some(claims.sub.tag())]
    }
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<Key, CacheEntry> for ByBytes {
    fn weight(&self, _: &Key, entry: &CacheEntry) -> u64 {
        entry.weight.into()
    }
}

impl VerifiedTokens {
    fn new(limits: Limits, clock: Arc<dyn Clock>, lease: u64) -> Option<Self> {
        if limits.entries == 0 || limits.bytes == 0 {
            return None;
        }
        let secret = highway_secret()?;
        // Keeps the smallest weight within a `u32`.
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
            secret,
            entries: Arc::new(entries),
            lightest,
            next_removal: AtomicU64::new(0),
            revoked: RecentlyRevoked::with_capacity(limits.entries, lease),
        })
    }

    /// Returns the time by which entries are dated.
    pub(crate) fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    /// Returns the number of entries and their estimated size in bytes.
    #[cfg(feature = "metrics")]
    pub(crate) fn size(&self) -> (usize, u64) {
        (self.entries.len(), self.entries.weight())
    }

    /// Returns the key of a token.
    pub(crate) fn key(&self, token: &[u8]) -> Key {
        Key(HighwayHasher::new(self.secret).hash128(token))
    }

    /// Returns what is known of a token at `now`.
    pub(crate) fn get(&self, key: Key, now: Duration, freshness: Freshness) -> Known {
        let (now, Freshness { lease, leeway }) = (nanos(now), freshness);
        self.remove_expired_if_due(now);
        match self.entries.get(&key) {
            // Another authority with a longer leeway may have inserted it.
            Some(entry) if now.saturating_add(leeway) < entry.valid_from => Known::Nothing,
            Some(entry) if now < entry.expires_at.saturating_add(leeway) => {
                if entry.claims.read_bytes() != entry.read_bytes {
                    self.reweigh(key, &entry);
                }
                if now < entry.checked_at.saturating_add(lease)
                    && !self.revoked.covers(entry.checked_at, || entry.ids())
                {
                    Known::Good(entry.claims)
                } else {
                    Known::Verified(entry.claims)
                }
            }
            Some(_) => {
                self.remove(key);
                Known::Nothing
            }
            None => Known::Nothing,
        }
    }

    /// Inserts the result of a check. For a known token only liveness is new, which needs a lease.
    pub(crate) fn insert(&self, key: Key, outcome: &CheckOutcome<'_>, was_known: bool) {
        if was_known && self.revoked.lease() == 0 {
            return;
        }
        let CheckOutcome { claims, began, now } = *outcome;
        let Some(expires_at) = to_monotonic(claims.exp, now, began) else { return };
        let valid_from = claims.valid_from().and_then(|from| to_monotonic(from, now, began)).unwrap_or(0);
        // Read once: another request may be parsing the custom claims.
        let read_bytes = claims.read_bytes();
        let entry = CacheEntry {
            claims: claims.clone(),
            checked_at: nanos(began),
            valid_from,
            expires_at,
            weight: self.weight(claims, read_bytes),
            read_bytes,
        };
        self.entries.insert(key, entry);
    }

    fn weight(&self, claims: &Claims, read_bytes: u32) -> u32 {
        let bytes = OVERHEAD + claims.bytes() + read_bytes as usize;
        u32::try_from(bytes.max(self.lightest)).unwrap_or(u32::MAX)
    }

    /// Updates the weight of an entry after its custom claims were parsed as a type.
    #[cold]
    fn reweigh(&self, key: Key, entry: &CacheEntry) {
        let read_bytes = entry.claims.read_bytes();
        let weight = self.weight(&entry.claims, read_bytes);
        self.entries.replace(key, CacheEntry { weight, read_bytes, ..entry.clone() }, true).ok();
    }

    /// Removes a token.
    #[cold]
    pub(crate) fn remove(&self, key: Key) {
        self.entries.remove(&key);
    }

    /// Ends belief in the liveness of all tokens with this token id, session id or user tag.
    pub(crate) fn revoke(&self, id: Uuid) {
        if !self.revoked.add(id, nanos(self.now())) {
            telemetry::count(LEASE_LOSSES, [("reason", "overflow")]);
        }
    }

    /// Ends belief in all liveness that was checked until now.
    pub(crate) fn revoke_all(&self) {
        self.revoked.add_all(nanos(self.now()));
    }

    /// Removes expired entries when that is due, on a blocking thread if there is a runtime.
    fn remove_expired_if_due(&self, now: u64) {
        let due = self.next_removal.load(Ordering::Relaxed);
        if now >= due {
            self.remove_expired(now, due);
        }
    }

    #[cold]
    fn remove_expired(&self, now: u64, due: u64) {
        let next = now.saturating_add(nanos(REMOVAL_INTERVAL));
        if self.next_removal.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        let entries = Arc::clone(&self.entries);
        let remove_expired = move || entries.retain(|_, entry| now < entry.expires_at);
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove_expired)),
            Err(_) => remove_expired(),
        }
    }
}

/// Converts a time of day to the cache's clock, which showed `then` at `now`.
///
/// Returns `None` for a time before that clock began.
fn to_monotonic(at: Timestamp, now: Timestamp, then: Duration) -> Option<u64> {
    match (at - now).to_std() {
        Ok(later) => Some(nanos(then.saturating_add(later))),
        Err(_) => (now - at).to_std().ok().and_then(|earlier| then.checked_sub(earlier)).map(nanos),
    }
}

/// Returns at least one: zero means "never".
fn nanos(time: Duration) -> u64 {
    nanos_or_zero(time).max(1)
}

fn nanos_or_zero(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
