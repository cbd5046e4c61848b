//! The library's examples that need servers.

use std::time::{Duration, Instant};

use auth_layer::keys::SigningKey;
use http::StatusCode;
use tests::{
    client::Client,
    process::{Process, Program},
    servers,
};
use tokio::time::sleep;

use crate::fleet::PATIENCE;

/// A process of the example `fleet`, with the token that it has printed.
struct FleetNode {
    client: Client,
    token: String,
    _process: Process,
}

impl FleetNode {
    async fn start(env: &[(&str, String)]) -> Self {
        let program = Program {
            path: env!("CARGO_BIN_EXE_fleet-node").into(),
            args: vec!["127.0.0.1:0".into()],
            env: env.iter().map(|(name, value)| (name.into(), value.into())).collect(),
            env_removed: &[],
            scratch: None,
        };
        let process = Process::start(&program).unwrap();
        process.log().until("/logout", 1).await;
        let lines = process.log().lines();
        let url =
            lines.iter().find_map(|line| line.strip_suffix("/logout")).and_then(|line| line.split(' ').next_back());
        let token = lines.iter().find_map(|line| line.strip_prefix("TOKEN=")).unwrap().to_owned();
        Self { client: Client::new(url.unwrap()), token, _process: process }
    }

    async fn status(&self, token: &str) -> StatusCode {
        self.client.me(token).await.unwrap().status
    }
}

#[tokio::test]
async fn example_fleet_node_refuses_what_another_node_revoked() {
    let (database, redis) = (servers::mongodb().await, servers::redis().await);
    let keys = tempfile::tempdir().unwrap();
    let key = keys.path().join("key.pem");
    std::fs::write(&key, SigningKey::generate().unwrap().to_pkcs8_pem().unwrap().as_bytes()).unwrap();
    let env = [
        ("KEY", key.to_str().unwrap().to_owned()),
        ("MONGODB_URI", database.uri.clone()),
        ("MONGODB_DATABASE", database.name.clone()),
        ("REDIS_URL", redis.url),
    ];
    let (a, b) = tokio::join!(FleetNode::start(&env), FleetNode::start(&env));
    for node in [&a, &b] {
        assert_eq!(node.client.get("/readyz", None).await.unwrap().status, StatusCode::OK);
        for token in [&a.token, &b.token] {
            assert_eq!(node.status(token).await, StatusCode::OK);
        }
    }
    let out = b.client.post("/logout", Some(&a.token), None).await.unwrap();
    assert_eq!(out.status, StatusCode::NO_CONTENT);
    assert_eq!(b.status(&a.token).await, StatusCode::UNAUTHORIZED);
    // The other node has just accepted it, so its lease of a second may be running.
    let revoked = Instant::now();
    while a.status(&a.token).await != StatusCode::UNAUTHORIZED {
        assert!(revoked.elapsed() < PATIENCE, "it is still accepted");
        sleep(Duration::from_millis(5)).await;
    }
    for node in [&a, &b] {
        assert_eq!(node.status(&b.token).await, StatusCode::OK, "the other session goes on");
    }
}
