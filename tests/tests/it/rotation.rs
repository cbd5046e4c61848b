//! A key rotation on two nodes under traffic.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::StatusCode;
use serde_json::Value;
use tests::client::{Client, Tokens};
use tokio::{task::JoinSet, time::MissedTickBehavior};

use crate::fleet::{Fleet, PASSWORD, username};

/// The time in which nodes see a change of the keys.
const SEEN_WITHIN: Duration = Duration::from_secs(5);

/// A publish delay that is as short as can be. It counts as [`SEEN_WITHIN`].
const SHORT_DELAY: [&str; 4] = ["--key-publish-delay", "1s", "--rate-limit", "off"];

#[tokio::test(flavor = "multi_thread")]
async fn keys_rotation_refuses_no_good_token() {
    // A busy machine answers fewer; that none is refused is what counts here.
    keys_rotate_under_traffic(100, 40, 8).await;
}

/// Rotates the key of two nodes under `rate` requests a second of this number of users, then
/// retires the old key at once. Fails if fewer than `least` a second are answered.
///
/// No good token is ever refused. A token of the retired key is refused on both nodes within
/// [`SEEN_WITHIN`], and from then on.
pub(crate) async fn keys_rotate_under_traffic(rate: u32, least: u32, users: u32) {
    let fleet = Fleet::on_shared_servers(2, true, &SHORT_DELAY).await;
    let (a, b) = fleet.clients();
    let nodes = [a, b];
    let traffic = Traffic::start(&nodes, rate, users).await;
    let old = kid(&traffic.newest_token());
    let stale = nodes[0].sign_up(&username(), PASSWORD).await.unwrap();
    traffic.run_for(Duration::from_secs(1)).await;

    let begun = Instant::now();
    let rotation = fleet.command(&["keys", "rotate", "--json"], "").await.json();
    let new = rotation["new"]["kid"].as_str().unwrap().to_owned();
    assert_eq!(rotation["old"]["kid"], old);
    until(begun, SEEN_WITHIN, "both nodes publish the new key", async || {
        published(&nodes[0]).await.contains(&new) && published(&nodes[1]).await.contains(&new)
    })
    .await;
    until(begun, 3 * SEEN_WITHIN, "every user has tokens of the new key", async || {
        traffic.kids() == BTreeSet::from([new.clone()])
    })
    .await;
    for node in &nodes {
        assert_eq!(node.me(&stale.access).await.unwrap().status, StatusCode::OK, "the old key verifies");
    }
    traffic.run_for(Duration::from_secs(1)).await;

    let begun = Instant::now();
    let retired = fleet.command(&["keys", "retire", &old, "--now", "--json"], "").await.json();
    assert_eq!(retired["state"], "retired");
    for node in &nodes {
        until(begun, SEEN_WITHIN, "the old key's tokens are refused", async || {
            node.me(&stale.access).await.unwrap().status == StatusCode::UNAUTHORIZED
        })
        .await;
        assert!(!published(node).await.contains(&old));
    }
    let until = Instant::now() + Duration::from_secs(1);
    while Instant::now() < until {
        for node in &nodes {
            assert_eq!(node.me(&stale.access).await.unwrap().status, StatusCode::UNAUTHORIZED);
            assert_eq!(node.refresh(&stale.refresh).await.unwrap().error(), "invalid_grant");
        }
    }
    traffic.stop(least).await;
}

/// Waits until `condition` holds.
async fn until(begun: Instant, limit: Duration, what: &str, condition: impl AsyncFn() -> bool) {
    while !condition().await {
        assert!(begun.elapsed() < limit, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Returns the `kid` in a token's header.
fn kid(token: &str) -> String {
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    serde_json::from_slice::<Value>(&header).unwrap()["kid"].as_str().unwrap().to_owned()
}

/// Returns the keys that a node publishes.
async fn published(node: &Client) -> Vec<String> {
    let keys = node.get("/.well-known/jwks.json", None).await.unwrap().json();
    keys["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

/// Users that call two nodes in turn and refresh their tokens now and then.
struct Traffic {
    users: JoinSet<()>,
    shared: Arc<Shared>,
    begun: Instant,
}

struct Shared {
    stop: AtomicBool,
    answered: AtomicU64,
    refused: Mutex<Vec<String>>,
    /// The newest access token of each user.
    tokens: Mutex<Vec<String>>,
}

impl Traffic {
    async fn start(nodes: &[Client; 2], rate: u32, users: u32) -> Self {
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            answered: AtomicU64::new(0),
            refused: Mutex::default(),
            tokens: Mutex::default(),
        });
        let mut tokens = Vec::new();
        for _ in 0..users {
            tokens.push(nodes[0].sign_up(&username(), PASSWORD).await.unwrap());
        }
        *shared.tokens.lock().unwrap() = tokens.iter().map(|pair| pair.access.clone()).collect();
        let every = Duration::from_secs(1) * users / rate;
        let mut running = JoinSet::new();
        for (user, tokens) in tokens.into_iter().enumerate() {
            running.spawn(call(nodes.clone(), user, tokens, every, Arc::clone(&shared)));
        }
        Self { users: running, shared, begun: Instant::now() }
    }

    async fn run_for(&self, time: Duration) {
        tokio::time::sleep(time).await;
        self.assert_none_refused();
    }

    fn assert_none_refused(&self) {
        let refused = self.shared.refused.lock().unwrap();
        assert!(refused.is_empty(), "{} good tokens were refused, first: {:?}", refused.len(), refused.first());
    }

    fn newest_token(&self) -> String {
        self.shared.tokens.lock().unwrap()[0].clone()
    }

    /// Returns the keys that signed the users' newest tokens.
    fn kids(&self) -> BTreeSet<String> {
        self.shared.tokens.lock().unwrap().iter().map(|token| kid(token)).collect()
    }

    /// Ends the traffic. Fails if a good token was refused, or if fewer than `least` requests a
    /// second were answered.
    async fn stop(mut self, least: u32) {
        self.shared.stop.store(true, Relaxed);
        let lasted = self.begun.elapsed();
        while let Some(ended) = self.users.join_next().await {
            ended.unwrap();
        }
        self.assert_none_refused();
        let answered = self.shared.answered.load(Relaxed);
        assert!(answered >= u64::from(least) * lasted.as_secs(), "{answered} requests in {lasted:?}");
    }
}

/// Every this many requests, a user's request is a refresh, on each node in turn.
const REFRESH_EVERY: usize = 20;

/// Calls the nodes in turn until told to stop.
async fn call(nodes: [Client; 2], user: usize, mut tokens: Tokens, every: Duration, shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for request in user.. {
        if shared.stop.load(Relaxed) {
            return;
        }
        ticks.tick().await;
        let node = &nodes[request % 2];
        let refreshes = request % REFRESH_EVERY == 0;
        let answer = if refreshes {
            nodes[request / REFRESH_EVERY % 2].refresh(&tokens.refresh).await.unwrap()
        } else {
            node.me(&tokens.access).await.unwrap()
        };
        shared.answered.fetch_add(1, Relaxed);
        if answer.status != StatusCode::OK {
            shared.refused.lock().unwrap().push(format!("{} {}", answer.status, answer.text));
            return;
        }
        if refreshes {
            tokens = answer.tokens();
            shared.tokens.lock().unwrap()[user].clone_from(&tokens.access);
        }
    }
}
