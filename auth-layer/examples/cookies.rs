//! A browser's session in cookies that no script can read, with a defence against forged requests.
//! `cargo run -p auth-layer --example cookies`, then open `http://localhost:3000`.

use std::time::Duration;

use auth_layer::{
    AuthLayer, Authority, Claims, Grant, IssuedPair, Rejection,
    keys::{Keyring, SigningKey},
    store::MemoryStore,
    trust::CookieName,
};
use axum::{
    Json, Router,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::{AppendHeaders, Html, IntoResponse, Response},
    routing::{get, post},
};
use http::{HeaderMap, StatusCode, header::SET_COOKIE};
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;
use tower_http::csrf::CsrfLayer;

/// A browser takes a `__Host-` cookie from this host alone, so no subdomain can set it.
const ACCESS: &str = "__Host-access";
const REFRESH: &str = "__Host-refresh";

/// Plays a story. `sessionStorage` keeps the CSRF token over a reload.
const PAGE: &str = r#"<!doctype html><pre></pre><script type="module">
for (const call of ["POST /login", "GET /me", "POST /refresh", "POST /logout", "GET /me"]) {
  const [method, path] = call.split(" ");
  const headers = { "content-type": "application/json", "x-csrf-token": sessionStorage.csrf ?? "" };
  const body = path == "/login" ? '{"password":"correct horse"}' : undefined;
  const text = await (await fetch(path, { method, headers, body })).text();
  if (text.includes("csrf_token")) sessionStorage.csrf = JSON.parse(text).csrf_token;
  document.querySelector("pre").textContent += `${call}: ${text}\n`;
}
</script>"#;

#[derive(Deserialize)]
struct Login {
    password: String,
}

/// The `Set-Cookie` header of a token that lives this long; zero removes it.
fn cookie(name: &str, token: &str, life: Duration) -> (http::HeaderName, String) {
    (SET_COOKIE, format!("{name}={token}; Max-Age={}; Path=/; Secure; HttpOnly; SameSite=Lax", life.as_secs()))
}

/// Sends the tokens in cookies, and the token that our page must send back in the body.
fn respond(authority: &Authority, pair: &IssuedPair) -> Response {
    let access = cookie(ACCESS, &pair.access_token, pair.expires_in);
    let refresh = cookie(REFRESH, &pair.refresh_token, pair.refresh_expires_in);
    let body = json!({ "csrf_token": authority.csrf_token(pair.session_id) });
    (AppendHeaders([access, refresh]), Json(body)).into_response()
}

/// Returns a cookie's value; `None` also if it comes twice.
fn value<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    std::str::from_utf8(CookieName::new(name).ok()?.value(headers).ok()??).ok()
}

async fn login(State(authority): State<Authority>, Json(login): Json<Login>) -> Result<Response, Rejection> {
    let sign_in = authority.begin_sign_in(42_u64).await?;
    // `own_users` has users and hashed passwords.
    if login.password != "correct horse" {
        return Err(Rejection::invalid_credentials());
    }
    Ok(respond(&authority, &authority.sign_in(sign_in, Grant::new("web")).await?))
}

async fn refresh(State(authority): State<Authority>, headers: HeaderMap) -> Result<Response, Rejection> {
    let pair = authority.refresh(value(&headers, REFRESH).unwrap_or_default()).await?;
    Ok(respond(&authority, &pair))
}

async fn logout(State(authority): State<Authority>, claims: Claims) -> Result<Response, Rejection> {
    authority.sign_out(&claims).await?;
    let removed = [ACCESS, REFRESH].map(|name| cookie(name, "", Duration::ZERO));
    Ok((StatusCode::NO_CONTENT, AppendHeaders(removed)).into_response())
}

/// Refuses a request that may change something, unless it has the CSRF token of each session whose
/// cookie it carries. Other sites can neither read that token nor send the header.
async fn demand_csrf_token(State(authority): State<Authority>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let sent = headers.get("x-csrf-token").and_then(|sent| sent.to_str().ok()).unwrap_or_default();
    let tokens = [ACCESS, REFRESH].into_iter().filter_map(|name| value(headers, name));
    let mut owners = tokens.filter_map(|token| authority.owner_of(token));
    if request.method().is_safe() || owners.all(|owner| authority.is_csrf_token(owner.session_id, sent)) {
        return next.run(request).await;
    }
    StatusCode::FORBIDDEN.into_response()
}

/// Serves until the future is dropped.
pub(crate) async fn serve(listener: TcpListener) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let keys = Keyring::new(SigningKey::generate()?);
    let authority =
        Authority::builder("https://auth.example", MemoryStore::new()).audience("app").keys(keys).build()?;
    let app = Router::new()
        .route("/me", get(async |claims: Claims| claims.sub.to_string()))
        .route("/logout", post(logout))
        .route_layer(AuthLayer::builder(&authority).cookie(CookieName::new(ACCESS)?).build())
        .route("/refresh", post(refresh))
        .route_layer(from_fn_with_state(authority.clone(), demand_csrf_token))
        .route("/login", post(login))
        .route("/", get(async || Html(PAGE)))
        // Compares the origin too: it keeps other sites from signing a visitor in.
        .layer(CsrfLayer::new())
        .with_state(authority);
    Ok(axum::serve(listener, app).await?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    serve(TcpListener::bind("127.0.0.1:3000").await?).await
}
