//! Bounds how often something is done in a second.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// For how long at the most is paid ahead of time before there is no more to be had.
const CREDIT: u64 = 1_000_000_000;

/// Lets something be done so many times a second, and a second's worth of it at once.
///
/// This is the generic cell rate algorithm: each time pays for `interval`, and when more than a second is paid ahead, no more is to be
/// had. One number holds it, so that nothing is locked.
#[derive(Debug)]
pub(super) struct Meter {
    /// What one time pays for, in nanoseconds.
    interval: u64,
    paid_until: AtomicU64,
}

impl Meter {
    pub(super) fn new(per_second: u32) -> Self {
        let interval = match per_second {
            0 => CREDIT,
            u32::MAX => 0,
            many => CREDIT / u64::from(many),
        };
        // Of nothing there is none from the start.
        let paid_until = AtomicU64::new(if per_second == 0 { u64::MAX } else { 0 });
        Self { interval, paid_until }
    }

    /// Takes one, where there is one to be had.
    pub(super) fn take(&self, now: Duration) -> bool {
        let now = nanos(now);
        let pay = |paid: u64| (paid <= now.saturating_add(CREDIT)).then(|| paid.max(now).saturating_add(self.interval));
        self.paid_until.fetch_update(Ordering::Relaxed, Ordering::Relaxed, pay).is_ok()
    }

    /// Gives one back that was taken and not needed.
    pub(super) fn give_back(&self) {
        let _ =
            self.paid_until.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |paid| paid.checked_sub(self.interval));
    }

    /// Counts one that was done, whether it was to be had or not. More than there are do not count: the excess is forgotten a
    /// second after its end.
    pub(super) fn note(&self, now: Duration) {
        self.take(now);
    }

    /// Whether there is none to be had now.
    pub(super) fn is_empty(&self, now: Duration) -> bool {
        self.paid_until.load(Ordering::Relaxed) > nanos(now).saturating_add(CREDIT)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many are had of so many a second that are asked for at the same intervals for ten seconds.
    fn had(per_second: u32, asked_per_second: u32) -> usize {
        let meter = Meter::new(per_second);
        let moment = |number| Duration::from_secs(1_000) + Duration::from_secs(1) * number / asked_per_second;
        (0..10 * asked_per_second).filter(|&number| meter.take(moment(number))).count()
    }

    #[test]
    fn few_are_all_had_and_of_many_what_is_allowed() {
        assert_eq!(had(100, 99), 990);
        // What is allowed, and a second's worth of it at the beginning.
        assert!((1_000..=1_101).contains(&had(100, 50_000)), "{}", had(100, 50_000));
        assert_eq!(had(0, 1_000), 0);
        assert_eq!(had(u32::MAX, 50_000), 500_000);
    }

    #[test]
    fn what_is_given_back_can_be_had_again() {
        let (meter, now) = (Meter::new(100), Duration::from_secs(5));
        for _ in 0..10_000 {
            assert!(meter.take(now));
            meter.give_back();
        }
    }

    #[test]
    fn too_many_are_forgotten_a_second_after_their_end() {
        let meter = Meter::new(10);
        for _ in 0..1_000 {
            meter.note(Duration::from_secs(5));
        }
        assert!(meter.is_empty(Duration::from_secs(5)));
        assert!(!meter.is_empty(Duration::from_millis(5_200)));
        let again = (0..1_000).filter(|_| meter.take(Duration::from_millis(6_200))).count();
        assert_eq!(again, 11);
    }
}
