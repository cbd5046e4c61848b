use std::{
    fmt,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Wake, Waker, ready},
    time::Duration,
};

use axum::{
    Error,
    extract::ws::{CloseFrame, Message, WebSocket, close_code},
};
use futures_core::Stream;
use futures_sink::Sink;
use futures_util::task::AtomicWaker;
use tokio::time::{Sleep, sleep};

use super::{Revoked, StreamEnd};
use crate::rejection::Rejection;

/// How long the close frame may take: a client that reads nothing must not hold the socket.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// An axum WebSocket that ends with its session.
///
/// The client gets a close frame: 1008 (policy violation), or 1013 (try again later) if the state
/// is unknown. Then [`recv`](Self::recv) returns `None` and [`send`](Self::send) fails with
/// a [`StreamEnd`].
///
/// The frame is sent by the call that waits for the socket, or by the next one. A handler that waits
/// for something else therefore also waits for [`recv`](Self::recv), as here:
///
/// ```
/// # use auth_layer::{Claims, Trust};
/// use auth_layer::stream::RevocableSocket;
/// use axum::{
///     extract::{State, WebSocketUpgrade},
///     response::Response,
/// };
/// use tokio::sync::broadcast::{Receiver, Sender};
///
/// async fn chat(
///     State((trust, news)): State<(Trust, Sender<String>)>,
///     claims: Claims,
///     upgrade: WebSocketUpgrade,
/// ) -> Response {
///     let revoked = trust.revoked(&claims);
///     let news = news.subscribe();
///     upgrade.on_upgrade(|socket| serve(RevocableSocket::new(socket, revoked), news))
/// }
///
/// async fn serve(mut socket: RevocableSocket, mut news: Receiver<String>) {
///     loop {
///         tokio::select! {
///             Ok(item) = news.recv() => if socket.send(item.into()).await.is_err() { return },
///             message = socket.recv() => if !matches!(message, Some(Ok(_))) { return },
///         }
///     }
/// }
/// ```
///
/// It is a [`Stream`] and a [`Sink`] as well, and can be split. The halves may be in two tasks.
pub struct RevocableSocket {
    socket: WebSocket,
    revoked: Revoked,
    state: SocketState,
    tasks: Arc<WaitingTasks>,
}

/// The tasks that use the socket. What ends it wakes both: either may wait for something that no
/// longer comes.
#[derive(Default)]
struct WaitingTasks {
    receives: AtomicWaker,
    sends: AtomicWaker,
}

impl Wake for WaitingTasks {
    fn wake(self: Arc<Self>) {
        self.receives.wake();
        self.sends.wake();
    }
}

enum SocketState {
    Open,
    /// The close frame is on its way. It is taken when the socket takes it.
    Closing {
        end: StreamEnd,
        frame: Option<Message>,
        limit: Pin<Box<Sleep>>,
    },
    Closed(StreamEnd),
}

impl RevocableSocket {
    /// Wraps a socket.
    pub fn new(socket: WebSocket, revoked: Revoked) -> Self {
        Self { socket, revoked, state: SocketState::Open, tasks: Arc::default() }
    }

    /// Receives a message. `None` once the client has closed or the session has ended.
    pub async fn recv(&mut self) -> Option<Result<Message, Error>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// Sends a message.
    ///
    /// # Errors
    ///
    /// If the connection has failed, or the session has ended. The source is then a [`StreamEnd`].
    pub async fn send(&mut self, message: Message) -> Result<(), Error> {
        poll_fn(|cx| Pin::new(&mut *self).poll_ready(cx)).await?;
        Pin::new(&mut *self).start_send(message)?;
        poll_fn(|cx| Pin::new(&mut *self).poll_flush(cx)).await
    }

    /// Returns why the socket ended. `None` if its session has not ended.
    pub fn end(&self) -> Option<StreamEnd> {
        match self.state {
            SocketState::Open => None,
            SocketState::Closing { end, .. } | SocketState::Closed(end) => Some(end),
        }
    }

    /// Completes when the session has ended and the close frame is sent. Wakes all waiting tasks.
    fn poll_end(&mut self) -> Poll<StreamEnd> {
        let waker = Waker::from(Arc::clone(&self.tasks));
        let cx = &mut Context::from_waker(&waker);
        if let SocketState::Open = self.state {
            let end = ready!(Pin::new(&mut self.revoked).poll(cx));
            self.state =
                SocketState::Closing { end, frame: Some(close_frame(end)), limit: Box::pin(sleep(CLOSE_TIMEOUT)) };
        }
        if let SocketState::Closing { end, frame, limit } = &mut self.state {
            // Whether it was sent or the connection has failed, there is nothing more to do.
            if poll_send(&mut self.socket, frame, cx).is_pending() {
                ready!(limit.as_mut().poll(cx));
            }
            self.state = SocketState::Closed(*end);
        }
        match self.state {
            SocketState::Closed(end) => Poll::Ready(end),
            SocketState::Open | SocketState::Closing { .. } => Poll::Pending,
        }
    }

    /// Is ready with an error once the session has ended; pending while the close frame is sent.
    fn poll_open(&mut self) -> Poll<Result<(), Error>> {
        match self.poll_end() {
            Poll::Ready(end) => Poll::Ready(Err(Error::new(end))),
            Poll::Pending if self.end().is_some() => Poll::Pending,
            Poll::Pending => Poll::Ready(Ok(())),
        }
    }
}

fn close_frame(end: StreamEnd) -> Message {
    let code = if end == StreamEnd::Unavailable { close_code::AGAIN } else { close_code::POLICY };
    Message::Close(Some(CloseFrame { code, reason: Rejection::from(end).description().into() }))
}

fn poll_send(socket: &mut WebSocket, frame: &mut Option<Message>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
    let mut socket = pin!(socket);
    if frame.is_some() {
        ready!(socket.as_mut().poll_ready(cx))?;
    }
    if let Some(frame) = frame.take() {
        socket.as_mut().start_send(frame)?;
    }
    socket.poll_flush(cx)
}

impl Stream for RevocableSocket {
    type Item = Result<Message, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.tasks.receives.register(cx.waker());
        match ready!(self.poll_open()) {
            Ok(()) => Pin::new(&mut self.socket).poll_next(cx),
            Err(_) => Poll::Ready(None),
        }
    }
}

impl Sink<Message> for RevocableSocket {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.tasks.sends.register(cx.waker());
        ready!(self.poll_open())?;
        Pin::new(&mut self.socket).poll_ready(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        match self.end() {
            Some(end) => Err(Error::new(end)),
            None => Pin::new(&mut self.socket).start_send(message),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.tasks.sends.register(cx.waker());
        ready!(self.poll_open())?;
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.socket).poll_close(cx)
    }
}

impl fmt::Debug for RevocableSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RevocableSocket").field("end", &self.end()).finish_non_exhaustive()
    }
}
