//! Stores and clients that fail.

use std::{convert::Infallible, sync::atomic::Ordering, time::Duration};

use super::*;

#[tokio::test]
async fn the_end_of_a_session_that_was_recorded_and_not_finished_can_be_tried_again() {
    let demo = fixture();
    demo.register("ada").await;
    demo.register("bob").await;
    let (first, access) = (demo.log_in("ada").await, demo.log_in("ada").await.text("access_token"));
    let bob = demo.log_in("bob").await.text("access_token");
    let sessions = demo.with_token("GET", "/auth/sessions", &access, None).await.body;
    let other = sessions.as_array().unwrap().iter().find(|session| session["current"] == false).unwrap();
    let path = format!("/auth/sessions/{}", other["session_id"].as_str().unwrap());

    demo.store.half_done.store(true, Ordering::SeqCst);
    for _ in 0..2 {
        let failed = demo.with_token("DELETE", &path, &access, None).await;
        assert_eq!(failed.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(failed.headers[header::RETRY_AFTER], "1");
    }
    assert_eq!(demo.with_token("DELETE", &path, &bob, None).await.status, StatusCode::NOT_FOUND, "never anybody's");
    demo.store.half_done.store(false, Ordering::SeqCst);
    assert_eq!(demo.with_token("DELETE", &path, &access, None).await.status, StatusCode::NO_CONTENT);
    let refused = demo.with_token("GET", "/me", &first.text("access_token"), None).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_node_whose_users_cannot_be_read_is_not_ready_and_says_when_to_ask_again() {
    let demo = fixture();
    demo.users.down.store(true, Ordering::SeqCst);
    let answer = demo.send(Request::get("/readyz").body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!((&answer.body["status"], &answer.body["store"]), (&json!("unavailable"), &json!("down")));
    assert_eq!(answer.body["error"], "temporarily_unavailable");
    assert_eq!(answer.headers[header::RETRY_AFTER], "1");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_the_client_s_fault() {
    let demo = fixture();
    let silent = || Body::from_stream(futures_util::stream::pending::<Result<&[u8], Infallible>>());
    for path in ["/auth/register", "/auth/login", "/auth/refresh"] {
        let request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
        let answer = demo.send(request.header(header::CONTENT_LENGTH, 50).body(silent()).unwrap()).await;
        assert_eq!(answer.status, StatusCode::REQUEST_TIMEOUT, "{path}");
        assert_eq!(answer.body["error"], "invalid_request", "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_comes_late_leaves_the_service_its_time() {
    let demo = fixture();
    let late = futures_util::stream::once(async {
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        Ok::<_, Infallible>(json!({ "username": "nobody", "password": PASSWORD }).to_string())
    });
    let request = Request::post("/auth/login").header(header::CONTENT_TYPE, "application/json");
    let answer = demo.send(request.body(Body::from_stream(late)).unwrap()).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}
