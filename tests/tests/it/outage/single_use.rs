//! Single-use tokens beside an outage of the store, which alone knows whether one is used.

use std::time::Instant;

use http::StatusCode;
use tests::client::{Client, Response};
use tokio::task::JoinSet;

use super::ANSWER;

/// The number of tokens in use at the moment the store is lost.
const IN_FLIGHT: usize = 32;

/// Tokens issued while the store was there.
pub(super) struct SingleUseTokens {
    /// Used and acknowledged while the store was there.
    spent: String,
    /// Not tried before the store is back.
    kept: String,
    /// Tried while the store is away. Nobody is told the result.
    tried: String,
    /// Tried just when the store goes away.
    in_flight: Vec<String>,
}

/// Asks for a single-use token.
async fn issue(node: &Client, access: &str) -> Response {
    node.post("/auth/single-use", Some(access), None).await.unwrap()
}

/// Uses a single-use token.
async fn spend(node: &Client, token: &str) -> Response {
    node.post("/demo/single-use", Some(token), None).await.unwrap()
}

/// Fails unless the answer is "unavailable" as law 7 has it, and in time.
pub(super) async fn assert_unavailable(answer: impl Future<Output = Response>) {
    let sent = Instant::now();
    let answer = answer.await;
    assert!(sent.elapsed() < ANSWER, "an answer took {:?}", sent.elapsed());
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    assert!(answer.header("retry-after").parse::<u64>().is_ok(), "{answer:?}");
}

impl SingleUseTokens {
    /// Issues all tokens, and uses one.
    pub(super) async fn issue(nodes: &[Client; 2], access: &str) -> Self {
        let mut tokens = Vec::new();
        for turn in 0..3 + IN_FLIGHT {
            let issued = issue(&nodes[turn % 2], access).await;
            assert_eq!(issued.status, StatusCode::CREATED, "{issued:?}");
            tokens.push(issued.json()["access_token"].as_str().unwrap().to_owned());
        }
        let in_flight = tokens.split_off(3);
        let [spent, kept, tried] = tokens.try_into().unwrap();
        assert_accepted_once(nodes, &spent).await;
        Self { spent, kept, tried, in_flight }
    }

    /// Uses tokens on both nodes at once while `lose` takes the store away. Returns how often each
    /// was accepted.
    pub(super) async fn spend_during(&self, nodes: &[Client; 2], lose: impl FnOnce()) -> Vec<usize> {
        let mut trying = JoinSet::new();
        for (at, token) in self.in_flight.iter().enumerate() {
            for node in nodes {
                let (node, token) = (node.clone(), token.clone());
                trying.spawn(async move { (at, spend(&node, &token).await) });
            }
        }
        let mut accepted = vec![0; IN_FLIGHT];
        let mut judge = |(at, answer): (usize, Response)| match answer.status {
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

    /// Fails if a token is issued, accepted or called bad while the store is away.
    pub(super) async fn assert_unavailable(&self, nodes: &[Client; 2], access: &str) {
        for node in nodes {
            assert_unavailable(issue(node, access)).await;
            for token in [&self.spent, &self.tried] {
                assert_unavailable(spend(node, token)).await;
            }
        }
    }

    /// Fails unless used tokens stay used when the store is back, despite all tries in between.
    pub(super) async fn assert_used_once(&self, nodes: &[Client; 2], in_flight: &[usize]) {
        for node in nodes {
            assert_eq!(spend(node, &self.spent).await.status, StatusCode::UNAUTHORIZED, "used before the outage");
        }
        assert_accepted_once(nodes, &self.kept).await;
        for (token, before) in
            [(&self.tried, 0)].into_iter().chain(self.in_flight.iter().zip(in_flight.iter().copied()))
        {
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
async fn assert_accepted_once(nodes: &[Client; 2], token: &str) {
    assert_eq!(spend(&nodes[0], token).await.status, StatusCode::OK);
    for node in nodes {
        assert_eq!(spend(node, token).await.status, StatusCode::UNAUTHORIZED);
    }
}
