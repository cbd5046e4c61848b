//! Bounds how often something is done per second.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// How far ahead may be paid before the budget is spent, in nanoseconds.
const BURST: u64 = 1_000_000_000;

/// A budget per second, with a burst of one second's worth.
///
/// The generic cell rate algorithm (GCRA): each acquisition pays for `interval`, and the budget is
/// spent when more than a second is paid ahead. The state is one number, so no lock is needed.
///
/// Not `governor`: it cannot refund, cannot be read without acquiring, and uses its own clock.
#[derive(Debug)]
pub(super) struct Meter {
    /// What one acquisition pays for, in nanoseconds.
    interval: u64,
    paid_until: AtomicU64,
}

impl Meter {
    /// Creates a budget of `per_second`: 0 is always spent, `u32::MAX` never.
    pub(super) fn new(per_second: u32) -> Self {
        let interval = match per_second {
            0 => BURST,
            u32::MAX => 0,
            many => BURST / u64::from(many),
        };
        let paid_until = AtomicU64::new(if per_second == 0 { u64::MAX } else { 0 });
        Self { interval, paid_until }
    }

    /// Takes one from the budget. Returns false when it is spent.
    pub(super) fn try_acquire(&self, now: Duration) -> bool {
        let now = nanos(now);
        let pay = |paid: u64| (paid <= now.saturating_add(BURST)).then(|| paid.max(now).saturating_add(self.interval));
        self.paid_until.fetch_update(Ordering::Relaxed, Ordering::Relaxed, pay).is_ok()
    }

    /// Returns one acquisition that was not needed.
    pub(super) fn refund(&self) {
        let _ =
            self.paid_until.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |paid| paid.checked_sub(self.interval));
    }

    /// Records an event even when the budget is spent. Recovers one second after the flood ends.
    pub(super) fn record(&self, now: Duration) {
        self.try_acquire(now);
    }

    /// Whether the budget is spent. Acquires nothing.
    pub(super) fn is_exhausted(&self, now: Duration) -> bool {
        self.paid_until.load(Ordering::Relaxed) > nanos(now).saturating_add(BURST)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts how many of `asked_per_second`, evenly spaced over ten seconds, are acquired.
    fn acquired(per_second: u32, asked_per_second: u32) -> usize {
        let meter = Meter::new(per_second);
        let moment = |number| Duration::from_secs(1_000) + Duration::from_secs(1) * number / asked_per_second;
        (0..10 * asked_per_second).filter(|&number| meter.try_acquire(moment(number))).count()
    }

    #[test]
    fn meter_admits_all_within_its_budget_and_the_budget_of_more() {
        assert_eq!(acquired(100, 99), 990);
        // The budget of ten seconds, and the burst of the first.
        assert!((1_000..=1_101).contains(&acquired(100, 50_000)), "{}", acquired(100, 50_000));
        assert_eq!(acquired(0, 1_000), 0);
        assert_eq!(acquired(u32::MAX, 50_000), 500_000);
    }

    #[test]
    fn meter_refund_can_be_acquired_again() {
        let (meter, now) = (Meter::new(100), Duration::from_secs(5));
        for _ in 0..10_000 {
            assert!(meter.try_acquire(now));
            meter.refund();
        }
    }

    #[test]
    fn meter_recovers_one_second_after_a_flood() {
        let meter = Meter::new(10);
        for _ in 0..1_000 {
            meter.record(Duration::from_secs(5));
        }
        assert!(meter.is_exhausted(Duration::from_secs(5)));
        assert!(!meter.is_exhausted(Duration::from_millis(5_200)));
        let again = (0..1_000).filter(|_| meter.try_acquire(Duration::from_millis(6_200))).count();
        assert_eq!(again, 11);
    }
}
