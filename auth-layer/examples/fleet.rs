//! One node of a fleet: MongoDB keeps the records, Redis answers most checks.
//!
//! Start two with the same settings, each at its own address:
//!
//! ```sh
//! openssl genpkey -algorithm ed25519 -out key.pem
//! export KEY=key.pem MONGODB_URI='mongodb://127.0.0.1/?replicaSet=rs0' REDIS_URL=redis://127.0.0.1
//! cargo run -p auth-layer --features mongodb,redis --example fleet 127.0.0.1:3000
//! cargo run -p auth-layer --features mongodb,redis --example fleet 127.0.0.1:3001
//! ```
//!
//! Each prints a token, which every node takes until one of them ends its session.

use std::{env, time::Duration};

use auth_layer::{
    AuthLayer, Authority, Claims, Grant, Rejection,
    cache::{
        Cached,
        redis::{RedisCache, RedisOptions},
    },
    keys::{Algorithm, Keyring, SigningKey},
    store::mongodb::{MongoOptions, MongoStore},
};
use axum::{
    Router,
    extract::State,
    routing::{get, post},
};
use http::StatusCode;
use tokio::net::TcpListener;

/// Answers 503 while Redis is away. The revocation is recorded then, and goes on in the background.
async fn logout(State(authority): State<Authority>, claims: Claims) -> Result<StatusCode, Rejection> {
    authority.sign_out(&claims).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Tells a load balancer whether to send requests here.
async fn ready(State(authority): State<Authority>) -> Result<&'static str, Rejection> {
    authority.ping().await?;
    Ok("ready")
}

async fn authority() -> Result<Authority, Box<dyn std::error::Error>> {
    let database = env::var("MONGODB_DATABASE").unwrap_or_else(|_| "auth".to_owned());
    let mongodb = MongoStore::connect(&env::var("MONGODB_URI")?, &database, MongoOptions::default()).await?;
    // Fleets may share a Redis, if their prefixes differ.
    let options = RedisOptions::default().with_key_prefix(format!("{database}:"));
    let redis = RedisCache::connect(&[env::var("REDIS_URL")?], options).await?;
    // All nodes sign with the same key.
    let key = SigningKey::from_pem(Algorithm::EdDsa, &std::fs::read(env::var("KEY")?)?)?;
    let authority = Authority::builder("https://auth.example", Cached::new(mongodb, redis))
        .audience("api")
        .keys(Keyring::new(key))
        // For at most this long a node accepts what another revoked; usually it hears of it before.
        .local_cache(Duration::from_secs(1))
        .build()?;
    Ok(authority)
}

#[expect(clippy::print_stdout, reason = "the user needs a token")]
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind(env::args().nth(1).ok_or("name the address to listen on")?).await?;
    let authority = authority().await?;
    let token = authority.sign_in(authority.begin_sign_in(42_u64).await?, Grant::new("cli")).await?.access_token;
    let url = format!("http://{}", listener.local_addr()?);
    println!("TOKEN={token}");
    println!("curl -H \"Authorization: Bearer $TOKEN\" {url}/me");
    println!("curl -X POST -H \"Authorization: Bearer $TOKEN\" {url}/logout");
    let app = Router::new()
        .route("/me", get(async |claims: Claims| claims.sub.to_string()))
        .route("/logout", post(logout))
        .route_layer(AuthLayer::new(&authority))
        .route("/readyz", get(ready))
        .with_state(authority);
    Ok(axum::serve(listener, app).await?)
}
