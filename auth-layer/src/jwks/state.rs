//! What is known of an issuer's keys, and when to fetch. Times are those of a clock's `monotonic`,
//! and are passed in.

use std::time::Duration;

use crate::keys::VerifyingKeys;

/// The time limits of an issuer's keys.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Keys are fetched again after this time, or sooner if the issuer says so.
    pub(super) refresh: Duration,
    /// Fetches begin at least this long after each other. So a fetch that began within this time
    /// decides that a `kid` is unknown.
    pub(super) spacing: Duration,
    /// How long keys are kept while no fetch succeeds.
    pub(super) kept: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { refresh: Duration::from_mins(5), spacing: Duration::from_secs(10), kept: Duration::from_hours(24) }
    }
}

/// The keys of an issuer cannot be learnt now. They may have the `kid` in question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the issuer's keys cannot be fetched")]
pub(crate) struct KeysUnavailable;

#[derive(Debug)]
pub(super) struct State {
    limits: Limits,
    known: Option<Known>,
    /// When the last fetch began.
    last: Option<Duration>,
    is_in_flight: bool,
    /// A request asks for a `kid` that is not known.
    is_wanted: bool,
    /// When a fetch is due without that.
    due: Duration,
    /// Fetches that failed since the last success.
    failures: u32,
}

#[derive(Debug)]
struct Known {
    keys: VerifyingKeys,
    /// When their fetch began. The issuer may have changed them since.
    at: Duration,
}

impl State {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            known: None,
            last: None,
            is_in_flight: false,
            is_wanted: false,
            due: Duration::ZERO,
            failures: 0,
        }
    }

    /// Returns the keys, unless they are too old.
    pub(super) fn current(&self, now: Duration) -> Option<VerifyingKeys> {
        self.known.as_ref().filter(|known| now < known.at + self.limits.kept).map(|known| known.keys.clone())
    }

    /// Returns keys that decide that a `kid` is unknown. No fetch has begun since theirs, which was
    /// a moment ago.
    pub(super) fn fresh(&self, now: Duration) -> Result<VerifyingKeys, KeysUnavailable> {
        let fresh = self.known.as_ref().filter(|known| now < known.at + self.limits.spacing);
        fresh.map(|known| known.keys.clone()).ok_or(KeysUnavailable)
    }

    /// Asks for keys with a `kid` that is not known. `None` if a fetch will tell: wait for its end.
    pub(super) fn ask(&mut self, now: Duration) -> Option<Result<VerifyingKeys, KeysUnavailable>> {
        if self.is_in_flight {
            return None;
        }
        self.is_wanted = self.may_begin(now);
        if self.is_wanted { None } else { Some(self.fresh(now)) }
    }

    /// Whether a fetch is to begin.
    pub(super) fn is_due(&self, now: Duration) -> bool {
        self.may_begin(now) && (self.is_wanted || now >= self.due)
    }

    /// Begins a fetch if one is due. Then it must end with [`succeed`](Self::succeed),
    /// [`fail`](Self::fail) or [`abandon`](Self::abandon).
    pub(super) fn begin(&mut self, now: Duration) -> bool {
        let begins = self.is_due(now);
        if begins {
            self.is_in_flight = true;
            self.is_wanted = false;
            self.last = Some(now);
        }
        begins
    }

    /// Replaces the keys by those that were fetched. Returns whether an outage is over.
    pub(super) fn succeed(&mut self, keys: VerifyingKeys, max_age: Option<Duration>) -> bool {
        let Limits { refresh, spacing, .. } = self.limits;
        let at = self.end(max_age.unwrap_or(refresh).clamp(spacing, refresh));
        self.known = Some(Known { keys, at });
        std::mem::take(&mut self.failures) > 0
    }

    /// Notes that a fetch failed. Returns whether an outage begins.
    pub(super) fn fail(&mut self) -> bool {
        let Limits { refresh, spacing, .. } = self.limits;
        let doublings = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        self.end(spacing.saturating_mul(doublings).min(refresh));
        self.failures = self.failures.saturating_add(1);
        self.failures == 1
    }

    /// Notes that a fetch was not made to its end, which says nothing about the issuer.
    pub(super) fn abandon(&mut self) {
        self.end(self.limits.spacing);
    }

    /// Ends a fetch. Returns when it began.
    fn end(&mut self, next: Duration) -> Duration {
        let began = self.last.unwrap_or_default();
        self.is_in_flight = false;
        self.due = began + next;
        began
    }

    /// Drops keys that are too old. Returns whether there were some.
    pub(super) fn expire(&mut self, now: Duration) -> bool {
        let has_expired = self.known.is_some() && self.current(now).is_none();
        if has_expired {
            self.known = None;
        }
        has_expired
    }

    /// Returns how long no fetch is due and no key expires, unless a request asks.
    pub(super) fn pause(&self, now: Duration) -> Duration {
        let expiry = self.known.as_ref().map(|known| known.at + self.limits.kept);
        self.due.min(expiry.unwrap_or(Duration::MAX)).saturating_sub(now)
    }

    fn may_begin(&self, now: Duration) -> bool {
        !self.is_in_flight && self.last.is_none_or(|last| now >= last + self.limits.spacing)
    }
}
