//! Revocations and checks in the in-process cache, in every interleaving that the memory model
//! allows. loom explores them.
//!
//! The code under test is the library's own file, compiled here with loom's types.

#[path = "../src/local/revoked.rs"]
mod revoked;

mod sync {
    pub(crate) use loom::sync::{
        RwLock,
        atomic::{AtomicU64, Ordering},
    };
}

use loom::{
    model,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};
use uuid::Uuid;

use self::revoked::RecentlyRevoked;

const ID: Uuid = Uuid::from_u128(1);
const OTHER: Uuid = Uuid::from_u128(2);

/// Longer than any test, in ticks of the clock.
const LEASE: u64 = 1_000;

/// A clock that ticks with each reading, and orders nothing else.
#[derive(Default)]
struct Ticks(AtomicU64);

impl Ticks {
    fn now(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }
}

fn covers(revoked: &RecentlyRevoked, checked_at: u64) -> bool {
    revoked.covers(checked_at, || [Some(ID), None, None])
}

#[test]
fn local_cache_check_beside_a_revocation_leaves_nothing_to_believe() {
    struct Node {
        clock: Ticks,
        /// Whether the store has the token as active.
        is_active: Mutex<bool>,
        /// When the check began whose liveness is cached.
        checked_at: Mutex<Option<u64>>,
        revoked: RecentlyRevoked,
    }

    impl Node {
        fn check(&self) {
            let began = self.clock.now();
            if *self.is_active.lock().unwrap() {
                *self.checked_at.lock().unwrap() = Some(began);
            }
        }

        fn revoke(&self) {
            *self.is_active.lock().unwrap() = false;
            self.revoked.add(ID, self.clock.now());
        }

        fn accepts_from_cache(&self) -> bool {
            self.checked_at.lock().unwrap().is_some_and(|at| !covers(&self.revoked, at))
        }
    }

    model(|| {
        let node = Arc::new(Node {
            clock: Ticks::default(),
            is_active: Mutex::new(true),
            checked_at: Mutex::new(None),
            revoked: RecentlyRevoked::with_capacity(10, LEASE),
        });
        let checking = thread::spawn({
            let node = Arc::clone(&node);
            move || node.check()
        });
        node.revoke();
        assert!(!node.accepts_from_cache());
        checking.join().unwrap();
        assert!(!node.accepts_from_cache());
    });
}

/// The second revocation forgets the first, whose lease is over by the second's time.
#[test]
fn local_cache_check_while_a_revocation_is_forgotten_believes_nothing_from_before() {
    model(|| {
        let revoked = Arc::new(RecentlyRevoked::with_capacity(10, LEASE));
        revoked.add(ID, 110);
        let forgetting = thread::spawn({
            let revoked = Arc::clone(&revoked);
            move || revoked.add(OTHER, 111 + LEASE)
        });
        assert!(covers(&revoked, 100));
        forgetting.join().unwrap();
        assert!(covers(&revoked, 100));
    });
}

#[test]
fn local_cache_check_while_too_many_are_revoked_believes_nothing_from_before() {
    model(|| {
        let revoked = Arc::new(RecentlyRevoked::with_capacity(1, LEASE));
        revoked.add(ID, 110);
        let overflowing = thread::spawn({
            let revoked = Arc::clone(&revoked);
            move || revoked.add(OTHER, 111)
        });
        assert!(covers(&revoked, 100));
        overflowing.join().unwrap();
        assert!(covers(&revoked, 100));
    });
}

/// A cache that has no lease at first, so no revocation is remembered.
struct WithoutLease {
    clock: Ticks,
    revoked: RecentlyRevoked,
    /// When the check began whose liveness is cached. Zero until the revocation has returned.
    checked_at: AtomicU64,
}

impl WithoutLease {
    fn new() -> Arc<Self> {
        let revoked = RecentlyRevoked::with_capacity(10, 0);
        Arc::new(Self { clock: Ticks::default(), revoked, checked_at: AtomicU64::new(0) })
    }

    /// Checks the token, then revokes it.
    fn check_and_revoke(&self) {
        let checked_at = self.clock.now();
        self.revoked.add(ID, self.clock.now());
        self.checked_at.store(checked_at, Ordering::Release);
    }

    /// Builds an authority with a lease, which then checks the token.
    fn extend_lease_and_check(&self) {
        self.revoked.extend_lease(LEASE, || self.clock.now());
        let checked_at = self.checked_at.load(Ordering::Acquire);
        assert!(checked_at == 0 || covers(&self.revoked, checked_at));
    }
}

#[test]
fn local_cache_that_gets_a_lease_beside_a_revocation_believes_nothing_from_before() {
    model(|| {
        let cache = WithoutLease::new();
        let extending = thread::spawn({
            let cache = Arc::clone(&cache);
            move || cache.extend_lease_and_check()
        });
        cache.check_and_revoke();
        extending.join().unwrap();
        cache.extend_lease_and_check();
    });
}

#[test]
fn local_cache_that_gets_a_lease_twice_at_once_believes_nothing_from_before() {
    model(|| {
        let cache = WithoutLease::new();
        cache.check_and_revoke();
        let extending = thread::spawn({
            let cache = Arc::clone(&cache);
            move || cache.extend_lease_and_check()
        });
        cache.extend_lease_and_check();
        extending.join().unwrap();
    });
}
