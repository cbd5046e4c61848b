//! A service with login, refresh, logout, custom claims, a scope, an optional route, CORS and a
//! WebSocket: `cargo run -p auth-layer --example axum_service`. Sign in as `ada`, `correct horse`.

use argon2::{Argon2, PasswordHasher, PasswordVerifier, password_hash::phc::PasswordHash};
use auth_layer::{
    AuthLayer, Authority, Claims, Demand, Grant, GuardLayer, IssuedPair, Rejection,
    extract::Custom,
    keys::{Keyring, SigningKey},
    store::MemoryStore,
};
use axum::{
    Json, Router,
    extract::{State, WebSocketUpgrade},
    response::Response,
    routing::{delete, get, post},
};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tower_http::cors::CorsLayer;

/// The custom claims of our tokens.
#[derive(Serialize, Deserialize)]
struct Tenant {
    tenant: String,
}

#[derive(Clone)]
struct App {
    authority: Authority,
    password_hash: String,
}

#[derive(Deserialize)]
struct Login {
    username: String,
    password: String,
}

#[derive(Deserialize)]
struct Refresh {
    refresh_token: String,
}

async fn login(State(app): State<App>, Json(login): Json<Login>) -> Result<IssuedPair, Rejection> {
    // Comes before the password check: a revocation in between then refuses the sign-in.
    let sign_in = app.authority.begin_sign_in(42_u64).await?;
    let is_right = tokio::task::spawn_blocking(move || {
        let hash = PasswordHash::new(&app.password_hash).expect("made below");
        Argon2::default().verify_password(login.password.as_bytes(), &hash).is_ok() && login.username == "ada"
    });
    if !is_right.await.map_err(|_| Rejection::internal())? {
        return Err(Rejection::invalid_credentials());
    }
    let grant = Grant::new("web").scope("orders:read".parse().expect("a scope")).amr(["pwd"]);
    Ok(app.authority.sign_in(sign_in, grant.custom(&Tenant { tenant: "shop".to_owned() })?).await?)
}

async fn refresh(State(app): State<App>, Json(body): Json<Refresh>) -> Result<IssuedPair, Rejection> {
    Ok(app.authority.refresh(&body.refresh_token).await?)
}

async fn logout(State(app): State<App>, claims: Claims) -> Result<StatusCode, Rejection> {
    app.authority.sign_out(&claims).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn orders(claims: Claims, Custom(tenant): Custom<Tenant>) -> String {
    format!("orders of {} at {}", claims.sub, tenant.tenant)
}

async fn home(claims: Option<Claims>) -> String {
    claims.map_or("hello, stranger".to_owned(), |claims| format!("hello, {}", claims.sub))
}

async fn socket(claims: Claims, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(async move |mut socket| {
        drop(socket.send(format!("hello, {}", claims.sub).into()).await);
    })
}

/// Serves until the future is dropped.
pub(crate) async fn serve(listener: TcpListener) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let keys = Keyring::new(SigningKey::generate()?);
    let builder = Authority::builder("https://auth.example", MemoryStore::new()).audience("shop").keys(keys);
    let authority = builder.custom_claims::<Tenant>().build()?;
    let password_hash = Argon2::default().hash_password(b"correct horse")?.to_string();
    let guard = |scope| GuardLayer::new(Demand::new().scope(scope));
    let app = Router::new()
        .route("/orders", get(orders).route_layer(guard("orders:read")))
        .route("/orders/{id}", delete(async || "deleted").route_layer(guard("orders:write")))
        .route("/logout", post(logout))
        .route("/socket", get(socket))
        .route_layer(AuthLayer::new(&authority))
        .route("/", get(home).route_layer(AuthLayer::builder(&authority).optional(true).build()))
        .route("/login", post(login))
        .route("/refresh", post(refresh))
        // CORS is outermost: a browser's preflight request carries no token.
        .layer(CorsLayer::permissive())
        .with_state(App { authority, password_hash });
    Ok(axum::serve(listener, app).await?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    serve(TcpListener::bind("127.0.0.1:3000").await?).await
}
