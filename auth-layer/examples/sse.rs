//! Server-sent events that end with their session: `cargo run -p auth-layer --example sse`. It
//! prints a token and the calls to try.
//!
//! Sign out in a second terminal, and the events end. A browser's `EventSource` would connect again
//! and get 401.

use std::{convert::Infallible, time::Duration};

use auth_layer::{
    AuthLayer, Authority, Claims, Grant, Rejection, Trust,
    keys::{Keyring, SigningKey},
    store::MemoryStore,
    stream::RevocableStream,
};
use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Sse, sse::Event},
    routing::{get, post},
};
use http::StatusCode;
use tokio::{net::TcpListener, time::interval};
use tokio_stream::{StreamExt, wrappers::IntervalStream};

async fn events(State(authority): State<Authority>, claims: Claims) -> impl IntoResponse {
    let revoked = Trust::from(&authority).revoked(&claims);
    let seconds = IntervalStream::new(interval(Duration::from_secs(1)));
    let events = seconds.map(move |_| Ok::<_, Infallible>(Event::default().data(format!("hello, {}", claims.sub))));
    Sse::new(events.try_until_revoked(revoked))
}

async fn logout(State(authority): State<Authority>, claims: Claims) -> Result<StatusCode, Rejection> {
    authority.sign_out(&claims).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) fn authority() -> Result<Authority, Box<dyn std::error::Error + Send + Sync>> {
    let keys = Keyring::new(SigningKey::generate()?);
    Ok(Authority::builder("https://auth.example", MemoryStore::new()).audience("events").keys(keys).build()?)
}

/// Serves until the future is dropped.
pub(crate) async fn serve(listener: TcpListener, authority: Authority) -> std::io::Result<()> {
    let app = Router::new()
        .route("/events", get(events))
        .route("/logout", post(logout))
        .route_layer(AuthLayer::new(&authority))
        .with_state(authority);
    axum::serve(listener, app).await
}

#[expect(clippy::print_stdout, reason = "the user needs a token")]
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let authority = authority()?;
    let token = authority.sign_in(authority.begin_sign_in(42_u64).await?, Grant::new("cli")).await?.access_token;
    println!("TOKEN={token}");
    println!("curl -N -H \"Authorization: Bearer $TOKEN\" http://127.0.0.1:3000/events");
    println!("curl -X POST -H \"Authorization: Bearer $TOKEN\" http://127.0.0.1:3000/logout");
    Ok(serve(TcpListener::bind("127.0.0.1:3000").await?, authority).await?)
}
