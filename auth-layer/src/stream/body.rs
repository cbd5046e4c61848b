use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::{BoxError, Revoked};
#[cfg(doc)]
use crate::stream::StreamEnd;

pin_project! {
    /// A body that ends with its session, with a [`StreamEnd`] as its error.
    ///
    /// ```
    /// # use auth_layer::{Claims, Trust};
    /// use auth_layer::stream::RevocableBody;
    /// use axum::{body::Body, response::Response};
    ///
    /// // In a handler, or in a tower service around one.
    /// fn guarded(response: Response, trust: &Trust, claims: &Claims) -> Response {
    ///     let revoked = trust.revoked(claims);
    ///     response.map(|body| Body::new(RevocableBody::new(body, revoked)))
    /// }
    /// ```
    #[derive(Debug)]
    pub struct RevocableBody<B> {
        #[pin]
        body: B,
        revoked: Revoked,
        has_ended: bool,
    }
}

impl<B> RevocableBody<B> {
    /// Wraps a body.
    pub fn new(body: B, revoked: Revoked) -> Self {
        Self { body, revoked, has_ended: false }
    }
}

impl<B: Body<Error: Into<BoxError>>> Body for RevocableBody<B> {
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        let this = self.project();
        if *this.has_ended {
            return Poll::Ready(None);
        }
        if let Poll::Ready(end) = Pin::new(this.revoked).poll(cx) {
            *this.has_ended = true;
            return Poll::Ready(Some(Err(end.into())));
        }
        let frame = ready!(this.body.poll_frame(cx));
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended || self.body.is_end_stream()
    }

    /// Returns the body's: if it ends early, it ends with an error.
    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
