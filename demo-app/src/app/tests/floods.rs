//! Many requests at once, and requests whose clients disconnect.

use std::{sync::atomic::Ordering, time::Duration};

use super::*;

/// The longest wait for a hash before a test fails.
const TIMEOUT: Duration = Duration::from_secs(30);

impl TestApp {
    fn hashes_started(&self) -> usize {
        self.state.passwords.hashes_started.load(Ordering::SeqCst)
    }

    /// Sends a request and disconnects as soon as its password is being hashed.
    async fn disconnect_while_hashing(&self, request: impl Future<Output = TestResponse>) {
        // Those that disconnected before may still be hashing. Behind the gate they would keep all
        // permits.
        self.state.passwords.idle().await;
        let _gate = self.state.passwords.gate.lock().await;
        let before = self.hashes_started();
        let begun = async {
            while self.hashes_started() == before {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            () = begun => {}
            answer = request => panic!("answered {} before its client was gone", answer.status),
        }
    }
}

#[tokio::test]
async fn login_limit_counts_wrong_password_of_disconnected_client() {
    let demo = test_app();
    demo.register("ada").await;
    for _ in 0..10 {
        let wrong = json!({ "username": "ada", "password": "wrong horse" });
        demo.disconnect_while_hashing(demo.post("/auth/login", wrong)).await;
    }
    let limited = demo.post("/auth/login", json!({ "username": "ada", "password": PASSWORD })).await;
    assert_eq!(limited.status, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn login_limit_ignores_right_password_of_disconnected_client() {
    let demo = test_app();
    demo.register("ada").await;
    for _ in 0..12 {
        let right = json!({ "username": "ada", "password": PASSWORD });
        demo.disconnect_while_hashing(demo.post("/auth/login", right)).await;
    }
    demo.log_in("ada").await;
}

#[tokio::test]
async fn password_change_of_disconnected_client_counts_as_wrong_password() {
    let demo = test_app();
    demo.register("ada").await;
    let token = demo.log_in("ada").await.text("access_token");
    for _ in 0..10 {
        let change = json!({ "current_password": "wrong horse", "new_password": "battery staple" });
        demo.disconnect_while_hashing(demo.with_token("POST", "/auth/password", &token, Some(change))).await;
    }
    let limited = demo.post("/auth/login", json!({ "username": "ada", "password": PASSWORD })).await;
    assert_eq!(limited.status, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn login_upgrades_hash_after_client_disconnects() {
    let demo = test_app();
    demo.add_user("old", bcrypt::hash(PASSWORD, 4).unwrap(), Role::User).await;
    let before = demo.hashes_started();
    let upgrading = async {
        while demo.hashes_started() < before + 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        () = upgrading => {}
        _ = demo.post("/auth/login", json!({ "username": "old", "password": PASSWORD })) => panic!("it is upgraded first"),
    }
    let begun = Instant::now();
    while begun.elapsed() < TIMEOUT {
        if demo.state.users.by_name("old").await.unwrap().unwrap().password_hash.starts_with("$argon2id$") {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("the hash that was begun was made for nothing");
}

#[tokio::test(start_paused = true)]
async fn register_is_limited_to_thirty_a_minute_per_address() {
    let demo = test_app();
    let register = |number: usize, address: [u8; 4]| {
        let demo = &demo;
        async move {
            let body = json!({ "username": format!("user{number}"), "password": PASSWORD });
            demo.post_from(address, "/auth/register", body).await
        }
    };
    for number in 0..30 {
        assert_eq!(register(number, [192, 0, 2, 7]).await.status, StatusCode::CREATED);
    }
    let hashed = demo.hashes_started();
    let limited = register(30, [192, 0, 2, 7]).await;
    assert_eq!((limited.status, &limited.body["error"]), (StatusCode::TOO_MANY_REQUESTS, &json!("rate_limited")));
    let wait: u64 = limited.headers[header::RETRY_AFTER].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert_eq!(demo.hashes_started(), hashed, "no password is hashed beyond the limit");
    assert_eq!(register(30, [192, 0, 2, 8]).await.status, StatusCode::CREATED, "another address");
    let login = json!({ "username": "user0", "password": PASSWORD });
    assert_eq!(demo.post_from([192, 0, 2, 7], "/auth/login", login).await.status, StatusCode::OK, "another limit");
    tokio::time::advance(Duration::from_secs(wait)).await;
    assert_eq!(register(31, [192, 0, 2, 7]).await.status, StatusCode::CREATED);
}

#[tokio::test(start_paused = true)]
async fn register_limit_holds_for_concurrent_requests() {
    let demo = test_app();
    let all = (0..60).map(|number| {
        demo.post("/auth/register", json!({ "username": format!("user{number}"), "password": PASSWORD }))
    });
    let answers = futures_util::future::join_all(all).await;
    let count = |status| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((count(StatusCode::CREATED), count(StatusCode::TOO_MANY_REQUESTS)), (30, 30));
}

#[tokio::test(start_paused = true)]
async fn register_is_unlimited_with_rate_limit_off() {
    let mut demo = test_app();
    demo.state_mut().rate_limit = None;
    for number in 0..40 {
        demo.register(&format!("user{number}")).await;
    }
}
