//! The limit of wrong passwords, in this process's memory.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

const WINDOW: Duration = Duration::from_mins(1);
const PER_ACCOUNT_AND_ADDRESS: usize = 10;
const PER_ADDRESS: usize = 100;
/// How many keys are remembered; beyond it those whose last failure is oldest are forgotten.
const KEYS: usize = 100_000;

/// Counts wrong passwords in the last minute. Times are counted from any fixed moment.
#[derive(Debug, Default)]
pub(crate) struct RateLimit(Mutex<HashMap<Key, VecDeque<Duration>>>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Address(IpAddr),
    Account(String, IpAddr),
}

impl Key {
    fn limit(&self) -> usize {
        match self {
            Self::Address(_) => PER_ADDRESS,
            Self::Account(..) => PER_ACCOUNT_AND_ADDRESS,
        }
    }

    /// The keys that a try counts under. Users cannot leave a limit by writing their name in other letters, nor can hosts by
    /// moving about their IPv6 network.
    fn both(username: &str, address: IpAddr) -> [Self; 2] {
        let address = match address {
            IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
                Some(v4) => v4.into(),
                None => {
                    let [a, b, c, d, ..] = v6.segments();
                    IpAddr::from([a, b, c, d, 0, 0, 0, 0])
                }
            },
            v4 @ IpAddr::V4(_) => v4,
        };
        // No account has a longer name; what is longer need not be told apart.
        let account = username.chars().take(65).collect::<String>().to_lowercase();
        [Self::Address(address), Self::Account(account, address)]
    }
}

impl RateLimit {
    /// For how long this account must wait at this address; `None` when it may try.
    pub(crate) fn wait(&self, username: &str, address: IpAddr, now: Duration) -> Option<Duration> {
        let failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = Key::both(username, address).into_iter().filter_map(|key| {
            let recent = failures.get(&key)?.iter().filter(|at| now < **at + WINDOW);
            // The limit is open again when the oldest of the last `limit` failures leaves the window.
            let oldest = recent.rev().nth(key.limit() - 1)?;
            Some((*oldest + WINDOW).saturating_sub(now))
        });
        waits.max()
    }

    /// Counts a wrong password.
    pub(crate) fn count(&self, username: &str, address: IpAddr, now: Duration) {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for key in Key::both(username, address) {
            let limit = key.limit();
            let recent = failures.entry(key).or_default();
            recent.push_back(now);
            if recent.len() > limit {
                recent.pop_front();
            }
        }
        if failures.len() > KEYS {
            failures.retain(|_, recent| recent.back().is_some_and(|last| now < *last + WINDOW));
        }
        if failures.len() > KEYS {
            let mut last: Vec<Duration> = failures.values().filter_map(|recent| recent.back().copied()).collect();
            let middle = last.len() / 2;
            let (_, median, _) = last.select_nth_unstable(middle);
            let median = *median;
            failures.retain(|_, recent| recent.back().is_some_and(|last| *last > median));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const HOME: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    const AWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_eleventh_try_of_an_account_at_an_address_waits_until_the_first_is_a_minute_old() {
        let limit = RateLimit::default();
        for second in 0..10 {
            assert_eq!(limit.wait("ada", HOME, at(second)), None);
            limit.count("Ada", HOME, at(second));
        }
        assert_eq!(limit.wait("aDa", HOME, at(10)), Some(at(50)));
        assert_eq!(limit.wait("bob", HOME, at(10)), None);
        assert_eq!(limit.wait("ada", AWAY, at(10)), None);
        assert_eq!(limit.wait("ada", HOME, at(59)), Some(at(1)));
        assert_eq!(limit.wait("ada", HOME, at(60)), None);
    }

    #[test]
    fn an_address_has_a_hundred_tries_over_all_accounts() {
        let limit = RateLimit::default();
        for n in 0..100 {
            assert_eq!(limit.wait("ada", HOME, at(0)), None);
            limit.count(&format!("user{n}"), HOME, at(0));
        }
        assert_eq!(limit.wait("ada", HOME, at(1)), Some(at(59)));
        assert_eq!(limit.wait("ada", AWAY, at(1)), None);
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let limit = RateLimit::default();
        for n in 0..10_u16 {
            limit.count("ada", IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, n]), at(0));
        }
        assert!(limit.wait("ada", IpAddr::from([0x2001, 0xdb8, 0, 1, 9, 9, 9, 9]), at(1)).is_some());
        assert!(limit.wait("ada", IpAddr::from([0x2001, 0xdb8, 0, 2, 9, 9, 9, 9]), at(1)).is_none());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let limit = RateLimit::default();
        for n in 0..(KEYS as u64 + 1_000) {
            limit.count(&format!("user{n}"), HOME, Duration::from_micros(n));
        }
        let kept = limit.0.lock().unwrap();
        assert!(kept.len() <= KEYS, "{}", kept.len());
        assert!(kept.contains_key(&Key::Account(format!("user{}", KEYS + 999), HOME)), "the newest is kept");
    }
}
