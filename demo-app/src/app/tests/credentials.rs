//! Names, passwords and scopes.

use std::{sync::atomic::Ordering, time::Duration};

use super::*;
use crate::routes::credentials::FAILURE_FLOOR;

#[tokio::test(start_paused = true)]
async fn password_change_ends_other_sessions_and_can_be_repeated() {
    let demo = test_app();
    demo.register("ada").await;
    let (other, mine) = (demo.log_in("ada").await.text("access_token"), demo.log_in("ada").await.text("access_token"));
    let change = |current: &str, new: &str| Some(json!({ "current_password": current, "new_password": new }));

    let wrong = demo.with_token("POST", "/auth/password", &mine, change("wrong horse", "battery staple")).await;
    assert_eq!((wrong.status, &wrong.body["error"]), (StatusCode::UNAUTHORIZED, &json!("invalid_credentials")));
    let short = demo.with_token("POST", "/auth/password", &mine, change(PASSWORD, "short")).await;
    assert_eq!(short.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(short.body["fields"]["new_password"].is_string());
    assert_eq!(demo.with_token("GET", "/me", &other, None).await.status, StatusCode::OK);

    for _ in 0..2 {
        let changed = demo.with_token("POST", "/auth/password", &mine, change(PASSWORD, "battery staple")).await;
        assert_eq!(changed.status, StatusCode::NO_CONTENT, "{}", changed.body);
    }
    assert_eq!(demo.with_token("GET", "/me", &other, None).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(demo.with_token("GET", "/me", &mine, None).await.status, StatusCode::OK);
    let old = demo.post("/auth/login", json!({ "username": "ada", "password": PASSWORD })).await;
    assert_eq!(old.status, StatusCode::UNAUTHORIZED);
    let new = demo.post("/auth/login", json!({ "username": "ada", "password": "battery staple" })).await;
    assert_eq!(new.status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn login_refusals_have_one_answer() {
    let demo = test_app();
    demo.register("ada").await;
    demo.register("off").await;
    let off = demo.state.users.by_name("off").await.unwrap().unwrap();
    demo.state.authority.set_user_disabled(off.user_id, true).await.unwrap();
    let cases = [("ada", "wrong horse"), ("nobody", PASSWORD), ("off", PASSWORD), ("", ""), ("a b", PASSWORD)];
    for (username, password) in cases {
        let answer = demo.post("/auth/login", json!({ "username": username, "password": password })).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{username}");
        assert_eq!(
            answer.body,
            json!({ "error": "invalid_credentials", "error_description": "The username or the password is wrong" })
        );
    }
}

#[tokio::test(start_paused = true)]
async fn login_upgrades_bcrypt_and_weak_argon2id_hashes_once() {
    let demo = test_app();
    demo.add_user("old", bcrypt::hash(PASSWORD, 4).unwrap(), Role::User).await;
    let weak = Passwords::with_params(Params::new(32, 1, 1, None).unwrap()).unwrap();
    demo.add_user("weak", weak.hash(&PASSWORD.to_owned().into()).await.unwrap(), Role::User).await;
    for username in ["old", "weak"] {
        let wrong = demo.post("/auth/login", json!({ "username": username, "password": "wrong horse" })).await;
        assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
        demo.log_in(username).await;
        let upgraded = demo.state.users.by_name(username).await.unwrap().unwrap().password_hash;
        assert!(upgraded.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{upgraded}");
        demo.log_in(username).await;
        assert_eq!(demo.state.users.by_name(username).await.unwrap().unwrap().password_hash, upgraded, "once");
    }
}

#[tokio::test(start_paused = true)]
async fn login_scope_is_limited_by_role() {
    let demo = test_app();
    demo.register("ada").await;
    let hash = demo.state.passwords.hash(&PASSWORD.to_owned().into()).await.unwrap();
    demo.add_user("root", hash, Role::Admin).await;
    let cases = [
        ("ada", "profile", Ok("profile")),
        ("ada", "admin", Err("invalid_scope")),
        ("ada", "profile unknown", Err("invalid_scope")),
        ("ada", "profile  admin", Err("invalid_scope")),
        ("root", "admin profile", Ok("admin profile")),
        ("root", "root", Err("invalid_scope")),
        ("root", "", Err("invalid_scope")),
        ("root", " ", Err("invalid_scope")),
    ];
    for (username, scope, expected) in cases {
        let body = json!({ "username": username, "password": PASSWORD, "scope": scope });
        let answer = demo.post("/auth/login", body).await;
        match expected {
            Ok(granted) => assert_eq!(answer.body["scope"], granted, "{username} {scope}"),
            Err(error) => {
                assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{username} {scope}");
                assert_eq!(answer.body["error"], error, "{username} {scope}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn login_is_limited_to_ten_wrong_passwords_a_minute() {
    let demo = test_app();
    demo.register("ada").await;
    for _ in 0..12 {
        demo.log_in("ada").await;
    }
    for _ in 0..10 {
        let wrong = demo.post("/auth/login", json!({ "username": "ada", "password": "wrong horse" })).await;
        assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    }
    let limited = demo.post("/auth/login", json!({ "username": "ADA", "password": PASSWORD })).await;
    assert_eq!((limited.status, &limited.body["error"]), (StatusCode::TOO_MANY_REQUESTS, &json!("rate_limited")));
    let wait: u64 = limited.headers[header::RETRY_AFTER].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    tokio::time::advance(Duration::from_secs(wait)).await;
    demo.log_in("ada").await;
}

#[tokio::test(start_paused = true)]
async fn register_checks_username_and_password_at_the_edges() {
    let demo = test_app();
    let register = |username: String, password: String| {
        let demo = &demo;
        async move { demo.post("/auth/register", json!({ "username": username, "password": password })).await.status }
    };
    let name = |length: usize| "n".repeat(length);
    let cases = [
        (name(2), "87654329".into(), 422),
        (name(3), "87654329".into(), 201),
        (name(64), "ü".repeat(8), 201),
        (name(65), "87654329".into(), 422),
        ("A.b_c-9".into(), "🐎".repeat(256), 201),
        ("a.B_C-9".into(), "87654329".into(), 409),
        ("naïve".into(), "87654329".into(), 422),
        ("good".into(), "1234567".into(), 422),
        ("good".into(), "🐎".repeat(257), 422),
    ];
    for (username, password, status) in cases {
        assert_eq!(
            register(username.clone(), password.clone()).await.as_u16(),
            status,
            "{username} {}",
            password.len()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn login_limit_holds_for_concurrent_wrong_passwords() {
    let demo = test_app();
    demo.register("ada").await;
    let wrong = json!({ "username": "ada", "password": "wrong horse" });
    let attempts = (0..200).map(|_| demo.post("/auth/login", wrong.clone()));
    let answers = futures_util::future::join_all(attempts).await;
    let count = |status| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((count(StatusCode::UNAUTHORIZED), count(StatusCode::TOO_MANY_REQUESTS)), (10, 190));
}

#[tokio::test(start_paused = true)]
async fn login_limit_ignores_concurrent_right_passwords() {
    let demo = test_app();
    demo.register("ada").await;
    let right = json!({ "username": "ada", "password": PASSWORD });
    let answers = futures_util::future::join_all((0..40).map(|_| demo.post("/auth/login", right.clone()))).await;
    assert!(answers.iter().all(|answer| answer.status == StatusCode::OK));
}

#[tokio::test(start_paused = true)]
async fn login_limit_ignores_store_failures() {
    let demo = test_app();
    demo.register("ada").await;
    demo.store.fail_fence.store(true, Ordering::SeqCst);
    for _ in 0..11 {
        let answer = demo.post("/auth/login", json!({ "username": "ada", "password": "wrong horse" })).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    }
    demo.store.fail_fence.store(false, Ordering::SeqCst);
    demo.log_in("ada").await;
}

/// Measures by tokio's paused clock, which only timers advance.
#[tokio::test(start_paused = true)]
async fn login_refusals_take_the_same_time() {
    let demo = test_app();
    demo.register("ada").await;
    demo.register("off").await;
    demo.add_user("old", bcrypt::hash(PASSWORD, 4).unwrap(), Role::User).await;
    let off = demo.state.users.by_name("off").await.unwrap().unwrap();
    demo.state.authority.set_user_disabled(off.user_id, true).await.unwrap();
    for (username, password) in
        [("nobody", PASSWORD), ("ada", "wrong horse"), ("old", "wrong horse"), ("off", PASSWORD)]
    {
        demo.store.calls.lock().unwrap().clear();
        let (begun, hashes) = (Instant::now(), demo.state.passwords.hashes_started.load(Ordering::SeqCst));
        let answer = demo.post("/auth/login", json!({ "username": username, "password": password })).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert_eq!(*demo.store.calls.lock().unwrap(), ["user", "fence", "user"], "{username}");
        assert_eq!(demo.state.passwords.hashes_started.load(Ordering::SeqCst), hashes + 1, "{username}");
        assert_eq!(begun.elapsed(), FAILURE_FLOOR, "{username}");
    }
}

#[tokio::test(start_paused = true)]
async fn login_during_outage_hides_whether_user_exists() {
    let demo = test_app();
    demo.register("ada").await;
    for (fence, users) in [(true, false), (false, true), (true, true)] {
        demo.store.fail_fence.store(fence, Ordering::SeqCst);
        demo.users.fail_reads.store(users, Ordering::SeqCst);
        for username in ["ada", "nobody"] {
            let answer = demo.post("/auth/login", json!({ "username": username, "password": PASSWORD })).await;
            assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{username} {fence} {users}");
            assert_eq!(answer.body["error"], "temporarily_unavailable");
        }
    }
}

#[tokio::test]
async fn password_change_ends_other_sessions_after_client_disconnects() {
    let demo = test_app();
    demo.register("ada").await;
    let (other, mine) = (demo.log_in("ada").await.text("access_token"), demo.log_in("ada").await.text("access_token"));
    let gate = Arc::clone(&demo.users.replace_gate).acquire_owned().await.unwrap();
    let change = json!({ "current_password": PASSWORD, "new_password": "battery staple" });
    tokio::select! {
        _ = demo.with_token("POST", "/auth/password", &mine, Some(change)) => panic!("the replacement is not reported yet"),
        replaced = demo.users.replaced.acquire() => replaced.unwrap().forget(),
    }
    // The request is gone and the hash has changed.
    assert_eq!(demo.with_token("GET", "/me", &other, None).await.status, StatusCode::OK);
    drop(gate);
    let mut tries = 0;
    while demo.with_token("GET", "/me", &other, None).await.status == StatusCode::OK {
        tries += 1;
        assert!(tries < 10_000, "the other session lives on");
        tokio::task::yield_now().await;
    }
    assert_eq!(demo.with_token("GET", "/me", &mine, None).await.status, StatusCode::OK);
}
