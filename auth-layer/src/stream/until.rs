use std::{
    future::Future,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_core::Stream;
use pin_project_lite::pin_project;

use super::{BoxError, Revoked, StreamEnd};

/// Ends streams with their sessions. Every [`Stream`] has these methods.
pub trait RevocableStream: Stream + Sized {
    /// Ends this stream with its session, as if it were complete.
    ///
    /// [`UntilRevoked::end`] says why it ended.
    ///
    /// ```
    /// # use auth_layer::{Claims, Trust};
    /// use auth_layer::stream::RevocableStream;
    /// use tokio_stream::{Stream, StreamExt};
    ///
    /// async fn count(rows: impl Stream<Item = u64>, trust: &Trust, claims: &Claims) -> u64 {
    ///     let mut rows = std::pin::pin!(rows.until_revoked(trust.revoked(claims)));
    ///     let mut sum = 0;
    ///     while let Some(row) = rows.next().await {
    ///         sum += row;
    ///     }
    ///     sum
    /// }
    /// ```
    fn until_revoked(self, revoked: Revoked) -> UntilRevoked<Self> {
        UntilRevoked { stream: self, revoked, end: None }
    }

    /// Ends this stream of results with its session. A [`StreamEnd`] is then its last item.
    ///
    /// The [module's documentation](crate::stream) has an example.
    fn try_until_revoked<T, E>(self, revoked: Revoked) -> TryUntilRevoked<Self>
    where
        Self: Stream<Item = Result<T, E>>,
        E: Into<BoxError>,
    {
        TryUntilRevoked::new(self, revoked)
    }
}

impl<S: Stream> RevocableStream for S {}

pin_project! {
    /// A stream that ends with its session. Made by [`RevocableStream::until_revoked`].
    #[derive(Debug)]
    #[must_use = "streams do nothing unless polled"]
    pub struct UntilRevoked<S> {
        #[pin]
        stream: S,
        revoked: Revoked,
        end: Option<StreamEnd>,
    }
}

impl<S> UntilRevoked<S> {
    /// Returns why the stream ended. `None` if it has not ended, or is complete.
    pub fn end(&self) -> Option<StreamEnd> {
        self.end
    }
}

impl<S: Stream> Stream for UntilRevoked<S> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let this = self.project();
        if this.end.is_some() {
            return Poll::Ready(None);
        }
        // Comes first: what is ready must not pass once the end is known.
        if let Poll::Ready(end) = Pin::new(this.revoked).poll(cx) {
            *this.end = Some(end);
            return Poll::Ready(None);
        }
        this.stream.poll_next(cx)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, if self.end.is_some() { Some(0) } else { self.stream.size_hint().1 })
    }
}

pin_project! {
    /// A stream of results whose last item is an error if its session ended. Made by
    /// [`RevocableStream::try_until_revoked`].
    #[derive(Debug)]
    #[must_use = "streams do nothing unless polled"]
    pub struct TryUntilRevoked<S, E = BoxError> {
        #[pin]
        stream: UntilRevoked<S>,
        is_complete: bool,
        error: PhantomData<fn() -> E>,
    }
}

impl<S: Stream, E> TryUntilRevoked<S, E> {
    pub(crate) fn new(stream: S, revoked: Revoked) -> Self {
        Self { stream: stream.until_revoked(revoked), is_complete: false, error: PhantomData }
    }
}

impl<S, T, F, E> Stream for TryUntilRevoked<S, E>
where
    S: Stream<Item = Result<T, F>>,
    F: Into<E>,
    E: From<StreamEnd>,
{
    type Item = Result<T, E>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut this = self.project();
        if *this.is_complete {
            return Poll::Ready(None);
        }
        let item = ready!(this.stream.as_mut().poll_next(cx));
        *this.is_complete = item.is_none();
        Poll::Ready(match item {
            Some(item) => Some(item.map_err(Into::into)),
            None => this.stream.end().map(|end| Err(end.into())),
        })
    }
}
