//! A primary whose followers are gone goes on writing for a moment, and those writes are lost with
//! it. None of them was acknowledged.

use futures_util::future::join_all;
use http::StatusCode;
use tests::{
    client::{Client, Response, Tokens, payload},
    servers::{MongoReplicaSet, MongoServer, RedisServer},
};

use super::{
    NodePair,
    unused_pair::{UnusedPair, same_pair},
};
use crate::fleet::{PASSWORD, username};

/// The number of tokens of each kind that are presented to the lone primary.
const TOKENS: usize = 12;

/// The number of tries on a machine so slow that tokens expire.
const TRIES: usize = 3;

/// Uses a single-use token.
async fn spend(node: &Client, token: &str) -> Response {
    node.post("/demo/single-use", Some(token), None).await.unwrap()
}

/// The tokens that are presented before, while and after the primary is lost.
struct PresentedTokens {
    /// Used before.
    used: Vec<String>,
    /// Used for the first time while nobody follows the primary.
    in_doubt: Vec<String>,
    /// Refreshed for the first time while nobody follows the primary.
    parents: Vec<Tokens>,
    unused: UnusedPair,
}

impl PresentedTokens {
    /// Issues the tokens, and uses those that are to be used before.
    async fn prepare(nodes: &[Client; 2]) -> Self {
        let node = nodes[0].retrying();
        let name = username();
        let session = node.sign_up(&name, PASSWORD).await.unwrap();
        let issue = || async {
            let issued = node.post("/auth/single-use", Some(&session.access), None).await.unwrap();
            issued.json()["access_token"].as_str().unwrap().to_owned()
        };
        let login = || async { node.login(&name, PASSWORD).await.unwrap().tokens() };
        let parents = join_all((0..TOKENS).map(|_| login())).await;
        let unused = UnusedPair::issue(nodes).await;
        let in_doubt = join_all((0..TOKENS).map(|_| issue())).await;
        let used = join_all((0..TOKENS).map(|_| issue())).await;
        for (turn, token) in used.iter().enumerate() {
            assert_eq!(spend(&nodes[turn % 2], token).await.status, StatusCode::OK);
        }
        Self { used, in_doubt, parents, unused }
    }

    /// Returns whether all single-use tokens are unexpired, so that only their use can be a reason
    /// to refuse them.
    fn are_unexpired(&self) -> bool {
        let now = chrono::Utc::now().timestamp();
        self.used.iter().chain(&self.in_doubt).all(|token| payload(token)["exp"].as_i64().unwrap() > now)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failover_loses_only_unacknowledged_writes_of_a_lone_primary() {
    let (mut mongodb, redis) = (MongoReplicaSet::start().await, RedisServer::start(&[]).await);
    let nodes = NodePair::start(&mongodb, &redis).await;
    for _ in 0..TRIES {
        if lose_lone_primary(&mut mongodb, &nodes.clients).await {
            return;
        }
    }
    panic!("single-use tokens expired before they could be presented again");
}

/// Presents tokens before, while and after a primary without followers is lost. Returns `false` if
/// the run took too long to prove anything.
async fn lose_lone_primary(mongodb: &mut MongoReplicaSet, nodes: &[Client; 2]) -> bool {
    let tokens = PresentedTokens::prepare(nodes).await;
    let port = mongodb.primary().await.port();
    mongodb.others(port).for_each(MongoServer::kill);

    // The primary takes writes until it notices, about a second later.
    let spent = join_all(tokens.in_doubt.iter().enumerate().map(|(turn, token)| spend(&nodes[turn % 2], token)));
    let refresh = |(turn, parent): (usize, &Tokens)| {
        let (node, token) = (nodes[turn % 2].clone(), parent.refresh.clone());
        async move { node.refresh(&token).await.unwrap() }
    };
    let refreshed = join_all(tokens.parents.iter().enumerate().map(refresh));
    let (spent, refreshed) = tokio::join!(spent, refreshed);
    for answer in spent.iter().chain(&refreshed) {
        assert!(matches!(answer.status, StatusCode::OK | StatusCode::SERVICE_UNAVAILABLE), "{answer:?}");
    }

    mongodb.member(port).kill();
    mongodb.others(port).for_each(MongoServer::respawn);
    mongodb.until_new_primary(port).await;
    let mut again = [0; TOKENS];
    for turn in [0, 1, 1, 0] {
        let node = nodes[turn].retrying();
        for (count, token) in again.iter_mut().zip(&tokens.in_doubt) {
            *count += usize::from(spend(&node, token).await.status == StatusCode::OK);
        }
        for token in &tokens.used {
            assert_eq!(spend(&node, token).await.error(), "invalid_token", "a used token was accepted again");
        }
    }
    let proved = tokens.are_unexpired();
    for (before, after) in spent.iter().zip(again) {
        let before = usize::from(before.status == StatusCode::OK);
        assert!(before + after <= 1, "accepted {before} times before the loss and {after} times after it");
    }
    for (before, parent) in refreshed.iter().zip(&tokens.parents) {
        let child = nodes[0].retrying().refresh(&parent.refresh).await.unwrap().tokens();
        let repeated = nodes[1].retrying().refresh(&parent.refresh).await.unwrap().tokens();
        assert!(same_pair(&repeated, &child), "two children");
        if before.status == StatusCode::OK {
            assert!(same_pair(&before.tokens(), &child), "another child than before");
        }
    }
    tokens.unused.assert_survives(nodes).await;

    // When the member comes back, it rolls back what it alone had.
    mongodb.member(port).respawn();
    mongodb.until_healthy().await;
    for node in nodes {
        for token in tokens.used.iter().chain(&tokens.in_doubt) {
            let status = spend(&node.retrying(), token).await.status;
            assert_eq!(status, StatusCode::UNAUTHORIZED);
        }
    }
    // At least one write must have been lost, or the run shows nothing about lost writes.
    assert!(!proved || again.contains(&1), "nothing was lost with the primary");
    proved
}
