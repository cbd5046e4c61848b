//! A chat over WebSockets that end with their sessions:
//! `cargo run -p auth-layer --features ws --example websocket`. It prints a token and the calls to
//! try.
//!
//! Sign out in another terminal, and the chat closes with the code 1008.

use auth_layer::{
    AuthLayer, Authority, Claims, Grant, Rejection, Trust,
    keys::{Keyring, SigningKey},
    store::MemoryStore,
    stream::RevocableSocket,
};
use axum::{
    Router,
    extract::{State, WebSocketUpgrade, ws::Message},
    response::Response,
    routing::{get, post},
};
use http::StatusCode;
use tokio::{net::TcpListener, sync::broadcast};

#[derive(Clone)]
struct App {
    authority: Authority,
    chat: broadcast::Sender<String>,
}

async fn chat(State(app): State<App>, claims: Claims, upgrade: WebSocketUpgrade) -> Response {
    let revoked = Trust::from(&app.authority).revoked(&claims);
    upgrade.on_upgrade(async move |socket| {
        let mut socket = RevocableSocket::new(socket, revoked);
        let mut said = app.chat.subscribe();
        loop {
            tokio::select! {
                line = said.recv() => {
                    let Ok(line) = line else { return };
                    if socket.send(line.into()).await.is_err() { return }
                }
                // Ends when the client closes, and when the session ends.
                message = socket.recv() => match message {
                    Some(Ok(Message::Text(line))) => drop(app.chat.send(format!("{}: {line}", claims.sub))),
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return,
                },
            }
        }
    })
}

async fn logout(State(app): State<App>, claims: Claims) -> Result<StatusCode, Rejection> {
    app.authority.sign_out(&claims).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) fn authority() -> Result<Authority, Box<dyn std::error::Error + Send + Sync>> {
    let keys = Keyring::new(SigningKey::generate()?);
    Ok(Authority::builder("https://auth.example", MemoryStore::new()).audience("chat").keys(keys).build()?)
}

/// Serves until the future is dropped.
pub(crate) async fn serve(listener: TcpListener, authority: Authority) -> std::io::Result<()> {
    let app = Router::new()
        .route("/chat", get(chat))
        .route("/logout", post(logout))
        .route_layer(AuthLayer::new(&authority))
        .with_state(App { authority, chat: broadcast::Sender::new(64) });
    axum::serve(listener, app).await
}

#[expect(clippy::print_stdout, reason = "the user needs a token")]
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let authority = authority()?;
    let token = authority.sign_in(authority.begin_sign_in(42_u64).await?, Grant::new("cli")).await?.access_token;
    println!("TOKEN={token}");
    println!("websocat -H \"Authorization: Bearer $TOKEN\" ws://127.0.0.1:3000/chat");
    println!("curl -X POST -H \"Authorization: Bearer $TOKEN\" http://127.0.0.1:3000/logout");
    Ok(serve(TcpListener::bind("127.0.0.1:3000").await?, authority).await?)
}
