//! The service of the guide's page "A first service in five minutes":
//! `cargo run -p auth-layer --example first_service`. It wants a key in `key.pem`; the page has the
//! calls.

use auth_layer::{
    AuthLayer, Authority, Claims, Grant, IssuedPair, Rejection,
    keys::{Algorithm, Keyring, SigningKey},
    store::embedded::EmbeddedStore,
};
use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    routing::{get, post},
};
use serde::Deserialize;
use tokio::net::TcpListener;

#[derive(Deserialize)]
struct Login {
    username: String,
    password: String,
}

async fn login(State(authority): State<Authority>, Json(login): Json<Login>) -> Result<IssuedPair, Rejection> {
    // Comes before the password check: a revocation in between then refuses the sign-in.
    let sign_in = authority.begin_sign_in(42_u64).await?;
    // Your users and their password hashes go here: see the example `own_users`.
    if (login.username.as_str(), login.password.as_str()) != ("ada", "correct horse") {
        return Err(Rejection::invalid_credentials());
    }
    Ok(authority.sign_in(sign_in, Grant::new("web")).await?)
}

async fn me(claims: Claims) -> String {
    format!("hello, user {}\n", claims.sub)
}

async fn logout(State(authority): State<Authority>, claims: Claims) -> Result<StatusCode, Rejection> {
    authority.sign_out(&claims).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) fn app(authority: Authority) -> Router {
    Router::new()
        .route("/me", get(me))
        .route("/logout", post(logout))
        .route_layer(AuthLayer::new(&authority))
        .route("/login", post(login))
        .with_state(authority)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let key = SigningKey::from_pem(Algorithm::EdDsa, &std::fs::read("key.pem")?)?;
    let store = EmbeddedStore::open("tokens.redb")?;
    let builder = Authority::builder("http://127.0.0.1:8080", store).audience("my-api");
    let authority = builder.keys(Keyring::new(key)).build()?;
    axum::serve(TcpListener::bind("127.0.0.1:8080").await?, app(authority)).await?;
    Ok(())
}
