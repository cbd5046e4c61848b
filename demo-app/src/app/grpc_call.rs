//! Answers gRPC requests in gRPC's form, and watches their streams.
//!
//! The status of a call is in its trailers, which may come long after the headers. So the line of
//! the request is logged at the trailers. If the client goes away first, it is logged as abandoned.
//!
//! A service may read the request's stream in a task of its own, and keep the connection open with
//! it. So that stream ends with the call.

use std::{
    convert::Infallible,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll, ready},
};

use auth_layer::rejection::Rejection;
use axum::{
    body::{Body, Bytes, HttpBody},
    extract::{MatchedPath, Request},
    response::Response,
};
use futures_util::StreamExt;
use http::{HeaderMap, StatusCode, header::CONTENT_TYPE};
use http_body::Frame;
use tokio::sync::oneshot;
use tonic::Status;

use super::request_line::{RequestLine, grpc_status};
use crate::{grpc::METHODS, shutdown::Shutdown};

/// A call in progress. When it is dropped, the stream of its request ends.
pub(super) struct Call {
    line: RequestLine,
    _open: oneshot::Sender<Infallible>,
}

impl Call {
    /// Begins the call of a gRPC request.
    pub(super) fn begin(request: Request, line: RequestLine) -> (Self, Request) {
        let (open, ended) = oneshot::channel();
        let request = request.map(|body| Body::from_stream(body.into_data_stream().take_until(ended)));
        (Self { line, _open: open }, request)
    }

    /// Completes the response.
    pub(super) fn respond(self, response: Response, shutdown: Shutdown) -> Response {
        let response = if response.status().is_success() { response } else { translate(response) };
        if !is_open(&response) {
            self.line.log_response(&response);
            return response;
        }
        let shutdown = Box::pin(shutdown.begun());
        response.map(|body| Body::new(CallBody { body, call: Some(self), shutdown }))
    }
}

/// Returns whether a gRPC call names an HTTP route, which to gRPC is no method. Its client would not
/// understand the answer.
pub(super) fn is_misdirected(call: &Request) -> bool {
    !call.extensions().get::<MatchedPath>().is_some_and(|path| METHODS.contains(&path.as_str()))
}

/// Turns an error of HTTP into one of gRPC.
fn translate(mut response: Response) -> Response {
    if let Some(rejection) = response.extensions_mut().remove::<Rejection>() {
        return rejection.into_grpc();
    }
    let status = match response.status() {
        StatusCode::BAD_REQUEST => Status::invalid_argument("The message cannot be read"),
        StatusCode::UNAUTHORIZED => Status::unauthenticated("The credentials are refused"),
        StatusCode::FORBIDDEN => Status::permission_denied("The credentials do not allow this call"),
        StatusCode::REQUEST_TIMEOUT => Status::deadline_exceeded("The message did not arrive in time"),
        StatusCode::PAYLOAD_TOO_LARGE => Status::resource_exhausted("The message exceeds 64 KiB"),
        status if status.is_server_error() => Status::from(Rejection::internal()),
        // No gRPC method has this path.
        _ => Status::unimplemented("The method does not exist"),
    };
    status.into_http()
}

/// Returns whether the status of a call is still to come.
fn is_open(response: &Response) -> bool {
    let is_grpc = response.headers().get(CONTENT_TYPE).is_some_and(|value| value == "application/grpc");
    is_grpc && grpc_status(response.headers()).is_none()
}

/// The body of a gRPC response.
struct CallBody {
    body: Body,
    /// `None` after the trailers.
    call: Option<Call>,
    shutdown: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl HttpBody for CallBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Self { body, call, shutdown } = &mut *self;
        let Some(span) = call.as_ref().map(|call| call.line.span()) else { return Poll::Ready(None) };
        let _entered = span.enter();
        // What catches panics of handlers sees only the future of the headers. The body is not polled
        // after a panic.
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(body).poll_frame(cx)));
        let frame = match polled {
            Ok(Poll::Ready(Some(Ok(frame)))) => frame,
            Ok(Poll::Ready(ended)) => return Poll::Ready(ended),
            Ok(Poll::Pending) => {
                ready!(shutdown.as_mut().poll(cx));
                trailers(&Status::unavailable("The server is stopping"))
            }
            Err(_) => {
                tracing::error!("a gRPC stream panicked; answered INTERNAL");
                trailers(&Status::from(Rejection::internal()))
            }
        };
        if let Some(trailers) = frame.trailers_ref()
            && let Some(ended) = call.take()
        {
            ended.line.log_trailers(trailers);
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.call.is_none()
    }
}

/// Builds the trailers of a call that failed.
fn trailers(status: &Status) -> Frame<Bytes> {
    let mut trailers = HeaderMap::new();
    // It sets the code first. An error would concern the message alone.
    let _ = status.add_header(&mut trailers);
    Frame::trailers(trailers)
}
