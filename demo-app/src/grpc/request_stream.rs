//! Requests whose client may send messages without end.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http_body::Frame;
use tokio::time::sleep;

use crate::shutdown::Shutdown;

/// The time for the response to end first, with the status that says why.
const AFTER_RESPONSE: Duration = Duration::from_millis(100);

/// Ends the messages of the client when the server stops.
///
/// A service that waits for the next one would otherwise hold the stream, and the stream the
/// connection, after the response has ended.
pub(super) async fn end_at_shutdown(State(shutdown): State<Shutdown>, request: Request, next: Next) -> Response {
    let end = async {
        shutdown.begun().await;
        sleep(AFTER_RESPONSE).await;
    };
    let stream = |body| Body::new(RequestStream { body, end: Box::pin(end) });
    next.run(request.map(stream)).await
}

/// The body of a request, until the server stops.
struct RequestStream {
    body: Body,
    end: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl HttpBody for RequestStream {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if polled.is_ready() {
            return polled;
        }
        ready!(self.end.as_mut().poll(cx));
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}
