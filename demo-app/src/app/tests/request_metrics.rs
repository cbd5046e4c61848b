//! The metrics of requests.

use std::sync::Mutex;

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Metadata, Recorder, SharedString, Unit};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::*;

/// Notes each look-up of a handle: the name, and the values of the labels.
#[derive(Default)]
struct LookUps(Mutex<Vec<String>>);

impl LookUps {
    fn note(&self, key: &Key) {
        let values: Vec<&str> = key.labels().map(Label::value).collect();
        self.0.lock().unwrap().push(format!("{} {}", key.name(), values.join(" ")));
    }
}

impl Recorder for LookUps {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        self.note(key);
        Counter::noop()
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        self.note(key);
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        self.note(key);
        Histogram::noop()
    }
}

/// Sends requests with made-up methods and paths among them.
async fn send_requests(demo: &TestApp, number: usize) {
    let (made_up, brew) = (format!("/nowhere/{number}"), format!("BREW{number}"));
    let session = format!("/auth/sessions/{number}");
    for (method, path) in [("GET", "/me"), ("GET", &made_up), (&brew, "/me"), ("DELETE", &session)] {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        assert!(demo.send(request).await.status.is_client_error());
    }
    let mut health = HealthClient::new(app(demo.state.clone()));
    health.check(HealthCheckRequest::default()).await.unwrap();
    drop(health.watch(HealthCheckRequest::default()).await.unwrap());
    let request = Request::post(format!("/grpc.health.v1.Health/Made{number}")).version(http::Version::HTTP_2);
    let request = request.header(header::CONTENT_TYPE, "application/grpc").body(Body::empty()).unwrap();
    assert_eq!(demo.send(request).await.headers["grpc-status"], "12");
}

#[test]
fn metrics_of_requests_are_looked_up_once_and_do_not_grow_with_what_clients_make_up() {
    let look_ups = LookUps::default();
    metrics::with_local_recorder(&look_ups, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let demo = test_app();
            for number in 0..20 {
                send_requests(&demo, number).await;
            }
        });
    });
    let mut found = look_ups.0.into_inner().unwrap();
    found.retain(|found| found.starts_with("http_request_") || found.starts_with("grpc_"));
    found.sort();
    let expected = [
        "grpc_calls_total - 12",
        "grpc_calls_total /grpc.health.v1.Health/Check 0",
        "http_request_duration_seconds - GET 4xx",
        "http_request_duration_seconds - POST 2xx",
        "http_request_duration_seconds /auth/sessions/{session_id} DELETE 4xx",
        "http_request_duration_seconds /grpc.health.v1.Health/Check POST 2xx",
        "http_request_duration_seconds /grpc.health.v1.Health/Watch POST abandoned",
        "http_request_duration_seconds /me GET 4xx",
        "http_request_duration_seconds /me other 4xx",
    ];
    assert_eq!(found, expected);
}
