//! A node is stopped at each step of a call. Then it is paused while the other node does something,
//! or it is killed.
//!
//! Both nodes share MongoDB and Redis. The first reaches them through a [`Relay`] that counts its
//! steps. In-process caches are off, so everything must hold at once. Each test tries every step
//! ([`StepWalk`]). It stops after the first, then after the second, until the call is over before
//! the stop is reached.

mod denied;
mod killed;
mod paused;
pub(crate) mod unfinished;
mod walk;

use std::net::SocketAddr;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::StatusCode;
use serde_json::{Value, json};
use tests::{
    client::{Client, Response, Tokens},
    node::Node,
    relay::{Protocol, Relay},
    servers::{MongoServer, RedisServer},
};

use self::walk::StepWalk;
use crate::{
    fleet::{LONG_GRACE, NodeProgram, PASSWORD, username},
    ledger::Ledger,
};

/// A password to change to.
const NEW_PASSWORD: &str = "battery staple";

/// Two nodes of one service, the first behind a relay.
struct SteppedNodes {
    relay: Relay,
    /// MongoDB behind the relay.
    relayed: String,
    /// Redis behind the relay.
    relayed_redis: String,
    first: Node,
    second: Node,
    _keys: tempfile::TempDir,
    servers: (MongoServer, RedisServer),
}

/// A user with two sessions.
struct TestUser {
    name: String,
    /// The session that the test is about, as it was opened.
    session: Tokens,
    /// Another session.
    other: Tokens,
}

impl SteppedNodes {
    /// Starts two nodes with a long grace window.
    async fn start() -> Self {
        Self::start_with(&LONG_GRACE).await
    }

    /// Starts two nodes with these arguments.
    async fn start_with(more: &[&str]) -> Self {
        Self::start_programs([NodeProgram::cheap_hashes(); 2], more).await
    }

    /// Starts two nodes that run these programs.
    async fn start_programs(programs: [NodeProgram<'_>; 2], more: &[&str]) -> Self {
        let (mongodb, redis) = (MongoServer::start().await, RedisServer::start(&[]).await);
        let address = |url: String| -> SocketAddr {
            url.split("//").nth(1).and_then(|rest| rest.split('/').next()).unwrap().parse().unwrap()
        };
        let servers = [(Protocol::MongoDb, address(mongodb.uri())), (Protocol::Redis, address(redis.url()))];
        let (relay, at) = Relay::start(&servers).await.unwrap();
        let keys = tempfile::tempdir().unwrap();
        let args = ["--local-cache", "0", "--keys-dir", keys.path().to_str().unwrap(), "--rate-limit", "off"];
        let args = [&args[..], more].concat();
        // The first node must not learn the real addresses of the replica set.
        let relayed = format!("mongodb://{}/?directConnection=true", at[0]);
        let relayed_redis = format!("redis://{}", at[1]);
        let behind = [("MONGODB_URI", relayed.clone()), ("REDIS_URL", relayed_redis.clone())];
        let direct = [("MONGODB_URI", mongodb.uri()), ("REDIS_URL", redis.url())];
        let start = async |program: NodeProgram<'_>, env: &[(&str, String)]| {
            let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
            program.start(&args, &env).await
        };
        let second = start(programs[1], &direct).await;
        let first = start(programs[0], &behind).await;
        Self { relay, relayed, relayed_redis, first, second, _keys: keys, servers: (mongodb, redis) }
    }

    /// Returns what MongoDB holds.
    async fn ledger(&self) -> Ledger {
        Ledger::open(&self.servers.0.uri(), "auth").await
    }

    /// Returns a client of the node that is stopped.
    fn first(&self) -> Client {
        Client::new(self.first.url())
    }

    /// Returns a client of the other node.
    fn second(&self) -> Client {
        Client::new(self.second.url()).retrying()
    }

    /// Registers a user and opens two sessions, through the second node.
    async fn new_user(&self) -> TestUser {
        let (name, client) = (username(), self.second());
        let session = client.sign_up(&name, PASSWORD).await.unwrap();
        let other = client.login(&name, PASSWORD).await.unwrap().tokens();
        TestUser { name, session, other }
    }

    /// Fails unless both nodes refuse every one of these pairs. Access tokens come first, because a
    /// node that gets a refresh token finishes the revocation of its session.
    async fn assert_refused(&self, pairs: &[&Tokens], when: &str) {
        let nodes = [self.first(), self.second()];
        for node in &nodes {
            for pair in pairs {
                let me = node.me(&pair.access).await.unwrap();
                assert_eq!(me.status, StatusCode::UNAUTHORIZED, "{when}: access token: {me:?}");
            }
        }
        for node in &nodes {
            for pair in pairs {
                let refreshed = node.refresh(&pair.refresh).await.unwrap();
                assert_eq!(refreshed.status, StatusCode::UNAUTHORIZED, "{when}: refresh token: {refreshed:?}");
            }
        }
    }

    /// Fails unless both nodes accept this pair's access token and one refreshes it.
    async fn assert_live(&self, pair: &Tokens, when: &str) -> Tokens {
        for node in [self.first(), self.second()] {
            let me = node.me(&pair.access).await.unwrap();
            assert_eq!(me.status, StatusCode::OK, "{when}: access token: {me:?}");
        }
        let refreshed = self.second().refresh(&pair.refresh).await.unwrap();
        assert_eq!(refreshed.status, StatusCode::OK, "{when}: refresh token: {refreshed:?}");
        refreshed.tokens()
    }

    /// Returns `true` if the pair is live, `false` if it is revoked. Fails if it is half of each.
    async fn assert_live_or_refused(&self, pair: &Tokens, when: &str) -> bool {
        if self.second().me(&pair.access).await.unwrap().status == StatusCode::OK {
            self.assert_live(pair, when).await;
            true
        } else {
            self.assert_refused(&[pair], when).await;
            false
        }
    }
}

/// Returns the pair in an answer, if there is one.
fn issued_pair(answer: &Response) -> Option<Tokens> {
    (answer.status == StatusCode::OK).then(|| answer.tokens())
}

/// Changes the password to [`NEW_PASSWORD`].
async fn change_password(client: &Client, access: &str) -> Response {
    try_change_password(client, access).await.unwrap()
}

/// Asks for a change of the password, and may get no answer.
async fn try_change_password(client: &Client, access: &str) -> reqwest::Result<Response> {
    let body = json!({ "current_password": PASSWORD, "new_password": NEW_PASSWORD });
    client.post("/auth/password", Some(access), Some(&body)).await
}

/// Issues a single-use token.
async fn single_use(client: &Client, access: &str) -> String {
    let issued = client.post("/auth/single-use", Some(access), None).await.unwrap();
    assert_eq!(issued.status, StatusCode::CREATED, "{issued:?}");
    issued.json()["access_token"].as_str().unwrap().to_owned()
}

/// Uses a single-use token.
async fn spend(client: &Client, token: &str) -> StatusCode {
    client.post("/demo/single-use", Some(token), None).await.unwrap().status
}

/// Returns the path that ends the session of an access token. Reads it off the token, because a
/// request would fill the caches.
fn session_path(access: &str) -> String {
    let payload = URL_SAFE_NO_PAD.decode(access.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&payload).unwrap();
    format!("/auth/sessions/{}", claims["sid"].as_str().unwrap())
}
