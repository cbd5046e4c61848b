//! Races between two nodes on MongoDB and Redis, over HTTP. [`steps`](crate::steps) tries each
//! order in turn; here many requests meet by chance.

mod authorities;
mod password;
mod race_order;

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use auth_layer::keys::Algorithm;
use futures_util::future::join_all;
use http::StatusCode;
use tests::client::{Client, Response, Tokens};
use tokio::task::JoinSet;

use self::race_order::{RaceOrder, staggered_delay};
use crate::{
    fleet::{Fleet, LONG_GRACE, PASSWORD, username},
    ledger::Ledger,
};

/// The number of requests at once for one token.
pub(crate) const REQUESTS_AT_ONCE: usize = 256;

/// The number of rounds of a race that run at once.
const ROUNDS_AT_ONCE: usize = 8;

/// Without the in-process caches, everything must hold at once.
const STRICT: [&str; 4] = ["--local-cache", "0", "--rate-limit", "off"];

/// Returns the clients of both nodes.
fn clients(fleet: &Fleet) -> (Client, Client) {
    let (a, b) = fleet.clients();
    (a.retrying(), b.retrying())
}

/// Starts two nodes on the shared MongoDB and Redis.
async fn fleet(more: &[&str]) -> Fleet {
    Fleet::on_shared_servers(2, true, &[&STRICT[..], more].concat()).await
}

/// Runs `round` `count` times, a few at once, and longer until `enough` is true. Each round gets
/// the clients of both nodes, in alternating order.
///
/// A round in which something was unavailable proves nothing, which happens on a busy machine. It
/// returns `None` and is run again.
async fn rounds<F>(fleet: &Fleet, count: usize, enough: impl Fn() -> bool, round: impl Fn(Client, Client) -> F)
where
    F: Future<Output = Option<()>> + Send + 'static,
{
    let (a, b) = clients(fleet);
    let mut running: JoinSet<Option<()>> = JoinSet::new();
    let (mut begun, mut proved) = (0, 0);
    while proved < count || !enough() {
        assert!(begun < 16 * count, "{proved} of {begun} rounds proved something, and not all that they were to");
        if running.len() == ROUNDS_AT_ONCE {
            proved += usize::from(running.join_next().await.unwrap().unwrap().is_some());
        }
        let (one, other) = if begun % 2 == 0 { (&a, &b) } else { (&b, &a) };
        running.spawn(round(one.clone(), other.clone()));
        begun += 1;
    }
    running.join_all().await;
}

/// Runs rounds until each side of a race has come first.
async fn rounds_in_both_orders<F>(fleet: &Fleet, count: usize, round: impl Fn(Client, Client, Arc<RaceOrder>) -> F)
where
    F: Future<Output = Option<()>> + Send + 'static,
{
    let order = Arc::new(RaceOrder::default());
    rounds(fleet, count, || order.both_seen(), |one, other| round(one, other, Arc::clone(&order))).await;
}

/// Returns the answer, or `None` for "unavailable".
fn unless_unavailable(answer: reqwest::Result<Response>) -> Option<Response> {
    answer.ok().filter(|answer| answer.status != StatusCode::SERVICE_UNAVAILABLE)
}

/// Fails unless both nodes refuse all of these. Refresh tokens come last, because each finishes the
/// revocation of its session.
async fn assert_refused(nodes: [&Client; 2], pairs: &[&Tokens]) {
    assert_access_refused(nodes, pairs).await;
    for node in nodes {
        for pair in pairs {
            let refreshed = node.refresh(&pair.refresh).await.unwrap();
            assert_eq!(refreshed.status, StatusCode::UNAUTHORIZED, "{refreshed:?}");
        }
    }
}

/// Fails unless both nodes refuse these access tokens.
async fn assert_access_refused(nodes: [&Client; 2], pairs: &[&Tokens]) {
    for node in nodes {
        for pair in pairs {
            let me = node.me(&pair.access).await.unwrap();
            assert_eq!(me.status, StatusCode::UNAUTHORIZED, "{me:?}");
        }
    }
}

/// Fails unless both nodes accept the access token and the first refreshes the pair.
async fn assert_live(nodes: [&Client; 2], pair: &Tokens) {
    for node in nodes {
        let me = node.me(&pair.access).await.unwrap();
        assert_eq!(me.status, StatusCode::OK, "{me:?}");
    }
    let refreshed = nodes[0].refresh(&pair.refresh).await.unwrap();
    assert_eq!(refreshed.status, StatusCode::OK, "{refreshed:?}");
}

/// Returns the pair in an answer, if there is one.
fn issued_pair(answer: &Response) -> Option<Tokens> {
    (answer.status == StatusCode::OK).then(|| answer.tokens())
}

/// Sends [`REQUESTS_AT_ONCE`] requests at once, half of them to each node.
pub(crate) async fn send_at_once<F: Future>((a, b): (Client, Client), ask: impl Fn(Client) -> F) -> Vec<F::Output> {
    join_all((0..REQUESTS_AT_ONCE).map(|number| ask(if number % 2 == 0 { a.clone() } else { b.clone() }))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn refresh_of_one_token_at_once_gets_one_child() {
    assert_one_child(&fleet(&LONG_GRACE).await).await;
}

/// Each signature of the same claims differs, and all answers must have the same one.
#[tokio::test(flavor = "multi_thread")]
async fn refresh_of_one_token_at_once_gets_one_child_signed_with_es256() {
    let args = [&STRICT[..], &LONG_GRACE].concat();
    assert_one_child(&Fleet::signing_with(Algorithm::Es256, 2, true, &args).await).await;
}

/// Refreshes one token [`REQUESTS_AT_ONCE`] times at once, on both nodes.
pub(crate) async fn assert_one_child(fleet: &Fleet) {
    let (a, b) = clients(fleet);
    let parent = a.sign_up(&username(), PASSWORD).await.unwrap();
    let token = parent.refresh.as_str();
    let answers = send_at_once(clients(fleet), async |node: Client| node.refresh(token).await.unwrap()).await;
    let Tokens { access, refresh } = single_pair(&answers);
    for node in [&a, &b, &a, &b] {
        let again = node.refresh(token).await.unwrap().tokens();
        assert_eq!((&again.access, &again.refresh), (&access, &refresh), "and later too, while it is unused");
    }
    assert_eq!(count_reuses(fleet).await, (0, false), "no refresh counted as reuse");
    assert_live([&a, &b], &Tokens { access, refresh }).await;
    assert_eq!(count_reuses(fleet).await, (0, false));
}

/// Returns the pair of these answers. Fails unless each has the same one, byte for byte.
pub(crate) fn single_pair(answers: &[Response]) -> Tokens {
    let pair = |answer: &Response| {
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        let Tokens { access, refresh } = answer.tokens();
        (access, refresh)
    };
    let pairs: HashSet<(String, String)> = answers.iter().map(pair).collect();
    assert_eq!(pairs.len(), 1, "byte for byte the same pair");
    let (access, refresh) = pairs.into_iter().next().unwrap();
    Tokens { access, refresh }
}

/// Returns the number of reuses that both nodes counted, and whether a log has any.
pub(crate) async fn count_reuses(fleet: &Fleet) -> (u64, bool) {
    let mut counted = 0;
    for node in &fleet.nodes {
        let metrics = Client::new(node.url()).get("/metrics", None).await.unwrap().text;
        let line = metrics.lines().find_map(|line| line.strip_prefix("auth_refresh_reuse_total "));
        counted += line.expect("the counter is there from the start").parse::<u64>().unwrap();
    }
    let logged = || fleet.nodes.iter().any(|node| node.log().contains("refresh_token_reuse"));
    // The log of a node arrives with a delay.
    let begun = Instant::now();
    while counted > 0 && !logged() && begun.elapsed() < Duration::from_secs(10) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    (counted, logged())
}

#[tokio::test(flavor = "multi_thread")]
async fn refresh_without_a_window_wins_once_and_the_others_are_reuse() {
    let fleet = fleet(&["--refresh-grace", "0"]).await;
    let (a, b) = clients(&fleet);
    assert_eq!(count_reuses(&fleet).await, (0, false));
    let parent = a.sign_up(&username(), PASSWORD).await.unwrap();
    let token = parent.refresh.as_str();
    let answers = send_at_once(clients(&fleet), async |node: Client| node.refresh(token).await.unwrap()).await;
    let children: Vec<Tokens> = answers.iter().filter_map(issued_pair).collect();
    assert_eq!(children.len(), 1, "one winner");
    for answer in answers.iter().filter(|answer| answer.status != StatusCode::OK) {
        assert_eq!(answer.error(), "invalid_grant", "{answer:?}");
    }
    assert_refused([&a, &b], &[&parent, &children[0]]).await;
    let (counted, logged) = count_reuses(&fleet).await;
    assert!(counted > 0 && logged, "reuse is counted and logged");
}

#[tokio::test(flavor = "multi_thread")]
async fn single_use_token_used_at_once_is_accepted_once() {
    let fleet = fleet(&[]).await;
    let (a, _) = clients(&fleet);
    let session = a.sign_up(&username(), PASSWORD).await.unwrap();
    for _ in 0..3 {
        let issued = a.post("/auth/single-use", Some(&session.access), None).await.unwrap().json();
        let token = issued["access_token"].as_str().unwrap();
        let used = send_at_once(clients(&fleet), async |node: Client| {
            node.post("/demo/single-use", Some(token), None).await.unwrap().status
        });
        let used = used.await;
        assert_eq!(used.iter().filter(|status| **status == StatusCode::OK).count(), 1);
        assert_eq!(used.iter().filter(|status| **status == StatusCode::UNAUTHORIZED).count(), REQUESTS_AT_ONCE - 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refresh_beside_a_logout_never_survives_it() {
    let fleet = fleet(&[]).await;
    let name = Arc::new(username());
    clients(&fleet).0.register(&name, PASSWORD).await.unwrap();
    rounds_in_both_orders(&fleet, 64, |one, other, order| {
        let name = Arc::clone(&name);
        async move {
            let parent = one.login(&name, PASSWORD).await.unwrap().tokens();
            let ending = async { other.without_retries().logout(&parent.access).await };
            let (refreshed, logout) = order.run(one.refresh(&parent.refresh), ending).await;
            assert_eq!(unless_unavailable(logout)?.status, StatusCode::NO_CONTENT);
            let child = order.count_refresh(&refreshed.unwrap());
            let all: Vec<&Tokens> = [Some(&parent), child.as_ref()].into_iter().flatten().collect();
            assert_refused([&one, &other], &all).await;
            Some(())
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refresh_beside_a_revoke_all_never_survives_it() {
    let fleet = fleet(&[]).await;
    rounds_in_both_orders(&fleet, 48, |one, other, order| async move {
        let name = username();
        let parent = one.sign_up(&name, PASSWORD).await.unwrap();
        let from = other.login(&name, PASSWORD).await.unwrap().tokens();
        let ending = async { other.without_retries().logout_all(&from.access).await };
        let (refreshed, all) = order.run(one.refresh(&parent.refresh), ending).await;
        assert_eq!(unless_unavailable(all)?.status, StatusCode::NO_CONTENT);
        let child = order.count_refresh(&refreshed.unwrap());
        let all: Vec<&Tokens> = [Some(&parent), Some(&from), child.as_ref()].into_iter().flatten().collect();
        assert_refused([&one, &other], &all).await;
        Some(())
    })
    .await;
}

/// Sessions opened under the fence that the round ended with live, and no others.
#[tokio::test(flavor = "multi_thread")]
async fn sign_in_never_slips_under_a_revoke_all() {
    sign_in_beside_revoke_all(200).await;
}

/// Runs rounds of a sign-in beside a revoke-all. No session of an older epoch may live.
pub(crate) async fn sign_in_beside_revoke_all(rounds: usize) {
    /// Each lane has a user of its own: rounds must not revoke each other's sessions.
    const LANES: usize = 4;

    let fleet = fleet(&[]).await;
    let ledger = Ledger::of(&fleet).await;
    let (a, b) = clients(&fleet);
    let mut lanes = JoinSet::new();
    for lane in 0..LANES {
        let (one, other) = if lane % 2 == 0 { (a.clone(), b.clone()) } else { (b.clone(), a.clone()) };
        let ledger = ledger.clone();
        lanes.spawn(async move {
            let mut name = username();
            let mut from = one.sign_up(&name, PASSWORD).await.unwrap();
            let (mut survived, mut proved, mut took) = (0_usize, 0, Duration::from_millis(20));
            for begun in 0.. {
                if proved == rounds / LANES {
                    break;
                }
                assert!(begun < 4 * rounds / LANES, "{proved} of {begun} rounds of a lane proved something");
                let wait = staggered_delay(took, begun);
                let revoking = async {
                    tokio::time::sleep(wait).await;
                    other.without_retries().logout_all(&from.access).await
                };
                let signing_in = async {
                    let begun = Instant::now();
                    let opened = one.login(&name, PASSWORD).await.unwrap().tokens();
                    (opened, begun.elapsed())
                };
                let ((opened, last), all) = tokio::join!(signing_in, revoking);
                took = last;
                let Some(all) = unless_unavailable(all) else {
                    // The round proves nothing. Its calls may go on, and must not meet the next
                    // round.
                    name = username();
                    from = one.sign_up(&name, PASSWORD).await.unwrap();
                    continue;
                };
                assert_eq!(all.status, StatusCode::NO_CONTENT);
                let fence = ledger.user_epoch(&from).await;
                for (session, epoch) in ledger.live_sessions(&from).await {
                    assert_eq!(epoch, fence, "session {session} was opened under an older fence, and lives");
                }
                assert_access_refused([&one, &other], &[&from]).await;
                from = if ledger.session_epoch(&opened).await == fence {
                    survived += 1;
                    for node in [&one, &other] {
                        assert_eq!(node.me(&opened.access).await.unwrap().status, StatusCode::OK);
                    }
                    opened
                } else {
                    assert_eq!(ledger.live_tokens(&opened).await, 0);
                    assert_access_refused([&one, &other], &[&opened]).await;
                    assert_eq!(other.refresh(&opened.refresh).await.unwrap().error(), "invalid_grant");
                    one.login(&name, PASSWORD).await.unwrap().tokens()
                };
                proved += 1;
            }
            survived
        });
    }
    let survived: usize = lanes.join_all().await.into_iter().sum();
    assert!((1..rounds).contains(&survived), "some came after the revocation and some did not: {survived}");
}

/// Checks fill the shared cache on both nodes while the session ends. None may be accepted after it
/// ended.
#[tokio::test(flavor = "multi_thread")]
async fn check_that_fills_redis_beside_a_revocation_never_survives_it() {
    let fleet = fleet(&[]).await;
    let name = Arc::new(username());
    clients(&fleet).0.register(&name, PASSWORD).await.unwrap();
    rounds_in_both_orders(&fleet, 64, |one, other, order| {
        let name = Arc::clone(&name);
        async move {
            let session = one.login(&name, PASSWORD).await.unwrap().tokens();
            let check = async |node: &Client| {
                let first = node.me(&session.access).await.unwrap();
                for _ in 0..5 {
                    let me = node.me(&session.access).await.unwrap();
                    assert!(matches!(me.status, StatusCode::OK | StatusCode::UNAUTHORIZED), "{me:?}");
                }
                first
            };
            let ending = async { one.without_retries().logout(&session.access).await };
            let checking = async { tokio::join!(check(&one), check(&other)) };
            let (firsts, logout) = order.run(checking, ending).await;
            assert_eq!(unless_unavailable(logout)?.status, StatusCode::NO_CONTENT);
            // These fill the cache if they may.
            for first in [firsts.0, firsts.1] {
                order.count(&first, "invalid_token");
            }
            assert_refused([&one, &other], &[&session]).await;
            Some(())
        }
    })
    .await;
}

/// A change of password ends every other session and the old password, also beside all other calls.
#[tokio::test(flavor = "multi_thread")]
async fn password_change_meets_everything_at_once() {
    let fleet = fleet(&[]).await;
    let ledger = Ledger::of(&fleet).await;
    let calls = Arc::new(password::ConcurrentCalls::default());
    let round = |one, other| password::run_round(one, other, ledger.clone(), Arc::clone(&calls));
    rounds(&fleet, 8, || calls.has_all_kinds(), round).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn password_changed_twice_at_once_is_changed_once() {
    let fleet = fleet(&[]).await;
    let ledger = Ledger::of(&fleet).await;
    rounds_in_both_orders(&fleet, 16, |one, other, order| {
        password::run_rival_changes(one, other, ledger.clone(), order)
    })
    .await;
}
