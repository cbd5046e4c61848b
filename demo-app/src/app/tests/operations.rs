//! What operators see: readiness and the log.

use std::{
    future::{pending, poll_fn},
    sync::atomic::Ordering,
    task::Poll,
    time::Duration,
};

use http::Version;
use tokio::time::{advance, sleep};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tower::Service;

use super::*;
use crate::{logging::tests::capture_log, start::sampler};

fn ready() -> Request<Body> {
    Request::get("/readyz").body(Body::empty()).unwrap()
}

/// Returns how often a user was read.
pub(super) fn user_reads(demo: &TestApp) -> usize {
    demo.store.calls.lock().unwrap().iter().filter(|call| **call == "user").count()
}

#[tokio::test(start_paused = true)]
async fn readiness_is_checked_once_a_second() {
    let demo = test_app();
    let app = app(demo.state.clone());
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..100 {
        clients.spawn(app.clone().oneshot(ready()));
    }
    for answer in clients.join_all().await {
        assert_eq!(answer.unwrap().status(), StatusCode::OK);
    }
    assert_eq!(user_reads(&demo), 1);

    demo.users.fail_reads.store(true, Ordering::SeqCst);
    advance(Duration::from_millis(999)).await;
    assert_eq!(app.clone().oneshot(ready()).await.unwrap().status(), StatusCode::OK, "kept");
    advance(Duration::from_millis(1)).await;
    for _ in 0..2 {
        let answer = app.clone().oneshot(ready()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "an outage is kept no longer, and no shorter");
    }
    assert_eq!(user_reads(&demo), 2);
    demo.users.fail_reads.store(false, Ordering::SeqCst);
    advance(Duration::from_secs(1)).await;
    assert_eq!(app.clone().oneshot(ready()).await.unwrap().status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn readiness_is_checked_once_for_disconnecting_clients() {
    let demo = test_app();
    let mut app = app(demo.state.clone()).into_service();
    for _ in 0..20 {
        let mut answer = app.call(ready());
        // Polls the request until it waits; then the client disconnects.
        let begun = poll_fn(|context| Poll::Ready(std::pin::Pin::new(&mut answer).poll(context).is_pending())).await;
        assert!(begun || user_reads(&demo) > 0);
        drop(answer);
        tokio::task::yield_now().await;
    }
    assert_eq!(app.call(ready()).await.unwrap().status(), StatusCode::OK);
    assert_eq!(user_reads(&demo), 1);
}

#[tokio::test(start_paused = true)]
async fn readiness_is_checked_once_for_the_sampler_and_all_who_ask() {
    let demo = test_app();
    let sampler = tokio::spawn(sampler::sample(demo.state.clone()));
    // The first sample is at once.
    sleep(Duration::from_millis(1)).await;
    assert_eq!(user_reads(&demo), 1);
    assert_eq!(app(demo.state.clone()).oneshot(ready()).await.unwrap().status(), StatusCode::OK);
    HealthClient::new(app(demo.state.clone())).check(HealthCheckRequest::default()).await.unwrap();
    assert_eq!(user_reads(&demo), 1);
    sleep(Duration::from_secs(15)).await;
    assert_eq!(user_reads(&demo), 2, "the sampler asks again");
    sampler.abort();
}

/// Returns the log of a request. It runs on a runtime in this thread, whose log is captured.
pub(super) fn log_of_request(request: impl AsyncFnOnce(&TestApp) -> Request<Body>, wait: bool) -> Vec<String> {
    capture_log(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let demo = test_app_with(&["--trusted-proxy", "192.0.2.1"]);
            let mut request = request(&demo).await;
            request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([192, 0, 2, 1], 4000))));
            let answer = app(demo.state.clone()).oneshot(request);
            if wait {
                answer.await.unwrap();
            } else {
                tokio::select! {
                    biased;
                    _ = answer => panic!("it is not answered"),
                    () = tokio::task::yield_now() => {}
                }
            }
        });
    })
}

#[test]
fn request_line_has_grpc_status() {
    let refused = log_of_request(
        async |_| {
            let request = Request::post("/demo.v1.Identity/WhoAmI").version(Version::HTTP_2);
            request.header(header::CONTENT_TYPE, "application/grpc").body(Body::empty()).unwrap()
        },
        true,
    );
    assert_eq!(refused.len(), 1, "{refused:#?}");
    assert!(refused[0].contains("status=200 grpc_status=16 "), "{}", refused[0]);
    let plain = log_of_request(async |_| Request::get("/me?q=needle").body(Body::empty()).unwrap(), true);
    assert!(plain[0].contains("status=401 latency_us="), "{}", plain[0]);
    assert!(!plain[0].contains("needle"), "{}", plain[0]);
}

#[test]
fn request_line_reports_abandoned_request() {
    let silent = log_of_request(
        async |_| {
            let body =
                Body::from_stream(futures_util::stream::once(pending::<Result<&[u8], std::convert::Infallible>>()));
            let request = Request::post("/auth/login").header(header::CONTENT_TYPE, "application/json");
            request.body(body).unwrap()
        },
        false,
    );
    assert_eq!(silent.len(), 1, "{silent:#?}");
    assert!(silent[0].contains("request abandoned") && silent[0].contains("/auth/login"), "{}", silent[0]);
}

/// Returns whether the id is a UUID of version 7.
fn is_uuid_v7(id: &str) -> bool {
    uuid::Uuid::parse_str(id).is_ok_and(|id| id.get_version_num() == 7)
}

#[tokio::test]
async fn request_id_of_a_trusted_proxy_is_kept_if_single_short_and_plain() {
    let demo = test_app_with(&["--trusted-proxy", "192.0.2.0/24"]);
    let answered = async |path: &str, sent: &[&[u8]], peer: [u8; 4]| {
        let mut request = Request::get(path).body(Body::empty()).unwrap();
        for id in sent {
            request.headers_mut().append("x-request-id", http::HeaderValue::from_bytes(id).unwrap());
        }
        let headers = demo.send_from(peer, request).await.headers;
        assert_eq!(headers.get_all("x-request-id").iter().count(), 1, "{path} {sent:?}");
        headers["x-request-id"].to_str().unwrap().to_owned()
    };
    let longest = "x".repeat(64);
    for path in ["/healthz", "/nowhere", "/me", "/auth/login"] {
        for id in ["7", "A-b_9", "01939a3c-7d6e-7000-8000-0123456789ab", longest.as_str()] {
            assert_eq!(answered(path, &[id.as_bytes()], [192, 0, 2, 1]).await, id, "{path}");
            let made = answered(path, &[id.as_bytes()], [198, 51, 100, 1]).await;
            assert!(made != id && is_uuid_v7(&made), "a stranger's: {path} {made}");
        }
        let longer = "x".repeat(65);
        let others: [&[&[u8]]; 11] = [
            &[],
            &[b""],
            &[b" "],
            &[b"a b"],
            &[b"a.b"],
            &[b"a\"b"],
            &[b"a=b"],
            &[b"a\tb"],
            &[b"\xc3\xa9"],
            &[longer.as_bytes()],
            &[b"a", b"a"],
        ];
        for sent in others {
            let id = answered(path, sent, [192, 0, 2, 1]).await;
            assert!(is_uuid_v7(&id), "{path} {sent:?} {id}");
        }
    }
}

/// Builds a sign-in while the store is down, which is logged.
fn failing_login(demo: &TestApp, id: &str) -> Request<Body> {
    demo.store.fail_fence.store(true, Ordering::SeqCst);
    let request = Request::post("/auth/login").header(header::CONTENT_TYPE, "application/json");
    let body = json!({ "username": "nobody", "password": PASSWORD }).to_string();
    request.header("x-request-id", id).body(body.into()).unwrap()
}

#[test]
fn request_id_is_in_each_log_line() {
    let lines = log_of_request(async |demo| failing_login(demo, "mine-1"), true);
    assert_eq!(lines.len(), 3, "{lines:#?}");
    let expected = ["WARN", "audit: sign_in failed", "status=503"];
    assert!(lines.iter().zip(expected).all(|(line, expected)| line.contains(expected)), "{lines:#?}");
    for line in &lines {
        assert_eq!(line.matches(r#"request_id="mine-1""#).count(), 1, "{line}");
    }

    let lines = log_of_request(async |demo| failing_login(demo, "a.needle.b"), true);
    let ids = lines.iter().map(|line| {
        assert!(!line.contains("needle"), "{line}");
        let (_, id) = line.split_once("request_id=\"").unwrap_or_else(|| panic!("{line}"));
        id.split_once('"').unwrap().0
    });
    let ids: Vec<&str> = ids.collect();
    assert!(ids.len() == 3 && ids.iter().all(|id| *id == ids[0]) && is_uuid_v7(ids[0]), "{ids:?}");
}

#[test]
fn request_lines_name_user_and_session() {
    let mut names = String::new();
    let lines = log_of_request(
        async |demo| {
            demo.register("ada").await;
            let token = demo.log_in("ada").await.text("access_token");
            let claims = demo.with_token("GET", "/me", &token, None).await.body["claims"].clone();
            names = format!("sub={} sid={}", claims["sub"].as_str().unwrap(), claims["sid"].as_str().unwrap());
            demo.store.fail_after_revoke.store(true, Ordering::SeqCst);
            let request = Request::post("/auth/logout").header(header::AUTHORIZATION, format!("Bearer {token}"));
            request.header("x-request-id", "mine-1").body(Body::empty()).unwrap()
        },
        true,
    );
    let of_request: Vec<&String> = lines.iter().filter(|line| line.contains("mine-1")).collect();
    assert!(of_request.iter().any(|line| line.contains("WARN")), "the failure is logged: {lines:?}");
    assert!(of_request.iter().any(|line| line.contains(r#"route="/auth/logout""#)), "the request is logged: {lines:?}");
    for line in of_request {
        assert!(line.contains(&format!(r#"request{{request_id="mine-1" {names}}}"#)), "{line}");
    }
}

#[test]
fn request_id_is_in_lines_of_background_work() {
    let lines = log_of_request(
        async |demo| {
            demo.add_user("old", bcrypt::hash(PASSWORD, 4).unwrap(), Role::User).await;
            let request = Request::post("/auth/login").header(header::CONTENT_TYPE, "application/json");
            let body = json!({ "username": "old", "password": PASSWORD }).to_string();
            request.header("x-request-id", "mine-1").body(body.into()).unwrap()
        },
        true,
    );
    let upgraded =
        lines.iter().find(|line| line.contains("an outdated password hash was replaced")).expect("it is logged");
    assert!(upgraded.contains(r#"request_id="mine-1""#), "{upgraded}");
}
