//! An issuer on loopback that can be told to misbehave.

use std::{
    collections::HashMap,
    convert::Infallible,
    future,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{Response, Uri, header},
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde_json::json;
use tokio::{net::TcpListener, sync::Notify, task::JoinHandle};

/// How an issuer answers a request.
#[derive(Clone)]
pub(super) enum Reply {
    Body(String),
    /// With this `Cache-Control`.
    Cached(&'static str, String),
    Status(u16),
    Redirect(String),
    /// Never answers.
    Hangs,
    /// Answers with this when it is released.
    Held(Arc<Notify>, String),
    /// Sends a byte every few milliseconds, for ever.
    Drips,
    /// Sends as fast as it can, for ever.
    Endless,
}

/// Ends with its drop.
pub(super) struct FakeIssuer {
    address: SocketAddr,
    served: Arc<Served>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Served {
    replies: Mutex<HashMap<String, Reply>>,
    requests: Mutex<Vec<String>>,
    requested: Notify,
}

impl FakeIssuer {
    pub(super) const KEYS: &str = "/keys";

    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let served = Arc::<Served>::default();
        let app = Router::new().fallback(answer).with_state(Arc::clone(&served));
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { address, served, task }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Decides the answers to requests for this path. At first all are 404.
    pub(super) fn reply(&self, path: &str, reply: Reply) {
        self.served.replies.lock().unwrap().insert(path.to_owned(), reply);
    }

    /// Answers requests for this path with the metadata of this issuer.
    pub(super) fn reply_metadata(&self, path: &str, issuer: &str) {
        let metadata = json!({ "issuer": issuer, "jwks_uri": self.url(Self::KEYS), "scopes_supported": ["openid"] });
        self.reply(path, Reply::Body(metadata.to_string()));
    }

    /// Returns the paths that were requested since the last call.
    pub(super) fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.served.requests.lock().unwrap())
    }

    /// Waits for a request since the last call.
    pub(super) async fn requested(&self) {
        self.served.requested.notified().await;
    }
}

impl Drop for FakeIssuer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(State(served): State<Arc<Served>>, uri: Uri) -> Response<Body> {
    served.requests.lock().unwrap().push(uri.to_string());
    served.requested.notify_one();
    let reply = served.replies.lock().unwrap().get(uri.path()).cloned();
    let response = Response::builder();
    let response = match reply.unwrap_or(Reply::Status(404)) {
        Reply::Body(body) => response.body(body.into()),
        Reply::Cached(how, body) => response.header(header::CACHE_CONTROL, how).body(body.into()),
        Reply::Status(status) => response.status(status).body("<!doctype html>".into()),
        Reply::Redirect(to) => response.status(302).header(header::LOCATION, to).body(Body::empty()),
        Reply::Hangs => future::pending().await,
        Reply::Held(release, body) => {
            release.notified().await;
            response.body(body.into())
        }
        Reply::Drips => {
            let ticks = stream::unfold(tokio::time::interval(Duration::from_millis(5)), async |mut interval| {
                interval.tick().await;
                Some((Ok::<_, Infallible>(" "), interval))
            });
            response.body(Body::from_stream(ticks))
        }
        Reply::Endless => {
            let chunk = Bytes::from_static(&[b' '; 16 * 1024]);
            response.body(Body::from_stream(stream::repeat(chunk).map(Ok::<_, Infallible>)))
        }
    };
    response.unwrap()
}
