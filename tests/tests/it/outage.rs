//! Redis and MongoDB die under traffic. No token is accepted wrongly, no good token gets 401, and
//! every answer is in time.

mod log;
mod single_use;
mod unfinished;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use http::StatusCode;
use serde_json::json;
use tests::{
    client::{Client, Response, Tokens},
    servers::{MongoServer, RedisServer},
};
use tokio::task::JoinSet;

use self::single_use::{SingleUseTokens, assert_unavailable};
use crate::fleet::{Fleet, PASSWORD, username};

/// Law 7.
const ANSWER: Duration = Duration::from_secs(3);
/// Law 7: how long after the stores' return normal service may take.
const RECOVERY: Duration = Duration::from_secs(15);

/// Asks for `/me` all the time, with a good and with a revoked token, and keeps the wrong answers.
struct Traffic {
    tasks: JoinSet<()>,
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<TrafficCounts>>,
}

/// The answers by kind, and those that break a law.
#[derive(Debug, Default)]
struct TrafficCounts {
    ok: u64,
    unavailable: u64,
    refused: u64,
    wrong: Vec<String>,
}

impl Traffic {
    /// Starts three clients of each node: two with the good token, one with the revoked token.
    fn start(nodes: &[Client], good: &str, revoked: &str) -> Self {
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(TrafficCounts::default())));
        let mut tasks = JoinSet::new();
        for node in nodes {
            for (token, is_good) in [(good, true), (good, true), (revoked, false)] {
                let (node, token) = (node.clone(), token.to_owned());
                let (stop, seen) = (Arc::clone(&stop), Arc::clone(&seen));
                tasks.spawn(async move {
                    while !stop.load(Ordering::Relaxed) {
                        let sent = Instant::now();
                        let answer = node.me(&token).await;
                        seen.lock().unwrap().judge(answer, is_good, sent.elapsed());
                    }
                });
            }
        }
        Self { tasks, stop, seen }
    }

    /// Returns what was seen since the last call.
    fn take(&self) -> TrafficCounts {
        std::mem::take(&mut self.seen.lock().unwrap())
    }

    /// Ends the traffic.
    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.tasks.join_all().await;
    }
}

impl TrafficCounts {
    /// Counts an answer. Notes it as wrong if it breaks a law.
    fn judge(&mut self, answer: reqwest::Result<Response>, is_good: bool, took: Duration) {
        if took > ANSWER {
            self.wrong.push(format!("an answer took {took:?}"));
        }
        match answer {
            Ok(answer) if answer.status == StatusCode::SERVICE_UNAVAILABLE => {
                self.unavailable += 1;
                if answer.header("retry-after").parse::<u64>().is_err() || answer.error() != "temporarily_unavailable" {
                    self.wrong.push(format!("{answer:?}"));
                }
            }
            Ok(answer) if is_good && answer.status == StatusCode::OK => self.ok += 1,
            Ok(answer) if !is_good && answer.status == StatusCode::UNAUTHORIZED => self.refused += 1,
            other => self.wrong.push(format!("good token: {is_good}, answer: {other:?}")),
        }
    }
}

/// Two nodes under traffic.
struct NodesUnderTraffic {
    nodes: [Client; 2],
    name: String,
    good: Tokens,
    traffic: Traffic,
    _fleet: Fleet,
}

impl NodesUnderTraffic {
    /// Starts two nodes, and traffic on both.
    async fn start(mongodb: &MongoServer, redis: Option<&RedisServer>) -> Self {
        let fleet = Fleet::on_servers(2, mongodb, redis, &["--local-cache", "0"]).await;
        let nodes = <[Client; 2]>::from(fleet.clients());
        let name = username();
        let good = nodes[0].sign_up(&name, PASSWORD).await.unwrap();
        let revoked = nodes[0].login(&name, PASSWORD).await.unwrap().tokens();
        assert_eq!(nodes[0].logout(&revoked.access).await.unwrap().status, StatusCode::NO_CONTENT);
        let traffic = Traffic::start(&nodes, &good.access, &revoked.access);
        Self { nodes, name, good, traffic, _fleet: fleet }
    }
}

/// Lets the traffic run for three seconds.
async fn for_a_while() {
    tokio::time::sleep(Duration::from_secs(3)).await;
}

/// Waits until every node answers `/me` with 200. Fails if that takes longer than the law allows.
async fn until_recovered(nodes: &[Client], good: &str) {
    let begun = Instant::now();
    for node in nodes {
        while node.me(good).await.unwrap().status != StatusCode::OK {
            assert!(begun.elapsed() < RECOVERY, "no recovery within {RECOVERY:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn outage_of_redis_then_mongodb_is_survived() {
    let (mut mongodb, mut redis) = (MongoServer::start().await, RedisServer::start(&[]).await);
    let NodesUnderTraffic { nodes, name, good, traffic, _fleet } =
        NodesUnderTraffic::start(&mongodb, Some(&redis)).await;

    for_a_while().await;
    let seen = traffic.take();
    assert!(seen.wrong.is_empty() && seen.unavailable == 0 && seen.ok > 0 && seen.refused > 0, "{seen:?}");

    redis.kill();
    for_a_while().await;
    let seen = traffic.take();
    assert!(seen.wrong.is_empty() && seen.unavailable == 0 && seen.ok > 0, "MongoDB serves alone: {seen:?}");
    for node in &nodes {
        let ready = node.get("/readyz", None).await.unwrap();
        assert_eq!((ready.status, &ready.json()["status"]), (StatusCode::OK, &"degraded".into()));
        let checks = &ready.json()["checks"];
        assert_eq!((&checks["mongodb"]["status"], &checks["redis"]), (&"up".into(), &json!({ "status": "down" })));
    }
    // The store decides refreshes and sign-ins. A logout cannot be promised while Redis is
    // unreachable.
    let refreshed = nodes[0].refresh(&good.refresh).await.unwrap();
    assert_eq!(refreshed.status, StatusCode::OK, "{refreshed:?}");
    let doomed = nodes[0].login(&name, PASSWORD).await.unwrap().tokens();
    let logout = nodes[0].logout(&doomed.access).await.unwrap();
    assert_eq!(logout.status, StatusCode::SERVICE_UNAVAILABLE, "{logout:?}");
    assert!(logout.header("retry-after").parse::<u64>().is_ok());
    for node in &nodes {
        assert_eq!(node.me(&doomed.access).await.unwrap().status, StatusCode::UNAUTHORIZED, "it stays recorded");
    }

    let single_use = SingleUseTokens::issue(&nodes, &good.access).await;
    let in_flight = single_use.spend_during(&nodes, || mongodb.kill()).await;
    for_a_while().await;
    let seen = traffic.take();
    assert!(seen.wrong.is_empty() && seen.unavailable > 0, "{seen:?}");
    single_use.assert_unavailable(&nodes, &good.access).await;
    for node in &nodes {
        let ready = node.get("/readyz", None).await.unwrap();
        assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
        // Nothing of where they are, and why.
        let down = json!({ "status": "down" });
        assert_eq!(ready.json()["checks"], json!({ "mongodb": down, "redis": down }));
        assert_eq!(node.get("/healthz", None).await.unwrap().status, StatusCode::OK);
        let begun = Instant::now();
        let login = node.login(&name, PASSWORD).await.unwrap();
        assert_eq!(login.status, StatusCode::SERVICE_UNAVAILABLE, "{login:?}");
        assert!(begun.elapsed() < ANSWER);
    }

    redis.restart().await;
    mongodb.restart().await;
    until_recovered(&nodes, &good.access).await;
    single_use.assert_used_once(&nodes, &in_flight).await;
    traffic.take();
    for_a_while().await;
    let seen = traffic.take();
    assert!(seen.wrong.is_empty() && seen.unavailable == 0 && seen.ok > 0 && seen.refused > 0, "{seen:?}");
    for node in &nodes {
        let ready = node.get("/readyz", None).await.unwrap();
        assert_eq!(ready.json()["status"], "ok", "{ready:?}");
        assert_eq!(node.me(&doomed.access).await.unwrap().status, StatusCode::UNAUTHORIZED);
    }
    let logout = nodes[0].logout(&good.access).await.unwrap();
    assert_eq!(logout.status, StatusCode::NO_CONTENT, "{logout:?}");
    traffic.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn outage_by_servers_that_hang_is_no_worse_than_by_servers_that_are_gone() {
    let (mut mongodb, mut redis) = (MongoServer::start().await, RedisServer::start(&[]).await);
    let NodesUnderTraffic { nodes, name: _, good, traffic, _fleet } =
        NodesUnderTraffic::start(&mongodb, Some(&redis)).await;

    redis.pause();
    for_a_while().await;
    let seen = traffic.take();
    assert!(seen.wrong.is_empty() && seen.unavailable == 0 && seen.ok > 0 && seen.refused > 0, "{seen:?}");
    mongodb.pause();
    for_a_while().await;
    let seen = traffic.take();
    assert!(seen.wrong.is_empty() && seen.unavailable > 0, "{seen:?}");
    mongodb.resume();
    redis.resume();
    until_recovered(&nodes, &good.access).await;
    traffic.take();
    for_a_while().await;
    let seen = traffic.take();
    assert!(seen.wrong.is_empty() && seen.unavailable == 0 && seen.ok > 0 && seen.refused > 0, "{seen:?}");
    traffic.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn outage_of_mongodb_without_redis_is_survived() {
    let mut mongodb = MongoServer::start().await;
    let NodesUnderTraffic { nodes, name: _, good, traffic, _fleet } = NodesUnderTraffic::start(&mongodb, None).await;
    mongodb.kill();
    for_a_while().await;
    let seen = traffic.take();
    assert!(seen.wrong.is_empty() && seen.unavailable > 0, "{seen:?}");
    mongodb.restart().await;
    until_recovered(&nodes, &good.access).await;
    traffic.take();
    for_a_while().await;
    let seen = traffic.take();
    assert!(seen.wrong.is_empty() && seen.unavailable == 0 && seen.ok > 0 && seen.refused > 0, "{seen:?}");
    traffic.end().await;
}

/// Redis alone may vouch for an access token, and never for a single-use token.
#[tokio::test(flavor = "multi_thread")]
async fn outage_of_mongodb_alone_refuses_revocations_and_single_use() {
    let (mut mongodb, redis) = (MongoServer::start().await, RedisServer::start(&[]).await);
    let NodesUnderTraffic { nodes, name, good, traffic, _fleet } =
        NodesUnderTraffic::start(&mongodb, Some(&redis)).await;
    let doomed = nodes[0].login(&name, PASSWORD).await.unwrap().tokens();
    for node in &nodes {
        assert_eq!(node.me(&doomed.access).await.unwrap().status, StatusCode::OK, "Redis knows it");
    }
    let single_use = SingleUseTokens::issue(&nodes, &good.access).await;
    let in_flight = single_use.spend_during(&nodes, || mongodb.kill()).await;
    // At once, except if Redis was slow to answer: then the node does not ask it for a second.
    until_recovered(&nodes, &good.access).await;
    single_use.assert_unavailable(&nodes, &good.access).await;
    for node in &nodes {
        assert_unavailable(async { node.logout(&doomed.access).await.unwrap() }).await;
    }
    mongodb.restart().await;
    until_recovered(&nodes, &good.access).await;
    single_use.assert_used_once(&nodes, &in_flight).await;
    // The logout may have succeeded before. After this call the session must be over.
    let logout = nodes[1].logout(&doomed.access).await.unwrap().status;
    assert!(matches!(logout, StatusCode::NO_CONTENT | StatusCode::UNAUTHORIZED), "{logout}");
    for node in &nodes {
        assert_eq!(node.me(&doomed.access).await.unwrap().status, StatusCode::UNAUTHORIZED);
    }
    let seen = traffic.take();
    assert!(seen.wrong.is_empty() && seen.ok > 0 && seen.refused > 0, "{seen:?}");
    traffic.end().await;
}
