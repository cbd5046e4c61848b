mod admin;
mod audit;
mod bodies;
mod browser;
mod clients;
mod cookies;
mod cors;
mod credentials;
mod csrf;
mod dpop;
mod events;
mod floods;
mod grpc_calls;
mod grpc_services;
mod oauth;
mod openapi;
mod operations;
mod outage;
mod pages;
mod passwords;
mod properties;
#[path = "../../../../auth-layer/tests/support/prover.rs"]
mod prover;
mod proxies;
mod recording;
mod request_metrics;

use std::{net::SocketAddr, sync::Arc};

use argon2::Params;
use auth_layer::{
    Authority, UserId,
    authority::AuthorityBuilder,
    clock::ManualClock,
    keys::{Keyring, SigningKey},
};
use axum::{body::Body, extract::ConnectInfo};
use clap::Parser;
use http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::time::Instant;
use tower::ServiceExt;

use self::recording::RecordingStore;
use super::*;
use crate::{
    clients::{ClientStore, Clients, EmbeddedClients},
    config::Config,
    cors::Cors,
    csrf::OriginCheck,
    oauth::OAuth,
    open_streams::OpenStreams,
    password::Passwords,
    rate_limit::RateLimit,
    readiness::Readiness,
    shutdown::{Shutdown, ShutdownTrigger},
    state::{Identity, SessionCount, SharedState, TokenClaims},
    telemetry::Telemetry,
    trusted_proxies::TrustedProxies,
    users::{EmbeddedUsers, RecordingUsers, Role, User, Users},
};

struct TestApp {
    state: AppState,
    store: RecordingStore,
    users: RecordingUsers,
    shutdown: ShutdownTrigger,
    /// The clock of tokens, codes and proofs.
    clock: ManualClock,
    _directory: tempfile::TempDir,
}

struct TestResponse {
    status: StatusCode,
    headers: http::HeaderMap,
    body: Value,
}

impl TestResponse {
    fn text(&self, name: &str) -> String {
        self.body[name].as_str().unwrap_or_else(|| panic!("no {name} in {}", self.body)).to_owned()
    }
}

fn test_app() -> TestApp {
    test_app_with(&[])
}

/// Returns the application with these flags, in memory.
fn test_app_with(flags: &[&str]) -> TestApp {
    crate::logging::tests::install_global_subscriber();
    let directory = tempfile::tempdir().unwrap();
    let keys = Keyring::new(SigningKey::generate().unwrap());
    let store = RecordingStore::default();
    let users = EmbeddedUsers::open(&directory.path().join("users.redb")).unwrap();
    let config = Config::parse_from(["demo-app"].iter().chain(flags));
    let clock = ManualClock::starting_at(chrono::Utc::now());
    let clients = ClientStore::Embedded(EmbeddedClients::new(users.clone()));
    let users = RecordingUsers::new(users, Arc::clone(&store.calls));
    let (trigger, shutdown) = Shutdown::new();
    let authority = authority(&store, &clock, &config).keys(keys.clone()).build().unwrap();
    let readiness = Readiness::new(authority.clone(), Users::Recording(users.clone()), None);
    let state = AppState(Arc::new(SharedState {
        authority,
        clients: Clients::new(clients, &config.clients).unwrap(),
        oauth: Arc::new(OAuth::new(&config, &keys).unwrap()),
        clock: Arc::new(clock.clone()),
        users: Users::Recording(users.clone()),
        passwords: Passwords::with_params(Params::new(64, 1, 1, None).unwrap()).unwrap(),
        rate_limit: Some(Arc::new(RateLimit::default())),
        open_streams: OpenStreams::default(),
        proxies: Arc::new(TrustedProxies::new(&config)),
        origin_check: OriginCheck::new(&config.issuer),
        cors: Cors::new(&config.cors_origin),
        readiness,
        sessions: SessionCount::Unknown,
        telemetry: Telemetry::unused(),
        metrics_are_elsewhere: false,
        started: Instant::now(),
        shutdown,
    }));
    TestApp { state, store, users, shutdown: trigger, clock, _directory: directory }
}

fn authority(store: &RecordingStore, clock: &ManualClock, config: &Config) -> AuthorityBuilder {
    let authority = Authority::builder(&config.issuer, store.clone()).clock(clock.clone());
    config.audience.iter().fold(authority, AuthorityBuilder::audience).custom_claims::<TokenClaims>()
}

impl TestApp {
    /// Returns the state to change, before the first request.
    fn state_mut(&mut self) -> &mut SharedState {
        Arc::make_mut(&mut self.state.0)
    }

    async fn send(&self, request: Request<Body>) -> TestResponse {
        self.send_from([192, 0, 2, 1], request).await
    }

    async fn send_from(&self, address: [u8; 4], mut request: Request<Body>) -> TestResponse {
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from((address, 4000))));
        let response = app(self.state.clone()).oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() };
        if !parts.status.is_success() && !body.is_null() {
            assert!(body["error"].is_string() && body["error_description"].is_string(), "{body}");
        }
        if parts.status == StatusCode::UNAUTHORIZED {
            let challenge = parts.headers[header::WWW_AUTHENTICATE].to_str().unwrap();
            let (scheme, rest) = challenge.split_once(' ').unwrap();
            assert!(["Bearer", "DPoP"].contains(&scheme) && rest.starts_with(r#"realm="demo-app""#), "{challenge}");
        }
        TestResponse { status: parts.status, headers: parts.headers, body }
    }

    async fn post(&self, path: &str, body: Value) -> TestResponse {
        self.post_from([192, 0, 2, 1], path, body).await
    }

    async fn post_from(&self, address: [u8; 4], path: &str, body: Value) -> TestResponse {
        let request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
        self.send_from(address, request.body(body.to_string().into()).unwrap()).await
    }

    async fn with_token(&self, method: &str, path: &str, token: &str, body: Option<Value>) -> TestResponse {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::CONTENT_TYPE, "application/json");
        let body = body.map_or_else(Body::empty, |body| body.to_string().into());
        self.send(request.body(body).unwrap()).await
    }

    async fn register(&self, username: &str) {
        let answer = self.post("/auth/register", json!({ "username": username, "password": PASSWORD })).await;
        assert_eq!(answer.status, StatusCode::CREATED);
    }

    async fn log_in(&self, username: &str) -> TestResponse {
        let answer = self.post("/auth/login", json!({ "username": username, "password": PASSWORD })).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        answer
    }

    async fn add_user(&self, username: &str, password_hash: String, role: Role) {
        let user = User {
            user_id: UserId::generate(),
            username: username.into(),
            password_hash,
            role,
            created_at: chrono::Utc::now(),
            password_changed_in: None,
        };
        self.state.users.add(user).await.unwrap();
    }
}

const PASSWORD: &str = "correct horse";

/// The realm and the metadata that every challenge names, unless a flag changes the issuer.
const REALM: &str = concat!(
    r#"realm="demo-app", "#,
    r#"resource_metadata="http://127.0.0.1:3000/.well-known/oauth-protected-resource""#
);

#[tokio::test]
async fn session_from_registration_to_logout() {
    let demo = test_app();
    demo.register("Ada").await;
    let login = demo.log_in("ada").await;
    assert_eq!(login.headers[header::CACHE_CONTROL], "no-store");
    assert_eq!(login.body["token_type"], "Bearer");
    assert_eq!(login.body["expires_in"], 900);
    assert_eq!(login.body["scope"], "profile");
    let (access, refresh) = (login.text("access_token"), login.text("refresh_token"));

    let me = demo.with_token("GET", "/me", &access, None).await;
    assert_eq!(me.status, StatusCode::OK);
    assert_eq!(me.body["username"], "Ada");
    assert_eq!(me.body["claims"]["sub"], me.body["user_id"]);
    assert_eq!(me.body["claims"]["client_id"], "demo-app");

    let next = demo.post("/auth/refresh", json!({ "refresh_token": refresh })).await;
    assert_eq!(next.status, StatusCode::OK);
    assert_eq!(next.headers[header::CACHE_CONTROL], "no-store");

    assert_eq!(demo.with_token("POST", "/auth/logout", &access, None).await.status, StatusCode::NO_CONTENT);
    for token in [&access, &next.text("access_token")] {
        assert_eq!(demo.with_token("GET", "/me", token, None).await.body["error"], "invalid_token");
        assert_eq!(demo.with_token("POST", "/auth/logout", token, None).await.status, StatusCode::UNAUTHORIZED);
    }
    let refused = demo.post("/auth/refresh", json!({ "refresh_token": next.text("refresh_token") })).await;
    assert_eq!((refused.status, &refused.body["error"]), (StatusCode::UNAUTHORIZED, &json!("invalid_grant")));
}

#[tokio::test]
async fn sessions_are_listed_and_ended_by_owner_only() {
    let demo = test_app();
    demo.register("ada").await;
    demo.register("bob").await;
    let (first, second) = (demo.log_in("ada").await, demo.log_in("ada").await);
    let bob = demo.log_in("bob").await.text("access_token");
    let access = second.text("access_token");
    let list = demo.with_token("GET", "/auth/sessions", &access, None).await;
    let list = list.body.as_array().unwrap();
    assert_eq!(list.len(), 2);
    assert_eq!(list.iter().filter(|session| session["current"] == true).count(), 1);
    let other = list.iter().find(|session| session["current"] == false).unwrap();
    for time in ["created_at", "last_used_at", "expires_at"] {
        let text = other[time].as_str().unwrap();
        assert!(text.ends_with('Z') && chrono::DateTime::parse_from_rfc3339(text).is_ok(), "{text}");
    }
    let path = format!("/auth/sessions/{}", other["session_id"].as_str().unwrap());
    let others = ["rubbish", "", "%ff", "%00", "a%2Fb", "00000000-0000-0000-0000-000000000000"];
    let others = others.map(|id| format!("/auth/sessions/{id}"));
    for (token, path) in others.iter().map(|path| (&access, path)).chain([(&bob, &path)]) {
        let answer = demo.with_token("DELETE", path, token, None).await;
        assert_eq!((answer.status, &answer.body["error"]), (StatusCode::NOT_FOUND, &json!("not_found")), "{path}");
    }
    for time in ["the first", "a second"] {
        let answer = demo.with_token("DELETE", &path, &access, None).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{time} time");
    }
    assert_eq!(demo.with_token("GET", "/me", &first.text("access_token"), None).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(demo.with_token("GET", "/me", &access, None).await.status, StatusCode::OK);

    assert_eq!(demo.with_token("POST", "/auth/logout-all", &access, None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(demo.with_token("GET", "/me", &access, None).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(demo.with_token("GET", "/me", &bob, None).await.status, StatusCode::OK);
}

#[tokio::test]
async fn single_use_token_opens_one_request() {
    let demo = test_app();
    demo.register("ada").await;
    let access = demo.log_in("ada").await.text("access_token");
    let issued = demo.with_token("POST", "/auth/single-use", &access, None).await;
    assert_eq!(issued.status, StatusCode::CREATED);
    assert!(issued.body["expires_in"].as_u64().unwrap() <= 60);
    assert!(issued.body.get("refresh_token").is_none());
    assert_eq!(issued.headers[header::CACHE_CONTROL], "no-store");
    let once = issued.text("access_token");
    assert_eq!(demo.with_token("GET", "/me", &once, None).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(demo.with_token("POST", "/demo/single-use", &access, None).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(demo.with_token("POST", "/demo/single-use", &once, None).await.status, StatusCode::OK);
    assert_eq!(demo.with_token("POST", "/demo/single-use", &once, None).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn request_errors_have_their_status_and_code() {
    let demo = test_app();
    demo.register("ada").await;
    let raw = |method: &str, path: &str, content_type: &str, body: &str| {
        let request = Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, content_type);
        demo.send(request.body(body.to_owned().into()).unwrap())
    };
    let large = format!(r#"{{"username":"{}"}}"#, "a".repeat(BODY_LIMIT));
    let json = "application/json";
    let cases = [
        ("POST", "/auth/login", json, "{", 400, "invalid_request"),
        ("POST", "/auth/login", json, "[]", 400, "invalid_request"),
        ("POST", "/auth/login", json, "", 400, "invalid_request"),
        ("POST", "/auth/login", "text/plain", "{}", 415, "invalid_request"),
        ("POST", "/auth/login", "application/x-www-form-urlencoded", "a=b", 415, "invalid_request"),
        ("POST", "/auth/login", json, "{}", 422, "invalid_request"),
        ("POST", "/auth/login", json, r#"{"username":1,"password":null}"#, 422, "invalid_request"),
        ("POST", "/auth/login", json, &large, 413, "invalid_request"),
        ("POST", "/auth/refresh", json, r#"{"refresh_token":"rubbish"}"#, 401, "invalid_grant"),
        ("POST", "/auth/refresh", json, r#"{"refresh_token":""}"#, 401, "invalid_grant"),
        ("POST", "/auth/refresh", json, "{}", 422, "invalid_request"),
        ("POST", "/auth/register", json, r#"{"username":"Ada","password":"correct horse"}"#, 409, "username_taken"),
        ("GET", "/nowhere", json, "", 404, "not_found"),
        ("GET", "/auth/login", json, "", 405, "invalid_request"),
        ("OPTIONS", "/me", json, "", 405, "invalid_request"),
        ("PATCH", "/auth/sessions/%ff", json, "", 405, "invalid_request"),
        ("DELETE", "/auth/sessions/%ff", json, "", 401, "unauthorized"),
        ("GET", "/%ff", json, "", 404, "not_found"),
        ("TRACE", "/nowhere", json, "", 404, "not_found"),
        ("TRACE", "/", json, "", 405, "invalid_request"),
        ("POST", "/", json, "", 405, "invalid_request"),
        ("GET", "/me", json, "", 401, "unauthorized"),
        ("GET", "/me?access_token=a.b.c", json, "", 401, "unauthorized"),
    ];
    for (method, path, content_type, body, status, error) in cases {
        let answer = raw(method, path, content_type, body).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {path} {content_type} {}", &body[..body.len().min(60)]);
        assert_eq!(answer.body["error"], error, "{method} {path}");
    }
    assert_eq!(raw("HEAD", "/auth/login", json, "").await.status, StatusCode::METHOD_NOT_ALLOWED);
    let fields = raw("POST", "/auth/register", json, r#"{"username":"a b","password":"short"}"#).await;
    assert_eq!(fields.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(fields.body["fields"].as_object().unwrap().len(), 2);
    let allow = raw("GET", "/auth/login", json, "").await;
    assert_eq!(allow.headers[header::ALLOW], "POST");
}

#[tokio::test]
async fn health_readiness_and_keys_are_public() {
    let demo = test_app();
    let get = |path: &str| demo.send(Request::get(path).body(Body::empty()).unwrap());
    assert_eq!(get("/healthz").await.status, StatusCode::OK);
    let mut ready = get("/readyz").await.body;
    let latency = ready["checks"]["embedded"].as_object_mut().unwrap().remove("latency_ms").unwrap();
    assert!(latency.is_f64(), "{latency}");
    assert_eq!(ready, json!({ "status": "ok", "store": "up", "checks": { "embedded": { "status": "up" } } }));
    let jwks = get("/.well-known/jwks.json").await.body;
    assert_eq!(jwks["keys"][0]["alg"], "EdDSA");
    assert!(jwks["keys"][0].get("d").is_none());
}
