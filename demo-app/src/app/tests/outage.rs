//! Stores and clients that fail.

use std::{convert::Infallible, sync::atomic::Ordering, time::Duration};

use super::*;

#[tokio::test]
async fn session_end_that_failed_halfway_can_be_retried() {
    let demo = test_app();
    demo.register("ada").await;
    demo.register("bob").await;
    let (first, access) = (demo.log_in("ada").await, demo.log_in("ada").await.text("access_token"));
    let bob = demo.log_in("bob").await.text("access_token");
    let sessions = demo.with_token("GET", "/auth/sessions", &access, None).await.body;
    let other = sessions.as_array().unwrap().iter().find(|session| session["current"] == false).unwrap();
    let path = format!("/auth/sessions/{}", other["session_id"].as_str().unwrap());

    demo.store.fail_after_revoke.store(true, Ordering::SeqCst);
    for _ in 0..2 {
        let failed = demo.with_token("DELETE", &path, &access, None).await;
        assert_eq!(failed.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(failed.headers[header::RETRY_AFTER], "1");
    }
    assert_eq!(demo.with_token("DELETE", &path, &bob, None).await.status, StatusCode::NOT_FOUND, "never anybody's");
    demo.store.fail_after_revoke.store(false, Ordering::SeqCst);
    assert_eq!(demo.with_token("DELETE", &path, &access, None).await.status, StatusCode::NO_CONTENT);
    let refused = demo.with_token("GET", "/me", &first.text("access_token"), None).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn readiness_without_users_is_503_with_retry_after() {
    let demo = test_app();
    demo.users.fail_reads.store(true, Ordering::SeqCst);
    let answer = demo.send(Request::get("/readyz").body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!((&answer.body["status"], &answer.body["store"]), (&json!("unavailable"), &json!("down")));
    assert_eq!(answer.body["error"], "temporarily_unavailable");
    assert_eq!(answer.headers[header::RETRY_AFTER], "1");
}

#[tokio::test(start_paused = true)]
async fn body_that_never_arrives_is_408() {
    let demo = test_app();
    let silent = || Body::from_stream(futures_util::stream::pending::<Result<&[u8], Infallible>>());
    for path in ["/auth/register", "/auth/login", "/auth/refresh"] {
        let request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
        let answer = demo.send(request.header(header::CONTENT_LENGTH, 50).body(silent()).unwrap()).await;
        assert_eq!(answer.status, StatusCode::REQUEST_TIMEOUT, "{path}");
        assert_eq!(answer.body["error"], "invalid_request", "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn body_that_arrives_late_leaves_the_full_deadline() {
    let demo = test_app();
    let late = futures_util::stream::once(async {
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        Ok::<_, Infallible>(json!({ "username": "nobody", "password": PASSWORD }).to_string())
    });
    let request = Request::post("/auth/login").header(header::CONTENT_TYPE, "application/json");
    let answer = demo.send(request.body(Body::from_stream(late)).unwrap()).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}

/// Requests whose answers need no body, and the answers' status.
fn answered_unread() -> [(http::request::Builder, u16); 7] {
    let forged = Request::post("/auth/login?transport=cookie").header("sec-fetch-site", "cross-site");
    [
        (Request::post("/nowhere"), 404),
        (Request::post("/readyz"), 405),
        (Request::post("/auth/login").header(header::CONTENT_TYPE, "text/plain"), 415),
        (Request::post("/auth/logout"), 401),
        (forged, 403),
        (Request::get("/me"), 401),
        (Request::get("/healthz"), 200),
    ]
}

#[tokio::test(start_paused = true)]
async fn body_that_no_handler_reads_is_read_to_keep_the_connection() {
    let demo = test_app();
    for (request, status) in answered_unread() {
        let (end, ended) = tokio::sync::oneshot::channel();
        let late = futures_util::stream::once(async move {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let _ = end.send(());
            Ok::<_, Infallible>("late")
        });
        let answer = demo.send(request.body(Body::from_stream(late)).unwrap()).await;
        assert_eq!(answer.status, status);
        assert!(ended.await.is_ok() && !answer.headers.contains_key(header::CONNECTION), "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn body_that_no_handler_reads_ends_the_connection_if_it_is_late() {
    let demo = test_app();
    for (request, status) in answered_unread() {
        let silent = Body::from_stream(futures_util::stream::pending::<Result<&[u8], Infallible>>());
        let sent = Instant::now();
        let answer = demo.send(request.body(silent).unwrap()).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.headers[header::CONNECTION], "close", "{status}");
        assert!(sent.elapsed() < Duration::from_millis(1_100), "{status}: {:?}", sent.elapsed());
    }
}
