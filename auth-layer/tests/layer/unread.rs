//! What becomes of the connection when a request is answered before its body has arrived.

use std::{convert::Infallible, future::pending, io, time::Duration};

use auth_layer::{AuthLayer, Demand, GuardLayer, oauth::ProtectedResourceMetadata, oidc::BackChannelLogout};
use axum::{Router, body::Body, routing::post, serve::Listener};
use bytes::Bytes;
use http::{Request, Response, StatusCode, Version, header};
use http_body::{Frame, SizeHint};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream, duplex},
    time::{Instant, sleep},
};
use tower::{Layer, Service, ServiceExt, service_fn};

use super::{authority, sign_in};

/// The documented bounds.
const LIMIT: usize = 64 * 1024;
const WAIT: Duration = Duration::from_secs(1);

/// Listens for one connection in memory.
struct OneConnection(Option<DuplexStream>);

impl Listener for OneConnection {
    type Io = DuplexStream;
    type Addr = ();

    async fn accept(&mut self) -> (DuplexStream, ()) {
        match self.0.take() {
            Some(connection) => (connection, ()),
            None => pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A client's end of a connection to `app`.
struct Connection(BufReader<DuplexStream>);

impl Connection {
    fn to(app: Router) -> Self {
        let (client, server) = duplex(1 << 20);
        tokio::spawn(async move { axum::serve(OneConnection(Some(server)), app).await });
        Self(BufReader::new(client))
    }

    async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads a response. Returns its head.
    async fn response(&mut self) -> String {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(self.0.read_line(&mut head).await.unwrap() > 0, "the connection has ended after {head:?}");
        }
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
        self.0.read_exact(&mut vec![0; length]).await.unwrap();
        head
    }

    async fn has_ended(&mut self) -> bool {
        self.0.read(&mut [0]).await.unwrap() == 0
    }
}

/// Routes that refuse with the layer at sight, with the layer when the store was asked, with a guard,
/// and with each service of the library; and the headers for it.
async fn refusals() -> (Router, Vec<(&'static str, String)>) {
    let authority = authority();
    let (pair, ended) = (sign_in(&authority).await, sign_in(&authority).await);
    authority.revoke_session(ended.session_id).await.unwrap();
    let guard = GuardLayer::new(Demand::new().scope("admin"));
    let metadata = ProtectedResourceMetadata::of_servers("https://api", ["https://issuer"]);
    let app = Router::new()
        .route("/", post(async || "in"))
        .route("/admin", post(async || "in").layer(guard))
        .layer(AuthLayer::new(&authority))
        .route_service("/metadata", metadata.service())
        .route_service("/logout", BackChannelLogout::new(&authority));
    let bearer = |token: &str| format!("authorization: Bearer {token}\r\n");
    let refused = [
        ("/", String::new()),
        ("/", bearer(&ended.access_token)),
        ("/admin", bearer(&pair.access_token)),
        ("/metadata", String::new()),
        ("/logout", String::new()),
    ];
    (app, refused.into())
}

#[tokio::test(start_paused = true)]
async fn layer_keeps_a_connection_whose_refused_request_arrives_in_pieces() {
    let (app, mut refusals) = refusals().await;
    // Read until it is too long for a logout token.
    refusals.push(("/logout", "content-type: application/x-www-form-urlencoded\r\n".into()));
    let full = "x".repeat(LIMIT);
    let sized = format!("content-length: {LIMIT}\r\n\r\n");
    let bodies = [
        ("content-length: 4\r\n\r\n", ["bo", "dy"]),
        ("transfer-encoding: chunked\r\n\r\n", ["4\r\nbody\r\n", "0\r\n\r\n"]),
        (&sized, [&full[1..], &full[..1]]),
    ];
    let mut connection = Connection::to(app);
    for (path, credentials) in &refusals {
        for (end_of_head, pieces) in &bodies {
            connection.send(&format!("POST {path} HTTP/1.1\r\nhost: a\r\n{credentials}{end_of_head}")).await;
            for piece in pieces {
                sleep(WAIT / 4).await;
                connection.send(piece).await;
            }
            let head = connection.response().await;
            assert!(head.starts_with("HTTP/1.1 4"), "{head}");
            assert!(!head.contains("connection:"), "{head}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn layer_says_when_a_refusal_ends_the_connection() {
    let (app, refusals) = refusals().await;
    let too_long = format!("content-length: {}\r\n\r\n", LIMIT + 1);
    let endless = format!("transfer-encoding: chunked\r\n\r\n{:x}\r\n{}\r\n", LIMIT + 1, "x".repeat(LIMIT + 1));
    let cases = [
        (too_long.as_str(), Duration::ZERO),
        (&endless, Duration::ZERO),
        // `100 Continue` would ask for what nobody wants.
        ("expect: 100-continue\r\ncontent-length: 4\r\n\r\n", Duration::ZERO),
        ("content-length: 4\r\n\r\nbod", WAIT),
        ("transfer-encoding: chunked\r\n\r\nnot a chunk\r\n", Duration::ZERO),
    ];
    for (path, credentials) in &refusals {
        for (rest, waits) in cases {
            let mut connection = Connection::to(app.clone());
            let sent = Instant::now();
            connection.send(&format!("POST {path} HTTP/1.1\r\nhost: a\r\n{credentials}{rest}")).await;
            let head = connection.response().await;
            assert!(head.starts_with("HTTP/1.1 4") && head.contains("connection: close\r\n"), "{rest:?}: {head}");
            let waited = sent.elapsed();
            assert!(waited >= waits && waited < waits + Duration::from_millis(10), "{rest:?}: {waited:?}");
            assert!(connection.has_ended().await, "{rest:?}");
        }
    }
}

/// A body that must not be read.
struct Untouchable;

impl http_body::Body for Untouchable {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        panic!("the body is read");
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(4)
    }
}

/// A refused stream ends alone (RFC 9113 §8.1).
#[tokio::test]
async fn layer_reads_nothing_of_a_request_refused_over_http_2() {
    let inner = service_fn(async |_: Request<Untouchable>| Ok::<_, Infallible>(Response::new(Body::empty())));
    let mut service = AuthLayer::new(authority()).layer(inner);
    let request = Request::post("/").version(Version::HTTP_2).body(Untouchable).unwrap();
    let response = service.ready().await.unwrap().call(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert!(!response.headers().contains_key(header::CONNECTION));
}
