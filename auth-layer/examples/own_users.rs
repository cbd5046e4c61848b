//! Users of your own, here in a `HashMap`; the library knows only their ids. Sign in as `ada` with
//! `correct horse`: `cargo run -p auth-layer --example own_users`.

use std::{collections::HashMap, sync::Arc};

use argon2::{Argon2, PasswordHasher, PasswordVerifier, password_hash::phc::PasswordHash};
use auth_layer::{
    AuthLayer, Authority, Claims, Grant, IssuedPair, Rejection,
    keys::{Keyring, SigningKey},
    store::MemoryStore,
};
use axum::{Json, Router, extract::State, routing};
use serde::Deserialize;
use tokio::{net::TcpListener, task::spawn_blocking};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Maps each name to the user's id and password hash.
type Users = Arc<HashMap<&'static str, (u64, String)>>;

#[derive(Deserialize)]
struct Login {
    username: String,
    password: String,
}

async fn login(
    State((authority, users)): State<(Authority, Users)>,
    Json(login): Json<Login>,
) -> Result<IssuedPair, Rejection> {
    let (id, hash) = users.get(&*login.username).cloned().ok_or_else(Rejection::invalid_credentials)?;
    // Comes before the password check: a revocation in between then refuses the sign-in.
    let sign_in = authority.begin_sign_in(id).await?;
    let is_right = spawn_blocking(move || {
        let hash = PasswordHash::new(&hash).expect("made below");
        Argon2::default().verify_password(login.password.as_bytes(), &hash).is_ok()
    });
    is_right.await.ok().filter(|is_right| *is_right).ok_or_else(Rejection::invalid_credentials)?;
    Ok(authority.sign_in(sign_in, Grant::new("web")).await?)
}

/// Serves until the future is dropped.
pub(crate) async fn serve(listener: TcpListener) -> Result<(), Failure> {
    let keys = Keyring::new(SigningKey::generate()?);
    let authority =
        Authority::builder("https://auth.example", MemoryStore::new()).audience("app").keys(keys).build()?;
    let hash = Argon2::default().hash_password(b"correct horse")?.to_string();
    let app = Router::new()
        .route("/me", routing::get(async |claims: Claims| claims.sub.to_string()))
        .route_layer(AuthLayer::new(&authority))
        .route("/login", routing::post(login))
        .with_state((authority, Users::new([("ada", (42, hash))].into())));
    Ok(axum::serve(listener, app).await?)
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    serve(TcpListener::bind("127.0.0.1:3000").await?).await
}
