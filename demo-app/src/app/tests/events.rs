//! The stream of events.

use axum::body::BodyDataStream;
use futures_util::StreamExt;

use super::*;
use crate::open_streams::MAX_PER_USER;

/// An open stream, as a client reads it.
struct Events(BodyDataStream);

impl Events {
    async fn open(demo: &TestApp, token: &str) -> Self {
        let request = Request::get("/demo/events").header(header::AUTHORIZATION, format!("Bearer {token}"));
        let response = app(demo.state.clone()).oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
        Self(response.into_body().into_data_stream())
    }

    /// Returns name and data of the next event; `None` after the last.
    async fn next(&mut self) -> Option<(String, Value)> {
        let event = self.0.next().await?.unwrap();
        let event = std::str::from_utf8(&event).unwrap().strip_suffix("\n\n").unwrap();
        let (name, data) = event.split_once('\n').unwrap();
        let [name, data] = [("event: ", name), ("data: ", data)].map(|(field, line)| line.strip_prefix(field).unwrap());
        Some((name.to_owned(), serde_json::from_str(data).unwrap()))
    }

    /// Reads to the end, and returns the reason.
    async fn end(mut self) -> String {
        loop {
            let (name, data) = self.next().await.expect("an event says why the stream ends");
            if name == "end" {
                assert_eq!(self.next().await, None);
                return data["reason"].as_str().unwrap().to_owned();
            }
            assert_eq!(name, "tick");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn events_come_each_second_until_the_session_is_revoked() {
    let demo = test_app();
    demo.register("ada").await;
    let (first, second) = (demo.log_in("ada").await, demo.log_in("ada").await);
    let (access, other) = (first.text("access_token"), second.text("access_token"));
    let (mut ended, mut open) = (Events::open(&demo, &access).await, Events::open(&demo, &other).await);
    for stream in [&mut ended, &mut open] {
        assert_eq!(stream.next().await.unwrap().0, "tick");
        let begun = Instant::now();
        let (name, data) = stream.next().await.unwrap();
        assert_eq!((&*name, begun.elapsed()), ("tick", crate::routes::events::PERIOD));
        chrono::DateTime::parse_from_rfc3339(data["time"].as_str().unwrap()).unwrap();
    }
    // A refresh ends nothing.
    demo.post("/auth/refresh", json!({ "refresh_token": first.text("refresh_token") })).await;
    assert_eq!(ended.next().await.unwrap().0, "tick");
    assert_eq!(demo.with_token("POST", "/auth/logout", &access, None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(ended.end().await, "revoked");
    assert_eq!(open.next().await.unwrap().0, "tick");
    assert_eq!(demo.with_token("GET", "/demo/events", &access, None).await.body["error"], "invalid_token");
}

#[tokio::test(start_paused = true)]
async fn events_of_one_user_are_bounded_and_an_ended_stream_gives_its_place_back() {
    let demo = test_app();
    demo.register("ada").await;
    demo.register("bob").await;
    let (first, second) = (demo.log_in("ada").await, demo.log_in("ada").await);
    let (first, second) = (first.text("access_token"), second.text("access_token"));
    let ending = Events::open(&demo, &first).await;
    let mut open = Vec::new();
    for _ in 1..MAX_PER_USER {
        open.push(Events::open(&demo, &second).await);
    }
    let refused = demo.with_token("GET", "/demo/events", &first, None).await;
    assert_eq!((refused.status, &refused.body["error"]), (StatusCode::TOO_MANY_REQUESTS, &json!("rate_limited")));
    assert_eq!(refused.headers[header::RETRY_AFTER], "2");
    drop(Events::open(&demo, &demo.log_in("bob").await.text("access_token")).await);

    // The client goes away, and the server ends a stream.
    drop(open.pop());
    open.push(Events::open(&demo, &second).await);
    assert_eq!(demo.with_token("POST", "/auth/logout", &first, None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(ending.end().await, "revoked");
    open.push(Events::open(&demo, &second).await);
    assert_eq!(open.len(), MAX_PER_USER);
    let refused = demo.with_token("GET", "/demo/events", &second, None).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test(start_paused = true)]
async fn events_end_when_the_server_stops() {
    let demo = test_app();
    demo.register("ada").await;
    let access = demo.log_in("ada").await.text("access_token");
    let mut events = Events::open(&demo, &access).await;
    assert_eq!(events.next().await.unwrap().0, "tick");
    demo.shutdown.begin();
    assert_eq!(events.end().await, "stopping");
}

#[tokio::test]
async fn events_need_a_users_access_token() {
    let demo = test_app();
    demo.register("ada").await;
    let access = demo.log_in("ada").await.text("access_token");
    let once = demo.with_token("POST", "/auth/single-use", &access, None).await.text("access_token");
    assert_eq!(demo.with_token("GET", "/demo/events", &once, None).await.status, StatusCode::UNAUTHORIZED);
    let without = demo.send(Request::get("/demo/events").body(Body::empty()).unwrap()).await;
    assert_eq!((without.status, &without.body["error"]), (StatusCode::UNAUTHORIZED, &json!("unauthorized")));
}
