//! The server: connections, their limits, and how it ends.
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

use crate::prompt::Prompt;

/// How long a client may take to say which protocol it speaks.
const PROMPT: Duration = Duration::from_secs(10);

/// How long a connection may be idle and then take for the next request's headers. Longer than proxies keep theirs, a minute as a rule: a
/// request must not be sent on a connection that is being closed here.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// How long requests that are under way have to end when the server does.
const GRACE: Duration = Duration::from_secs(10);

/// How long to wait where a connection cannot be accepted, for instance for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until `stop` is done, then lets what is under way end.
pub(crate) async fn serve(listener: TcpListener, app: Router, stop: impl Future<Output = ()>) {
    let mut http = Builder::new(TokioExecutor::new());
    // A client may shut its writing side when it has sent its request, and still gets its answer. A
    // client that went away is therefore noticed when it is answered: each request has its
    // deadline. HTTP/2 closes streams by halves, and no connection.
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
                tracing::warn!(%error, "a connection cannot be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    tracing::info!("stopping: no new connections; waiting for requests under way");
    if tokio::time::timeout(GRACE, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests did not end in time");
    }
}

fn connection(
    http: &Builder<TokioExecutor>,
    graceful: &GracefulShutdown,
    stream: TcpStream,
    peer: SocketAddr,
    app: Router,
) {
    // Small answers should not wait for more to send.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |mut request: Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        app.clone().oneshot(request)
    });
    let connection =
        http.serve_connection(TokioIo::new(Prompt::new(stream, PROMPT)), TowerToHyperService::new(service));
    let connection = graceful.watch(connection.into_owned());
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = &*error as &dyn std::error::Error, "a connection broke off");
        }
    });
}
