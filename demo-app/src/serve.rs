//! Serves connections within limits, and shuts down gracefully.
//!
//! `axum::serve` sets none of hyper's limits.

use std::{convert::Infallible, io, net::SocketAddr, time::Duration};

use axum::{Router, extract::ConnectInfo};
use http::{HeaderValue, Request, header::STRICT_TRANSPORT_SECURITY};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{Instant, timeout_at},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tower::{ServiceExt, service_fn};

use crate::{first_bytes::FirstBytesTimeout, telemetry::Counted};

/// The time in which a client must show its protocol, a TLS handshake included.
const FIRST_BYTES_TIMEOUT: Duration = Duration::from_secs(10);

/// The time in which a connection may be idle and then send the next headers. Proxies usually keep
/// connections for a minute; ours last longer, so that a proxy never uses one that is closing.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// The time for open requests to finish at shutdown.
pub(crate) const SHUTDOWN_GRACE: Duration = Duration::from_secs(10);

/// The pause after a failed accept, for instance without free file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The answer to plain HTTP where TLS is on, before the body.
const PLAIN_HTTP_HEAD: &str = "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\n";

/// The body of that answer.
const PLAIN_HTTP_BODY: &str =
    r#"{"error":"invalid_request","error_description":"This port speaks HTTPS; use a URL with https://"}"#;

/// How much of a plain HTTP request is read and dropped, so that its client reads the answer.
const PLAIN_HTTP_LIMIT: u64 = 64 * 1024;

/// What `Strict-Transport-Security` says: use HTTPS for a year.
const ONE_YEAR: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// Serves until `stop` completes, then lets open requests finish.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    app: Router,
    stop: impl Future<Output = ()>,
) {
    let connections = Connections::new(app);
    let mut handshakes = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    // Small answers are sent at once.
                    let _ = stream.set_nodelay(true);
                    let deadline = Instant::now() + FIRST_BYTES_TIMEOUT;
                    match &tls {
                        None => connections.serve(stream, Peer { address: peer, is_tls: false }, deadline),
                        Some(tls) => {
                            handshakes.spawn(handshake(tls.clone(), stream, peer, deadline));
                        }
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection cannot be accepted; check the limit of open files");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(done) = handshakes.join_next() => {
                if let Ok(Some((stream, peer, deadline))) = done {
                    connections.serve(stream, Peer { address: peer, is_tls: true }, deadline);
                }
            }
            () = &mut stop => break,
        }
    }
    drop(listener);
    // Nothing was asked in them yet.
    drop(handshakes);
    if tokio::time::timeout(SHUTDOWN_GRACE, connections.graceful.shutdown()).await.is_err() {
        tracing::warn!("open requests were cut off after {} s", SHUTDOWN_GRACE.as_secs());
    }
}

/// The client of a connection.
#[derive(Clone, Copy)]
struct Peer {
    address: SocketAddr,
    is_tls: bool,
}

/// What the connections share.
struct Connections {
    http: Builder<TokioExecutor>,
    graceful: GracefulShutdown,
    app: Router,
}

impl Connections {
    fn new(app: Router) -> Self {
        let mut http = Builder::new(TokioExecutor::new());
        // Half-close is allowed: a client may shut its writing side after its request and still
        // gets the answer. A disconnected client is therefore noticed only at the answer, so each
        // request has a deadline. HTTP/2 half-closes streams, not connections.
        http.http1().timer(TokioTimer::new()).header_read_timeout(KEEP_ALIVE).half_close(true);
        http.http2().timer(TokioTimer::new()).keep_alive_interval(Duration::from_secs(30));
        Self { http, graceful: GracefulShutdown::new(), app }
    }

    /// Serves a connection whose first bytes must come before the deadline.
    fn serve<S>(&self, stream: S, Peer { address, is_tls }: Peer, deadline: Instant)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let app = self.app.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(address));
            let answer = app.clone().oneshot(request);
            async move {
                let mut response = answer.await?;
                //= RFC 6797 §7.1
                //= RFC 6797 §7.2
                // Behind a proxy that terminates TLS, the proxy sends it.
                if is_tls {
                    response.headers_mut().insert(STRICT_TRANSPORT_SECURITY, ONE_YEAR);
                }
                Ok::<_, Infallible>(response)
            }
        });
        let connection = self.http.serve_connection(
            TokioIo::new(FirstBytesTimeout::new(stream, deadline)),
            TowerToHyperService::new(service),
        );
        let connection = self.graceful.watch(connection.into_owned());
        let open = Counted::connection();
        tokio::spawn(async move {
            let _open = open;
            if let Err(error) = connection.await {
                tracing::debug!(error = &*error as &dyn std::error::Error, "a connection failed");
            }
        });
    }
}

/// Accepts a TLS connection before the deadline, which goes on for its first bytes.
async fn handshake(
    tls: TlsAcceptor,
    stream: TcpStream,
    peer: SocketAddr,
    deadline: Instant,
) -> Option<(TlsStream<TcpStream>, SocketAddr, Instant)> {
    let accepted = async {
        let mut first = [0];
        // Each request of HTTP begins with a capital letter, and no record of TLS does.
        if stream.peek(&mut first).await? == 1 && first[0].is_ascii_uppercase() {
            answer_plain_http(stream).await?;
            return Ok(None);
        }
        tls.accept(stream).await.map(Some)
    };
    let accepted = timeout_at(deadline, accepted).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    match accepted {
        Ok(stream) => Some((stream?, peer, deadline)),
        Err(error) => {
            tracing::debug!(%error, "a TLS handshake failed");
            None
        }
    }
}

/// Says that this port speaks HTTPS, and closes the connection.
async fn answer_plain_http(mut stream: TcpStream) -> io::Result<()> {
    let answer = format!("{PLAIN_HTTP_HEAD}content-length: {}\r\n\r\n{PLAIN_HTTP_BODY}", PLAIN_HTTP_BODY.len());
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    // A close with unread bytes would reset the connection, and with it the answer.
    tokio::io::copy(&mut stream.take(PLAIN_HTTP_LIMIT), &mut tokio::io::sink()).await.map(drop)
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use axum::routing::get;

    use super::*;
    use crate::tls::tests::self_signed;

    /// Serves on a free port.
    async fn server(tls: Option<TlsAcceptor>) -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().route("/", get(async || "served"));
        tokio::spawn(serve(listener, tls, app, pending()));
        address
    }

    async fn tls_server() -> SocketAddr {
        server(Some(self_signed().acceptor().unwrap())).await
    }

    /// Sends these bytes and returns the answer up to the end of the connection.
    async fn send(server: SocketAddr, bytes: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(server).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test(start_paused = true)]
    async fn tls_handshake_that_is_not_finished_ends_at_the_limit() {
        let server = tls_server().await;
        // Nothing, a part of a record's head, and a record of which nothing more comes.
        for sent in ["", "\x16\x03", "\x16\x03\x01\x00\u{7f}\x01\x00"] {
            let begun = Instant::now();
            assert_eq!(send(server, sent.as_bytes()).await, b"", "{sent:?}");
            assert_eq!(begun.elapsed().as_secs(), FIRST_BYTES_TIMEOUT.as_secs(), "{sent:?}");
        }
    }

    #[tokio::test]
    async fn tls_port_tells_a_plain_http_client_to_use_https() {
        let server = tls_server().await;
        let large = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n{}", "x".repeat(60_000));
        for request in ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &large] {
            let answer = send(server, request.as_bytes()).await;
            let answer = String::from_utf8(answer).unwrap();
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with("HTTP/1.1 400 ") && head.contains("connection: close"), "{head}");
            assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            assert_eq!(body["error"], "invalid_request");
            assert!(body["error_description"].as_str().unwrap().contains("HTTPS"), "{body}");
        }
    }

    #[tokio::test]
    async fn hsts_is_not_sent_over_plain_http() {
        let answer = send(server(None).await, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        let answer = String::from_utf8(answer).unwrap().to_lowercase();
        assert!(answer.starts_with("http/1.1 200 ") && !answer.contains("strict-transport-security"), "{answer}");
    }

    #[tokio::test]
    async fn tls_port_closes_what_is_neither_tls_nor_http() {
        let answer = send(tls_server().await, b"\x05\x01\x00 garbage that is long enough to be a record").await;
        // An alert (RFC 8446 §6), or nothing.
        assert!(answer.is_empty() || answer[0] == 21, "{answer:?}");
    }
}
