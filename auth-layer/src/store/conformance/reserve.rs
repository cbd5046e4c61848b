//! A key is reserved once at a time.

use std::sync::Arc;

use super::fixture::{MILLISECOND, MINUTE, answer, at_once, new_key, now, rounds};
use crate::{
    clock::{earlier, later},
    store::TokenStore,
};

/// A key is reserved by the first call and by no other while the reservation lives. Other keys are
/// free.
pub async fn key_is_reserved_once(store: &impl TokenStore) {
    let (key, other, now) = (new_key(), new_key(), now());
    let expires_at = later(now, MINUTE);
    assert!(answer(store.reserve(key, expires_at, now).await), "the first reservation of a key");
    for (at, until) in [(now, expires_at), (now, later(expires_at, MINUTE)), (now, later(now, MILLISECOND))] {
        assert!(!answer(store.reserve(key, until, at).await), "a reserved key, asked for until {until}");
    }
    let earlier_node = earlier(now, MINUTE);
    assert!(!answer(store.reserve(key, expires_at, earlier_node).await), "a reserved key, by a clock that is behind");
    assert!(answer(store.reserve(other, expires_at, now).await), "another key");
    assert!(!answer(store.reserve(other, expires_at, now).await), "the other key once more");
}

/// A reservation lives until just before its expiry, by the caller's time. From then on one call
/// can take the key again.
///
/// A refused call extends nothing. A reservation that would be over at once is refused.
pub async fn expired_reservation_is_taken_again(store: &impl TokenStore) {
    let (key, now) = (new_key(), now());
    let [first, second, third] = [1, 2, 3].map(|minutes| later(now, minutes * MINUTE));
    for until in [earlier(now, MILLISECOND), now] {
        assert!(!answer(store.reserve(key, until, now).await), "a reservation that is over at once");
    }
    assert!(answer(store.reserve(key, first, now).await), "a key after calls that reserve nothing");
    assert!(!answer(store.reserve(key, third, earlier(first, MILLISECOND)).await), "just before the expiry");
    assert!(!answer(store.reserve(key, first, first).await), "at the expiry, for no time at all");
    assert!(answer(store.reserve(key, second, first).await), "at the expiry: a refused call extended nothing");
    assert!(!answer(store.reserve(key, third, first).await), "a key that was just taken again");
    assert!(!answer(store.reserve(key, third, earlier(second, MILLISECOND)).await), "just before the second expiry");
    assert!(answer(store.reserve(key, third, later(second, MILLISECOND)).await), "after the second expiry");
}

/// Of many concurrent reservations of one key, one succeeds. The key was never reserved before, or
/// its reservation has expired.
pub async fn concurrent_reservations_have_one_winner<S: TokenStore>(store: &Arc<S>) {
    rounds(move |round| reserve_at_once(Arc::clone(store), round)).await;
}

async fn reserve_at_once<S: TokenStore>(store: Arc<S>, round: usize) {
    let key = new_key();
    let mut at = now();
    if round.is_multiple_of(2) {
        let expired = later(at, MINUTE);
        assert!(answer(store.reserve(key, expired, at).await), "the first reservation of a key");
        at = expired;
    }
    let reserved = at_once((0..8_u32).map(|caller| {
        let store = Arc::clone(&store);
        async move { answer(store.reserve(key, later(at, (caller + 1) * MINUTE), at).await) }
    }))
    .await;
    let winners = reserved.iter().filter(|reserved| **reserved).count();
    assert_eq!(winners, 1, "concurrent reservations of one key that succeeded");
    assert!(!answer(store.reserve(key, later(at, MINUTE), at).await), "one more reservation of that key");
}
