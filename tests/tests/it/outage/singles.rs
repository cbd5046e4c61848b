//! Single-use tokens beside an outage of the store, which alone knows whether one is used.

use std::time::Instant;

use http::StatusCode;
use tests::client::{Answer, Client};
use tokio::task::JoinSet;

use super::ANSWER;

/// The number of tokens in use at the moment the store is lost.
const TORN: usize = 32;

/// Tokens issued while the store was there.
pub(super) struct Singles {
    /// Used and acknowledged while the store was there.
    spent: String,
    /// Not tried before the store is back.
    kept: String,
    /// Tried while the store is away. Nobody is told the result.
    tried: String,
    /// Tried just when the store goes away.
    torn: Vec<String>,
}

async fn issue(node: &Client, access: &str) -> Answer {
    node.post("/auth/single-use", Some(access), None).await.unwrap()
}

async fn spend(node: &Client, token: &str) -> Answer {
    node.post("/demo/single-use", Some(token), None).await.unwrap()
}

/// Fails unless the answer is "unavailable" as law 7 has it, and in time.
pub(super) async fn unavailable(answer: impl Future<Output = Answer>) {
    let sent = Instant::now();
    let answer = answer.await;
    assert!(sent.elapsed() < ANSWER, "an answer took {:?}", sent.elapsed());
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    assert!(answer.header("retry-after").parse::<u64>().is_ok(), "{answer:?}");
}

impl Singles {
    pub(super) async fn issue(nodes: &[Client; 2], access: &str) -> Self {
        let mut tokens = Vec::new();
        for turn in 0..3 + TORN {
            let issued = issue(&nodes[turn % 2], access).await;
            assert_eq!(issued.status, StatusCode::CREATED, "{issued:?}");
            tokens.push(issued.json()["access_token"].as_str().unwrap().to_owned());
        }
        let torn = tokens.split_off(3);
        let [spent, kept, tried] = tokens.try_into().unwrap();
        once(nodes, &spent).await;
        Self { spent, kept, tried, torn }
    }

    /// Uses tokens on both nodes at once while `lose` takes the store away. Returns how often each
    /// was accepted.
    pub(super) async fn spent_beside(&self, nodes: &[Client; 2], lose: impl FnOnce()) -> Vec<usize> {
        let mut trying = JoinSet::new();
        for (at, token) in self.torn.iter().enumerate() {
            for node in nodes {
                let (node, token) = (node.clone(), token.clone());
                trying.spawn(async move { (at, spend(&node, &token).await) });
            }
        }
        let mut accepted = vec![0; TORN];
        let mut judge = |(at, answer): (usize, Answer)| match answer.status {
            StatusCode::OK => accepted[at] += 1,
            StatusCode::UNAUTHORIZED | StatusCode::SERVICE_UNAVAILABLE => {}
            _ => panic!("{answer:?}"),
        };
        // When one has its answer, the others are in progress.
        judge(trying.join_next().await.unwrap().unwrap());
        lose();
        trying.join_all().await.into_iter().for_each(judge);
        assert!(accepted.iter().all(|count| *count <= 1), "each once at the most: {accepted:?}");
        accepted
    }

    /// While the store is away, no token may be issued, accepted or called bad.
    pub(super) async fn are_unavailable(&self, nodes: &[Client; 2], access: &str) {
        for node in nodes {
            unavailable(issue(node, access)).await;
            for token in [&self.spent, &self.tried] {
                unavailable(spend(node, token)).await;
            }
        }
    }

    /// When the store is back, used tokens must stay used, despite all tries in between.
    pub(super) async fn are_used_once(&self, nodes: &[Client; 2], torn: &[usize]) {
        for node in nodes {
            assert_eq!(spend(node, &self.spent).await.status, StatusCode::UNAUTHORIZED, "used before the outage");
        }
        once(nodes, &self.kept).await;
        for (token, before) in [(&self.tried, 0)].into_iter().chain(self.torn.iter().zip(torn.iter().copied())) {
            let mut accepted = before;
            for node in nodes {
                let answer = spend(node, token).await;
                assert!(matches!(answer.status, StatusCode::OK | StatusCode::UNAUTHORIZED), "{answer:?}");
                accepted += usize::from(answer.status == StatusCode::OK);
            }
            assert!(accepted <= 1, "a single-use token was accepted {accepted} times");
        }
    }
}

/// Fails unless the token is accepted once, and then refused by both nodes.
async fn once(nodes: &[Client; 2], token: &str) {
    assert_eq!(spend(&nodes[0], token).await.status, StatusCode::OK);
    for node in nodes {
        assert_eq!(spend(node, token).await.status, StatusCode::UNAUTHORIZED);
    }
}
