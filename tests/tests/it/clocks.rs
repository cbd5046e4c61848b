//! Nodes whose clocks are wrong.
//!
//! A node refuses a token whose `iat` is ahead of its clock by more than the leeway. So a node that
//! is behind refuses the tokens of a node that is ahead until its clock has caught up. That is the
//! price of such a clock. The laws still hold.

use std::{sync::Arc, time::Duration};

use auth_layer::{
    AuthError, Authority, Grant, GrantFault, IssuedPair, RefreshError, TokenFault, UserId,
    clock::{Clock, ManualClock, Timestamp},
    keys::{Keyring, SigningKey},
    store::{Purged, TokenStore, embedded::EmbeddedStore},
};
use chrono::{SubsecRound, Utc};
use futures_util::future::join_all;
use http::StatusCode;
use tests::{
    client::{Client, Tokens},
    node::Node,
    servers::{self, MongoDatabase},
};

use crate::{
    fleet::{self, LONG_GRACE, PASSWORD, PATIENCE, store_in, username},
    races::{REQUESTS_AT_ONCE, send_at_once, single_pair},
};

/// A node a minute behind and one a minute ahead, on one MongoDB and Redis.
struct SkewedNodes {
    behind: Node,
    ahead: Node,
    _keys: tempfile::TempDir,
    _database: MongoDatabase,
}

impl SkewedNodes {
    /// Starts both nodes.
    async fn start() -> Self {
        let (mongodb, redis) = (servers::mongodb().await, servers::redis().await);
        let keys = tempfile::tempdir().unwrap();
        let own = ["--local-cache", "0", "--keys-dir", keys.path().to_str().unwrap()];
        let args = [&own[..], &LONG_GRACE].concat();
        let node = async |skew| {
            let env = [
                ("MONGODB_URI", mongodb.uri.as_str()),
                ("MONGODB_DATABASE", mongodb.name.as_str()),
                ("REDIS_URL", redis.url.as_str()),
                ("NODE_CLOCK_SKEW", skew),
            ];
            fleet::node(&args, &env).await
        };
        Self { behind: node("-60").await, ahead: node("60").await, _keys: keys, _database: mongodb.clone() }
    }

    /// Returns the clients of both nodes, the one behind first.
    fn clients(&self) -> (Client, Client) {
        (Client::new(self.behind.url()), Client::new(self.ahead.url()))
    }

    /// Fails unless both nodes refuse this pair.
    async fn assert_refused(&self, pair: &Tokens) {
        let (behind, ahead) = self.clients();
        for node in [&behind, &ahead] {
            assert_eq!(node.me(&pair.access).await.unwrap().status, StatusCode::UNAUTHORIZED);
            assert_eq!(node.refresh(&pair.refresh).await.unwrap().error(), "invalid_grant");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refresh_retry_gets_the_same_pair_from_a_node_two_minutes_ahead() {
    let skewed = SkewedNodes::start().await;
    let (behind, ahead) = skewed.clients();
    let parent = behind.sign_up(&username(), PASSWORD).await.unwrap();
    let child = behind.refresh(&parent.refresh).await.unwrap().tokens();
    for node in [&ahead, &behind] {
        let again = node.refresh(&parent.refresh).await.unwrap().tokens();
        assert_eq!((again.access, again.refresh), (child.access.clone(), child.refresh.clone()));
        assert_eq!(node.me(&child.access).await.unwrap().status, StatusCode::OK);
    }

    // The node behind sees a token from the future. It refuses the token and ends no session.
    let grandchild = ahead.refresh(&child.refresh).await.unwrap().tokens();
    assert_eq!(behind.me(&grandchild.access).await.unwrap().error(), "invalid_token");
    assert_eq!(behind.refresh(&grandchild.refresh).await.unwrap().error(), "invalid_grant");
    assert_eq!(ahead.me(&grandchild.access).await.unwrap().status, StatusCode::OK);

    // The parent is retired for good on both nodes.
    assert_eq!(behind.refresh(&parent.refresh).await.unwrap().error(), "invalid_grant");
    for pair in [&parent, &child, &grandchild] {
        skewed.assert_refused(pair).await;
    }
}

/// Either node may make the child, and the other must return the same one.
#[tokio::test(flavor = "multi_thread")]
async fn refresh_of_one_token_at_once_gets_one_child_from_nodes_two_minutes_apart() {
    let skewed = SkewedNodes::start().await;
    let (behind, ahead) = skewed.clients();
    let name = username();
    let mut parent = behind.sign_up(&name, PASSWORD).await.unwrap();
    for _ in 0..4 {
        let nodes = (behind.retrying(), ahead.retrying());
        let answers = send_at_once(nodes, async |node: Client| node.refresh(&parent.refresh).await.unwrap()).await;
        let child = single_pair(&answers);
        assert_eq!(ahead.me(&child.access).await.unwrap().status, StatusCode::OK, "no session was ended");
        let grandchild = ahead.refresh(&child.refresh).await.unwrap();
        assert_eq!(grandchild.status, StatusCode::OK, "{grandchild:?}");
        parent = behind.login(&name, PASSWORD).await.unwrap().tokens();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn revoke_on_either_node_holds_on_both() {
    let skewed = SkewedNodes::start().await;
    let (behind, ahead) = skewed.clients();
    let name = username();
    let mut opened = vec![behind.sign_up(&name, PASSWORD).await.unwrap()];
    for node in [&behind, &ahead] {
        // The other node may have checked the token and filled the shared cache.
        let session = behind.login(&name, PASSWORD).await.unwrap().tokens();
        assert_eq!(ahead.me(&session.access).await.unwrap().status, StatusCode::OK);
        assert_eq!(node.logout(&session.access).await.unwrap().status, StatusCode::NO_CONTENT);
        skewed.assert_refused(&session).await;
        opened.push(ahead.login(&name, PASSWORD).await.unwrap().tokens());
    }
    // The node behind sees a session from the future, and revokes it all the same: the fence
    // counts, it does not tell time.
    assert_eq!(behind.logout_all(&opened[0].access).await.unwrap().status, StatusCode::NO_CONTENT);
    for session in &opened {
        skewed.assert_refused(session).await;
    }
    let after = ahead.login(&name, PASSWORD).await.unwrap().tokens();
    assert_eq!(ahead.me(&after.access).await.unwrap().status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn single_use_token_is_accepted_at_most_once() {
    let skewed = SkewedNodes::start().await;
    let (behind, ahead) = skewed.clients();
    let session = behind.sign_up(&username(), PASSWORD).await.unwrap();
    for (issuer, other) in [(&behind, &ahead), (&ahead, &behind)] {
        let issued = issuer.post("/auth/single-use", Some(&session.access), None).await.unwrap().json();
        let token = issued["access_token"].as_str().unwrap();
        let spend = async |node: &Client| node.post("/demo/single-use", Some(token), None).await.unwrap().status;
        // One node sees an expired token, the other one that is not issued yet.
        assert_eq!(spend(other).await, StatusCode::UNAUTHORIZED);
        assert_eq!(spend(issuer).await, StatusCode::OK, "and no harm was done by that");
        for node in [issuer, other] {
            assert_eq!(spend(node).await, StatusCode::UNAUTHORIZED);
        }
    }
}

/// A clock that is wrong by `seconds`.
struct SkewedClock {
    clock: ManualClock,
    seconds: i64,
}

impl Clock for SkewedClock {
    fn now(&self) -> Timestamp {
        self.clock.now() + chrono::TimeDelta::seconds(self.seconds)
    }

    fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }
}

/// The token lives long enough for both nodes to accept it.
#[tokio::test(flavor = "multi_thread")]
async fn single_use_token_used_at_once_is_accepted_once_by_nodes_two_minutes_apart() {
    let database = servers::mongodb().await;
    let (clock, key) = (ManualClock::starting_at(Utc::now()), SigningKey::generate().unwrap());
    let node = async |seconds| -> Authority {
        let store = store_in(&database).await;
        Authority::builder("https://issuer", store)
            .audience("api")
            .keys(Keyring::new(key.clone()))
            .clock(SkewedClock { clock: clock.clone(), seconds })
            .single_use_ttl(Duration::from_mins(5))
            .deadline(PATIENCE)
            .build()
            .unwrap()
    };
    let nodes = [node(-60).await, node(60).await];
    let sign_in = nodes[0].begin_sign_in(UserId::generate()).await.unwrap();
    let session = nodes[0].sign_in(sign_in, Grant::new("web")).await.unwrap();
    let claims = nodes[0].verify(&session.access_token).await.unwrap();
    for round in 0..8 {
        let issued = nodes[0].issue_single_use(&claims).await.unwrap();
        let answers = match round {
            0 | 1 => vec![nodes[round].spend(&issued.token).await, nodes[1 - round].spend(&issued.token).await],
            _ => join_all((0..REQUESTS_AT_ONCE).map(|number| nodes[number % 2].spend(&issued.token))).await,
        };
        let accepted = answers.iter().filter(|used| used.is_ok()).count();
        let used = |used: &&Result<_, _>| matches!(used, Err(AuthError::InvalidToken(TokenFault::Used)));
        assert_eq!((accepted, answers.iter().filter(used).count()), (1, answers.len() - 1), "{answers:?}");
        assert!(round > 1 || answers[0].is_ok(), "the node {round} would take it: {answers:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn purge_keeps_refreshable_sessions_on_mongodb() {
    let database = servers::mongodb().await;
    let store = async || Arc::new(store_in(&database).await);
    purge_beside_refresh([store().await, store().await]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn purge_keeps_refreshable_sessions_on_the_embedded_store() {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(EmbeddedStore::open(directory.path().join("tokens.redb")).unwrap());
    purge_beside_refresh([Arc::clone(&store), store]).await;
}

/// One node is two minutes ahead of the other, which is all that the margin allows. So the node
/// ahead removes a session just after the node behind refused its token.
///
/// Two sessions are opened in each second and expire in that order. The first is
/// refreshed on the node behind in the last millisecond of its leeway, while both nodes purge. It
/// must live on. The second is not refreshed. It is refused a second later, and must then be gone.
async fn purge_beside_refresh<S: TokenStore>(stores: [Arc<S>; 2]) {
    const SECONDS: usize = 40;
    const SKEW: i64 = 60;
    const LIFETIME: Duration = Duration::from_mins(2);
    const LEEWAY: Duration = Duration::from_secs(30);
    let second = Duration::from_secs(1);

    let clock = ManualClock::starting_at(Utc::now().trunc_subsecs(0));
    let key = SigningKey::generate().unwrap();
    let authority = |store: &Arc<S>, seconds| -> Authority {
        Authority::builder("https://issuer", Arc::clone(store))
            .audience("api")
            .keys(Keyring::new(key.clone()))
            .clock(SkewedClock { clock: clock.clone(), seconds })
            .access_ttl(LIFETIME / 2)
            .refresh_ttl(LIFETIME)
            .leeway(LEEWAY)
            .clock_skew_margin(Duration::from_secs(2 * SKEW.unsigned_abs()))
            .deadline(PATIENCE)
            .build()
            .unwrap()
    };
    let (behind, ahead) = (authority(&stores[0], -SKEW), authority(&stores[1], SKEW));
    let (mut kept, mut left) = (Vec::new(), Vec::new());
    for _ in 0..SECONDS {
        for opened in [&mut kept, &mut left] {
            let sign_in = behind.begin_sign_in(UserId::generate()).await.unwrap();
            opened.push(behind.sign_in(sign_in, Grant::new("web")).await.unwrap());
        }
        clock.advance(second);
    }

    let passed = Duration::from_secs(SECONDS as u64) + Duration::from_millis(1);
    clock.advance((LIFETIME + LEEWAY).saturating_sub(passed));
    let (mut children, mut sessions, mut tokens) = (Vec::new(), 0, 0);
    for (at, parent) in kept.iter().enumerate() {
        let refresh = || behind.refresh(&parent.refresh_token);
        let late = async {
            let Some(before) = at.checked_sub(1) else { return };
            assert_expired(&behind, &left[before]).await;
        };
        let purging = join_all([&ahead, &behind, &ahead].map(Authority::purge_expired));
        let (child, again, (), purged) = tokio::join!(refresh(), refresh(), late, purging);
        for purged in purged {
            let purged = purged.unwrap();
            sessions += purged.sessions;
            tokens += purged.tokens;
        }
        let child = child.unwrap();
        assert_eq!(child, again.unwrap());
        // The session and the child's records are still there, too.
        behind.verify(&child.access_token).await.unwrap();
        children.push(behind.refresh(&child.refresh_token).await.unwrap());

        let purged = ahead.purge_expired().await.unwrap();
        sessions += purged.sessions;
        tokens += purged.tokens;
        assert_eq!(sessions, at as u64, "one that nobody refreshed is gone with each second");
        clock.advance(second);
    }

    let purged = ahead.purge_expired().await.unwrap();
    assert_eq!(
        (sessions + purged.sessions, tokens + purged.tokens),
        (SECONDS as u64, 4 * SECONDS as u64),
        "all that had expired"
    );
    for child in &mut children {
        *child = behind.refresh(&child.refresh_token).await.unwrap();
    }

    // Beyond lifetime, leeway, margin and the difference of the clocks.
    clock.advance(Duration::from_mins(10));
    assert_eq!(behind.purge_expired().await.unwrap().sessions, SECONDS as u64);
    assert_eq!(ahead.purge_expired().await.unwrap(), Purged::default());
    for pair in kept.iter().chain(&left).chain(&children) {
        for node in [&behind, &ahead] {
            let access = node.verify(&pair.access_token).await;
            assert!(matches!(access, Err(AuthError::InvalidToken(TokenFault::Expired))), "{access:?}");
            assert_expired(node, pair).await;
        }
    }
}

/// Fails unless the refresh is refused because the token has expired.
async fn assert_expired(node: &Authority, pair: &IssuedPair) {
    let refreshed = node.refresh(&pair.refresh_token).await;
    let expired = GrantFault::Token(TokenFault::Expired);
    assert!(matches!(refreshed, Err(RefreshError::InvalidGrant(fault)) if fault == expired), "{refreshed:?}");
}
