//! The smallest axum service with tokens that can be revoked:
//! `cargo run -p auth-layer --example quickstart`. It prints a token and the calls to try.
//!
//! `axum_service` also has a sign-in, refresh tokens and CORS.

use auth_layer::{
    AuthLayer, Authority, Claims, Grant, Rejection,
    keys::{Keyring, SigningKey},
    store::MemoryStore,
};
use axum::{
    Router,
    extract::State,
    routing::{get, post},
};
use http::StatusCode;
use tokio::net::TcpListener;

async fn me(claims: Claims) -> String {
    format!("hello, {}", claims.sub)
}

async fn logout(State(authority): State<Authority>, claims: Claims) -> Result<StatusCode, Rejection> {
    authority.sign_out(&claims).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) fn authority() -> Result<Authority, Box<dyn std::error::Error + Send + Sync>> {
    // Both are gone when the process ends. `EmbeddedStore` and `SigningKey::from_pem` keep them.
    let keys = Keyring::new(SigningKey::generate()?);
    Ok(Authority::builder("https://auth.example", MemoryStore::new()).audience("api").keys(keys).build()?)
}

/// Serves until the future is dropped.
pub(crate) async fn serve(listener: TcpListener, authority: Authority) -> std::io::Result<()> {
    let app = Router::new()
        .route("/me", get(me))
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
    println!("curl -H \"Authorization: Bearer $TOKEN\" http://127.0.0.1:3000/me");
    println!("curl -X POST -H \"Authorization: Bearer $TOKEN\" http://127.0.0.1:3000/logout");
    Ok(serve(TcpListener::bind("127.0.0.1:3000").await?, authority).await?)
}
