//! Which tier answered about a token, for the metrics.
//!
//! A [`TokenStore`](crate::store::TokenStore) returns a status and not where it comes from, and a
//! decorator would not pass that on. So the shared cache notes it for the thread. The check that
//! polled the store reads it in the same poll.

use std::cell::Cell;

/// Where the answer about a token comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tier {
    /// Nobody was asked: the token or the request is refused by what it says.
    None,
    /// The in-process cache, within its lease.
    Local,
    /// The shared cache.
    Shared,
    /// The store.
    Store,
}

thread_local! {
    static ANSWERED: Cell<Tier> = const { Cell::new(Tier::Store) };
}

/// Notes the tier of an answer that this poll returns.
pub(crate) fn note(tier: Tier) {
    if cfg!(feature = "metrics") {
        ANSWERED.set(tier);
    }
}

/// Returns the tier that was noted last in this poll.
pub(crate) fn noted() -> Tier {
    ANSWERED.get()
}
