//! A denial is found, and its times only grow.

use std::sync::Arc;

use super::fixture::{MILLISECOND, MINUTE, answer, at_once, new_key, now, rounds};
use crate::{
    clock::{Timestamp, earlier, later},
    store::{Denial, HashedKey, TokenStore},
};

async fn denial(store: &impl TokenStore, key: HashedKey, now: Timestamp) -> Option<Denial> {
    let denials = answer(store.denials(vec![key], now).await);
    assert_eq!(denials.len(), 1, "denials of one key");
    denials[0]
}

/// A denial is found from the moment that it is made until just before its expiry, by the caller's
/// time. Other keys have none, and each key of a question gets its own answer.
pub async fn denial_is_found_until_it_expires(store: &impl TokenStore) {
    let (key, later_key, other, now) = (new_key(), new_key(), new_key(), now());
    let [made, next] = [1, 2].map(|minutes| Denial { denied_at: now, expires_at: later(now, minutes * MINUTE) });
    assert_eq!(denial(store, key, now).await, None, "a key that was never denied");
    answer(store.deny(key, made).await);
    answer(store.deny(later_key, next).await);
    for at in [now, earlier(now, MINUTE), earlier(made.expires_at, MILLISECOND)] {
        assert_eq!(denial(store, key, at).await, Some(made), "a denial before its expiry, at {at}");
    }
    for at in [made.expires_at, later(made.expires_at, MILLISECOND)] {
        assert_eq!(denial(store, key, at).await, None, "a denial from its expiry on, at {at}");
    }
    let denials = async |keys: &[HashedKey], at| answer(store.denials(keys.to_vec(), at).await);
    let expected = [Some(next), None, Some(made)];
    assert_eq!(denials(&[later_key, other, key], now).await, expected, "denials in the order of their keys");
    assert_eq!(denials(&[key, key], now).await, [Some(made); 2], "denials of one key that is named twice");
    assert_eq!(denials(&[key, later_key], made.expires_at).await, [None, Some(next)], "one expired, one not");
    assert_eq!(denials(&[], now).await, [], "denials of no key");
}

/// Of several denials of one key, the later of each time stays, in any order of the calls. A denial
/// that is repeated changes nothing, and one that has expired still counts.
pub async fn denial_keeps_the_later_of_each_time(store: &impl TokenStore) {
    let now = now();
    let at = |minutes: u32| later(now, minutes * MINUTE);
    let long = Denial { denied_at: now, expires_at: at(9) };
    let late = Denial { denied_at: at(1), expires_at: at(5) };
    let both = Denial { denied_at: at(1), expires_at: at(9) };
    for order in [[long, late], [late, long]] {
        let key = new_key();
        for made in order.into_iter().chain(order) {
            answer(store.deny(key, made).await);
        }
        assert_eq!(denial(store, key, now).await, Some(both), "two denials of one key, made in the order {order:?}");
    }
    let key = new_key();
    let over = Denial { denied_at: now, expires_at: earlier(now, MINUTE) };
    answer(store.deny(key, over).await);
    assert_eq!(denial(store, key, now).await, None, "a denial that is over at once");
    answer(store.deny(key, Denial { denied_at: earlier(now, MINUTE), ..long }).await);
    assert_eq!(denial(store, key, now).await, Some(long), "a denial after one that is over");
}

/// Concurrent denials of one key leave the latest of each time.
pub async fn concurrent_denials_keep_the_latest_times<S: TokenStore>(store: &Arc<S>) {
    rounds(move |round| deny_at_once(Arc::clone(store), round)).await;
}

async fn deny_at_once<S: TokenStore>(store: Arc<S>, round: usize) {
    const CALLERS: u32 = 8;
    let (key, now) = (new_key(), now());
    let made = move |caller: u32| Denial {
        denied_at: later(now, caller * MILLISECOND),
        expires_at: later(now, MINUTE + (CALLERS - caller) * MINUTE),
    };
    if round.is_multiple_of(2) {
        answer(store.deny(key, made(CALLERS / 2)).await);
    }
    at_once((0..CALLERS).map(|caller| {
        let store = Arc::clone(&store);
        async move { answer(store.deny(key, made(caller)).await) }
    }))
    .await;
    let latest = Denial { denied_at: made(CALLERS - 1).denied_at, expires_at: made(0).expires_at };
    assert_eq!(denial(&*store, key, now).await, Some(latest), "concurrent denials of one key");
}

/// No check that begins after a denial has returned misses it, whatever was checked meanwhile.
pub async fn check_after_a_denial_finds_it<S: TokenStore>(store: &Arc<S>) {
    rounds(move |_| check_beside_a_denial(Arc::clone(store))).await;
}

async fn check_beside_a_denial<S: TokenStore>(store: Arc<S>) {
    let (key, now) = (new_key(), now());
    let made = Denial { denied_at: now, expires_at: later(now, MINUTE) };
    at_once((0..4).map(|caller| {
        let store = Arc::clone(&store);
        async move {
            if caller == 0 {
                answer(store.deny(key, made).await);
                assert_eq!(denial(&*store, key, now).await, Some(made), "a check after a denial");
            } else {
                for _ in 0..4 {
                    // Until the denial has returned, a cache may tell one check of it and not the
                    // next.
                    let found = denial(&*store, key, now).await;
                    assert!(found.is_none_or(|found| found == made), "a check beside a denial");
                }
            }
        }
    }))
    .await;
    assert_eq!(denial(&*store, key, now).await, Some(made), "a check after a denial and other checks");
}
