//! The primary of a replica set is lost under traffic. It is killed, or stopped for so long that it
//! is deposed and does not know.
//!
//! Every client does what a careful one would: after "unavailable" or no answer it asks again with
//! the same token.

mod denials;
mod lost_writes;
mod stale_primary;
mod unused_pair;
mod used_once;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use http::StatusCode;
use tests::{
    client::{Client, Response, Tokens},
    node::Node,
    servers::{MongoReplicaSet, RedisServer},
};
use tokio::task::JoinSet;

use self::unused_pair::UnusedPair;
use crate::fleet::{self, PASSWORD, username};

/// Law 7.
const ANSWER: Duration = Duration::from_secs(3);
/// Law 7: how long after an election normal service may take.
const RECOVERY: Duration = Duration::from_secs(15);

/// For a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);

/// The number of clients that run sessions.
const WORKERS: usize = 6;

/// What the clients have seen.
#[derive(Debug, Default)]
struct Observations {
    /// Pairs whose session was acknowledged as ended.
    ended: Vec<Tokens>,
    /// Single-use tokens that were accepted.
    used: Vec<String>,
    sessions: usize,
    recorded: usize,
    unavailable: usize,
    wrong: Vec<String>,
}

/// A client of both nodes. Its clones share what they have seen.
#[derive(Clone)]
struct Worker {
    nodes: [Client; 2],
    observations: Arc<Mutex<Observations>>,
    stop: Arc<AtomicBool>,
}

impl Worker {
    /// Returns whether the test has ended.
    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Reads or changes what the clients have seen.
    fn observe<T>(&self, note: impl FnOnce(&mut Observations) -> T) -> T {
        note(&mut self.observations.lock().unwrap())
    }

    /// Asks one node, then the other, until an answer is not "unavailable". Returns `None` if the
    /// test ends before.
    async fn ask<F>(&self, what: &str, ask: impl Fn(Client) -> F) -> Option<Response>
    where
        F: Future<Output = reqwest::Result<Response>>,
    {
        for turn in 0.. {
            let sent = Instant::now();
            let answer = ask(self.nodes[turn % 2].clone()).await.expect("the nodes themselves are well");
            let took = sent.elapsed();
            if took > ANSWER {
                self.observe(|seen| seen.wrong.push(format!("{what} took {took:?}")));
            }
            if answer.status != StatusCode::SERVICE_UNAVAILABLE {
                // All calls except `me`, which Redis may answer, need a primary.
                self.observe(|seen| seen.recorded += usize::from(what != "me"));
                return Some(answer);
            }
            self.observe(|seen| seen.unavailable += 1);
            if self.is_stopped() {
                break;
            }
        }
        None
    }

    /// Notes the answer as wrong unless it has this status.
    fn expect(&self, what: &str, answer: &Response, status: StatusCode) {
        if answer.status != status {
            self.observe(|seen| seen.wrong.push(format!("{what}: {answer:?}")));
        }
    }

    /// Runs one session: sign in, refresh, use a single-use token, sign out. Returns `None` if the
    /// test ends before.
    async fn run_session(&self, name: &str) -> Option<()> {
        let login = self.ask("login", async |node: Client| node.login(name, PASSWORD).await).await?;
        let mut pairs = vec![login.tokens()];
        for _ in 0..2 {
            let current = pairs[pairs.len() - 1].clone();
            let refreshed = self.ask("refresh", async |node: Client| node.refresh(&current.refresh).await).await?;
            self.expect("a failure was taken for theft", &refreshed, StatusCode::OK);
            pairs.push((refreshed.status == StatusCode::OK).then(|| refreshed.tokens())?);
            let again = self.ask("refresh", async |node: Client| node.refresh(&current.refresh).await).await?;
            if again.status != StatusCode::OK || !unused_pair::same_pair(&again.tokens(), &pairs[pairs.len() - 1]) {
                self.observe(|seen| seen.wrong.push(format!("another pair for the same token: {}", again.status)));
            }
        }
        let current = pairs[pairs.len() - 1].clone();
        let me = self.ask("me", async |node: Client| node.me(&current.access).await).await?;
        self.expect("a good token was refused", &me, StatusCode::OK);

        let issue = async |node: Client| node.post("/auth/single-use", Some(&current.access), None).await;
        let issued = self.ask("single use", issue).await?;
        self.expect("no single-use token", &issued, StatusCode::CREATED);
        self.spend(issued.json()["access_token"].as_str()?).await;

        loop {
            let logout = self.ask("logout", async |node: Client| node.logout(&current.access).await).await?;
            match logout.status {
                StatusCode::NO_CONTENT => break,
                // An earlier try got as far as the record. Another session can ask for the rest.
                StatusCode::UNAUTHORIZED => {
                    let login =
                        self.ask("login", async |node: Client| node.login(name, PASSWORD).await).await?.tokens();
                    let all = self.ask("logout-all", async |node: Client| node.logout_all(&login.access).await).await?;
                    if all.status == StatusCode::NO_CONTENT {
                        break;
                    }
                }
                _ => self.expect("logout", &logout, StatusCode::NO_CONTENT),
            }
        }
        self.observe(|seen| {
            seen.ended.extend(pairs);
            seen.sessions += 1;
        });
        Some(())
    }

    /// Presents a single-use token on both nodes, several times on each, all at once.
    async fn spend(&self, token: &str) {
        let tries = (0..6).map(|turn| self.nodes[turn % 2].post("/demo/single-use", Some(token), None));
        let answers = futures_util::future::join_all(tries).await;
        let mut accepted = 0;
        for answer in answers {
            match answer.expect("the nodes themselves are well").status {
                StatusCode::OK => accepted += 1,
                StatusCode::UNAUTHORIZED | StatusCode::SERVICE_UNAVAILABLE => {}
                other => self.observe(|seen| seen.wrong.push(format!("single use: {other}"))),
            }
        }
        self.observe(|seen| {
            seen.used.extend((accepted > 0).then(|| token.to_owned()));
            if accepted > 1 {
                seen.wrong.push(format!("a single-use token was accepted {accepted} times"));
            }
        });
    }

    /// Presents tokens of ended sessions all the time, and the single-use tokens that were used
    /// last and have not expired. None may be accepted.
    async fn replay_ended_tokens(self) {
        let mut at = 0;
        while !self.is_stopped() {
            at += 1;
            let used = self.observe(|seen| seen.used.iter().rev().nth(at % (3 * WORKERS)).cloned());
            if let Some(token) = used {
                let again = self.nodes[at % 2].post("/demo/single-use", Some(&token), None).await;
                if again.expect("the nodes themselves are well").status == StatusCode::OK {
                    self.observe(|seen| seen.wrong.push("a used single-use token was accepted again".to_owned()));
                }
            }
            let pair = self.observe(|seen| seen.ended.get(at % seen.ended.len().max(1)).cloned());
            let Some(pair) = pair else {
                tokio::task::yield_now().await;
                continue;
            };
            let me = self.nodes[at % 2].me(&pair.access).await.expect("the nodes themselves are well");
            if me.status == StatusCode::OK {
                self.observe(|seen| seen.wrong.push(format!("a revoked token was accepted: {me:?}")));
            }
        }
    }
}

/// Two nodes without in-process caches, with a grace window longer than any failover.
struct NodePair {
    clients: [Client; 2],
    _nodes: [Node; 2],
    _keys: tempfile::TempDir,
}

impl NodePair {
    /// Starts both nodes.
    async fn start(mongodb: &MongoReplicaSet, redis: &RedisServer) -> Self {
        let keys = tempfile::tempdir().unwrap();
        let directory = keys.path().to_str().unwrap();
        let args = ["--local-cache", "0", "--rate-limit", "off", "--refresh-grace", "10m", "--keys-dir", directory];
        let (uri, url) = (mongodb.uri(), redis.url());
        let env = [("MONGODB_URI", uri.as_str()), ("REDIS_URL", url.as_str())];
        let nodes = [fleet::node(&args, &env).await, fleet::node(&args, &env).await];
        let clients = [Client::new(nodes[0].url()), Client::new(nodes[1].url())];
        Self { clients, _nodes: nodes, _keys: keys }
    }
}

/// Here each way of losing a primary comes once; in the slow group several times.
#[tokio::test(flavor = "multi_thread")]
async fn failover_breaks_no_law_while_primaries_are_killed_and_stopped() {
    lose_primaries(1).await;
}

/// Kills a primary and stops the next one, `rounds` times.
pub(crate) async fn lose_primaries(rounds: usize) {
    let (mut mongodb, redis) = (MongoReplicaSet::start().await, RedisServer::start(&[]).await);
    let NodePair { clients, .. } = &NodePair::start(&mongodb, &redis).await;

    let worker = Worker { nodes: clients.clone(), observations: Arc::default(), stop: Arc::default() };
    let mut running = JoinSet::new();
    for _ in 0..WORKERS {
        let (worker, name) = (worker.clone(), username());
        assert_eq!(worker.nodes[0].register(&name, PASSWORD).await.unwrap().status, StatusCode::CREATED);
        running.spawn(async move { while !worker.is_stopped() && worker.run_session(&name).await.is_some() {} });
    }
    running.spawn(worker.clone().replay_ended_tokens());

    // Normal service is back with the first write that is acknowledged, counted from the election
    // of a primary. A busy machine may depose that one too, and the count starts again. Then every
    // worker gets the time for a session.
    let until_recovered = async |mongodb: &MongoReplicaSet, lost: Option<u16>, after: &str| {
        let recorded = worker.observe(|seen| seen.recorded);
        let mut elected = Instant::now();
        while worker.observe(|seen| seen.recorded) == recorded {
            if !mongodb.has_primary(lost).await {
                elected = Instant::now();
            }
            let unavailable = worker.observe(|seen| seen.unavailable);
            assert!(
                elected.elapsed() < RECOVERY,
                "{after}: nothing recorded for {RECOVERY:?}, {unavailable} unavailable"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let lost = Instant::now();
        let target = worker.observe(|seen| seen.sessions) + WORKERS;
        while worker.observe(|seen| seen.sessions) < target {
            assert!(lost.elapsed() < PATIENCE, "{after}: no full lives");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(
            worker.observe(|seen| seen.wrong.is_empty()),
            "{after}: {:?}",
            worker.observe(|seen| seen.wrong.clone())
        );
    };
    until_recovered(&mongodb, None, "the start").await;
    for _ in 0..rounds {
        mongodb.until_healthy().await;
        let unused = UnusedPair::issue(&worker.nodes).await;
        let deposed = mongodb.primary().await;
        let port = deposed.port();
        deposed.kill();
        mongodb.until_new_primary(port).await;
        until_recovered(&mongodb, Some(port), "a kill").await;
        unused.assert_survives(&worker.nodes).await;
        mongodb.member(port).respawn();
        mongodb.until_healthy().await;

        let unused = UnusedPair::issue(&worker.nodes).await;
        let deposed = mongodb.primary().await;
        let port = deposed.port();
        deposed.pause();
        mongodb.until_new_primary(port).await;
        until_recovered(&mongodb, Some(port), "a stop").await;
        // The member wakes up and takes itself for the primary.
        mongodb.member(port).resume();
        until_recovered(&mongodb, None, "a rude awakening").await;
        unused.assert_survives(&worker.nodes).await;
    }

    worker.stop.store(true, Ordering::Relaxed);
    running.join_all().await;
    let seen = worker.observe(std::mem::take);
    assert!(seen.wrong.is_empty(), "{:?}", seen.wrong);
    assert!(seen.unavailable > 0 && seen.used.len() > WORKERS, "something was lost, and something was used: {seen:?}");
    mongodb.until_healthy().await;
    for pair in &seen.ended {
        for node in &worker.nodes {
            assert_eq!(node.me(&pair.access).await.unwrap().status, StatusCode::UNAUTHORIZED);
        }
        assert_eq!(worker.nodes[0].refresh(&pair.refresh).await.unwrap().error(), "invalid_grant");
    }
}
