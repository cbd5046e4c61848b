//! Keeps hold of a request's body, so that what nobody has read can be read before the answer.
//!
//! Not every answer needs the body: a path or a content type may be wrong, another site may have
//! caused the request. [`UnreadBody`] says what becomes of the connection otherwise.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use auth_layer::middleware::UnreadBody;
use axum::{
    BoxError,
    body::{Body, Bytes},
    extract::Request,
    response::Response,
};
use http::{HeaderValue, StatusCode, Version, header::CONNECTION};
use http_body::{Frame, SizeHint};

/// A request's body in two hands: its handler's, and that of [`Unread`]. `None` once it was read.
#[derive(Clone)]
struct Held(Arc<Mutex<Option<Body>>>);

/// What is read of a request when its answer is known.
pub(crate) struct Unread(UnreadBody<Held>);

impl Unread {
    /// Takes hold of the body of a request, unless nothing can be left of it.
    pub(crate) fn hold(request: Request) -> (Request, Option<Self>) {
        if request.version() >= Version::HTTP_2 || http_body::Body::is_end_stream(request.body()) {
            return (request, None);
        }
        let (head, body) = request.into_parts();
        let body = Held(Arc::new(Mutex::new(Some(body))));
        let unread = UnreadBody::new(head.version, &head.headers, body.clone());
        (Request::from_parts(head, Body::new(body)), Some(Self(unread)))
    }

    /// Reads the rest, unless the response says that the connection ends. If the rest is too much,
    /// the response says so from now on.
    pub(crate) async fn end(self, response: &mut Response) {
        if response.headers().contains_key(CONNECTION) {
            return;
        }
        let connection = match response.status() {
            // It was waited for.
            StatusCode::REQUEST_TIMEOUT => Some(HeaderValue::from_static("close")),
            _ => self.0.await,
        };
        response.headers_mut().extend(connection.map(|close| (CONNECTION, close)));
    }
}

impl Held {
    fn body(&self) -> MutexGuard<'_, Option<Body>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut held = self.body();
        let Some(body) = held.as_mut() else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        if frame.is_none() {
            *held = None;
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body().as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body().as_ref().map_or_else(|| SizeHint::with_exact(0), http_body::Body::size_hint)
    }
}
