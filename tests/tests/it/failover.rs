//! The primary of a replica set is lost under traffic. It is killed, or stopped for so long that it
//! is deposed and does not know.
//!
//! Every client does what a careful one would: after "unavailable" or no answer it asks again with
//! the same token.

mod alone;
mod hearsay;
mod held;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use http::StatusCode;
use tests::{
    client::{Answer, Client, Tokens},
    node::Node,
    servers::{MongoSet, RedisServer},
};
use tokio::task::JoinSet;

use self::held::Held;
use crate::fleet::{self, PASSWORD, username};

/// Law 7.
const ANSWER: Duration = Duration::from_secs(3);
const RECOVERY: Duration = Duration::from_secs(15);

/// For a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);

const WORKERS: usize = 6;

/// What the clients have seen.
#[derive(Debug, Default)]
struct Seen {
    /// Pairs whose session was acknowledged as ended.
    dead: Vec<Tokens>,
    /// Single-use tokens that were accepted.
    used: Vec<String>,
    lives: usize,
    recorded: usize,
    unavailable: usize,
    wrong: Vec<String>,
}

#[derive(Clone)]
struct Worker {
    nodes: [Client; 2],
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
}

impl Worker {
    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn seen<T>(&self, note: impl FnOnce(&mut Seen) -> T) -> T {
        note(&mut self.seen.lock().unwrap())
    }

    /// Asks one node, then the other, until an answer is not "unavailable". Returns `None` if the
    /// test ends before.
    async fn ask<F>(&self, what: &str, ask: impl Fn(Client) -> F) -> Option<Answer>
    where
        F: Future<Output = reqwest::Result<Answer>>,
    {
        for turn in 0.. {
            let sent = Instant::now();
            let answer = ask(self.nodes[turn % 2].clone()).await.expect("the nodes themselves are well");
            let took = sent.elapsed();
            if took > ANSWER {
                self.seen(|seen| seen.wrong.push(format!("{what} took {took:?}")));
            }
            if answer.status != StatusCode::SERVICE_UNAVAILABLE {
                // All calls except `me`, which Redis may answer, need a primary.
                self.seen(|seen| seen.recorded += usize::from(what != "me"));
                return Some(answer);
            }
            self.seen(|seen| seen.unavailable += 1);
            if self.is_stopped() {
                break;
            }
        }
        None
    }

    fn expect(&self, what: &str, answer: &Answer, status: StatusCode) {
        if answer.status != status {
            self.seen(|seen| seen.wrong.push(format!("{what}: {answer:?}")));
        }
    }

    /// Runs one session: sign in, refresh, use a single-use token, sign out. Returns `None` if the
    /// test ends before.
    async fn life(&self, name: &str) -> Option<()> {
        let login = self.ask("login", async |node: Client| node.login(name, PASSWORD).await).await?;
        let mut pairs = vec![login.tokens()];
        for _ in 0..2 {
            let current = pairs[pairs.len() - 1].clone();
            let refreshed = self.ask("refresh", async |node: Client| node.refresh(&current.refresh).await).await?;
            self.expect("a failure was taken for theft", &refreshed, StatusCode::OK);
            pairs.push((refreshed.status == StatusCode::OK).then(|| refreshed.tokens())?);
            let again = self.ask("refresh", async |node: Client| node.refresh(&current.refresh).await).await?;
            if again.status != StatusCode::OK || !held::equal(&again.tokens(), &pairs[pairs.len() - 1]) {
                self.seen(|seen| seen.wrong.push(format!("another pair for the same token: {}", again.status)));
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
        self.seen(|seen| {
            seen.dead.extend(pairs);
            seen.lives += 1;
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
                other => self.seen(|seen| seen.wrong.push(format!("single use: {other}"))),
            }
        }
        self.seen(|seen| {
            seen.used.extend((accepted > 0).then(|| token.to_owned()));
            if accepted > 1 {
                seen.wrong.push(format!("a single-use token was accepted {accepted} times"));
            }
        });
    }

    /// Presents tokens of ended sessions all the time, and the single-use tokens that were used
    /// last and have not expired. None may be accepted.
    async fn haunt(self) {
        let mut at = 0;
        while !self.is_stopped() {
            at += 1;
            let used = self.seen(|seen| seen.used.iter().rev().nth(at % (3 * WORKERS)).cloned());
            if let Some(token) = used {
                let again = self.nodes[at % 2].post("/demo/single-use", Some(&token), None).await;
                if again.expect("the nodes themselves are well").status == StatusCode::OK {
                    self.seen(|seen| seen.wrong.push("a used single-use token was accepted again".to_owned()));
                }
            }
            let pair = self.seen(|seen| seen.dead.get(at % seen.dead.len().max(1)).cloned());
            let Some(pair) = pair else {
                tokio::task::yield_now().await;
                continue;
            };
            let me = self.nodes[at % 2].me(&pair.access).await.expect("the nodes themselves are well");
            if me.status == StatusCode::OK {
                self.seen(|seen| seen.wrong.push(format!("a revoked token was accepted: {me:?}")));
            }
        }
    }
}

/// Two nodes without in-process caches, with a grace window longer than any failover.
struct Service {
    clients: [Client; 2],
    _nodes: [Node; 2],
    _keys: tempfile::TempDir,
}

impl Service {
    async fn start(mongodb: &MongoSet, redis: &RedisServer) -> Self {
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

#[tokio::test(flavor = "multi_thread")]
async fn failover_breaks_no_law_while_primaries_are_killed_and_stopped() {
    let (mut mongodb, redis) = (MongoSet::start().await, RedisServer::start(&[]).await);
    let Service { clients, .. } = &Service::start(&mongodb, &redis).await;

    let worker = Worker { nodes: clients.clone(), seen: Arc::default(), stop: Arc::default() };
    let mut running = JoinSet::new();
    for _ in 0..WORKERS {
        let (worker, name) = (worker.clone(), username());
        assert_eq!(worker.nodes[0].register(&name, PASSWORD).await.unwrap().status, StatusCode::CREATED);
        running.spawn(async move { while !worker.is_stopped() && worker.life(&name).await.is_some() {} });
    }
    running.spawn(worker.clone().haunt());

    // Normal service is back with the first write that is acknowledged, counted from the election
    // of a primary. A busy machine may depose that one too, and the count starts again. Then every
    // worker gets the time for a session.
    let flows_again = async |mongodb: &MongoSet, lost: Option<u16>, after: &str| {
        let recorded = worker.seen(|seen| seen.recorded);
        let mut elected = Instant::now();
        while worker.seen(|seen| seen.recorded) == recorded {
            if !mongodb.has_primary(lost).await {
                elected = Instant::now();
            }
            let unavailable = worker.seen(|seen| seen.unavailable);
            assert!(
                elected.elapsed() < RECOVERY,
                "{after}: nothing recorded for {RECOVERY:?}, {unavailable} unavailable"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let lost = Instant::now();
        let target = worker.seen(|seen| seen.lives) + WORKERS;
        while worker.seen(|seen| seen.lives) < target {
            assert!(lost.elapsed() < PATIENCE, "{after}: no full lives");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(worker.seen(|seen| seen.wrong.is_empty()), "{after}: {:?}", worker.seen(|seen| seen.wrong.clone()));
    };
    flows_again(&mongodb, None, "the start").await;
    for _ in 0..2 {
        mongodb.until_whole().await;
        let held = Held::open(&worker.nodes).await;
        let deposed = mongodb.primary().await;
        let port = deposed.port();
        deposed.kill();
        mongodb.until_succeeded(port).await;
        flows_again(&mongodb, Some(port), "a kill").await;
        held.outlives(&worker.nodes).await;
        mongodb.member(port).respawn();
        mongodb.until_whole().await;

        let held = Held::open(&worker.nodes).await;
        let deposed = mongodb.primary().await;
        let port = deposed.port();
        deposed.pause();
        mongodb.until_succeeded(port).await;
        flows_again(&mongodb, Some(port), "a stop").await;
        // The member wakes up and takes itself for the primary.
        mongodb.member(port).resume();
        flows_again(&mongodb, None, "a rude awakening").await;
        held.outlives(&worker.nodes).await;
    }

    worker.stop.store(true, Ordering::Relaxed);
    running.join_all().await;
    let seen = worker.seen(std::mem::take);
    assert!(seen.wrong.is_empty(), "{:?}", seen.wrong);
    assert!(seen.unavailable > 0 && seen.used.len() > WORKERS, "something was lost, and something was used: {seen:?}");
    mongodb.until_whole().await;
    for pair in &seen.dead {
        for node in &worker.nodes {
            assert_eq!(node.me(&pair.access).await.unwrap().status, StatusCode::UNAUTHORIZED);
        }
        assert_eq!(worker.nodes[0].refresh(&pair.refresh).await.unwrap().error(), "invalid_grant");
    }
}
