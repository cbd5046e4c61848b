//! axum's WebSockets.

use auth_layer::{AuthLayer, clock::ManualClock, stream::RevocableSocket};
use axum::{
    Router,
    extract::{State, WebSocketUpgrade, ws::Message},
    response::Response,
    routing::get,
};
use futures_util::{SinkExt, StreamExt};
use tokio::{net::TcpListener, sync::mpsc, task::AbortHandle};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{self, client::IntoClientRequest},
};

use super::*;

type Socket = WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>;

#[derive(Clone)]
struct App {
    trust: Trust,
    /// How each handler ended.
    ends: mpsc::UnboundedSender<Option<StreamEnd>>,
}

/// Returns each message. Ends with its socket.
async fn echo(State(app): State<App>, claims: Claims, upgrade: WebSocketUpgrade) -> Response {
    let revoked = app.trust.revoked(&claims);
    upgrade.on_upgrade(async move |socket| {
        let mut socket = RevocableSocket::new(socket, revoked);
        while let Some(Ok(message)) = socket.recv().await {
            if let Message::Text(text) = message
                && socket.send(Message::Text(text)).await.is_err()
            {
                break;
            }
        }
        app.ends.send(socket.end()).unwrap();
    })
}

/// Sends without reading, through a half of the socket.
async fn ticks(State(app): State<App>, claims: Claims, upgrade: WebSocketUpgrade) -> Response {
    let revoked = app.trust.revoked(&claims);
    upgrade.on_upgrade(async move |socket| {
        let (mut sink, _stream) = RevocableSocket::new(socket, revoked).split();
        let error = loop {
            match sink.send("tick".into()).await {
                Ok(()) => sleep(SECOND / 100).await,
                Err(error) => break error.into_inner(),
            }
        };
        app.ends.send(error.downcast_ref().copied()).unwrap();
    })
}

/// Returns each message. One task receives and another sends.
async fn relay(State(app): State<App>, claims: Claims, upgrade: WebSocketUpgrade) -> Response {
    let revoked = app.trust.revoked(&claims);
    upgrade.on_upgrade(async move |socket| {
        let (mut sink, mut stream) = RevocableSocket::new(socket, revoked).split();
        let (sender, mut messages) = mpsc::channel(1);
        tokio::spawn(async move {
            while let Some(Ok(message)) = stream.next().await {
                if sender.send(message).await.is_err() {
                    break;
                }
            }
        });
        let error = loop {
            // There are no more once the receiving half has ended.
            let message = messages.recv().await.unwrap_or_else(|| "late".into());
            if let Err(error) = sink.send(message).await {
                break error.into_inner();
            }
        };
        app.ends.send(error.downcast_ref().copied()).unwrap();
    })
}

struct Server {
    node: Node,
    address: std::net::SocketAddr,
    ends: mpsc::UnboundedReceiver<Option<StreamEnd>>,
    task: AbortHandle,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    async fn start(node: Node) -> Self {
        let (sender, ends) = mpsc::unbounded_channel();
        let app = Router::new()
            .route("/echo", get(echo))
            .route("/ticks", get(ticks))
            .route("/relay", get(relay))
            .layer(AuthLayer::new(&node.authority))
            .with_state(App { trust: node.trust.clone(), ends: sender });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(axum::serve(listener, app).into_future()).abort_handle();
        Self { node, address, ends, task }
    }

    async fn connect(&self, path: &str, pair: &IssuedPair) -> Socket {
        let mut request = format!("ws://{}{path}", self.address).into_client_request().unwrap();
        request.headers_mut().insert("authorization", format!("Bearer {}", pair.access_token).parse().unwrap());
        connect_async(request).await.unwrap().0
    }

    async fn end(&mut self) -> Option<StreamEnd> {
        timeout(10 * SECOND, self.ends.recv()).await.expect("the handler ends").unwrap()
    }
}

/// Reads up to the close frame, and returns its code.
async fn close_code(socket: &mut Socket) -> u16 {
    loop {
        match timeout(10 * SECOND, socket.next()).await.expect("it is closed").unwrap().unwrap() {
            tungstenite::Message::Close(frame) => return frame.unwrap().code.into(),
            tungstenite::Message::Text(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn web_socket_is_closed_as_a_policy_violation_when_its_session_ends() {
    let mut server = Server::start(Node::new()).await;
    for path in ["/echo", "/ticks", "/relay"] {
        let pair = server.node.sign_in(UserId::generate()).await;
        let mut socket = server.connect(path, &pair).await;
        socket.send("hello".into()).await.unwrap();
        let first = socket.next().await.unwrap().unwrap();
        assert!(first.is_text(), "{first:?}");
        server.node.authority.revoke_session(pair.session_id).await.unwrap();
        assert_eq!(close_code(&mut socket).await, 1008, "{path}");
        assert_eq!(server.end().await, Some(StreamEnd::Revoked), "{path}");
    }
}

#[tokio::test]
async fn web_socket_that_its_client_closes_has_no_end_of_a_session() {
    let mut server = Server::start(Node::new()).await;
    let pair = server.node.sign_in(UserId::generate()).await;
    let mut socket = server.connect("/echo", &pair).await;
    socket.close(None).await.unwrap();
    assert_eq!(server.end().await, None);
}

#[tokio::test]
async fn web_socket_asks_to_try_again_when_its_state_is_unknown() {
    let clock = ManualClock::starting_at(chrono::Utc::now());
    let mut server = Server::start(Node::with(|builder| builder.clock(clock.clone()))).await;
    let pair = server.node.sign_in(UserId::generate()).await;
    let mut socket = server.connect("/echo", &pair).await;
    server.node.store.break_down(Outage::Fails);
    clock.advance(MINUTE);
    assert_eq!(close_code(&mut socket).await, 1013);
    assert_eq!(server.end().await, Some(StreamEnd::Unavailable));
}

/// A client that reads nothing fills the connection, and the close frame with it.
#[tokio::test]
async fn web_socket_of_a_client_that_reads_nothing_is_given_up() {
    for path in ["/echo", "/relay"] {
        let mut server = Server::start(Node::new()).await;
        let pair = server.node.sign_in(UserId::generate()).await;
        let mut socket = server.connect(path, &pair).await;
        let large = "x".repeat(1 << 20);
        // More than the buffers hold. The echoes back up, and then what is sent here does.
        while timeout(SECOND / 2, socket.send(large.as_str().into())).await.is_ok() {}
        server.node.authority.revoke_session(pair.session_id).await.unwrap();
        tokio::time::pause();
        assert_eq!(server.end().await, Some(StreamEnd::Revoked), "{path}");
        tokio::time::resume();
    }
}
