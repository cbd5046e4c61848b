//! Which tokens a route takes, and what a refresh gives.

use std::sync::atomic::Ordering;

use auth_layer::{Grant, IssuedPair, Subject};
use secrecy::SecretString;

use super::*;

impl TestApp {
    /// Opens a session of this user with a client.
    async fn pair_of(&self, user: UserId, client: &str, scope: &str) -> IssuedPair {
        let authority = &self.state.authority;
        let sign_in = authority.begin_sign_in(user).await.unwrap();
        let identity = Identity { username: "as-it-was".into() };
        let grant = Grant::new(client).scope(scope.parse().unwrap()).custom(&identity).unwrap();
        authority.sign_in(sign_in, grant).await.unwrap()
    }

    async fn id_of(&self, username: &str) -> UserId {
        self.state.users.by_name(username).await.unwrap().unwrap().user_id
    }
}

fn assert_not_enough(answer: &TestResponse, path: &str) {
    assert_eq!((answer.status.as_u16(), &answer.body["error"]), (403, &json!("insufficient_scope")), "{path}");
    let challenge = answer.headers[header::WWW_AUTHENTICATE].to_str().unwrap();
    assert_eq!(challenge, format!(r#"Bearer {REALM}, error="insufficient_scope""#), "{path}");
}

#[tokio::test]
async fn first_party_routes_take_no_tokens_of_other_clients() {
    let demo = test_app();
    demo.register("ada").await;
    let pair = demo.pair_of(demo.id_of("ada").await, "other", "profile").await;
    let change = json!({ "current_password": PASSWORD, "new_password": "battery staple" });
    for (method, path, body) in [
        ("POST", "/auth/logout", None),
        ("POST", "/auth/logout-all", None),
        ("GET", "/auth/sessions", None),
        ("DELETE", &*format!("/auth/sessions/{}", pair.session_id), None),
        ("POST", "/auth/password", Some(change)),
        ("POST", "/auth/single-use", None),
    ] {
        assert_not_enough(&demo.with_token(method, path, &pair.access_token, body).await, path);
    }
    let me = demo.with_token("GET", "/me", &pair.access_token, None).await;
    assert_eq!((me.status, &me.body["claims"]["client_id"]), (StatusCode::OK, &json!("other")));
}

#[tokio::test]
async fn refresh_of_another_clients_token_is_refused_and_uses_nothing_up() {
    let demo = test_app();
    demo.register("ada").await;
    let pair = demo.pair_of(demo.id_of("ada").await, "other", "profile").await;
    for _ in 0..2 {
        let refused = demo.post("/auth/refresh", json!({ "refresh_token": pair.refresh_token })).await;
        assert_eq!((refused.status.as_u16(), &refused.body["error"]), (401, &json!("invalid_grant")));
    }
    demo.state.authority.refresh(&pair.refresh_token).await.unwrap();
}

#[tokio::test]
async fn user_routes_take_no_token_that_is_a_clients_own() {
    let demo = test_app();
    for client in ["job", "demo-app"] {
        let authority = &demo.state.authority;
        let begun = authority.begin_sign_in(client.parse::<Subject>().unwrap()).await.unwrap();
        let grant = Grant::new(client).scope("profile".parse().unwrap());
        let token = authority.issue_client_token(begun, grant).await.unwrap().token;
        for (method, path) in [("GET", "/me"), ("GET", "/auth/sessions"), ("POST", "/auth/single-use")] {
            assert_not_enough(&demo.with_token(method, path, &token, None).await, path);
        }
    }
}

#[tokio::test]
async fn refresh_gives_what_the_user_may_have_now() {
    let demo = test_app();
    demo.register("Ada").await;
    // As if the role `admin` had been taken away since.
    let pair = demo.pair_of(demo.id_of("ada").await, "demo-app", "profile admin").await;
    let next = demo.post("/auth/refresh", json!({ "refresh_token": pair.refresh_token })).await;
    assert_eq!((next.status, next.text("scope")), (StatusCode::OK, "profile".into()));
    let me = demo.with_token("GET", "/me", &next.text("access_token"), None).await;
    assert_eq!((&me.body["username"], &me.body["claims"]["scope"]), (&json!("Ada"), &json!("profile")));

    let admin = demo.state.passwords.hash(&SecretString::from(PASSWORD)).await.unwrap();
    demo.add_user("chief", admin, Role::Admin).await;
    let body = json!({ "username": "chief", "password": PASSWORD, "scope": "admin profile" });
    let login = demo.post("/auth/login", body).await;
    let next = demo.post("/auth/refresh", json!({ "refresh_token": login.text("refresh_token") })).await;
    assert_eq!(next.text("scope"), "admin profile");
}

#[tokio::test]
async fn refresh_of_a_user_who_is_gone_is_refused() {
    let demo = test_app();
    let pair = demo.pair_of(UserId::generate(), "demo-app", "profile").await;
    let refused = demo.post("/auth/refresh", json!({ "refresh_token": pair.refresh_token })).await;
    assert_eq!((refused.status.as_u16(), &refused.body["error"]), (401, &json!("invalid_grant")));
}

#[tokio::test]
async fn refresh_while_users_cannot_be_read_is_503_and_uses_nothing_up() {
    let demo = test_app();
    demo.register("ada").await;
    let refresh = json!({ "refresh_token": demo.log_in("ada").await.text("refresh_token") });
    demo.users.fail_reads.store(true, Ordering::SeqCst);
    let failed = demo.post("/auth/refresh", refresh.clone()).await;
    assert_eq!((failed.status.as_u16(), &failed.body["error"]), (503, &json!("temporarily_unavailable")));
    demo.users.fail_reads.store(false, Ordering::SeqCst);
    assert_eq!(demo.post("/auth/refresh", refresh).await.status, StatusCode::OK);
}
