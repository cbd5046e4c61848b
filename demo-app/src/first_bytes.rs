//! A stream that must send its first bytes in time.
//!
//! hyper tells HTTP/1 from HTTP/2 by the first bytes and does not limit the wait for them.
//! `tokio-io-timeout` would limit every read of a connection.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

/// The number of bytes that identify the protocol: HTTP/2's preface (RFC 9113 §3.4).
const PREFACE: usize = 24;

/// A stream that fails unless its first bytes arrive in time.
#[derive(Debug)]
pub(crate) struct FirstBytesTimeout<S> {
    stream: S,
    remaining: usize,
    timeout: Pin<Box<Sleep>>,
}

impl<S> FirstBytesTimeout<S> {
    pub(crate) fn new(stream: S, deadline: Instant) -> Self {
        Self { stream, remaining: PREFACE, timeout: Box::pin(sleep_until(deadline)) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for FirstBytesTimeout<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, into);
        if self.remaining == 0 {
            return read;
        }
        if read.is_pending() {
            ready!(self.timeout.as_mut().poll(context));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        self.remaining = self.remaining.saturating_sub(into.filled().len() - before);
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for FirstBytesTimeout<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, duplex},
        time::{Duration, sleep},
    };

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn first_bytes_missing_or_incomplete_time_out() {
        for sent in ["", "P", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r"] {
            let (mut client, server) = duplex(64);
            let began = Instant::now();
            let mut server = FirstBytesTimeout::new(server, began + LIMIT);
            client.write_all(sent.as_bytes()).await.unwrap();
            let mut into = [0; PREFACE];
            let read = tokio::time::timeout(LIMIT * 2, server.read_exact(&mut into)).await.expect("it is given up");
            let error = read.unwrap_err();
            assert_eq!((error.kind(), began.elapsed()), (io::ErrorKind::TimedOut, LIMIT), "{sent}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn first_bytes_received_lift_the_timeout() {
        let (mut client, server) = duplex(64);
        let mut server = FirstBytesTimeout::new(server, Instant::now() + LIMIT);
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        server.read_exact(&mut [0; PREFACE]).await.unwrap();
        tokio::spawn(async move {
            sleep(LIMIT * 2).await;
            client.write_all(b"more").await.unwrap();
        });
        assert_eq!(server.read_exact(&mut [0; 7]).await.unwrap(), 7);
    }
}
