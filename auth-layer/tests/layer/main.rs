//! The layer in front of services, on the in-memory store.

mod cookies;
mod counting;
mod guards;
mod proofs;
#[path = "../support/prover.rs"]
mod prover;
mod single_use;
mod unread;

use std::{
    convert::Infallible,
    fmt::Debug,
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use auth_layer::{
    AuthLayer, Authority, Claims, Grant, Rejection, SingleUse, UserId,
    claims::CustomClaimsError,
    clock::{Clock, ManualClock},
    extract::{Custom, Spend},
    keys::{Keyring, SigningKey},
    middleware::{AuthBody, RefusalBody},
    rejection::Realm,
    store::MemoryStore,
};
use axum::{Extension, Router, body::Body, routing::get};
use bytes::Bytes;
use chrono::DateTime;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body_util::{BodyExt, Full};
use serde::{Deserialize, Serialize};
use tower::{Layer, Service, ServiceExt, service_fn, util::BoxCloneSyncService};
use tower_http::cors::CorsLayer;

fn keys() -> Keyring {
    Keyring::new(SigningKey::generate().unwrap())
}

fn clock() -> ManualClock {
    ManualClock::starting_at(DateTime::from_timestamp(1_800_000_000, 0).unwrap())
}

fn authority() -> Authority {
    Authority::builder("https://issuer", MemoryStore::new())
        .audience("api")
        .keys(keys())
        .clock(clock())
        .build()
        .unwrap()
}

async fn sign_in(authority: &Authority) -> auth_layer::IssuedPair {
    let sign_in = authority.begin_sign_in(UserId::generate()).await.unwrap();
    authority.sign_in(sign_in, Grant::new("web").scope("profile".parse().unwrap())).await.unwrap()
}

fn with_token(token: &str) -> Request<Body> {
    Request::get("/me").header(header::AUTHORIZATION, format!("Bearer {token}")).body(Body::empty()).unwrap()
}

fn app(layer: AuthLayer) -> Router {
    Router::new().route("/me", get(async |claims: Claims| claims.sub.to_string())).layer(layer)
}

async fn body(response: Response<Body>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn layer_passes_a_good_token_and_refuses_a_revoked_one() {
    let authority = authority();
    let pair = sign_in(&authority).await;
    let app = app(AuthLayer::new(authority.clone()));

    let response = app.clone().oneshot(with_token(&pair.access_token)).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(body(response).await, pair.user_id.to_string());

    authority.revoke_session(pair.session_id).await.unwrap();
    let response = app.oneshot(with_token(&pair.access_token)).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(response.headers()[header::WWW_AUTHENTICATE], r#"Bearer realm="api", error="invalid_token""#);
}

#[tokio::test]
async fn layer_refuses_with_status_challenge_and_body() {
    let layer = AuthLayer::builder(authority()).realm(Realm::new("shop").unwrap()).build();
    let app = app(layer);
    let cases: [(&[&str], StatusCode, &str, &str); 5] = [
        (&[], StatusCode::UNAUTHORIZED, r#"Bearer realm="shop""#, "unauthorized"),
        (&["Basic dTpw"], StatusCode::UNAUTHORIZED, r#"Bearer realm="shop""#, "unauthorized"),
        (
            &["Bearer a b"],
            StatusCode::BAD_REQUEST,
            r#"Bearer realm="shop", error="invalid_request""#,
            "invalid_request",
        ),
        (
            &["Bearer a", "Bearer a"],
            StatusCode::BAD_REQUEST,
            r#"Bearer realm="shop", error="invalid_request""#,
            "invalid_request",
        ),
        (&["Bearer a.b.c"], StatusCode::UNAUTHORIZED, r#"Bearer realm="shop", error="invalid_token""#, "invalid_token"),
    ];
    for (credentials, status, challenge, error) in cases {
        let mut request = Request::get("/me");
        for value in credentials {
            request = request.header(header::AUTHORIZATION, *value);
        }
        let response = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), status, "{credentials:?}");
        assert_eq!(response.headers()[header::WWW_AUTHENTICATE], challenge, "{credentials:?}");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
        let json: serde_json::Value = serde_json::from_str(&body(response).await).unwrap();
        assert_eq!(json["error"], error);
        assert!(json["error_description"].is_string());
    }
}

#[tokio::test]
async fn grpc_refusals_are_trailers_only_for_any_body() {
    refuses_in_trailers_only_form(Body::empty).await;
    #[cfg(feature = "tonic")]
    refuses_in_trailers_only_form(tonic::body::Body::empty).await;
    refuses_in_trailers_only_form(|| AuthBody::new(Full::<Bytes>::default())).await;
}

async fn refuses_in_trailers_only_form<B>(let_in: fn() -> B)
where
    B: RefusalBody + http_body::Body<Data = Bytes, Error: Debug>,
{
    let inner = service_fn(move |_: Request<Body>| ready(Ok::<_, Infallible>(Response::new(let_in()))));
    let mut service = AuthLayer::new(authority()).layer(inner);
    for content_type in ["application/grpc", "application/grpc+proto", "Application/gRPC; charset=x"] {
        let request = Request::post("/demo.v1.Identity/WhoAmI")
            .version(Version::HTTP_2)
            .header(header::CONTENT_TYPE, content_type);
        let request = request.body(Body::empty()).unwrap();
        let response = service.ready().await.unwrap().call(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{content_type}");
        assert_eq!(response.headers()["grpc-status"], "16");
        assert_eq!(response.headers()["grpc-message"], "A token is needed");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/grpc");
        assert!(response.body().is_end_stream(), "the headers are the trailers");
        assert!(response.into_body().collect().await.unwrap().to_bytes().is_empty());
    }
    let others = [
        (Method::POST, Version::HTTP_2, "application/grpc-web"),
        (Method::POST, Version::HTTP_2, "application/json"),
        // A client that claims to speak gRPC and does not POST.
        (Method::GET, Version::HTTP_2, "application/grpc"),
        (Method::POST, Version::HTTP_11, "application/grpc"),
        (Method::GET, Version::HTTP_11, "application/grpc+proto"),
    ];
    for (method, version, content_type) in others {
        let request = Request::builder().method(&method).version(version).header(header::CONTENT_TYPE, content_type);
        let response = service.ready().await.unwrap().call(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{method} {version:?} {content_type} is not gRPC");
        let json: serde_json::Value =
            serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap();
        assert_eq!(json["error"], "unauthorized");
    }
}

/// A browser sends a preflight, which never carries credentials (Fetch §3.3.2). `CorsLayer` answers
/// it when it is outside the layer, and adds its headers to refusals too.
#[tokio::test]
async fn layer_inside_cors_lets_preflights_pass_and_pages_read_refusals() {
    let cors = || {
        CorsLayer::new()
            .allow_origin(HeaderValue::from_static("https://page.example"))
            .allow_headers([header::AUTHORIZATION])
    };
    let origin = |request: http::request::Builder| request.header(header::ORIGIN, "https://page.example");
    let preflight = || {
        let request = Request::options("/me").header(header::ACCESS_CONTROL_REQUEST_METHOD, "GET");
        let request = request.header(header::ACCESS_CONTROL_REQUEST_HEADERS, "authorization");
        origin(request).body(Body::empty()).unwrap()
    };
    let authority = authority();
    let pair = sign_in(&authority).await;
    let routes = || Router::new().route("/me", get(async |claims: Claims| claims.sub.to_string()));
    let auth = || AuthLayer::new(authority.clone());
    // Around the routes, and around the whole router as a service.
    let inside = BoxCloneSyncService::new(routes().layer(auth()).layer(cors()));
    let around = BoxCloneSyncService::new(cors().layer(auth().layer(routes())));
    for app in [inside, around] {
        let response = app.clone().oneshot(preflight()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], "https://page.example");
        assert_eq!(response.headers()[header::ACCESS_CONTROL_ALLOW_HEADERS], "authorization");

        let good = origin(Request::get("/me")).header(header::AUTHORIZATION, format!("Bearer {}", pair.access_token));
        let response = app.clone().oneshot(good.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);

        let response = app.oneshot(origin(Request::get("/me")).body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(response.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], "https://page.example");
    }
    // In the other order the layer refuses the preflight, and the page sees a CORS failure.
    let response = routes().layer(cors()).layer(auth()).oneshot(preflight()).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn layer_with_optional_authentication_passes_strangers_and_refuses_bad_tokens() {
    let authority = authority();
    let pair = sign_in(&authority).await;
    let app = Router::new()
        .route("/greet", get(async |claims: Option<Claims>| claims.map_or("stranger".into(), |c| c.sub.to_string())))
        .route("/me", get(async |claims: Claims| claims.sub.to_string()))
        .layer(AuthLayer::builder(authority).optional(true).build());

    let greet = Request::get("/greet").body(Body::empty()).unwrap();
    assert_eq!(body(app.clone().oneshot(greet).await.unwrap()).await, "stranger");

    let mut greet = with_token(&pair.access_token);
    *greet.uri_mut() = "/greet".parse().unwrap();
    assert_eq!(body(app.clone().oneshot(greet).await.unwrap()).await, pair.user_id.to_string());

    let response = app.clone().oneshot(with_token("a.b.c")).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);

    // A handler that requires claims refuses strangers with a challenge.
    let response = app.oneshot(Request::get("/me").body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(response.headers()[header::WWW_AUTHENTICATE], r#"Bearer realm="api""#);
}

#[tokio::test]
async fn layer_that_is_missing_is_a_500_and_named_in_the_log() {
    let app = Router::new()
        .route("/me", get(async |claims: Claims| claims.sub.to_string()))
        .route("/maybe", get(async |claims: Option<Claims>| claims.is_some().to_string()));
    for path in ["/me", "/maybe"] {
        let response = app.clone().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR, "{path}");
        assert!(body(response).await.contains("AuthLayer"), "{path}");
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Tenant {
    tenant: String,
}

#[tokio::test]
async fn claims_of_a_custom_type_come_back_by_extension_and_by_extractor() {
    let authority: Authority = Authority::builder("https://issuer", MemoryStore::new())
        .audience("api")
        .keys(keys())
        .clock(clock())
        .build()
        .unwrap();
    let sign_in = authority.begin_sign_in(UserId::generate()).await.unwrap();
    let grant = Grant::new("web").custom(&Tenant { tenant: "acme".into() }).unwrap();
    let pair = authority.sign_in(sign_in, grant).await.unwrap();
    let app = Router::new()
        .route(
            "/me",
            get(async |Extension(claims): Extension<Claims>, Custom(again): Custom<Tenant>| {
                format!("{} {}", claims.custom::<Tenant>().unwrap().tenant, again.tenant)
            }),
        )
        .layer(AuthLayer::new(authority));
    assert_eq!(body(app.oneshot(with_token(&pair.access_token)).await.unwrap()).await, "acme acme");
}

#[test]
fn claims_of_a_custom_type_cannot_take_a_registered_name() {
    for custom in [serde_json::json!({"sub": "me"}), serde_json::json!({"exp": 1}), serde_json::json!([1])] {
        let result = Grant::new("web").custom(&custom);
        assert!(matches!(result, Err(CustomClaimsError::Registered(_) | CustomClaimsError::NotAnObject)), "{result:?}");
    }
}

/// Counts the calls that did not follow a `poll_ready` on the same clone.
#[derive(Debug)]
struct RequiresReady {
    ready: bool,
    called_unready: Arc<AtomicUsize>,
}

impl Clone for RequiresReady {
    fn clone(&self) -> Self {
        Self { ready: false, called_unready: Arc::clone(&self.called_unready) }
    }
}

impl Service<Request<Body>> for RequiresReady {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        if !std::mem::take(&mut self.ready) {
            self.called_unready.fetch_add(1, Ordering::Relaxed);
        }
        ready(Ok(Response::new(Body::empty())))
    }
}

#[tokio::test]
async fn layer_calls_the_clone_of_the_inner_service_that_was_ready() {
    for lease in [Duration::ZERO, Duration::from_secs(1)] {
        let authority: Authority = Authority::builder("https://issuer", MemoryStore::new())
            .audience("api")
            .keys(keys())
            .clock(clock())
            .local_cache(lease)
            .build()
            .unwrap();
        let pair = sign_in(&authority).await;
        let called_unready = Arc::new(AtomicUsize::new(0));
        let inner = RequiresReady { ready: false, called_unready: Arc::clone(&called_unready) };
        let mut service = AuthLayer::new(authority).layer(inner);
        for _ in 0..3 {
            let request = Request::get("/")
                .header(header::AUTHORIZATION, format!("Bearer {}", pair.access_token))
                .body(Body::empty())
                .unwrap();
            let response = service.ready().await.unwrap().call(request).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
        }
        assert_eq!(called_unready.load(Ordering::Relaxed), 0, "with a lease of {lease:?}");
    }
}

#[tokio::test]
async fn secret_token_is_in_no_debug_output() {
    let authority = authority();
    let pair = sign_in(&authority).await;
    let layer = AuthLayer::new(authority.clone());
    let once = authority.issue_single_use(&authority.verify(&pair.access_token).await.unwrap()).await.unwrap();
    let refused = authority.verify(&format!("{}x", pair.access_token)).await.unwrap_err();
    let claims = authority.verify(&pair.access_token).await.unwrap();
    let service = layer.layer(RequiresReady { ready: false, called_unready: Arc::default() });
    let shown = format!("{pair:?} {once:?} {authority:?} {layer:?} {refused:?} {claims:?} {service:?}");
    for token in [&pair.access_token, &pair.refresh_token, &once.token] {
        for part in token.split('.') {
            assert!(!shown.contains(part), "{shown}");
        }
    }
}
