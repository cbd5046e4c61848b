//! Bounds what a flood of forged tokens costs the stores.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// For how long at the most looks into the store are paid off ahead of time before signatures come first.
const CREDIT: u64 = 1_000_000_000;

/// Counts the looks into the store that were spent on tokens which turned out to be forged, or to be no good before that was
/// known, and lets so many a second pass.
///
/// This is the generic cell rate algorithm: each look pays for `interval` of time, and when more than a second is paid ahead, it
/// is a flood. One number holds it, so that nothing is locked.
#[derive(Debug)]
pub(super) struct Forgeries {
    /// What one look pays for, in nanoseconds.
    interval: u64,
    paid_until: AtomicU64,
}

impl Forgeries {
    pub(super) fn new(per_second: u32) -> Self {
        let interval = match per_second {
            // The first look is one too many.
            0 => CREDIT + 1,
            u32::MAX => 0,
            many => CREDIT / u64::from(many),
        };
        let paid_until = AtomicU64::new(if per_second == 0 { u64::MAX } else { 0 });
        Self { interval, paid_until }
    }

    /// A look was spent on a forged token.
    pub(super) fn note(&self, now: Duration) {
        let now = nanos(now);
        let pay = |paid: u64| {
            // Never further ahead than one look beyond the credit, so that a flood is forgotten a second after its end.
            let most = now.saturating_add(CREDIT).saturating_add(self.interval).max(paid);
            Some(paid.max(now).saturating_add(self.interval).min(most))
        };
        let _ = self.paid_until.fetch_update(Ordering::Relaxed, Ordering::Relaxed, pay);
    }

    /// Whether signatures should come first for now.
    pub(super) fn are_a_flood(&self, now: Duration) -> bool {
        self.paid_until.load(Ordering::Relaxed) > nanos(now).saturating_add(CREDIT)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of these forged tokens, that come at the same intervals for ten seconds, cost a look.
    fn looks(per_second: u32, forged_per_second: u32) -> u32 {
        let forgeries = Forgeries::new(per_second);
        let mut looks = 0;
        for number in 0..10 * forged_per_second {
            let now = Duration::from_secs(1_000) + Duration::from_secs(1) * number / forged_per_second;
            if !forgeries.are_a_flood(now) {
                forgeries.note(now);
                looks += 1;
            }
        }
        looks
    }

    #[test]
    fn few_forgeries_are_no_flood_and_many_cost_what_was_allowed() {
        assert_eq!(looks(100, 99), 990);
        // What is allowed, and a second's worth of it at the beginning.
        assert!((1_000..=1_110).contains(&looks(100, 50_000)), "{}", looks(100, 50_000));
        assert_eq!(looks(0, 1_000), 0);
        assert_eq!(looks(u32::MAX, 50_000), 500_000);
    }

    #[test]
    fn a_flood_is_over_a_second_after_its_end() {
        let forgeries = Forgeries::new(10);
        for _ in 0..1_000 {
            forgeries.note(Duration::from_secs(5));
        }
        assert!(forgeries.are_a_flood(Duration::from_secs(5)));
        assert!(!forgeries.are_a_flood(Duration::from_millis(5_200)));
    }
}
