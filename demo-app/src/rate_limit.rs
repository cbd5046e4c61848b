//! The limit of wrong passwords, in this process's memory.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;

const WINDOW: Duration = Duration::from_mins(1);
const PER_ACCOUNT_AND_ADDRESS: usize = 10;
const PER_ADDRESS: usize = 100;
/// How many keys are remembered; beyond it those whose last failure is oldest are forgotten.
const KEYS: usize = 100_000;

/// Counts wrong passwords in the last minute. Times are counted from any fixed moment.
///
/// A try is counted before its password is looked at, and given back where that was not wrong: so many at once are no way round the
/// limit. Who comes while those under way might still use the limit up waits for them, and is not refused for what may come
/// to nothing.
#[derive(Debug, Default)]
pub(crate) struct RateLimit(Mutex<HashMap<Key, Tries>>);

/// What is known of a key.
#[derive(Debug, Default)]
struct Tries {
    /// When they were found wrong, the oldest first.
    wrong: VecDeque<Duration>,
    /// How many are under way.
    open: usize,
    /// Told whenever one of those has ended.
    ended: Arc<Notify>,
}

/// A try under way. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Try {
    limit: Arc<RateLimit>,
    keys: [Key; 2],
}

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

impl Tries {
    fn recent(&self, now: Duration) -> impl DoubleEndedIterator<Item = Duration> {
        self.wrong.iter().copied().filter(move |at| now < *at + WINDOW)
    }

    fn last(&self) -> Option<Duration> {
        self.wrong.back().copied()
    }
}

impl RateLimit {
    /// Begins a try of this account at this address; where it may not be tried, tells for how long.
    pub(crate) async fn begin(
        self: &Arc<Self>,
        username: &str,
        address: IpAddr,
        now: impl Fn() -> Duration,
    ) -> Result<Try, Duration> {
        let keys = Key::both(username, address);
        loop {
            let ended = {
                let mut all = self.all();
                if let Some(wait) = wait(&all, &keys, now()) {
                    return Err(wait);
                }
                let full = |key: &&Key| {
                    all.get(key).is_some_and(|tries| tries.recent(now()).count() + tries.open >= key.limit())
                };
                match keys.iter().find(full).and_then(|key| all.get(key)) {
                    // Made under the lock: it misses nothing that ends from here on.
                    Some(tries) => Arc::clone(&tries.ended).notified_owned(),
                    None => {
                        for key in &keys {
                            all.entry(key.clone()).or_default().open += 1;
                        }
                        drop(all);
                        return Ok(Try { limit: Arc::clone(self), keys });
                    }
                }
            };
            ended.await;
        }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Key, Tries>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Try {
    /// The password was wrong: it stays counted.
    pub(crate) fn wrong(self, now: Duration) {
        // Counted as wrong before it ends, which it does when this is dropped: in between it counts twice, never not at all.
        let mut all = self.limit.all();
        for key in &self.keys {
            let tries = all.entry(key.clone()).or_default();
            tries.wrong.push_back(now);
            if tries.wrong.len() > key.limit() {
                tries.wrong.pop_front();
            }
        }
        if all.len() > KEYS {
            forget(&mut all, now);
        }
    }
}

impl Drop for Try {
    fn drop(&mut self) {
        let mut all = self.limit.all();
        for key in &self.keys {
            if let Some(tries) = all.get_mut(key) {
                tries.open = tries.open.saturating_sub(1);
                tries.ended.notify_waiters();
                if tries.open == 0 && tries.wrong.is_empty() {
                    all.remove(key);
                }
            }
        }
    }
}

/// For how long these keys must wait; `None` when they may try.
fn wait(all: &HashMap<Key, Tries>, keys: &[Key; 2], now: Duration) -> Option<Duration> {
    let waits = keys.iter().filter_map(|key| {
        // The limit is open again when the oldest of the last `limit` failures leaves the window.
        let oldest = all.get(key)?.recent(now).rev().nth(key.limit() - 1)?;
        Some((oldest + WINDOW).saturating_sub(now))
    });
    waits.max()
}

/// Makes room. What is under way is kept: it is bounded by the number of requests.
fn forget(all: &mut HashMap<Key, Tries>, now: Duration) {
    all.retain(|_, tries| tries.open > 0 || tries.last().is_some_and(|last| now < last + WINDOW));
    if all.len() > KEYS {
        let mut last: Vec<Duration> = all.values().filter_map(Tries::last).collect();
        let middle = last.len() / 2;
        let (_, median, _) = last.select_nth_unstable(middle);
        let median = *median;
        all.retain(|_, tries| tries.open > 0 || tries.last().is_some_and(|last| last > median));
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use futures_util::FutureExt;

    use super::*;

    const HOME: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    const AWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn limit() -> Arc<RateLimit> {
        Arc::default()
    }

    /// Begins a try that need not wait for another.
    fn begin(limit: &Arc<RateLimit>, username: &str, address: IpAddr, now: Duration) -> Result<Try, Duration> {
        limit.begin(username, address, || now).now_or_never().expect("nothing is under way")
    }

    fn wrong(limit: &Arc<RateLimit>, username: &str, address: IpAddr, now: Duration) {
        begin(limit, username, address, now).unwrap().wrong(now);
    }

    fn wait(limit: &Arc<RateLimit>, username: &str, address: IpAddr, now: Duration) -> Option<Duration> {
        begin(limit, username, address, now).err()
    }

    #[test]
    fn the_eleventh_try_of_an_account_at_an_address_waits_until_the_first_is_a_minute_old() {
        let limit = limit();
        for second in 0..10 {
            wrong(&limit, "Ada", HOME, at(second));
        }
        assert_eq!(wait(&limit, "aDa", HOME, at(10)), Some(at(50)));
        assert_eq!(wait(&limit, "bob", HOME, at(10)), None);
        assert_eq!(wait(&limit, "ada", AWAY, at(10)), None);
        assert_eq!(wait(&limit, "ada", HOME, at(59)), Some(at(1)));
        assert_eq!(wait(&limit, "ada", HOME, at(60)), None);
    }

    #[test]
    fn an_address_has_a_hundred_tries_over_all_accounts() {
        let limit = limit();
        for n in 0..100 {
            wrong(&limit, &format!("user{n}"), HOME, at(0));
        }
        assert_eq!(wait(&limit, "ada", HOME, at(1)), Some(at(59)));
        assert_eq!(wait(&limit, "ada", AWAY, at(1)), None);
    }

    #[test]
    fn what_was_not_wrong_is_given_back() {
        let limit = limit();
        for _ in 0..200 {
            drop(begin(&limit, "ada", HOME, at(0)).unwrap());
        }
        assert!(limit.all().is_empty(), "and leaves nothing behind");
    }

    #[tokio::test]
    async fn the_eleventh_at_once_waits_for_the_others_and_goes_on_when_one_is_given_back() {
        let limit = limit();
        let mut ten: Vec<Try> = (0..10).map(|_| begin(&limit, "ada", HOME, at(0)).unwrap()).collect();
        let mut next = Box::pin(limit.begin("ada", HOME, || at(0)));
        assert!(next.as_mut().now_or_never().is_none());
        ten.pop().unwrap().wrong(at(0));
        assert!(next.as_mut().now_or_never().is_none(), "nine under way and one wrong");
        drop(ten.pop());
        let next = next.await.unwrap();
        drop((ten, next));
        assert_eq!(wait(&limit, "ada", HOME, at(0)), None, "one was wrong");
    }

    #[tokio::test]
    async fn who_waits_is_told_when_the_others_were_wrong() {
        let limit = limit();
        let ten: Vec<Try> = (0..10).map(|_| begin(&limit, "ada", HOME, at(0)).unwrap()).collect();
        let mut next = Box::pin(limit.begin("ada", HOME, || at(7)));
        assert!(next.as_mut().now_or_never().is_none());
        for one in ten {
            one.wrong(at(5));
        }
        assert_eq!(next.await.unwrap_err(), at(58));
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let limit = limit();
        for n in 0..10_u16 {
            wrong(&limit, "ada", IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, n]), at(0));
        }
        assert!(wait(&limit, "ada", IpAddr::from([0x2001, 0xdb8, 0, 1, 9, 9, 9, 9]), at(1)).is_some());
        assert!(wait(&limit, "ada", IpAddr::from([0x2001, 0xdb8, 0, 2, 9, 9, 9, 9]), at(1)).is_none());
    }

    #[test]
    fn what_is_remembered_is_bounded_and_what_is_under_way_is_kept() {
        let limit = limit();
        let under_way = begin(&limit, "ada", AWAY, at(0)).unwrap();
        for n in 0..u32::try_from(KEYS + 1_000).unwrap() {
            let address = IpAddr::V4(Ipv4Addr::from(n / 50));
            wrong(&limit, &format!("user{n}"), address, Duration::from_micros(n.into()));
        }
        let newest = Key::Account(format!("user{}", KEYS + 999), IpAddr::V4(Ipv4Addr::from(2_019)));
        let kept = limit.all();
        assert!(kept.len() <= KEYS, "{}", kept.len());
        assert!(kept.contains_key(&newest), "the newest is kept");
        assert!(kept.contains_key(&Key::Account("ada".to_owned(), AWAY)));
        drop(kept);
        drop(under_way);
    }
}
