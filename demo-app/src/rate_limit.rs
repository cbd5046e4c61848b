//! Limits wrong passwords, wrong client secrets and registrations, in this process's memory.

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
const REGISTRATIONS_PER_ADDRESS: usize = 30;
const CLIENT_SECRETS_PER_ADDRESS: usize = 100;
/// The maximum number of keys. Beyond it, the keys with the oldest last count are forgotten.
const MAX_KEYS: usize = 100_000;

/// Counts wrong passwords, wrong client secrets and registrations of the last minute.
///
/// Times count from any fixed moment.
///
/// An attempt begins before the password check, and a right password refunds it. Many concurrent
/// attempts therefore cannot exceed the limit. While open attempts could still use up the limit,
/// another attempt waits for them instead of being refused. Once the check has started, the attempt
/// counts as wrong until the password is found right, even if the client disconnects.
///
/// A registration counts from its start, even if it fails.
///
/// `governor` cannot refund an attempt and does not count by the window.
#[derive(Debug, Default)]
pub(crate) struct RateLimit(Mutex<HashMap<LimitKey, Attempts>>);

/// The attempts of a key.
#[derive(Debug, Default)]
struct Attempts {
    /// The start times of the attempts that count, oldest first.
    counted: VecDeque<Duration>,
    /// The number of open attempts.
    open: usize,
    /// Notified when an open attempt ends.
    ended: Arc<Notify>,
}

/// An open attempt. Dropping it refunds it before [`Attempt::start`], and counts it as wrong
/// afterwards.
#[derive(Debug)]
pub(crate) struct Attempt {
    limit: Arc<RateLimit>,
    keys: [LimitKey; 2],
    began: Duration,
    started: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum LimitKey {
    Address(IpAddr),
    Account(String, IpAddr),
    Registrations(IpAddr),
    ClientSecrets(IpAddr),
}

impl LimitKey {
    fn limit(&self) -> usize {
        match self {
            Self::Address(_) => PER_ADDRESS,
            Self::Account(..) => PER_ACCOUNT_AND_ADDRESS,
            Self::Registrations(_) => REGISTRATIONS_PER_ADDRESS,
            Self::ClientSecrets(_) => CLIENT_SECRETS_PER_ADDRESS,
        }
    }

    /// Returns the keys of an attempt. Names are folded, so changing case does not avoid the limit.
    fn of_attempt(username: &str, address: IpAddr) -> [Self; 2] {
        let address = network(address);
        // No account has a longer name, so longer names may share a key.
        let account = username.chars().take(65).collect::<String>().to_lowercase();
        [Self::Address(address), Self::Account(account, address)]
    }
}

/// Returns the network of an address, so that a host cannot change addresses within its IPv6
/// network.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => v4.into(),
            None => {
                let [a, b, c, d, ..] = v6.segments();
                IpAddr::from([a, b, c, d, 0, 0, 0, 0])
            }
        },
        v4 @ IpAddr::V4(_) => v4,
    }
}

impl Attempts {
    fn recent(&self, now: Duration) -> impl DoubleEndedIterator<Item = Duration> {
        self.counted.iter().copied().filter(move |at| now < *at + WINDOW)
    }

    fn last(&self) -> Option<Duration> {
        self.counted.back().copied()
    }

    /// Counts an attempt that began at `began`, and drops those that `limit` makes irrelevant.
    fn count(&mut self, began: Duration, limit: usize) {
        // Of concurrent attempts, the later may end first.
        let place = self.counted.partition_point(|other| *other <= began);
        self.counted.insert(place, began);
        if self.counted.len() > limit {
            self.counted.pop_front();
        }
    }
}

impl RateLimit {
    /// Begins an attempt for this account at this address, or returns how long to wait.
    pub(crate) async fn begin(
        self: &Arc<Self>,
        username: &str,
        address: IpAddr,
        now: impl Fn() -> Duration,
    ) -> Result<Attempt, Duration> {
        let keys = LimitKey::of_attempt(username, address);
        loop {
            let ended = {
                let mut all = self.lock();
                let now = now();
                if let Some(retry_after) = retry_after(&all, &keys, now) {
                    return Err(retry_after);
                }
                let full = |key: &&LimitKey| {
                    all.get(key).is_some_and(|attempts| attempts.recent(now).count() + attempts.open >= key.limit())
                };
                match keys.iter().find(full).and_then(|key| all.get(key)) {
                    // Created under the lock, so it misses no attempt that ends later.
                    Some(attempts) => Arc::clone(&attempts.ended).notified_owned(),
                    None => {
                        for key in &keys {
                            all.entry(key.clone()).or_default().open += 1;
                        }
                        drop(all);
                        return Ok(Attempt { limit: Arc::clone(self), keys, began: now, started: false });
                    }
                }
            };
            ended.await;
        }
    }

    /// Counts a registration from this address, or returns how long to wait.
    pub(crate) fn count_registration(&self, address: IpAddr, now: Duration) -> Result<(), Duration> {
        let key = LimitKey::Registrations(network(address));
        let mut all = self.lock();
        if let Some(retry_after) = retry_after(&all, std::slice::from_ref(&key), now) {
            return Err(retry_after);
        }
        count(&mut all, key, now);
        Ok(())
    }

    /// Returns how long to wait, if this address sent too many wrong client secrets.
    pub(crate) fn check_client_secrets(&self, address: IpAddr, now: Duration) -> Result<(), Duration> {
        let key = LimitKey::ClientSecrets(network(address));
        retry_after(&self.lock(), std::slice::from_ref(&key), now).map_or(Ok(()), Err)
    }

    /// Counts a wrong client secret from this address.
    pub(crate) fn count_client_secret(&self, address: IpAddr, now: Duration) {
        count(&mut self.lock(), LimitKey::ClientSecrets(network(address)), now);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<LimitKey, Attempts>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt {
    /// Marks the start of the password check.
    pub(crate) fn start(mut self) -> Self {
        self.started = true;
        self
    }

    /// Refunds the attempt: the password was right.
    pub(crate) fn refund(mut self) {
        self.started = false;
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let mut all = self.limit.lock();
        for key in &self.keys {
            let attempts = all.entry(key.clone()).or_default();
            attempts.open = attempts.open.saturating_sub(1);
            if self.started {
                attempts.count(self.began, key.limit());
            }
            attempts.ended.notify_waiters();
            if attempts.open == 0 && attempts.counted.is_empty() {
                all.remove(key);
            }
        }
        if all.len() > MAX_KEYS {
            evict(&mut all, self.began);
        }
    }
}

/// Counts an attempt that is over at once.
fn count(all: &mut HashMap<LimitKey, Attempts>, key: LimitKey, now: Duration) {
    let limit = key.limit();
    all.entry(key).or_default().count(now, limit);
    if all.len() > MAX_KEYS {
        evict(all, now);
    }
}

/// Returns how long these keys must wait; `None` if an attempt may begin now.
fn retry_after(all: &HashMap<LimitKey, Attempts>, keys: &[LimitKey], now: Duration) -> Option<Duration> {
    let waits = keys.iter().filter_map(|key| {
        // The limit opens when the oldest of the last `limit` attempts leaves the window.
        let oldest = all.get(key)?.recent(now).rev().nth(key.limit() - 1)?;
        Some((oldest + WINDOW).saturating_sub(now))
    });
    waits.max()
}

/// Drops old keys. Keys with open attempts stay: the number of requests bounds them.
fn evict(all: &mut HashMap<LimitKey, Attempts>, now: Duration) {
    all.retain(|_, attempts| attempts.open > 0 || attempts.last().is_some_and(|last| now < last + WINDOW));
    if all.len() > MAX_KEYS {
        let mut last: Vec<Duration> = all.values().filter_map(Attempts::last).collect();
        let middle = last.len() / 2;
        let (_, median, _) = last.select_nth_unstable(middle);
        let median = *median;
        all.retain(|_, attempts| attempts.open > 0 || attempts.last().is_some_and(|last| last > median));
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

    /// Begins an attempt that need not wait for another.
    fn begin(limit: &Arc<RateLimit>, username: &str, address: IpAddr, now: Duration) -> Result<Attempt, Duration> {
        limit.begin(username, address, || now).now_or_never().expect("nothing is under way")
    }

    fn wrong(limit: &Arc<RateLimit>, username: &str, address: IpAddr, now: Duration) {
        drop(begin(limit, username, address, now).unwrap().start());
    }

    fn wait(limit: &Arc<RateLimit>, username: &str, address: IpAddr, now: Duration) -> Option<Duration> {
        begin(limit, username, address, now).err()
    }

    #[test]
    fn rate_limit_of_account_and_address_is_ten_a_minute() {
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
    fn rate_limit_of_address_is_hundred_over_all_accounts() {
        let limit = limit();
        for n in 0..100 {
            wrong(&limit, &format!("user{n}"), HOME, at(0));
        }
        assert_eq!(wait(&limit, "ada", HOME, at(1)), Some(at(59)));
        assert_eq!(wait(&limit, "ada", AWAY, at(1)), None);
    }

    #[test]
    fn rate_limit_refunds_unstarted_and_right_attempts() {
        let limit = limit();
        for _ in 0..200 {
            drop(begin(&limit, "ada", HOME, at(0)).unwrap());
            begin(&limit, "ada", HOME, at(0)).unwrap().start().refund();
        }
        assert!(limit.lock().is_empty(), "and leaves nothing behind");
    }

    #[tokio::test]
    async fn rate_limit_lets_concurrent_attempt_wait_for_a_refund() {
        let limit = limit();
        let mut ten: Vec<Attempt> = (0..10).map(|_| begin(&limit, "ada", HOME, at(0)).unwrap()).collect();
        let mut next = Box::pin(limit.begin("ada", HOME, || at(0)));
        assert!(next.as_mut().now_or_never().is_none());
        drop(ten.pop().unwrap().start());
        assert!(next.as_mut().now_or_never().is_none(), "nine under way and one wrong");
        drop(ten.pop());
        let next = next.await.unwrap();
        drop((ten, next));
        assert_eq!(wait(&limit, "ada", HOME, at(0)), None, "one was wrong");
    }

    #[tokio::test]
    async fn rate_limit_refuses_waiting_attempt_when_others_were_wrong() {
        let limit = limit();
        let ten: Vec<Attempt> = (0..10).map(|_| begin(&limit, "ada", HOME, at(0)).unwrap()).collect();
        let mut next = Box::pin(limit.begin("ada", HOME, || at(7)));
        assert!(next.as_mut().now_or_never().is_none());
        for one in ten {
            drop(one.start());
        }
        assert_eq!(next.await.unwrap_err(), at(53));
    }

    #[test]
    fn rate_limit_of_registrations_is_thirty_and_separate() {
        let limit = limit();
        for second in 0..30 {
            limit.count_registration(HOME, at(second)).unwrap();
        }
        assert_eq!(limit.count_registration(HOME, at(30)), Err(at(30)));
        assert_eq!(limit.count_registration(AWAY, at(30)), Ok(()));
        assert_eq!(wait(&limit, "ada", HOME, at(30)), None);
        assert_eq!(limit.count_registration(HOME, at(60)), Ok(()));
        assert_eq!(limit.count_registration(HOME, at(60)), Err(at(1)));
        let mapped = IpAddr::V6(Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped());
        assert_eq!(limit.count_registration(mapped, at(60)), Err(at(1)));
    }

    #[test]
    fn rate_limit_of_client_secrets_is_hundred_and_separate() {
        let limit = limit();
        for _ in 0..100 {
            assert_eq!(limit.check_client_secrets(HOME, at(0)), Ok(()));
            limit.count_client_secret(HOME, at(0));
        }
        assert_eq!(limit.check_client_secrets(HOME, at(1)), Err(at(59)));
        assert_eq!(limit.check_client_secrets(AWAY, at(1)), Ok(()));
        assert_eq!(wait(&limit, "ada", HOME, at(1)), None);
        assert_eq!(limit.check_client_secrets(HOME, at(60)), Ok(()));
    }

    #[test]
    fn rate_limit_orders_attempts_by_their_start() {
        let limit = limit();
        let attempts: Vec<Attempt> =
            (0..10).map(|second| begin(&limit, "ada", HOME, at(second)).unwrap().start()).collect();
        for one in attempts.into_iter().rev() {
            drop(one);
        }
        assert_eq!(wait(&limit, "ada", HOME, at(10)), Some(at(50)));
    }

    #[test]
    fn rate_limit_counts_ipv6_network_as_one_address() {
        let limit = limit();
        for n in 0..10_u16 {
            wrong(&limit, "ada", IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, n]), at(0));
        }
        assert!(wait(&limit, "ada", IpAddr::from([0x2001, 0xdb8, 0, 1, 9, 9, 9, 9]), at(1)).is_some());
        assert!(wait(&limit, "ada", IpAddr::from([0x2001, 0xdb8, 0, 2, 9, 9, 9, 9]), at(1)).is_none());
    }

    #[test]
    fn rate_limit_memory_is_bounded_and_keeps_open_attempts() {
        let limit = limit();
        let under_way = begin(&limit, "ada", AWAY, at(0)).unwrap();
        for n in 0..u32::try_from(MAX_KEYS + 1_000).unwrap() {
            let address = IpAddr::V4(Ipv4Addr::from(n / 50));
            wrong(&limit, &format!("user{n}"), address, Duration::from_micros(n.into()));
        }
        let newest = LimitKey::Account(format!("user{}", MAX_KEYS + 999), IpAddr::V4(Ipv4Addr::from(2_019)));
        let kept = limit.lock();
        assert!(kept.len() <= MAX_KEYS, "{}", kept.len());
        assert!(kept.contains_key(&newest), "the newest is kept");
        assert!(kept.contains_key(&LimitKey::Account("ada".to_owned(), AWAY)));
        drop(kept);
        drop(under_way);
    }
}
