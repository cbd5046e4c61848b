use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use http::{
    HeaderMap, HeaderValue, Request, Response, Version,
    header::{CONNECTION, EXPECT},
};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::Sleep;

/// The maximum number of bytes that are read.
const LIMIT: u64 = 64 * 1024;

/// The time for which a client is waited for.
const WAIT: Duration = Duration::from_secs(1);

pin_project! {
    /// The body of a request that is answered without being read. As a future it reads the rest,
    /// drops it, and resolves to the `Connection` header that the response needs, if any.
    ///
    /// Over HTTP/1 a connection can be used again only if the whole request was read (RFC 9112
    /// §9.3). hyper closes it otherwise, and a client that sends its next request there finds no
    /// answer. [`AuthLayer`](super::AuthLayer) and [`GuardLayer`](crate::GuardLayer) do this for
    /// requests that they refuse, and the services of this library for all of theirs. Middleware of
    /// your own can do it too:
    ///
    /// ```
    /// # use auth_layer::{middleware::UnreadBody, rejection::Rejection};
    /// # use axum::body::Body;
    /// # use http::{Request, Response, header::CONNECTION};
    /// async fn refuse(request: Request<Body>) -> Response<Body> {
    ///     let (head, body) = request.into_parts();
    ///     let connection = UnreadBody::new(head.version, &head.headers, body).await;
    ///     let mut response = Rejection::missing_credentials().into_http();
    ///     response.headers_mut().extend(connection.map(|close| (CONNECTION, close)));
    ///     response
    /// }
    /// # let request = Request::post("/").body(Body::from("small")).unwrap();
    /// # let response = futures_util::FutureExt::now_or_never(refuse(request)).unwrap();
    /// # assert!(response.headers().get(CONNECTION).is_none());
    /// ```
    ///
    /// At most 64 KiB are read, and a client is waited for at most a second. Beyond that, or if it
    /// waits for `100 Continue`, the header is `close` (RFC 9112 §9.6). Over HTTP/2 there is
    /// nothing to do: the stream ends alone.
    pub struct UnreadBody<B> {
        #[pin]
        body: B,
        over_http_2: bool,
        expects_continue: bool,
        left: u64,
        // Most bodies arrive with the head and need no timer.
        timer: Option<Pin<Box<Sleep>>>,
    }
}

impl<B: Body> UnreadBody<B> {
    /// Begins with the body of a request of this version and with these headers.
    pub fn new(version: Version, headers: &HeaderMap, body: B) -> Self {
        let over_http_2 = version >= Version::HTTP_2;
        Self { body, over_http_2, expects_continue: headers.contains_key(EXPECT), left: LIMIT, timer: None }
    }
}

impl<B: Body> Future for UnreadBody<B> {
    type Output = Option<HeaderValue>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let close = Poll::Ready(Some(HeaderValue::from_static("close")));
        let mut this = self.project();
        loop {
            if *this.over_http_2 || this.body.is_end_stream() {
                return Poll::Ready(None);
            }
            if *this.expects_continue || this.body.size_hint().lower() > *this.left {
                return close;
            }
            match this.body.as_mut().poll_frame(cx) {
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Ready(Some(Ok(frame))) => {
                    let read = frame.data_ref().map_or(0, |data| data.remaining() as u64);
                    let Some(left) = this.left.checked_sub(read) else { return close };
                    *this.left = left;
                }
                Poll::Ready(Some(Err(_))) => return close,
                Poll::Pending => {
                    let timer = this.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(WAIT)));
                    ready!(timer.as_mut().poll(cx));
                    return close;
                }
            }
        }
    }
}

impl<B> fmt::Debug for UnreadBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnreadBody").field("left", &self.left).finish_non_exhaustive()
    }
}

pin_project! {
    /// A response that does not need the request's body. It comes when what is left of the request
    /// was read.
    pub(crate) struct EarlyResponse<B> {
        #[pin]
        body: UnreadBody<B>,
        // Taken once.
        response: Option<Response<Bytes>>,
    }
}

impl<B: Body> EarlyResponse<B> {
    pub(crate) fn new(request: Request<B>, response: Response<Bytes>) -> Self {
        let (head, body) = request.into_parts();
        Self { body: UnreadBody::new(head.version, &head.headers, body), response: Some(response) }
    }
}

impl<B: Body> Future for EarlyResponse<B> {
    type Output = Response<Bytes>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response<Bytes>> {
        let this = self.project();
        let connection = ready!(this.body.poll(cx));
        let mut response = this.response.take().expect("`EarlyResponse` polled after it was done");
        response.headers_mut().extend(connection.map(|close| (CONNECTION, close)));
        Poll::Ready(response)
    }
}
