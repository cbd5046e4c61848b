//! Serves connections within limits, and shuts down gracefully.
//!
//! `axum::serve` sets none of hyper's limits.

use std::{net::SocketAddr, time::Duration};

use axum::{Router, extract::ConnectInfo};
use http::Request;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::net::{TcpListener, TcpStream};
use tower::{ServiceExt, service_fn};

use crate::{first_bytes::FirstBytesTimeout, telemetry::Counted};

/// The time in which a client must show its protocol.
const FIRST_BYTES_TIMEOUT: Duration = Duration::from_secs(10);

/// The time in which a connection may be idle and then send the next headers. Proxies usually keep
/// connections for a minute; ours last longer, so that a proxy never uses one that is closing.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// The time for open requests to finish at shutdown.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(10);

/// The pause after a failed accept, for instance without free file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until `stop` completes, then lets open requests finish.
pub(crate) async fn serve(listener: TcpListener, app: Router, stop: impl Future<Output = ()>) {
    let mut http = Builder::new(TokioExecutor::new());
    // Half-close is allowed: a client may shut its writing side after its request and still gets
    // the answer. A disconnected client is therefore noticed only at the answer, so each request
    // has a deadline. HTTP/2 half-closes streams, not connections.
    http.http1().timer(TokioTimer::new()).header_read_timeout(KEEP_ALIVE).half_close(true);
    http.http2().timer(TokioTimer::new()).keep_alive_interval(Duration::from_secs(30));
    let graceful = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        match accepted {
            Ok((stream, peer)) => connection(&http, &graceful, stream, peer, app.clone()),
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be accepted; check the limit of open files");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    tracing::info!(
        "stopping: accepting no connections, waiting up to {} s for open requests",
        SHUTDOWN_GRACE.as_secs()
    );
    if tokio::time::timeout(SHUTDOWN_GRACE, graceful.shutdown()).await.is_err() {
        tracing::warn!("open requests were cut off after {} s", SHUTDOWN_GRACE.as_secs());
    }
}

fn connection(
    http: &Builder<TokioExecutor>,
    graceful: &GracefulShutdown,
    stream: TcpStream,
    peer: SocketAddr,
    app: Router,
) {
    // Small answers are sent at once.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |mut request: Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        app.clone().oneshot(request)
    });
    let connection = http.serve_connection(
        TokioIo::new(FirstBytesTimeout::new(stream, FIRST_BYTES_TIMEOUT)),
        TowerToHyperService::new(service),
    );
    let connection = graceful.watch(connection.into_owned());
    let open = Counted::connection();
    tokio::spawn(async move {
        let _open = open;
        if let Err(error) = connection.await {
            tracing::debug!(error = &*error as &dyn std::error::Error, "a connection failed");
        }
    });
}
