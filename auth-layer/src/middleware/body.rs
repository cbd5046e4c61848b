use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

/// A response body that can hold a refusal.
///
/// The service inside an [`AuthLayer`](super::AuthLayer) must respond with such a body. axum's and
/// tonic's bodies are (features `axum` and `tonic`); an [`AuthBody`] wraps any other. A body type of
/// your own can implement it:
///
/// ```
/// use auth_layer::middleware::RefusalBody;
/// use bytes::Bytes;
///
/// struct Text(Bytes);
///
/// impl RefusalBody for Text {
///     fn refusal(text: Bytes) -> Self {
///         Self(text)
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot hold the refusals of an `AuthLayer`",
    note = "axum's and tonic's bodies can, with the features `axum` and `tonic`",
    note = "another body can inside an `AuthBody`: `.layer(auth_layer).layer(MapResponseBodyLayer::new(AuthBody::new))`"
)]
pub trait RefusalBody {
    /// Creates a body with this text.
    ///
    /// An empty body must know its end at once: a gRPC refusal is headers alone, which end the
    /// stream.
    fn refusal(text: Bytes) -> Self;
}

#[cfg(feature = "axum")]
impl RefusalBody for axum_core::body::Body {
    fn refusal(text: Bytes) -> Self {
        if text.is_empty() { Self::empty() } else { Self::from(text) }
    }
}

#[cfg(feature = "tonic")]
impl RefusalBody for tonic::body::Body {
    fn refusal(text: Bytes) -> Self {
        if text.is_empty() { Self::empty() } else { Self::new(AuthBody::<Self>::refusal(text)) }
    }
}

impl<B: Body<Data: From<Bytes>>> RefusalBody for AuthBody<B> {
    fn refusal(text: Bytes) -> Self {
        Self { kind: BodyKind::Refusal { text: (!text.is_empty()).then_some(text) } }
    }
}

pin_project! {
    /// The body of any service, or a refusal. The error type is the body's.
    ///
    /// For services whose bodies are neither axum's nor tonic's:
    ///
    /// ```
    /// # use std::convert::Infallible;
    /// # use auth_layer::{AuthLayer, Authority, middleware::AuthBody};
    /// # use bytes::Bytes;
    /// # use http::{Request, Response};
    /// # use http_body_util::Full;
    /// # use tower::ServiceBuilder;
    /// # fn service(authority: Authority) -> impl tower::Service<Request<Full<Bytes>>> {
    /// ServiceBuilder::new()
    ///     .layer(AuthLayer::new(authority))
    ///     .map_response(|response: Response<Full<Bytes>>| response.map(AuthBody::new))
    ///     .service_fn(async |_: Request<Full<Bytes>>| Ok::<_, Infallible>(Response::default()))
    /// # }
    /// ```
    #[derive(Debug)]
    pub struct AuthBody<B> {
        #[pin]
        kind: BodyKind<B>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = BodyKindProjection]
    enum BodyKind<B> {
        Inner { #[pin] body: B },
        // `None` once it was sent, or if it is empty.
        Refusal { text: Option<Bytes> },
    }
}

impl<B> AuthBody<B> {
    /// Wraps a body.
    pub fn new(body: B) -> Self {
        Self { kind: BodyKind::Inner { body } }
    }
}

impl<B: Body<Data: From<Bytes>>> Body for AuthBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        match self.project().kind.project() {
            BodyKindProjection::Inner { body } => body.poll_frame(cx),
            BodyKindProjection::Refusal { text } => Poll::Ready(text.take().map(|text| Ok(Frame::data(text.into())))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            BodyKind::Inner { body } => body.is_end_stream(),
            // A gRPC refusal is headers alone, which must end the stream.
            BodyKind::Refusal { text } => text.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            BodyKind::Inner { body } => body.size_hint(),
            BodyKind::Refusal { text } => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
        }
    }
}
