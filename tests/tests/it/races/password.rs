//! A change of password beside streams of all other calls. They begin before it is sent and end
//! after it has returned, so they come before it, in the middle and after it.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use http::StatusCode;
use serde_json::json;
use tests::client::{Client, Response, Tokens};
use tokio::{sync::Semaphore, time::sleep};

use super::{
    assert_access_refused, assert_live, issued_pair,
    race_order::{RaceOrder, staggered_delay},
    unless_unavailable,
};
use crate::{
    fleet::{PASSWORD, username},
    ledger::Ledger,
};

/// The password that the change sets.
const NEW_PASSWORD: &str = "battery staple";

/// The password that a rival sets at the same time.
const RIVAL_PASSWORD: &str = "stapled battery";

/// The number of streams of refreshes, and of single-use tokens.
const STREAMS: usize = 4;

/// Both kinds of streams, one of checks on each node, and one of sign-ins.
const ALL_STREAMS: u32 = 11;

/// Counts over all rounds: the rounds that began, each kind of call granted after the change had
/// been sent, and the calls refused before the change had returned.
#[derive(Debug, Default)]
pub(super) struct ConcurrentCalls {
    begun: AtomicUsize,
    logins: AtomicUsize,
    refreshes: AtomicUsize,
    single_uses: AtomicUsize,
    uses: AtomicUsize,
    checks: AtomicUsize,
    refused: AtomicUsize,
}

impl ConcurrentCalls {
    /// Returns whether each kind of call was granted, and some call refused.
    pub(super) fn has_all_kinds(&self) -> bool {
        let counts = [&self.logins, &self.refreshes, &self.single_uses, &self.uses, &self.checks, &self.refused];
        counts.iter().all(|count| count.load(Ordering::Relaxed) > 0)
    }
}

/// The progress of the change.
struct PasswordChange {
    /// A permit for each stream that was granted something.
    started: Semaphore,
    /// The time that the last sign-in took. Sign-ins take the longest: a change that is sent when
    /// one begins is done before it.
    login_took: Mutex<Duration>,
    sent: AtomicBool,
    /// MongoDB has the new fence, so everything older is being revoked.
    fenced: AtomicBool,
    /// The change was answered with success. Otherwise either password may be good.
    done: AtomicBool,
    over: AtomicBool,
    calls: Arc<ConcurrentCalls>,
}

impl PasswordChange {
    /// Creates the state before the change.
    fn new(calls: Arc<ConcurrentCalls>) -> Self {
        let not_yet = || AtomicBool::new(false);
        Self {
            started: Semaphore::new(0),
            login_took: Mutex::default(),
            sent: not_yet(),
            fenced: not_yet(),
            done: not_yet(),
            over: not_yet(),
            calls,
        }
    }

    /// Returns whether the change has returned.
    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// Counts a call that was granted. `first` is the first of its stream.
    fn granted(&self, first: bool, count: &AtomicUsize) {
        count.fetch_add(usize::from(self.sent.load(Ordering::SeqCst)), Ordering::Relaxed);
        self.started.add_permits(usize::from(first));
    }

    /// Counts a call that was refused.
    fn refused(&self) {
        self.calls.refused.fetch_add(usize::from(!self.is_over()), Ordering::Relaxed);
    }

    /// Signs in with the old password, on both nodes in turns, until one try came after the change.
    async fn run_logins(&self, nodes: [&Client; 2], name: &str) -> Vec<Tokens> {
        let mut opened = Vec::new();
        for turn in 0.. {
            let last = self.is_over();
            let begun = Instant::now();
            let answer = nodes[turn % 2].login(name, PASSWORD).await.unwrap();
            *self.login_took.lock().unwrap() = begun.elapsed();
            match answer.status {
                StatusCode::OK => {
                    self.granted(opened.is_empty(), &self.calls.logins);
                    opened.push(answer.tokens());
                }
                StatusCode::SERVICE_UNAVAILABLE => {}
                _ => {
                    assert_eq!(answer.error(), "invalid_credentials", "{answer:?}");
                    self.refused();
                }
            }
            if last {
                let is_refused = answer.status != StatusCode::OK || !self.done.load(Ordering::SeqCst);
                assert!(is_refused, "the old password is good after it was changed");
                break;
            }
        }
        opened
    }

    /// Waits for the moment at which the revocation begins.
    async fn watch_fence(&self, ledger: &Ledger, own: &Tokens) {
        while ledger.user_epoch(own).await == 0 && !self.is_over() {}
        self.fenced.store(true, Ordering::SeqCst);
    }

    /// Refreshes the newest pair of a session until one try came after the change. Returns all
    /// pairs.
    ///
    /// A refresh of a revoked session finishes the revocation and hides what was left. So some
    /// streams end with the refresh that the revocation meets.
    async fn run_refreshes(&self, nodes: [&Client; 2], first: Tokens, ends_early: bool) -> Vec<Tokens> {
        let mut pairs = vec![first];
        for turn in 0.. {
            let last = self.is_over();
            let answer = nodes[turn % 2].refresh(&pairs[pairs.len() - 1].refresh).await.unwrap();
            match answer.status {
                StatusCode::OK => {
                    self.granted(pairs.len() == 1, &self.calls.refreshes);
                    pairs.push(answer.tokens());
                }
                StatusCode::SERVICE_UNAVAILABLE => {}
                _ => {
                    assert_eq!(answer.error(), "invalid_grant", "{answer:?}");
                    self.refused();
                }
            }
            if last || ends_early && self.fenced.load(Ordering::SeqCst) {
                break;
            }
        }
        pairs
    }

    /// Checks these access tokens until one try came after the change, so that the caches hold
    /// them.
    async fn run_checks(&self, node: &Client, tokens: &[String]) {
        let mut first = true;
        for turn in 0.. {
            let last = self.is_over();
            let answer = node.me(&tokens[turn % tokens.len()]).await.unwrap();
            match answer.status {
                StatusCode::OK => self.granted(std::mem::take(&mut first), &self.calls.checks),
                StatusCode::SERVICE_UNAVAILABLE => {}
                _ => {
                    assert_eq!(answer.error(), "invalid_token", "{answer:?}");
                    self.refused();
                }
            }
            if last {
                break;
            }
        }
    }

    /// Issues single-use tokens, and uses every other one, until one try came after the change.
    async fn run_single_uses(&self, nodes: [&Client; 2], access: &str) -> Vec<String> {
        let mut issued = Vec::new();
        for turn in 0.. {
            let last = self.is_over();
            let answer = single_use(nodes[turn % 2], access).await;
            match answer.status {
                StatusCode::CREATED => {
                    self.granted(issued.is_empty(), &self.calls.single_uses);
                    issued.push(token(&answer));
                    if issued.len() % 2 == 0 {
                        self.run_use(nodes[(turn + 1) % 2], &issued[issued.len() - 1]).await;
                    }
                }
                StatusCode::SERVICE_UNAVAILABLE => {}
                _ => {
                    assert_eq!(answer.error(), "invalid_token", "{answer:?}");
                    self.refused();
                }
            }
            if last {
                break;
            }
        }
        issued
    }

    /// Uses a single-use token.
    async fn run_use(&self, node: &Client, token: &str) {
        let answer = spend(node, token).await;
        match answer.status {
            StatusCode::OK => self.granted(false, &self.calls.uses),
            StatusCode::SERVICE_UNAVAILABLE => {}
            _ => {
                assert_eq!(answer.error(), "invalid_token", "{answer:?}");
                self.refused();
            }
        }
    }
}

/// Changes the password, without retries.
async fn change_password(node: &Client, access: &str, new: &str) -> reqwest::Result<Response> {
    let body = json!({ "current_password": PASSWORD, "new_password": new });
    node.without_retries().post("/auth/password", Some(access), Some(&body)).await
}

/// Asks for a single-use token.
async fn single_use(node: &Client, access: &str) -> Response {
    node.post("/auth/single-use", Some(access), None).await.unwrap()
}

/// Returns the single-use token in an answer.
fn token(issued: &Response) -> String {
    issued.json()["access_token"].as_str().unwrap().to_owned()
}

/// Uses a single-use token.
async fn spend(node: &Client, token: &str) -> Response {
    node.post("/demo/single-use", Some(token), None).await.unwrap()
}

/// Returns `None` if the change itself was unavailable.
pub(super) async fn run_round(one: Client, other: Client, ledger: Ledger, calls: Arc<ConcurrentCalls>) -> Option<()> {
    let name = username();
    let own = one.sign_up(&name, PASSWORD).await.unwrap();
    let own_once = token(&single_use(&one, &own.access).await);
    let nodes = [&other, &one];
    let mut victims = Vec::new();
    for turn in 0..STREAMS {
        victims.push(nodes[turn % 2].login(&name, PASSWORD).await.unwrap().tokens());
    }
    let issuing = one.login(&name, PASSWORD).await.unwrap().tokens();

    let number = calls.begun.fetch_add(1, Ordering::Relaxed);
    let change = PasswordChange::new(calls);
    let changing = async {
        let streams = change.started.acquire_many(ALL_STREAMS).await;
        drop(streams.unwrap());
        let wait = staggered_delay(*change.login_took.lock().unwrap(), number);
        sleep(wait).await;
        change.sent.store(true, Ordering::SeqCst);
        let changed = change_password(&one, &own.access, NEW_PASSWORD).await;
        let is_done = changed.as_ref().is_ok_and(|answer| answer.status == StatusCode::NO_CONTENT);
        change.done.store(is_done, Ordering::SeqCst);
        change.over.store(true, Ordering::SeqCst);
        changed
    };
    let checked: Vec<String> = victims.iter().chain([&issuing]).map(|pair| pair.access.clone()).collect();
    let refreshing =
        victims.into_iter().enumerate().map(|(at, victim)| change.run_refreshes(nodes, victim, at % 2 == 0));
    let (changed, (), (), (), opened, chains, singles) = tokio::join!(
        changing,
        change.watch_fence(&ledger, &own),
        change.run_checks(&one, &checked),
        change.run_checks(&other, &checked),
        change.run_logins(nodes, &name),
        join_all(refreshing),
        join_all((0..STREAMS).map(|_| change.run_single_uses(nodes, &issuing.access))),
    );
    let changed = unless_unavailable(changed)?;
    assert_eq!(changed.status, StatusCode::NO_CONTENT, "{changed:?}");

    assert!(ledger.is_only_live_session(&own).await, "another session lives");
    // Refresh tokens come last, because each finishes the revocation of its session. The newest
    // come first, because a used one would be refused in a live session as well, and end it.
    let pairs = || chains.iter().flat_map(|pairs| pairs.iter().rev());
    let gone = || opened.iter().chain(pairs()).chain([&issuing]);
    for pair in gone() {
        for node in [&one, &other] {
            let me = node.me(&pair.access).await.unwrap();
            assert_eq!((me.status, me.error().as_str()), (StatusCode::UNAUTHORIZED, "invalid_token"), "{me:?}");
        }
    }
    for (token, node) in singles.iter().flatten().zip([&one, &other].into_iter().cycle()) {
        let used = spend(node, token).await;
        assert_eq!((used.status, used.error().as_str()), (StatusCode::UNAUTHORIZED, "invalid_token"), "{used:?}");
    }
    for (pair, node) in gone().zip([&one, &other].into_iter().cycle()) {
        let refreshed = node.refresh(&pair.refresh).await.unwrap();
        assert_eq!(refreshed.error(), "invalid_grant", "{refreshed:?}");
    }

    // The session that made the change is spared, with its tokens.
    assert_eq!(spend(&other, &own_once).await.status, StatusCode::OK);
    assert_live([&one, &other], &own).await;
    let fresh = other.login(&name, NEW_PASSWORD).await.unwrap();
    assert_live([&other, &one], &issued_pair(&fresh).expect("the new password is good")).await;
    Some(())
}

/// Two sessions change the same password at once, each to another one. Returns `None` if one of
/// them was told "unavailable".
///
/// The side that is refused had the wrong password by then, or a session that the other change had
/// ended.
pub(super) async fn run_rival_changes(one: Client, other: Client, ledger: Ledger, order: Arc<RaceOrder>) -> Option<()> {
    let name = username();
    let first = one.sign_up(&name, PASSWORD).await.unwrap();
    let second = other.login(&name, PASSWORD).await.unwrap().tokens();
    let changing = change_password(&one, &first.access, NEW_PASSWORD);
    let (changed, rival) = order.run(changing, change_password(&other, &second.access, RIVAL_PASSWORD)).await;
    let (changed, rival) = (unless_unavailable(changed)?, unless_unavailable(rival)?);
    let first_won = changed.status == StatusCode::NO_CONTENT;
    let (won, lost) = if first_won { (&changed, &rival) } else { (&rival, &changed) };
    assert_eq!((won.status, lost.status), (StatusCode::NO_CONTENT, StatusCode::UNAUTHORIZED), "{won:?}, {lost:?}");
    assert!(["invalid_credentials", "invalid_token"].contains(&lost.error().as_str()), "{lost:?}");
    order.record_winner(first_won);

    let (winner, loser) = if first_won { (&first, &second) } else { (&second, &first) };
    assert!(ledger.is_only_live_session(winner).await, "the loser's session lives");
    assert_access_refused([&one, &other], &[loser]).await;
    assert_eq!(other.refresh(&loser.refresh).await.unwrap().error(), "invalid_grant");
    assert_live([&one, &other], winner).await;
    let good = if first_won { NEW_PASSWORD } else { RIVAL_PASSWORD };
    for password in [PASSWORD, NEW_PASSWORD, RIVAL_PASSWORD] {
        let login = other.login(&name, password).await.unwrap();
        let status = if password == good { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
        assert_eq!(login.status, status, "{password}: {login:?}");
    }
    Some(())
}
