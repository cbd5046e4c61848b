//! Starts the examples and calls them as their users would. Their length is limited, because short
//! examples are read.

#![cfg(all(feature = "axum", feature = "tonic", feature = "ws"))]

#[expect(dead_code, reason = "its `main` listens on a fixed port")]
#[path = "../examples/axum_service.rs"]
mod axum_service;
#[expect(dead_code, reason = "its `main` listens on a fixed port")]
#[path = "../examples/cookies.rs"]
mod cookies;
#[expect(dead_code, reason = "its `main` listens on a fixed port")]
#[path = "../examples/custom_claims.rs"]
mod custom_claims;
#[expect(dead_code, reason = "its `main` listens on a fixed port")]
#[path = "../examples/guards.rs"]
mod guards;
#[cfg(feature = "discovery")]
#[expect(dead_code, reason = "its `main` listens on a fixed port")]
#[path = "../examples/keycloak.rs"]
mod keycloak;
#[cfg(feature = "discovery")]
#[expect(dead_code, reason = "other tests use its other kinds of key")]
#[path = "support/minter.rs"]
mod minter;
#[expect(dead_code, reason = "its `main` listens on a fixed port")]
#[path = "../examples/optional.rs"]
mod optional;
#[expect(dead_code, reason = "its `main` listens on a fixed port")]
#[path = "../examples/own_users.rs"]
mod own_users;
#[expect(dead_code, reason = "its `main` listens on a fixed port")]
#[path = "../examples/quickstart.rs"]
mod quickstart;
#[expect(dead_code, reason = "its `main` listens on a fixed port")]
#[path = "../examples/sse.rs"]
mod sse;
#[expect(dead_code, reason = "its `main` listens on a fixed port")]
#[path = "../examples/tonic_service.rs"]
mod tonic_service;
#[expect(dead_code, reason = "its `main` listens on a fixed port")]
#[path = "../examples/websocket.rs"]
mod websocket;

use std::net::SocketAddr;

use auth_layer::{Authority, Grant, Subject};
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::AbortHandle};
use tokio_tungstenite::{
    connect_async,
    tungstenite::{client::IntoClientRequest, http::header},
};
use tonic::{Code, Request, metadata::MetadataValue, transport::Endpoint};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

/// A running example. Ends when dropped.
struct RunningExample {
    address: SocketAddr,
    client: Client,
    task: AbortHandle,
}

impl Drop for RunningExample {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl RunningExample {
    async fn start<F: Future<Output: Send> + Send + 'static>(serve: impl FnOnce(TcpListener) -> F) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(serve(listener)).abort_handle();
        Self { address, client: Client::builder().no_proxy().build().unwrap(), task }
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("http://{}{path}", self.address))
    }

    fn post(&self, path: &str, body: &Value) -> RequestBuilder {
        self.client.post(format!("http://{}{path}", self.address)).json(body)
    }
}

async fn text(request: RequestBuilder) -> (StatusCode, String) {
    let response = request.send().await.unwrap();
    (response.status(), response.text().await.unwrap())
}

/// Returns the access token and the refresh token of a successful answer.
async fn tokens(request: RequestBuilder) -> [String; 2] {
    let response = request.send().await.unwrap();
    assert_eq!(
        (response.status(), &response.headers()["cache-control"]),
        (StatusCode::OK, &"no-store".parse().unwrap())
    );
    let body: Value = response.json().await.unwrap();
    ["access_token", "refresh_token"].map(|name| body[name].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn example_axum_service_signs_in_refreshes_guards_and_signs_out() {
    let example = RunningExample::start(axum_service::serve).await;
    let login = |password| example.post("/login", &json!({ "username": "ada", "password": password }));
    assert_eq!(text(login("wrong")).await.0, StatusCode::UNAUTHORIZED);
    let [_, refresh] = tokens(login("correct horse")).await;
    let [access, _] = tokens(example.post("/refresh", &json!({ "refresh_token": refresh }))).await;

    assert_eq!(
        text(example.get("/orders").bearer_auth(&access)).await,
        (StatusCode::OK, "orders of 42 at shop".into())
    );
    assert_eq!(text(example.get("/orders")).await.0, StatusCode::UNAUTHORIZED);
    let delete = example.client.delete(format!("http://{}/orders/7", example.address)).bearer_auth(&access);
    assert_eq!(text(delete).await.0, StatusCode::FORBIDDEN);

    assert_eq!(text(example.get("/")).await, (StatusCode::OK, "hello, stranger".into()));
    assert_eq!(text(example.get("/").bearer_auth(&access)).await, (StatusCode::OK, "hello, 42".into()));
    assert_eq!(text(example.get("/").bearer_auth("a.b.c")).await.0, StatusCode::UNAUTHORIZED);

    let out = example.client.post(format!("http://{}/logout", example.address));
    assert_eq!(text(out.bearer_auth(&access)).await.0, StatusCode::NO_CONTENT);
    assert_eq!(text(example.get("/orders").bearer_auth(&access)).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn example_axum_service_answers_preflights_and_lets_pages_read_refusals() {
    let example = RunningExample::start(axum_service::serve).await;
    let preflight = example.client.request(reqwest::Method::OPTIONS, format!("http://{}/orders", example.address));
    let preflight = preflight.header("origin", "https://page.example").header("access-control-request-method", "GET");
    for (request, status) in [
        (preflight.header("access-control-request-headers", "authorization"), StatusCode::OK),
        (example.get("/orders").header("origin", "https://page.example"), StatusCode::UNAUTHORIZED),
    ] {
        let response = request.send().await.unwrap();
        assert_eq!(
            (response.status(), &response.headers()["access-control-allow-origin"]),
            (status, &"*".parse().unwrap())
        );
    }
}

#[tokio::test]
async fn example_axum_service_opens_a_web_socket_only_with_a_good_token() {
    use futures_util::StreamExt;

    let example = RunningExample::start(axum_service::serve).await;
    let login = example.post("/login", &json!({ "username": "ada", "password": "correct horse" }));
    let [access, _] = tokens(login).await;
    let url = format!("ws://{}/socket", example.address);
    let mut request = url.as_str().into_client_request().unwrap();
    request.headers_mut().insert(header::AUTHORIZATION, format!("Bearer {access}").parse().unwrap());
    let (mut socket, _) = connect_async(request).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap().into_text().unwrap().as_str(), "hello, 42");
    match connect_async(url).await {
        Err(tokio_tungstenite::tungstenite::Error::Http(response)) => assert_eq!(response.status(), 401),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn example_quickstart_lets_a_token_in_until_its_logout() {
    let authority = quickstart::authority().unwrap();
    let token = sign_in(&authority, Grant::new("cli")).await;
    let example = RunningExample::start(|listener| quickstart::serve(listener, authority)).await;
    let me = || example.get("/me").bearer_auth(&token);
    assert_eq!(text(me()).await, (StatusCode::OK, "hello, 42".into()));
    assert_eq!(text(example.get("/me")).await.0, StatusCode::UNAUTHORIZED);
    let out = example.post("/logout", &json!(null)).bearer_auth(&token);
    assert_eq!(text(out).await.0, StatusCode::NO_CONTENT);
    assert_eq!(text(me()).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn example_custom_claims_are_renewed_by_a_refresh() {
    let app = custom_claims::App::new().unwrap();
    let pair = app.sign_in(42_u64.into()).await.unwrap();
    let example = RunningExample::start(|listener| custom_claims::serve(listener, app)).await;
    let report = |token: &str| example.get("/report").bearer_auth(token);
    let free = (StatusCode::OK, "the report of shop for user 42, plan free".to_owned());
    assert_eq!(text(report(&pair.access_token)).await, free);
    let upgrade = example.post("/upgrade", &json!(null)).bearer_auth(&pair.access_token);
    assert_eq!(text(upgrade).await.0, StatusCode::OK);
    assert_eq!(text(report(&pair.access_token)).await, free, "a token is never changed");
    let [access, _] = tokens(example.post("/refresh", &json!({ "refresh_token": pair.refresh_token }))).await;
    assert_eq!(text(report(&access)).await, (StatusCode::OK, "the report of shop for user 42, plan paid".into()));
}

/// The answer to a request that carries these cookies.
struct Browsed {
    status: StatusCode,
    /// The cookies that it sets, as `name=value`; a removed one has no value.
    cookies: Vec<String>,
    csrf_token: String,
}

async fn browse(request: RequestBuilder, cookies: &[String], csrf_token: &str) -> Browsed {
    let request = request.header(header::COOKIE, cookies.join("; ")).header("x-csrf-token", csrf_token);
    let response = request.send().await.unwrap();
    let mut set = Vec::new();
    for cookie in response.headers().get_all(header::SET_COOKIE) {
        let (pair, attributes) = cookie.to_str().unwrap().split_once("; ").unwrap();
        assert!(attributes.ends_with("Path=/; Secure; HttpOnly; SameSite=Lax"), "{attributes}");
        set.push(pair.to_owned());
    }
    let status = response.status();
    let body: Value = response.json().await.unwrap_or_default();
    Browsed { status, cookies: set, csrf_token: body["csrf_token"].as_str().unwrap_or_default().to_owned() }
}

#[tokio::test]
async fn example_cookies_carry_a_session_that_other_sites_cannot_use() {
    let example = RunningExample::start(cookies::serve).await;
    let login = |password: &str| example.post("/login", &json!({ "password": password }));
    assert_eq!(browse(login("wrong"), &[], "").await.status, StatusCode::UNAUTHORIZED);
    let from_elsewhere = login("correct horse").header("origin", "https://attacker.example");
    assert_eq!(browse(from_elsewhere, &[], "").await.status, StatusCode::FORBIDDEN);
    let first = browse(login("correct horse"), &[], "").await;
    assert_eq!((first.status, first.cookies.len()), (StatusCode::OK, 2));

    let me = async |cookies: &[String]| browse(example.get("/me"), cookies, "").await.status;
    assert_eq!(me(&first.cookies).await, StatusCode::OK);
    assert_eq!(me(&[]).await, StatusCode::UNAUTHORIZED);

    let post = async |path: &str, cookies: &[String], csrf_token: &str| {
        let request = example.client.post(format!("http://{}{path}", example.address));
        browse(request, cookies, csrf_token).await
    };
    for path in ["/refresh", "/logout"] {
        for forged in ["", "guessed"] {
            assert_eq!(post(path, &first.cookies, forged).await.status, StatusCode::FORBIDDEN, "{path} {forged}");
        }
    }
    let second = post("/refresh", &first.cookies, &first.csrf_token).await;
    assert_eq!((second.status, me(&second.cookies).await), (StatusCode::OK, StatusCode::OK));
    assert_ne!(second.cookies, first.cookies);

    let out = post("/logout", &second.cookies, &second.csrf_token).await;
    assert_eq!(
        (out.status, out.cookies),
        (StatusCode::NO_CONTENT, vec!["__Host-access=".into(), "__Host-refresh=".into()])
    );
    assert_eq!(me(&second.cookies).await, StatusCode::UNAUTHORIZED);
    assert_eq!(post("/refresh", &second.cookies, &second.csrf_token).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn example_guards_each_demand_what_they_say() {
    let authority = guards::authority().unwrap();
    let ten_minutes_ago = authority.now() - chrono::TimeDelta::minutes(10);
    let stranger = sign_in(&authority, Grant::new("cli")).await;
    let reader = sign_in(&authority, Grant::new("cli").scope("orders:read".parse().unwrap())).await;
    let writer = sign_in(&authority, Grant::new("cli").scope("orders:read orders:write".parse().unwrap())).await;
    let clerk = sign_in(&authority, guards::clerk().unwrap().authenticated_at(ten_minutes_ago)).await;
    let example = RunningExample::start(|listener| guards::serve(listener, authority)).await;
    for (token, call, status, challenge) in [
        (&stranger, "GET /orders", 403, r#"scope="orders:read""#),
        (&reader, "GET /orders", 200, ""),
        (&reader, "PUT /orders/7", 403, r#"scope="orders:write""#),
        (&writer, "PUT /orders/7", 200, ""),
        (&writer, "POST /orders/7/ship", 403, r#"error="insufficient_scope""#),
        (&clerk, "POST /orders/7/ship", 200, ""),
        (&clerk, "POST /orders/7/refund/100", 200, ""),
        (&clerk, "POST /orders/7/refund/101", 401, r#"max_age="300""#),
        (&writer, "POST /orders/7/refund/101", 200, ""),
    ] {
        let (method, path) = call.split_once(' ').unwrap();
        let request = example.client.request(method.parse().unwrap(), format!("http://{}{path}", example.address));
        let response = request.bearer_auth(token).send().await.unwrap();
        assert_eq!(response.status(), status, "{call}");
        let challenged = response.headers().get(header::WWW_AUTHENTICATE).map_or("", |value| value.to_str().unwrap());
        assert!(challenged.contains(challenge), "{call}: {challenged}");
    }
}

#[tokio::test]
async fn example_optional_serves_strangers_and_refuses_bad_tokens() {
    let authority = optional::authority().unwrap();
    let token = sign_in(&authority, Grant::new("cli")).await;
    let example = RunningExample::start(|listener| optional::serve(listener, authority)).await;
    let article = || example.get("/article");
    let teaser = (StatusCode::OK, "the first paragraph; sign in to read on".to_owned());
    assert_eq!(text(article()).await, teaser);
    assert_eq!(text(article().bearer_auth(&token)).await, (StatusCode::OK, "the whole article, for 42".into()));
    assert_eq!(text(article().bearer_auth("a.b.c")).await.0, StatusCode::UNAUTHORIZED);
    let comment = || example.client.post(format!("http://{}/comments", example.address)).body("well said");
    assert_eq!(text(comment()).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(text(comment().bearer_auth(&token)).await, (StatusCode::OK, "42 says: well said".into()));
}

#[tokio::test]
async fn example_own_users_sign_in_by_name_and_are_known_by_id() {
    let example = RunningExample::start(own_users::serve).await;
    let login = |name, password| example.post("/login", &json!({ "username": name, "password": password }));
    for (name, password) in [("ada", "wrong"), ("ada", ""), ("bob", "correct horse")] {
        assert_eq!(text(login(name, password)).await.0, StatusCode::UNAUTHORIZED, "{name} {password}");
    }
    let [access, _] = tokens(login("ada", "correct horse")).await;
    assert_eq!(text(example.get("/me").bearer_auth(&access)).await, (StatusCode::OK, "42".into()));
    assert_eq!(text(example.get("/me")).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn example_tonic_service_has_a_rule_for_each_method() {
    let authority = tonic_service::authority().unwrap();
    let issuer = authority.clone();
    let example = RunningExample::start(async move |listener| tonic_service::serve(listener, &authority).await).await;
    let token = async |scope: &str| {
        let sign_in = issuer.begin_sign_in("ada".parse::<Subject>().unwrap()).await.unwrap();
        issuer.sign_in(sign_in, Grant::new("cli").scope(scope.parse().unwrap())).await.unwrap().access_token
    };
    let request = |token: Option<&str>| {
        let mut request = Request::new(HealthCheckRequest::default());
        if let Some(token) = token {
            let credentials = MetadataValue::try_from(format!("Bearer {token}")).unwrap();
            request.metadata_mut().insert("authorization", credentials);
        }
        request
    };
    let channel = Endpoint::try_from(format!("http://{}", example.address)).unwrap().connect_lazy();
    let mut client = HealthClient::new(channel);
    client.check(request(None)).await.unwrap();
    for (token, code) in [
        (None, Code::Unauthenticated),
        (Some("a.b.c".to_owned()), Code::Unauthenticated),
        (Some(token("profile").await), Code::PermissionDenied),
        (Some(token("health:watch").await), Code::Ok),
    ] {
        let answered = client.watch(request(token.as_deref())).await;
        assert_eq!(answered.map_or_else(|status| status.code(), |_| Code::Ok), code);
    }
}

/// Returns the access token of a new session.
async fn sign_in(authority: &Authority, grant: Grant) -> String {
    let sign_in = authority.begin_sign_in(42_u64).await.unwrap();
    authority.sign_in(sign_in, grant).await.unwrap().access_token
}

#[tokio::test]
async fn example_sse_ends_with_its_session() {
    let authority = sse::authority().unwrap();
    let token = sign_in(&authority, Grant::new("cli")).await;
    let example = RunningExample::start(|listener| sse::serve(listener, authority)).await;
    let mut events = example.get("/events").bearer_auth(&token).send().await.unwrap();
    assert_eq!(events.chunk().await.unwrap().unwrap(), "data: hello, 42\n\n");
    let out = example.post("/logout", &json!(null)).bearer_auth(&token);
    assert_eq!(text(out).await.0, StatusCode::NO_CONTENT);
    while let Ok(event) = events.chunk().await {
        assert!(event.is_some(), "it ends with an error");
    }
    assert_eq!(text(example.get("/events").bearer_auth(&token)).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn example_websocket_closes_when_its_session_ends() {
    use futures_util::{SinkExt, StreamExt};
    use tokio_tungstenite::tungstenite::Message;

    let authority = websocket::authority().unwrap();
    let tokens = [sign_in(&authority, Grant::new("cli")).await, sign_in(&authority, Grant::new("cli")).await];
    let example = RunningExample::start(|listener| websocket::serve(listener, authority)).await;
    let connect = async |token: &str| {
        let mut request = format!("ws://{}/chat", example.address).into_client_request().unwrap();
        request.headers_mut().insert(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
        connect_async(request).await.unwrap().0
    };
    let (mut one, mut other) = (connect(&tokens[0]).await, connect(&tokens[1]).await);
    // Each hears of itself, so it has joined.
    for socket in [&mut other, &mut one] {
        socket.send("hello".into()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("42: hello"));
    }
    assert_eq!(other.next().await.unwrap().unwrap(), Message::text("42: hello"));
    let out = example.post("/logout", &json!(null)).bearer_auth(&tokens[0]);
    assert_eq!(text(out).await.0, StatusCode::NO_CONTENT);
    let code = loop {
        match one.next().await.unwrap().unwrap() {
            Message::Close(Some(frame)) => break u16::from(frame.code),
            // It may have joined before the other spoke.
            message => assert_eq!(message, Message::text("42: hello")),
        }
    };
    assert_eq!(code, 1008);
    other.send("bye".into()).await.unwrap();
    assert_eq!(other.next().await.unwrap().unwrap(), Message::text("42: bye"));
}

/// A realm of Keycloak: its metadata and its keys.
#[cfg(feature = "discovery")]
async fn realm(listener: TcpListener, jwk_set: String) {
    use axum::{Json, Router, routing::get};

    let issuer = format!("http://{}/realms/main", listener.local_addr().unwrap());
    let metadata = json!({ "issuer": issuer, "jwks_uri": format!("{issuer}/protocol/openid-connect/certs") });
    let jwk_set: Value = serde_json::from_str(&jwk_set).unwrap();
    let app = Router::new()
        .route("/realms/main/.well-known/openid-configuration", get(async || Json(metadata)))
        .route("/realms/main/protocol/openid-connect/certs", get(async || Json(jwk_set)));
    axum::serve(listener, app).await.unwrap();
}

#[cfg(feature = "discovery")]
#[tokio::test]
async fn example_keycloak_accepts_tokens_until_a_logout_here_or_there() {
    let minter = minter::Minter::rsa("k1");
    let realm = RunningExample::start(|listener| realm(listener, minter.jwk_set())).await;
    let issuer = format!("http://{}/realms/main", realm.address);
    let trust = keycloak::trust(&issuer).unwrap();
    let example = RunningExample::start(|listener| keycloak::serve(listener, trust)).await;
    let now = chrono::Utc::now().timestamp();
    let token = |session: &str, typ: &str| {
        let claims = json!({
            "iss": issuer, "sub": "ada", "aud": ["orders"], "azp": "web", "typ": typ, "sid": session, "jti": session,
            "iat": now, "exp": now + 300,
        });
        minter.mint(json!({ "typ": "JWT" }), &claims)
    };
    let [here, there] = ["here", "there"].map(|session| token(session, "Bearer"));
    for token in [&here, &there] {
        assert_eq!(text(example.get("/me").bearer_auth(token)).await, (StatusCode::OK, "ada".into()));
    }
    assert_eq!(text(example.get("/me").bearer_auth(token("here", "ID"))).await.0, StatusCode::UNAUTHORIZED);

    let out = example.client.post(format!("http://{}/logout", example.address));
    assert_eq!(text(out.bearer_auth(&here)).await.0, StatusCode::OK);
    let events = json!({ "http://schemas.openid.net/event/backchannel-logout": {} });
    let logout = json!({
        "iss": issuer, "aud": "web", "iat": now, "exp": now + 120, "jti": "l1", "sid": "there", "events": events,
    });
    let form = format!("logout_token={}", minter.mint(json!({ "typ": "logout+jwt" }), &logout));
    let out = example.client.post(format!("http://{}/backchannel-logout", example.address));
    let out = out.header("content-type", "application/x-www-form-urlencoded").body(form);
    assert_eq!(text(out).await, (StatusCode::OK, String::new()));
    for token in [&here, &there] {
        assert_eq!(text(example.get("/me").bearer_auth(token)).await.0, StatusCode::UNAUTHORIZED);
    }
}

#[test]
fn example_programs_are_as_short_as_promised() {
    for (name, text, most) in [
        ("axum_service", include_str!("../examples/axum_service.rs"), 110),
        ("quickstart", include_str!("../examples/quickstart.rs"), 60),
        ("custom_claims", include_str!("../examples/custom_claims.rs"), 112),
        ("cookies", include_str!("../examples/cookies.rs"), 120),
        ("guards", include_str!("../examples/guards.rs"), 100),
        ("optional", include_str!("../examples/optional.rs"), 65),
        ("fleet", include_str!("../examples/fleet.rs"), 90),
        ("mcp", include_str!("../examples/mcp.rs"), 95),
        ("tonic_service", include_str!("../examples/tonic_service.rs"), 70),
        ("keycloak", include_str!("../examples/keycloak.rs"), 40),
        ("own_users", include_str!("../examples/own_users.rs"), 60),
        ("sse", include_str!("../examples/sse.rs"), 70),
        ("websocket", include_str!("../examples/websocket.rs"), 85),
    ] {
        assert!(text.lines().count() < most, "{name}");
    }
}
