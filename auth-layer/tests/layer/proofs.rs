//! Tokens that are bound to a key, presented to the layer (RFC 9449 §7).

use auth_layer::{
    Demand, GuardLayer,
    dpop::{Nonces, PROOF_HEADER, ProofPolicy},
};
use axum::routing::post;
use futures_util::future::join_all;
use serde_json::json;

use super::*;
use crate::{
    counting::CountingStore,
    prover::{ORIGIN, Prover},
};

/// A service with its layer, and a client that has a bound token.
struct Setup {
    authority: Authority,
    store: Arc<CountingStore>,
    prover: Prover,
    token: String,
}

impl Setup {
    async fn new() -> Self {
        Self::with_lease(Duration::ZERO).await
    }

    async fn with_lease(lease: Duration) -> Self {
        let (clock, store) = (clock(), Arc::new(CountingStore::default()));
        let builder = Authority::builder("https://issuer", Arc::clone(&store)).audience("api").keys(keys());
        let authority = builder.clock(clock.clone()).local_cache(lease).build().unwrap();
        let prover = Prover::new(&clock);
        let sign_in = authority.begin_sign_in(UserId::generate()).await.unwrap();
        let grant = Grant::new("spa").scope("profile".parse().unwrap()).bound_to(&prover.proof());
        let token = authority.sign_in(sign_in, grant).await.unwrap().access_token;
        Self { authority, store, prover, token }
    }

    fn app(&self, proofs: ProofPolicy) -> Router {
        app(AuthLayer::builder(&self.authority).dpop(proofs).build())
    }

    fn proof(&self) -> String {
        self.prover.text(&Method::GET, "/me", Some(&self.token))
    }

    fn request(&self, proof: &str) -> Request<Body> {
        with_proof(&self.token, &[proof])
    }
}

fn proofs() -> ProofPolicy {
    ProofPolicy::new(ORIGIN.parse().unwrap())
}

fn with_proof(token: &str, proofs: &[&str]) -> Request<Body> {
    let mut request = Request::get("/me").header(header::AUTHORIZATION, format!("DPoP {token}"));
    for proof in proofs {
        request = request.header(PROOF_HEADER, *proof);
    }
    request.body(Body::empty()).unwrap()
}

/// Returns the status and the challenge.
async fn answer(app: &Router, request: Request<Body>) -> (u16, String) {
    let response = app.clone().oneshot(request).await.unwrap();
    let challenge = response.headers().get(header::WWW_AUTHENTICATE);
    (response.status().as_u16(), challenge.map_or_else(String::new, |value| value.to_str().unwrap().to_owned()))
}

/// Changes one character of the signature.
fn tampered(proof: &str) -> String {
    let at = proof.len() - 40;
    let other = if proof.as_bytes()[at] == b'A' { "B" } else { "A" };
    [&proof[..at], other, &proof[at + 1..]].concat()
}

fn challenge(error: &str) -> (u16, String) {
    (401, format!(r#"DPoP realm="api", algs="ES256 EdDSA", error="{error}""#))
}

#[tokio::test]
async fn dpop_layer_takes_a_proof_once() {
    for lease in [Duration::ZERO, Duration::from_secs(1)] {
        let setup = Setup::with_lease(lease).await;
        // Two layers, as two services on one store have.
        let apps = [setup.app(proofs()), setup.app(proofs())];
        let proof = setup.proof();
        assert_eq!(answer(&apps[0], setup.request(&proof)).await.0, 200);
        for app in &apps {
            assert_eq!(answer(app, setup.request(&proof)).await, challenge("invalid_dpop_proof"), "replayed");
        }
        let proof = setup.proof();
        let tries = (0..8).map(|at| answer(&apps[at % 2], setup.request(&proof)));
        let answers = join_all(tries).await;
        assert_eq!(answers.iter().filter(|answer| answer.0 == 200).count(), 1, "{answers:?}");
    }
}

#[tokio::test]
async fn dpop_layer_refuses_a_bound_token_as_bearer() {
    for lease in [Duration::ZERO, Duration::from_secs(1)] {
        let setup = Setup::with_lease(lease).await;
        let (taking, plain) = (setup.app(proofs()), app(AuthLayer::new(&setup.authority)));
        let refused = (401, r#"Bearer realm="api", error="invalid_token""#.to_owned());
        for _ in 0..2 {
            assert_eq!(answer(&taking, with_token(&setup.token)).await, refused);
            assert_eq!(answer(&plain, with_token(&setup.token)).await, refused);
            // From the second round on the token is cached.
            assert_eq!(answer(&taking, setup.request(&setup.proof())).await.0, 200);
        }
        // A layer without proofs takes the scheme for no credentials.
        let unknown_scheme = answer(&plain, setup.request(&setup.proof())).await;
        assert_eq!(unknown_scheme, (401, r#"Bearer realm="api""#.to_owned()));
    }
}

#[tokio::test]
async fn dpop_layer_refuses_an_unbound_token_with_a_proof() {
    let setup = Setup::new().await;
    let token = sign_in(&setup.authority).await.access_token;
    let app = setup.app(proofs());
    assert_eq!(answer(&app, with_token(&token)).await.0, 200);
    let proof = setup.prover.text(&Method::GET, "/me", Some(&token));
    assert_eq!(answer(&app, with_proof(&token, &[&proof])).await, challenge("invalid_token"));
}

#[tokio::test]
async fn dpop_layer_takes_a_bound_token_with_its_proof_alone() {
    let setup = Setup::new().await;
    let app = setup.app(proofs());
    let (prover, token) = (&setup.prover, Some(&*setup.token));
    let with = |name: &'static str, value: serde_json::Value| {
        prover.text_with(&Method::GET, "/me", token, |claims| claims[name] = value)
    };
    let now = clock().now().timestamp();
    let good = setup.proof();
    for (proof, error) in [
        (prover.text(&Method::POST, "/me", token), "invalid_dpop_proof"),
        (prover.text(&Method::GET, "/you", token), "invalid_dpop_proof"),
        (prover.text(&Method::GET, "/me", None), "invalid_dpop_proof"),
        (prover.text(&Method::GET, "/me", Some("another.access.token")), "invalid_dpop_proof"),
        (with("htu", json!("https://evil.example/me")), "invalid_dpop_proof"),
        (with("htu", json!("http://api.example/me")), "invalid_dpop_proof"),
        (with("iat", json!(now - 31)), "invalid_dpop_proof"),
        (with("iat", json!(now + 61)), "invalid_dpop_proof"),
        (tampered(&good), "invalid_dpop_proof"),
        ("a.b.c".to_owned(), "invalid_dpop_proof"),
        ("x".repeat(8 * 1024 + 1), "invalid_dpop_proof"),
        (Prover::new(&clock()).text(&Method::GET, "/me", token), "invalid_token"),
    ] {
        assert_eq!(answer(&app, setup.request(&proof)).await, challenge(error), "{proof}");
    }
    assert_eq!(answer(&app, with_proof(&setup.token, &[])).await, challenge("invalid_dpop_proof"));
    assert_eq!(answer(&app, with_proof(&setup.token, &[&good, &good])).await, challenge("invalid_dpop_proof"));
    for (proof, what) in [
        (with("htu", json!("HTTPS://API.example:443/%6de?query#fragment")), "the same URI in another form"),
        (with("iat", json!(now - 30)), "the last moment"),
        (with("iat", json!(now + 60)), "the first moment"),
        (with("nonce", json!("whatever")), "a nonce that nobody demanded"),
        (good, "the last one"),
    ] {
        assert_eq!(answer(&app, setup.request(&proof)).await.0, 200, "{what}");
    }
}

/// Law 8: garbage writes nothing, and what a request is refused for does not matter.
#[tokio::test]
async fn dpop_layer_reserves_a_proof_last_and_once_for_each_request() {
    let setup = Setup::with_lease(Duration::from_secs(1)).await;
    let app = setup.app(proofs());
    let before = setup.store.reservations();
    assert_eq!(answer(&app, setup.request(&setup.proof())).await.0, 200);
    assert_eq!(setup.store.reservations(), before + 1);

    let (calls, good) = (setup.store.calls(), setup.proof());
    assert_eq!(answer(&app, setup.request(&tampered(&good))).await.0, 401);
    assert_eq!(setup.store.calls(), calls, "a cached token and a wrong proof cost the store nothing");
    let admins = AuthLayer::builder(&setup.authority).dpop(proofs()).scope("admin").build();
    let refused = answer(&self::app(admins), setup.request(&good)).await;
    let denied = r#"DPoP realm="api", algs="ES256 EdDSA", error="insufficient_scope", scope="admin""#;
    assert_eq!(refused, (403, denied.to_owned()));
    assert_eq!(setup.store.calls(), calls, "nor does a request that is refused for its scope");
    assert_eq!(answer(&app, setup.request(&good)).await.0, 200, "so the proof is still good");
    assert_eq!(setup.store.calls(), calls + 1, "within the lease the reservation is the one round trip");
}

#[tokio::test]
async fn dpop_layer_challenge_names_scheme_algorithms_and_error() {
    let setup = Setup::new().await;
    let app = setup.app(proofs().required(true));
    let bare = (401, r#"DPoP realm="api", algs="ES256 EdDSA""#.to_owned());
    assert_eq!(answer(&app, Request::get("/me").body(Body::empty()).unwrap()).await, bare);
    let token = sign_in(&setup.authority).await.access_token;
    for token in [&token, &setup.token] {
        assert_eq!(answer(&app, with_token(token)).await, challenge("invalid_token"));
    }
    assert_eq!(answer(&app, setup.request(&setup.proof())).await.0, 200);
    let optional = setup.app(proofs());
    let bare = (401, r#"Bearer realm="api""#.to_owned());
    assert_eq!(answer(&optional, Request::get("/me").body(Body::empty()).unwrap()).await, bare);
}

#[tokio::test]
async fn dpop_layer_demands_and_gives_a_nonce() {
    let setup = Setup::new().await;
    let nonces = Nonces::from(&keys());
    let app = setup.app(proofs().nonces(nonces.clone()));
    let response = app.clone().oneshot(setup.request(&setup.proof())).await.unwrap();
    assert_eq!(response.headers()[header::WWW_AUTHENTICATE], challenge("use_dpop_nonce").1);
    let nonce = response.headers()["dpop-nonce"].to_str().unwrap().to_owned();
    let with_nonce = |nonce: &str| {
        let change = |claims: &mut serde_json::Value| claims["nonce"] = nonce.into();
        setup.request(&setup.prover.text_with(&Method::GET, "/me", Some(&setup.token), change))
    };
    assert_eq!(answer(&app, with_nonce(&nonce)).await.0, 200);
    assert_eq!(answer(&app, with_nonce("another")).await, challenge("use_dpop_nonce"));
    // After a rotation the ring has other keys.
    nonces.set_keys(&keys());
    assert_eq!(answer(&app, with_nonce(&nonce)).await, challenge("use_dpop_nonce"));
}

#[tokio::test]
async fn dpop_guards_and_extractors_challenge_as_their_layer() {
    let setup = Setup::new().await;
    let layer = || AuthLayer::builder(&setup.authority).dpop(proofs()).build();
    let guarded = Router::new()
        .route("/me", get(async || "ok").route_layer(GuardLayer::new(Demand::new().scope("admin"))))
        .layer(layer());
    let denied = r#"DPoP realm="api", algs="ES256 EdDSA", error="insufficient_scope", scope="admin""#;
    assert_eq!(answer(&guarded, setup.request(&setup.proof())).await, (403, denied.to_owned()));
    let extracting = Router::new().route("/me", get(async |_: Custom<Tenant>| "ok")).layer(layer());
    assert_eq!(answer(&extracting, setup.request(&setup.proof())).await, challenge("invalid_token"));
}

#[derive(Debug, Deserialize)]
struct Tenant {
    #[expect(dead_code, reason = "it is never there")]
    tenant: u64,
}

#[tokio::test]
async fn dpop_single_use_token_is_spent_with_a_proof() {
    let setup = Setup::new().await;
    let claims = setup.authority.introspect(&setup.token).await.unwrap();
    let once = setup.authority.issue_single_use(claims.claims().unwrap()).await.unwrap().token;
    let layer = AuthLayer::builder(&setup.authority).single_use().dpop(proofs()).build();
    let spend = post(async |token: SingleUse| token.spend().await.map(|_| "ok").map_err(Rejection::from));
    let app = Router::new().route("/me", spend.layer(layer));
    let request = || {
        let proof = setup.prover.text(&Method::POST, "/me", Some(&once));
        let mut request = with_proof(&once, &[&proof]);
        *request.method_mut() = Method::POST;
        request
    };
    let mut bearer = with_token(&once);
    *bearer.method_mut() = Method::POST;
    assert_eq!(answer(&app, bearer).await.0, 401);
    assert_eq!(answer(&app, request()).await.0, 200);
    assert_eq!(answer(&app, request()).await, challenge("invalid_token"), "it is used up");
}

#[tokio::test]
async fn dpop_grpc_refusals_have_a_status_and_the_nonce() {
    let setup = Setup::new().await;
    let app = setup.app(proofs().nonces(Nonces::from(&keys())));
    let proof = setup.prover.text(&Method::POST, "/me", Some(&setup.token));
    let mut request = with_proof(&setup.token, &[&proof]);
    *request.method_mut() = Method::POST;
    *request.version_mut() = Version::HTTP_2;
    request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    let response = app.oneshot(request).await.unwrap();
    assert_eq!(
        (response.status(), &response.headers()["grpc-status"]),
        (StatusCode::OK, &HeaderValue::from_static("16"))
    );
    assert!(response.headers().contains_key("dpop-nonce"));
}

/// A store that is away is 503, and the proof is not used up before it is back.
#[tokio::test]
async fn dpop_layer_whose_store_is_away_answers_503() {
    let setup = Setup::with_lease(Duration::from_secs(1)).await;
    let app = setup.app(proofs());
    assert_eq!(answer(&app, setup.request(&setup.proof())).await.0, 200);
    setup.store.fail(true);
    let proof = setup.proof();
    assert_eq!(answer(&app, setup.request(&proof)).await.0, 503, "the token is cached, the proof cannot be reserved");
    setup.store.fail(false);
    assert_eq!(answer(&app, setup.request(&proof)).await.0, 200);
}
