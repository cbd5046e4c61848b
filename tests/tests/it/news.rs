//! A revocation reaches the in-process caches of the other nodes by itself.
//!
//! Most of these nodes have such a long lease that only the news can end an entry in time.

mod channel_faults;

use std::time::{Duration, Instant};

use bson::{Document, doc};
use http::StatusCode;
use tests::client::{Client, Tokens};

use crate::fleet::{Fleet, PASSWORD, username};

/// No wait in these tests takes nearly as long.
pub(crate) const LONG_LEASE: [&str; 4] = ["--local-cache", "30s", "--rate-limit", "off"];

/// The time within which news arrive, also on a busy machine.
const SOON: Duration = Duration::from_secs(1);

/// The time within which nodes listen, also after the channel was away.
const LISTENING: Duration = Duration::from_secs(15);

/// Asks until the token is refused. Returns when that request was sent, counted from `revoked`.
async fn refused_after(node: &Client, token: &str, revoked: Instant, limit: Duration) -> Duration {
    loop {
        let sent = revoked.elapsed();
        let answer = node.me(token).await.unwrap();
        match answer.status {
            StatusCode::UNAUTHORIZED => return sent,
            StatusCode::OK => assert!(sent <= limit, "accepted {sent:?} after it was revoked"),
            _ => panic!("{answer:?}"),
        }
    }
}

/// Makes the node cache the access token.
async fn cache_token(node: &Client, tokens: &Tokens) {
    assert_eq!(node.me(&tokens.access).await.unwrap().status, StatusCode::OK);
}

/// Waits until `b` hears of what `a` revokes.
async fn until_news_flow(a: &Client, b: &Client, name: &str) {
    let begun = Instant::now();
    loop {
        let tokens = a.login(name, PASSWORD).await.unwrap().tokens();
        cache_token(b, &tokens).await;
        // While the stores come back, the logout may be refused.
        if a.logout(&tokens.access).await.unwrap().status == StatusCode::NO_CONTENT {
            let revoked = Instant::now();
            while revoked.elapsed() < SOON {
                if b.me(&tokens.access).await.unwrap().status == StatusCode::UNAUTHORIZED {
                    return;
                }
            }
        }
        assert!(begun.elapsed() < LISTENING, "nothing is heard of revocations");
    }
}

/// Returns the clients of two nodes that hear of each other, and a user.
async fn listening_nodes(fleet: &Fleet) -> (Client, Client, String) {
    let ((a, b), name) = (fleet.clients(), username());
    assert_eq!(a.register(&name, PASSWORD).await.unwrap().status, StatusCode::CREATED);
    until_news_flow(&a, &b, &name).await;
    until_news_flow(&b, &a, &name).await;
    (a, b, name)
}

#[tokio::test]
async fn news_of_every_kind_of_revocation_arrive_with_redis() {
    assert_every_kind_arrives(&Fleet::on_shared_servers(2, true, &LONG_LEASE).await).await;
}

#[tokio::test]
async fn news_of_every_kind_of_revocation_arrive_with_mongodb_alone() {
    assert_every_kind_arrives(&Fleet::on_shared_servers(2, false, &LONG_LEASE).await).await;
}

/// Makes each kind of revocation on the first node, and waits until the last refuses the tokens.
pub(crate) async fn assert_every_kind_arrives(fleet: &Fleet) {
    let (a, b, name) = listening_nodes(fleet).await;
    let sign_in = async || {
        let tokens = a.login(&name, PASSWORD).await.unwrap().tokens();
        cache_token(&b, &tokens).await;
        tokens
    };

    // One session, deleted from another.
    let (spared, doomed) = (sign_in().await, sign_in().await);
    let current = b.me(&doomed.access).await.unwrap().json()["claims"]["sid"].as_str().unwrap().to_owned();
    let deleted = a.delete(&format!("/auth/sessions/{current}"), &spared.access).await.unwrap();
    assert_eq!(deleted.status, StatusCode::NO_CONTENT);
    refused_after(&b, &doomed.access, Instant::now(), SOON).await;
    cache_token(&b, &spared).await;

    // A reuse: every access token that the session ever had ends.
    let first = sign_in().await;
    let second = a.refresh(&first.refresh).await.unwrap().tokens();
    let third = a.refresh(&second.refresh).await.unwrap().tokens();
    for tokens in [&second, &third] {
        cache_token(&b, tokens).await;
    }
    assert_eq!(a.refresh(&first.refresh).await.unwrap().error(), "invalid_grant");
    let reused = Instant::now();
    for tokens in [&first, &second, &third] {
        refused_after(&b, &tokens.access, reused, SOON).await;
    }

    // All sessions of the user.
    let others = [spared, sign_in().await, sign_in().await];
    assert_eq!(a.logout_all(&others[0].access).await.unwrap().status, StatusCode::NO_CONTENT);
    let revoked = Instant::now();
    for tokens in &others {
        refused_after(&b, &tokens.access, revoked, SOON).await;
    }
}

#[tokio::test]
async fn news_of_a_revocation_by_hand_arrive_with_mongodb_alone() {
    let fleet = Fleet::on_shared_servers(2, false, &LONG_LEASE).await;
    let (a, b, name) = listening_nodes(&fleet).await;
    let database = fleet.database.as_ref().unwrap();
    let client = mongodb::Client::with_uri_str(&database.uri).await.unwrap();
    let records = client.database(&database.name).collection::<Document>("tokens");
    for replaced in [false, true] {
        let tokens = a.login(&name, PASSWORD).await.unwrap().tokens();
        cache_token(&a, &tokens).await;
        cache_token(&b, &tokens).await;
        let jti = a.me(&tokens.access).await.unwrap().json()["claims"]["jti"].as_str().unwrap().to_owned();
        let id = doc! { "_id": bson::Uuid::parse_str(jti).unwrap() };
        if replaced {
            let mut record = records.find_one(id.clone()).await.unwrap().unwrap();
            record.insert("revoked", true);
            records.replace_one(id, record).await.unwrap();
        } else {
            records.update_one(id, doc! { "$set": { "revoked": true } }).await.unwrap();
        }
        let revoked = Instant::now();
        for node in [&a, &b] {
            refused_after(node, &tokens.access, revoked, SOON).await;
        }
    }
}

#[tokio::test]
async fn news_take_milliseconds_with_redis() {
    measure_delay("Redis", &Fleet::on_shared_servers(2, true, &LONG_LEASE).await).await;
}

#[tokio::test]
async fn news_take_milliseconds_with_mongodb_alone() {
    measure_delay("MongoDB", &Fleet::on_shared_servers(2, false, &LONG_LEASE).await).await;
}

/// Measures from when the revocation is promised. Most news come earlier.
async fn measure_delay(channel: &str, fleet: &Fleet) {
    const ROUNDS: usize = 120;
    let (a, b, name) = listening_nodes(fleet).await;
    let mut took = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let tokens = a.login(&name, PASSWORD).await.unwrap().tokens();
        cache_token(&b, &tokens).await;
        // The other node is not asked in the meantime. That would only measure how busy the nodes
        // are.
        assert_eq!(a.logout(&tokens.access).await.unwrap().status, StatusCode::NO_CONTENT);
        took.push(refused_after(&b, &tokens.access, Instant::now(), SOON).await);
    }
    took.sort_unstable();
    let (median, last) = (took[ROUNDS / 2], took[ROUNDS * 99 / 100]);
    #[expect(clippy::print_stdout, reason = "a measurement, shown with --nocapture")]
    {
        println!("{channel}: the other node obeys {median:?} (p50), {last:?} (p99) after the promise");
    }
}
