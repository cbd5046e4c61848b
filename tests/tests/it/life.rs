//! The whole life of a token, on each way to run the demo.

use std::time::{Duration, Instant};

use auth_layer::keys::Algorithm;
use bson::{Document, doc};
use http::{Method, StatusCode, header};
use serde_json::{Value, json};
use tests::client::{Client, Response, payload};

use crate::fleet::{Fleet, LONG_GRACE, PASSWORD, username};

/// Without the in-process cache, everything must hold at once.
const STRICT: [&str; 4] = ["--local-cache", "0", LONG_GRACE[0], LONG_GRACE[1]];

#[tokio::test]
async fn life_on_the_embedded_store() {
    run_session_lifecycle(&Fleet::embedded(&STRICT).await).await;
}

#[tokio::test]
async fn life_on_the_embedded_store_with_a_local_cache() {
    // A single node knows its own revocations at once.
    run_session_lifecycle(&Fleet::embedded(&[&["--local-cache", "10s"], &LONG_GRACE[..]].concat()).await).await;
}

#[tokio::test]
async fn life_on_mongodb() {
    run_session_lifecycle(&Fleet::on_shared_servers(1, false, &STRICT).await).await;
}

#[tokio::test]
async fn life_on_mongodb_and_redis() {
    run_session_lifecycle(&Fleet::on_shared_servers(1, true, &STRICT).await).await;
}

#[tokio::test]
async fn life_on_two_nodes_with_mongodb() {
    run_session_lifecycle(&Fleet::on_shared_servers(2, false, &STRICT).await).await;
}

#[tokio::test]
async fn life_on_two_nodes_with_mongodb_and_redis() {
    run_session_lifecycle(&Fleet::on_shared_servers(2, true, &STRICT).await).await;
}

#[tokio::test]
async fn life_on_two_nodes_with_mongodb_and_a_key_that_signs_differently_each_time() {
    run_session_lifecycle(&Fleet::signing_with(Algorithm::Es256, 2, false, &STRICT).await).await;
}

/// The default is 100. The limit holds for the whole service, over its nodes.
#[tokio::test]
async fn sessions_beyond_the_limit_end_with_the_one_used_longest_ago() {
    let limit = ["--max-sessions", "2"];
    for fleet in [
        Fleet::embedded(&[&STRICT[..], &limit].concat()).await,
        Fleet::on_shared_servers(2, true, &[&STRICT[..], &limit].concat()).await,
    ] {
        let (a, b) = fleet.clients();
        let name = username();
        let first = a.sign_up(&name, PASSWORD).await.unwrap();
        let second = b.login(&name, PASSWORD).await.unwrap().tokens();
        // Both caches hold the tokens as active.
        for pair in [&first, &second] {
            assert_eq!(b.me(&pair.access).await.unwrap().status, StatusCode::OK);
        }
        let refreshed = a.refresh(&first.refresh).await.unwrap().tokens();
        let third = b.login(&name, PASSWORD).await.unwrap().tokens();
        for node in [&a, &b] {
            assert_eq!(node.me(&second.access).await.unwrap().status, StatusCode::UNAUTHORIZED, "used longest ago");
            for pair in [&refreshed, &third] {
                assert_eq!(node.me(&pair.access).await.unwrap().status, StatusCode::OK);
            }
        }
        let listed = a.get("/auth/sessions", Some(&third.access)).await.unwrap().json();
        assert_eq!(listed.as_array().unwrap().len(), 2, "{listed}");
    }
}

/// Runs a session through its life. What happens on one node must hold on the other at once.
pub(crate) async fn run_session_lifecycle(fleet: &Fleet) {
    let (a, b) = fleet.clients();
    let name = username();
    let first = a.sign_up(&name, PASSWORD).await.unwrap();
    assert_eq!(b.register(&name.to_uppercase(), PASSWORD).await.unwrap().error(), "username_taken");
    for node in [&a, &b] {
        let me = node.me(&first.access).await.unwrap();
        assert_eq!(me.status, StatusCode::OK, "{me:?}");
        assert_eq!(me.json()["username"], name);
    }
    assert_invalid_token(&a, &first.refresh).await;

    // Refreshed on one node. A retry on the other gets the same pair.
    let refreshed = a.refresh(&first.refresh).await.unwrap().tokens();
    let again = b.refresh(&first.refresh).await.unwrap().tokens();
    assert_eq!((&again.access, &again.refresh), (&refreshed.access, &refreshed.refresh));
    for node in [&a, &b] {
        assert_eq!(node.me(&refreshed.access).await.unwrap().status, StatusCode::OK);
    }

    // Logged out on one node. Every token that the session ever had is refused on both.
    assert_eq!(b.logout(&refreshed.access).await.unwrap().status, StatusCode::NO_CONTENT);
    for node in [&a, &b] {
        for access in [&first.access, &refreshed.access] {
            assert_invalid_token(node, access).await;
        }
        for refresh in [&first.refresh, &refreshed.refresh] {
            assert_eq!(refused_refresh(node, refresh).await, "invalid_grant");
        }
    }
    assert_eq!(a.logout(&refreshed.access).await.unwrap().status, StatusCode::UNAUTHORIZED);

    check_refresh_reuse(&a, &b, &name).await;
    check_single_use(&a, &b, &name).await;
    check_sessions_and_password_change(&a, &b, &name).await;
}

/// A refresh token that is used after its successor was used ends the session.
async fn check_refresh_reuse(a: &Client, b: &Client, name: &str) {
    let first = a.login(name, PASSWORD).await.unwrap().tokens();
    let second = a.refresh(&first.refresh).await.unwrap().tokens();
    let third = b.refresh(&second.refresh).await.unwrap().tokens();
    assert_eq!(refused_refresh(b, &first.refresh).await, "invalid_grant");
    for node in [a, b] {
        for access in [&first.access, &second.access, &third.access] {
            assert_invalid_token(node, access).await;
        }
        assert_eq!(refused_refresh(node, &third.refresh).await, "invalid_grant");
    }
}

/// Uses a single-use token 32 times at once, and one of an ended session.
async fn check_single_use(a: &Client, b: &Client, name: &str) {
    let access = a.login(name, PASSWORD).await.unwrap().tokens().access;
    let issued = a.post("/auth/single-use", Some(&access), None).await.unwrap();
    assert_eq!(issued.status, StatusCode::CREATED);
    let once = issued.json()["access_token"].as_str().unwrap().to_owned();
    let tries = (0..32).map(|n| {
        let node = if n % 2 == 0 { a } else { b };
        node.post("/demo/single-use", Some(&once), None)
    });
    let answers = futures_util::future::join_all(tries).await;
    let accepted = answers.iter().filter(|answer| answer.as_ref().unwrap().status == StatusCode::OK).count();
    assert_eq!(accepted, 1);
    let issued = a.post("/auth/single-use", Some(&access), None).await.unwrap();
    let unused = issued.json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(a.logout(&access).await.unwrap().status, StatusCode::NO_CONTENT);
    let late = b.post("/demo/single-use", Some(&unused), None).await.unwrap();
    assert_eq!(late.status, StatusCode::UNAUTHORIZED, "its session is over");
}

/// Ends one session, changes the password, then ends all sessions.
async fn check_sessions_and_password_change(a: &Client, b: &Client, name: &str) {
    let login = a.request(Method::POST, "/auth/login").header(header::USER_AGENT, "phone");
    let login = login.json(&json!({ "username": name, "password": PASSWORD })).send().await.unwrap();
    let phone = Response::read(login).await.unwrap().tokens();
    let laptop = b.login(name, PASSWORD).await.unwrap().tokens();
    let sessions = b.get("/auth/sessions", Some(&laptop.access)).await.unwrap().json();
    let of_phone = sessions.as_array().unwrap().iter().find(|session| session["user_agent"] == "phone").unwrap();
    assert_eq!(of_phone["current"], false);
    let path = format!("/auth/sessions/{}", of_phone["session_id"].as_str().unwrap());
    assert_eq!(a.delete(&path, &laptop.access).await.unwrap().status, StatusCode::NO_CONTENT);
    assert_invalid_token(b, &phone.access).await;

    let tablet = a.login(name, PASSWORD).await.unwrap().tokens();
    let change = json!({ "current_password": PASSWORD, "new_password": "battery staple" });
    let changed = a.post("/auth/password", Some(&laptop.access), Some(&change)).await.unwrap();
    assert_eq!(changed.status, StatusCode::NO_CONTENT);
    for node in [a, b] {
        assert_invalid_token(node, &tablet.access).await;
        assert_eq!(refused_refresh(node, &tablet.refresh).await, "invalid_grant");
        assert_eq!(node.me(&laptop.access).await.unwrap().status, StatusCode::OK);
        assert_eq!(node.login(name, PASSWORD).await.unwrap().error(), "invalid_credentials");
    }

    let other = b.login(name, "battery staple").await.unwrap().tokens();
    assert_eq!(a.logout_all(&laptop.access).await.unwrap().status, StatusCode::NO_CONTENT);
    for node in [a, b] {
        for pair in [&laptop, &other] {
            assert_invalid_token(node, &pair.access).await;
            assert_eq!(refused_refresh(node, &pair.refresh).await, "invalid_grant");
        }
    }
}

/// Fails unless the access token is refused with `invalid_token`.
async fn assert_invalid_token(node: &Client, token: &str) {
    let answer = node.me(token).await.unwrap();
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{answer:?}");
    // The landed version names no metadata.
    let metadata = r#", resource_metadata="http://127.0.0.1:3000/.well-known/oauth-protected-resource""#;
    let challenge = answer.header("www-authenticate").replace(metadata, "");
    assert_eq!(challenge, r#"Bearer realm="demo-app", error="invalid_token""#);
}

/// Fails unless the refresh is refused. Returns the error.
async fn refused_refresh(node: &Client, token: &str) -> String {
    let answer = node.refresh(token).await.unwrap();
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{answer:?}");
    answer.error()
}

/// Not for a user who may have more scopes, and not on request.
#[tokio::test]
async fn refresh_never_widens_the_scope() {
    let fleet = Fleet::on_shared_servers(2, true, &STRICT).await;
    let (a, b) = fleet.clients();
    let name = username();
    a.register(&name, PASSWORD).await.unwrap();
    let database = fleet.database.as_ref().unwrap();
    let database = mongodb::Client::with_uri_str(&database.uri).await.unwrap().database(&database.name);
    let users = database.collection::<Document>("users");
    let promoted = users.update_one(doc! {}, doc! { "$set": { "role": "admin" } }).await.unwrap();
    assert_eq!(promoted.modified_count, 1);

    for (asked, wider) in [("profile", "profile admin"), ("admin", "admin profile"), ("admin profile", "admin profile")]
    {
        let body = json!({ "username": name, "password": PASSWORD, "scope": asked });
        let login = a.post("/auth/login", None, Some(&body)).await.unwrap();
        assert_eq!(scope_on_all_nodes(&login, &[&a, &b]).await, asked);
        let mut current = login.tokens();
        for _ in 0..3 {
            let refreshed = a.refresh(&current.refresh).await.unwrap();
            assert_eq!(scope_on_all_nodes(&refreshed, &[&a, &b]).await, asked, "refreshed");
            let wish = json!({ "refresh_token": current.refresh, "scope": wider });
            let again = b.post("/auth/refresh", None, Some(&wish)).await.unwrap();
            assert_eq!(scope_on_all_nodes(&again, &[&a, &b]).await, asked, "repeated, and asked for more");
            current = again.tokens();
            let wish = json!({ "refresh_token": current.refresh, "scope": wider });
            let next = b.post("/auth/refresh", None, Some(&wish)).await.unwrap();
            assert_eq!(scope_on_all_nodes(&next, &[&a, &b]).await, asked, "refreshed, and asked for more");
            current = next.tokens();
        }
    }
}

/// Returns the scope of a token response, which must equal the scope in both tokens on each node.
async fn scope_on_all_nodes(answer: &Response, nodes: &[&Client]) -> String {
    let scope = answer.json()["scope"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned();
    let tokens = answer.tokens();
    let scope_of = |claims: &Value| claims["scope"].as_str().unwrap().to_owned();
    for node in nodes {
        assert_eq!(scope_of(&node.me(&tokens.access).await.unwrap().json()["claims"]), scope);
    }
    for token in [&tokens.access, &tokens.refresh] {
        assert_eq!(scope_of(&payload(token)), scope);
    }
    scope
}

#[tokio::test]
async fn cache_of_the_other_node_outlives_a_revocation_by_one_lease_at_most() {
    let lease = Duration::from_millis(700);
    let fleet = Fleet::on_shared_servers(2, true, &["--local-cache", "700ms"]).await;
    let (a, b) = fleet.clients();
    for _ in 0..3 {
        let tokens = a.sign_up(&username(), PASSWORD).await.unwrap();
        for node in [&a, &b] {
            assert_eq!(node.me(&tokens.access).await.unwrap().status, StatusCode::OK);
        }
        assert_eq!(a.logout(&tokens.access).await.unwrap().status, StatusCode::NO_CONTENT);
        let revoked = Instant::now();
        assert_invalid_token(&a, &tokens.access).await;
        loop {
            // The time of the request counts: it was accepted before its answer came back.
            let sent = revoked.elapsed();
            if b.me(&tokens.access).await.unwrap().status == StatusCode::UNAUTHORIZED {
                break;
            }
            assert!(sent <= lease, "accepted {sent:?} after its revocation");
        }
    }
}

#[tokio::test]
async fn embedded_node_ends_when_asked_and_keeps_its_data() {
    let mut fleet = Fleet::embedded(&[]).await;
    let (client, _) = fleet.clients();
    let kept = client.sign_up(&username(), PASSWORD).await.unwrap();
    let ended = client.sign_up(&username(), PASSWORD).await.unwrap();
    assert_eq!(client.logout(&ended.access).await.unwrap().status, StatusCode::NO_CONTENT);

    let node = &mut fleet.nodes[0];
    assert!(node.terminate().await.success());
    node.restart().await;
    let (client, _) = fleet.clients();
    assert_eq!(client.me(&kept.access).await.unwrap().status, StatusCode::OK);
    assert_invalid_token(&client, &ended.access).await;
}

#[tokio::test]
async fn log_holds_no_secret_and_no_query() {
    let fleet = Fleet::on_shared_servers(1, true, &[]).await;
    let (client, _) = fleet.clients();
    let tokens = client.sign_up(&username(), PASSWORD).await.unwrap();
    client.get(&format!("/me?access_token={}", tokens.access), Some(&tokens.access)).await.unwrap();
    client.get("/me?q=needle", Some(&tokens.access)).await.unwrap();
    client.refresh(&tokens.refresh).await.unwrap();
    client.refresh("rubbish-needle").await.unwrap();
    fleet.nodes[0].log().until("/auth/refresh", 2).await;
    let log = fleet.nodes[0].log().lines().join("\n");
    let secrets = [PASSWORD, "needle"].into_iter().chain(tokens.access.split('.')).chain(tokens.refresh.split('.'));
    for secret in secrets {
        assert!(!log.contains(secret), "{secret} is in the log: {log}");
    }
}
