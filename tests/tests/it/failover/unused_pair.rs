//! A pair that a client holds while the primary is lost.

use http::StatusCode;
use tests::client::{Client, Tokens};

use crate::fleet::{PASSWORD, username};

/// A refresh token that was used, and the pair it was answered with, which was not.
pub(super) struct UnusedPair {
    retired: Tokens,
    current: Tokens,
}

/// Returns whether the pairs are the same, byte for byte.
pub(super) fn same_pair(one: &Tokens, other: &Tokens) -> bool {
    (&one.access, &one.refresh) == (&other.access, &other.refresh)
}

impl UnusedPair {
    /// Signs in and refreshes once.
    pub(super) async fn issue(nodes: &[Client; 2]) -> Self {
        let node = nodes[0].retrying();
        let retired = node.sign_up(&username(), PASSWORD).await.unwrap();
        let current = node.refresh(&retired.refresh).await.unwrap().tokens();
        Self { retired, current }
    }

    /// Fails unless every node returns the same pair, byte for byte. After the first use of that
    /// pair the retired token must stay retired.
    pub(super) async fn assert_survives(&self, nodes: &[Client; 2]) {
        let nodes = [nodes[1].retrying(), nodes[0].retrying()];
        for node in &nodes {
            let again = node.refresh(&self.retired.refresh).await.unwrap();
            assert_eq!(again.status, StatusCode::OK, "{again:?}");
            assert!(same_pair(&again.tokens(), &self.current), "another pair for the same token");
        }
        let next = nodes[0].refresh(&self.current.refresh).await.unwrap().tokens();
        for node in &nodes {
            assert!(same_pair(&node.refresh(&self.current.refresh).await.unwrap().tokens(), &next));
            assert_eq!(node.me(&next.access).await.unwrap().status, StatusCode::OK);
        }
        for node in &nodes {
            assert_eq!(node.refresh(&self.retired.refresh).await.unwrap().error(), "invalid_grant");
            assert_eq!(node.me(&next.access).await.unwrap().error(), "invalid_token", "its reuse ends the session");
        }
    }
}
