//! Policies and guards: what a route demands besides a good token.

use auth_layer::{
    Demand, GuardLayer,
    extract::{Guarded, Requirement},
    rejection::{RejectionKind, ResourceMetadata},
};
use serde_json::json;

use super::*;

struct Admin;

impl Requirement for Admin {
    fn demand() -> Demand {
        Demand::new().scope("admin")
    }
}

async fn token(authority: &Authority, scope: &str, roles: &[&str]) -> String {
    let sign_in = authority.begin_sign_in(UserId::generate()).await.unwrap();
    let grant = Grant::new("web").scope(scope.parse().unwrap()).custom(&json!({ "roles": roles })).unwrap();
    authority.sign_in(sign_in, grant).await.unwrap().access_token
}

/// The same demand as a layer's policy, and as a guard behind a layer.
fn as_policy_and_guard(authority: &Authority, demand: &Demand) -> [Router; 2] {
    let routes = || Router::new().route("/me", get(async |claims: Claims| claims.sub.to_string()));
    let realm = || Realm::new("shop").unwrap();
    let behind = routes()
        .route_layer(GuardLayer::new(demand.clone()))
        .layer(AuthLayer::builder(authority).realm(realm()).build());
    [routes().layer(AuthLayer::builder(authority).realm(realm()).demand(demand.clone()).build()), behind]
}

async fn challenge(app: Router, token: &str) -> (StatusCode, String) {
    let response = app.oneshot(with_token(token)).await.unwrap();
    let challenge = response.headers().get(header::WWW_AUTHENTICATE);
    (response.status(), challenge.map_or(String::new(), |value| value.to_str().unwrap().to_owned()))
}

#[tokio::test]
async fn guard_refuses_a_good_token_that_is_not_enough_and_says_what_is() {
    let authority = authority();
    let clerk = token(&authority, "orders:read profile", &["clerk"]).await;
    let cases = [
        (Demand::new().scope("orders:read"), None),
        (Demand::new().scope("profile orders:read").role("clerk"), None),
        (
            Demand::new().scope("orders:read orders:write"),
            Some(r#"Bearer realm="shop", error="insufficient_scope", scope="orders:read orders:write""#),
        ),
        (Demand::new().role("chief"), Some(r#"Bearer realm="shop", error="insufficient_scope""#)),
        (Demand::new().role("clerk").role("chief"), Some(r#"Bearer realm="shop", error="insufficient_scope""#)),
    ];
    for (demand, refusal) in cases {
        for app in as_policy_and_guard(&authority, &demand) {
            // The second request is answered from the in-process cache.
            for _ in 0..2 {
                let answer = challenge(app.clone(), &clerk).await;
                match refusal {
                    None => assert_eq!(answer.0, StatusCode::OK, "{demand:?}"),
                    Some(refusal) => assert_eq!(answer, (StatusCode::FORBIDDEN, refusal.into()), "{demand:?}"),
                }
            }
        }
    }
}

#[tokio::test]
async fn guard_by_extractor_refuses_in_the_realm_of_its_layer() {
    let authority = authority();
    let app = Router::new()
        .route("/me", get(async |claims: Guarded<Admin>| claims.sub.to_string()))
        .layer(AuthLayer::builder(&authority).realm(Realm::new("shop").unwrap()).build());
    let user = token(&authority, "profile", &[]).await;
    let refusal = r#"Bearer realm="shop", error="insufficient_scope", scope="admin""#;
    assert_eq!(challenge(app.clone(), &user).await, (StatusCode::FORBIDDEN, refusal.into()));
    let admin = token(&authority, "profile admin", &[]).await;
    assert_eq!(challenge(app, &admin).await.0, StatusCode::OK);
}

/// Two layers with different policies share the verified tokens, and each decides for itself.
#[tokio::test]
async fn policy_shares_the_cache_and_no_verdict() {
    let authority = Authority::builder("https://issuer", MemoryStore::new())
        .audience("api")
        .keys(keys())
        .clock(clock())
        .local_cache(Duration::from_secs(5))
        .build()
        .unwrap();
    let reader = token(&authority, "orders:read", &[]).await;
    let routes = || Router::new().route("/me", get(async |claims: Claims| claims.sub.to_string()));
    let reading = routes().layer(AuthLayer::builder(&authority).scope("orders:read").build());
    let writing = routes().layer(AuthLayer::builder(&authority).scope("orders:write").build());
    let elsewhere = routes().layer(AuthLayer::builder(&authority).audience("elsewhere").build());
    for _ in 0..3 {
        assert_eq!(challenge(reading.clone(), &reader).await.0, StatusCode::OK);
        assert_eq!(challenge(writing.clone(), &reader).await.0, StatusCode::FORBIDDEN);
        assert_eq!(challenge(elsewhere.clone(), &reader).await.0, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn guard_behind_grpc_answers_in_grpc_terms() {
    let authority = authority();
    let user = token(&authority, "profile", &[]).await;
    let inner = service_fn(|_: Request<Body>| ready(Ok::<_, Infallible>(Response::new(Body::empty()))));
    let mut service = AuthLayer::new(&authority).layer(GuardLayer::new(Demand::new().scope("admin")).layer(inner));
    let request = Request::post("/")
        .version(Version::HTTP_2)
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::AUTHORIZATION, format!("Bearer {user}"));
    let response = service.ready().await.unwrap().call(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(
        (response.status(), &response.headers()["grpc-status"]),
        (StatusCode::OK, &HeaderValue::from_static("7"))
    );
    assert!(http_body::Body::is_end_stream(response.body()));
}

#[tokio::test]
async fn guard_without_a_layer_is_a_500_and_behind_an_optional_one_needs_credentials() {
    let guarded = || {
        let routes = Router::new().route("/me", get(async || "served"));
        routes.route_layer(GuardLayer::new(Demand::new().scope("admin")))
    };
    let stranger = || Request::get("/me").body(Body::empty()).unwrap();
    let response = guarded().oneshot(stranger()).await.unwrap();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let layer = AuthLayer::builder(authority()).optional(true).realm(Realm::new("shop").unwrap()).build();
    let response = guarded().layer(layer).oneshot(stranger()).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(response.headers()[header::WWW_AUTHENTICATE], r#"Bearer realm="shop""#);
}

#[tokio::test]
async fn layer_leaves_its_rejection_in_the_response_and_names_the_metadata() {
    let url = "https://api.example/.well-known/oauth-protected-resource";
    let layer = AuthLayer::builder(authority()).resource_metadata(ResourceMetadata::new(url).unwrap()).build();
    let response = app(layer).oneshot(Request::get("/me").body(Body::empty()).unwrap()).await.unwrap();
    let rejection = response.extensions().get::<Rejection>().unwrap();
    assert_eq!(rejection.kind(), &RejectionKind::MissingCredentials);
    let challenge = format!(r#"Bearer realm="api", resource_metadata="{url}""#);
    assert_eq!(response.headers()[header::WWW_AUTHENTICATE], challenge);
    for text in ["", "/relative", "http://api.example/", "https://a.example/\"", "https://a.example/ b"] {
        assert!(ResourceMetadata::new(text).is_err(), "{text}");
    }
    assert!(ResourceMetadata::new("http://127.0.0.1:3000/x").is_ok());
}

#[tokio::test]
async fn layer_exempts_what_is_named_and_nothing_else() {
    let layer = AuthLayer::builder(authority())
        .except(|head| head.uri.path() == "/healthz")
        .except(|head| head.method == Method::GET && head.uri.path().starts_with("/public/"))
        .preflight()
        .build();
    let app = Router::new()
        .route("/healthz", get(async |claims: Option<Claims>| claims.is_none().to_string()))
        .route("/public/page", get(async || "page").post(async || "posted"))
        .route("/me", get(async || "me").options(async || "options"))
        .layer(layer);
    let preflight = Request::options("/me")
        .header(header::ORIGIN, "https://page.example")
        .header(header::ACCESS_CONTROL_REQUEST_METHOD, "GET");
    for (request, status) in [
        (Request::get("/healthz"), StatusCode::OK),
        // A bad token is not checked either.
        (Request::get("/healthz").header(header::AUTHORIZATION, "Bearer a.b.c"), StatusCode::OK),
        (Request::get("/public/page"), StatusCode::OK),
        (Request::post("/public/page"), StatusCode::UNAUTHORIZED),
        (Request::get("/me"), StatusCode::UNAUTHORIZED),
        (preflight, StatusCode::OK),
        (Request::options("/me"), StatusCode::UNAUTHORIZED),
        (Request::options("/me").header(header::ORIGIN, "https://page.example"), StatusCode::UNAUTHORIZED),
    ] {
        let request = request.body(Body::empty()).unwrap();
        let name = format!("{} {}", request.method(), request.uri());
        assert_eq!(app.clone().oneshot(request).await.unwrap().status(), status, "{name}");
    }
}

/// RFC 9470 §3: the challenge says what the next sign-in must be.
#[tokio::test]
async fn guard_demands_a_recent_and_strong_sign_in() {
    let clock = clock();
    let builder = Authority::builder("https://issuer", MemoryStore::new()).audience("api").keys(keys());
    let authority = builder.clock(clock.clone()).local_cache(Duration::from_secs(5)).build().unwrap();
    let sign_in = authority.begin_sign_in(UserId::generate()).await.unwrap();
    let grant = Grant::new("web").authenticated_at(clock.now() - Duration::from_mins(4)).acr("silver");
    let pair = authority.sign_in(sign_in, grant).await.unwrap();
    let (minutes, refused) = (Duration::from_mins, r#"Bearer realm="shop", error="insufficient_user_authentication""#);
    let cases = [
        (Demand::new().max_age(minutes(4)), None),
        (Demand::new().acr("gold").acr("silver"), None),
        (Demand::new().max_age(minutes(2)), Some(r#", max_age="120""#)),
        (Demand::new().acr("gold").acr("platinum"), Some(r#", acr_values="gold platinum""#)),
    ];
    for (demand, asked) in cases {
        for app in as_policy_and_guard(&authority, &demand) {
            for _ in 0..2 {
                let (status, challenge) = challenge(app.clone(), &pair.access_token).await;
                match asked {
                    None => assert_eq!(status, StatusCode::OK, "{demand:?}"),
                    Some(asked) => {
                        assert_eq!((status, challenge), (StatusCode::UNAUTHORIZED, format!("{refused}{asked}")));
                    }
                }
            }
        }
    }
    // A refresh is no sign-in, so the cached token becomes too old.
    clock.advance(minutes(2));
    let next = authority.refresh(&pair.refresh_token).await.unwrap();
    for token in [&pair.access_token, &next.access_token] {
        for app in as_policy_and_guard(&authority, &Demand::new().max_age(minutes(5))) {
            assert_eq!(challenge(app, token).await.0, StatusCode::UNAUTHORIZED);
        }
    }
}

#[tokio::test]
async fn policy_accepts_its_own_audience_only() {
    let authority = Authority::builder("https://issuer", MemoryStore::new())
        .audience("orders")
        .audience("billing")
        .keys(keys())
        .clock(clock())
        .build()
        .unwrap();
    let sign_in = authority.begin_sign_in(UserId::generate()).await.unwrap();
    let pair = authority.sign_in(sign_in, Grant::new("web").audience("billing")).await.unwrap();
    for (audience, status) in [("billing", StatusCode::OK), ("orders", StatusCode::UNAUTHORIZED)] {
        for app in as_policy_and_guard(&authority, &Demand::new().audience(audience)) {
            assert_eq!(challenge(app, &pair.access_token).await.0, status, "{audience}");
        }
    }
}
