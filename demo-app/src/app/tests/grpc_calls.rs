//! gRPC calls that go wrong on the server, and their lines in the log.

use std::{future::pending, sync::atomic::Ordering, time::Duration};

use axum::{
    extract::Request as AxumRequest,
    routing::{post, post_service},
};
use futures_util::stream::{BoxStream, StreamExt, once};
use tonic::{Code, Status};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_client::HealthClient,
    health_server::{Health, HealthServer},
};

use super::*;
use crate::{
    grpc::{
        METHODS,
        pb::{WhoAmIRequest, identity_client::IdentityClient},
    },
    logging::tests::capture_log,
};

/// A service that never answers a check, and panics while it is watched.
struct Broken;

#[tonic::async_trait]
impl Health for Broken {
    async fn check(
        &self,
        _: tonic::Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<HealthCheckResponse>, Status> {
        pending().await
    }

    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn watch(&self, _: tonic::Request<HealthCheckRequest>) -> Result<tonic::Response<Self::WatchStream>, Status> {
        let panics = once(async {
            // Otherwise tonic would not send the first message by itself.
            tokio::task::yield_now().await;
            panic!("as the test wants it")
        });
        Ok(tonic::Response::new(once(async { Ok(HealthCheckResponse::default()) }).chain(panics).boxed()))
    }
}

/// Returns a client of the broken service behind the application's middleware.
fn broken() -> (HealthClient<Router>, TestApp) {
    let demo = test_app();
    let service = HealthServer::new(Broken);
    let router = Router::new()
        .route("/grpc.health.v1.Health/Check", post_service(service.clone()))
        .route("/grpc.health.v1.Health/Watch", post_service(service))
        .layer(from_fn_with_state(demo.state.clone(), respond));
    (HealthClient::new(router), demo)
}

#[tokio::test(start_paused = true)]
async fn grpc_call_that_is_not_answered_in_time_is_unavailable() {
    let (mut client, _demo) = broken();
    let begun = Instant::now();
    let status = client.check(HealthCheckRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn grpc_call_that_panics_is_internal() {
    let demo = test_app();
    demo.register("ada").await;
    let mut request = tonic::Request::new(WhoAmIRequest {});
    let token = format!("Bearer {}", demo.log_in("ada").await.text("access_token"));
    request.metadata_mut().insert("authorization", token.parse().unwrap());
    demo.store.panic_in_checks.store(true, Ordering::SeqCst);
    let status = IdentityClient::new(app(demo.state.clone())).who_am_i(request).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Internal, "Something went wrong here"));
}

#[tokio::test]
async fn grpc_stream_that_panics_is_internal() {
    let (mut client, _demo) = broken();
    let mut changes = client.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    changes.message().await.unwrap().expect("the first is good");
    let status = changes.message().await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Internal, "Something went wrong here"));
}

/// Runs `calls` in a runtime of this thread, and returns the lines that name this route.
fn lines_of(route: &str, calls: impl AsyncFnOnce(TestApp)) -> Vec<String> {
    let lines = capture_log(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { calls(test_app()).await });
    });
    lines.into_iter().filter(|line| line.contains(route)).collect()
}

#[test]
fn request_line_of_grpc_call_has_the_status_of_its_trailers() {
    let lines = lines_of("/grpc.health.v1.Health/Check", async |demo| {
        let request = HealthCheckRequest::default();
        HealthClient::new(app(demo.state.clone())).check(request).await.unwrap();
    });
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].contains("method=POST") && lines[0].contains("status=200 grpc_status=0 "), "{}", lines[0]);
}

#[test]
fn request_line_of_grpc_stream_comes_at_its_end() {
    let route = "/grpc.health.v1.Health/Watch";
    let ended = lines_of(route, async |demo| {
        let mut client = HealthClient::new(app(demo.state.clone()));
        let mut changes = client.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
        changes.message().await.unwrap().expect("there is a status");
        tracing::info!("{route} is open");
        demo.shutdown.begin();
        changes.message().await.unwrap_err();
    });
    assert_eq!(ended.len(), 2, "{ended:#?}");
    assert!(ended[0].contains("is open") && ended[1].contains("status=200 grpc_status=14 "), "{ended:#?}");

    let left = lines_of(route, async |demo| {
        let mut client = HealthClient::new(app(demo.state.clone()));
        let changes = client.watch(HealthCheckRequest::default()).await.unwrap();
        tracing::info!("{route} is open");
        drop(changes);
    });
    assert_eq!(left.len(), 2, "{left:#?}");
    assert!(left[0].contains("is open") && left[1].contains("request abandoned"), "{left:#?}");
}

#[tokio::test]
async fn grpc_request_ends_with_its_call() {
    let (read, is_read) = tokio::sync::oneshot::channel();
    let read = Arc::new(std::sync::Mutex::new(Some(read)));
    // As tonic's reflection does: a task reads the request beside the answer.
    let serve = async move |request: AxumRequest| {
        let read = read.lock().unwrap().take().unwrap();
        tokio::spawn(async move { read.send(request.into_body().collect().await.map(drop)) });
        let silent = Body::from_stream(pending_stream());
        ([(header::CONTENT_TYPE, "application/grpc")], silent)
    };
    let method = METHODS[0];
    let router = Router::new().route(method, post(serve)).layer(from_fn_with_state(test_app().state, respond));
    let request = Request::post(method).version(http::Version::HTTP_2);
    let request = request.header(header::CONTENT_TYPE, "application/grpc").body(Body::from_stream(pending_stream()));
    let response = router.oneshot(request.unwrap()).await.unwrap();
    tokio::task::yield_now().await;
    drop(response);
    is_read.await.unwrap().unwrap();
}

fn pending_stream() -> futures_util::stream::Pending<Result<&'static [u8], std::convert::Infallible>> {
    futures_util::stream::pending()
}
