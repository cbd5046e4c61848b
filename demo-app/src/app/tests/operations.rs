//! What operators see: readiness and the log.

use std::{
    future::{pending, poll_fn},
    sync::atomic::Ordering,
    task::Poll,
    time::Duration,
};

use http::Version;
use tokio::time::advance;
use tower::Service;

use super::*;
use crate::logging::tests::lines_of;

fn ready() -> Request<Body> {
    Request::get("/readyz").body(Body::empty()).unwrap()
}

/// How often the users were read.
fn asked(demo: &Fixture) -> usize {
    demo.store.asked.lock().unwrap().iter().filter(|asked| **asked == "user").count()
}

#[tokio::test(start_paused = true)]
async fn readiness_is_asked_once_for_all_who_ask_within_a_second() {
    let demo = fixture();
    let app = app(demo.state.clone());
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..100 {
        clients.spawn(app.clone().oneshot(ready()));
    }
    for answer in clients.join_all().await {
        assert_eq!(answer.unwrap().status(), StatusCode::OK);
    }
    assert_eq!(asked(&demo), 1);

    demo.users.down.store(true, Ordering::SeqCst);
    advance(Duration::from_millis(999)).await;
    assert_eq!(app.clone().oneshot(ready()).await.unwrap().status(), StatusCode::OK, "kept");
    advance(Duration::from_millis(1)).await;
    for _ in 0..2 {
        let answer = app.clone().oneshot(ready()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "an outage is kept no longer, and no shorter");
    }
    assert_eq!(asked(&demo), 2);
    demo.users.down.store(false, Ordering::SeqCst);
    advance(Duration::from_secs(1)).await;
    assert_eq!(app.clone().oneshot(ready()).await.unwrap().status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn readiness_is_not_asked_anew_for_each_client_that_goes_away() {
    let demo = fixture();
    let mut app = app(demo.state.clone()).into_service();
    for _ in 0..20 {
        let mut answer = app.call(ready());
        // Until it waits; then the client is gone.
        let begun = poll_fn(|context| Poll::Ready(std::pin::Pin::new(&mut answer).poll(context).is_pending())).await;
        assert!(begun || asked(&demo) > 0);
        drop(answer);
        tokio::task::yield_now().await;
    }
    assert_eq!(app.call(ready()).await.unwrap().status(), StatusCode::OK);
    assert_eq!(asked(&demo), 1);
}

/// Runs on a runtime of its own, in the thread whose log is read.
fn log_of(request: impl FnOnce(&Fixture) -> Request<Body>, wait: bool) -> Vec<String> {
    lines_of(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let demo = fixture();
            let mut request = request(&demo);
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
fn request_line_has_the_grpc_status_of_a_refusal() {
    let refused = log_of(
        |_| {
            let request = Request::post("/auth/logout").version(Version::HTTP_2);
            request.header(header::CONTENT_TYPE, "application/grpc").body(Body::empty()).unwrap()
        },
        true,
    );
    assert_eq!(refused.len(), 1, "{refused:#?}");
    assert!(refused[0].contains("status=200 grpc_status=16 "), "{}", refused[0]);
    let plain = log_of(|_| Request::get("/me?q=needle").body(Body::empty()).unwrap(), true);
    assert!(plain[0].contains("status=401 latency_us="), "{}", plain[0]);
    assert!(!plain[0].contains("needle"), "{}", plain[0]);
}

#[test]
fn request_line_says_that_nothing_was_answered() {
    let silent = log_of(
        |_| {
            let body =
                Body::from_stream(futures_util::stream::once(pending::<Result<&[u8], std::convert::Infallible>>()));
            let request = Request::post("/auth/login").header(header::CONTENT_TYPE, "application/json");
            request.body(body).unwrap()
        },
        false,
    );
    assert_eq!(silent.len(), 1, "{silent:#?}");
    assert!(silent[0].contains("request without an answer") && silent[0].contains("/auth/login"), "{}", silent[0]);
}
