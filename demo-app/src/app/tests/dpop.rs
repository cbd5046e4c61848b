//! Tokens that are bound to a key (RFC 9449).

use std::sync::atomic::Ordering;

use auth_layer::{Grant, clock::Clock};
use http::Method;

use super::{
    prover::{ORIGIN, Prover},
    *,
};

/// Builds an application that takes proofs, in the origin that the prover names.
fn app_with_proofs(flags: &[&str]) -> TestApp {
    test_app_with(&[&["--issuer", ORIGIN][..], flags].concat())
}

const OPTIONAL: &[&str] = &["--dpop", "optional"];
const REQUIRED: &[&str] = &["--dpop", "required"];

impl TestApp {
    async fn post_with_proof(&self, path: &str, proof: Option<&str>, body: &Value) -> TestResponse {
        let request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
        let request = proof.into_iter().fold(request, |request, proof| request.header("dpop", proof));
        self.send(request.body(body.to_string().into()).unwrap()).await
    }

    async fn me_with_proof(&self, prover: &Prover, token: &str) -> TestResponse {
        let request = Request::get("/me").header(header::AUTHORIZATION, format!("DPoP {token}"));
        let proof = prover.text(&Method::GET, "/me", Some(token));
        self.send(request.header("dpop", proof).body(Body::empty()).unwrap()).await
    }
}

fn credentials() -> Value {
    json!({ "username": "ada", "password": PASSWORD })
}

fn refresh_of(pair: &TestResponse) -> Value {
    json!({ "refresh_token": pair.text("refresh_token") })
}

#[tokio::test(start_paused = true)]
async fn dpop_login_and_refresh_bind_the_tokens_to_the_proofs_key() {
    let demo = app_with_proofs(OPTIONAL);
    demo.register("ada").await;
    let (prover, thief) = (Prover::new(&demo.clock), Prover::new(&demo.clock));
    let proof = |prover: &Prover, path: &str| prover.text(&Method::POST, path, None);
    let login = demo.post_with_proof("/auth/login", Some(&proof(&prover, "/auth/login")), &credentials()).await;
    assert_eq!((login.status, login.text("token_type")), (StatusCode::OK, "DPoP".into()));
    let access = login.text("access_token");
    assert_eq!(demo.me_with_proof(&prover, &access).await.status, StatusCode::OK);
    assert_eq!(demo.me_with_proof(&thief, &access).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(demo.with_token("GET", "/me", &access, None).await.body["error"], "invalid_token", "as a bearer token");
    // In a cookie it is a bearer token too.
    let request = Request::get("/me").header(header::COOKIE, format!("__Host-access={access}"));
    assert_eq!(demo.send(request.body(Body::empty()).unwrap()).await.body["error"], "invalid_token");

    let once = Request::post("/auth/single-use").header(header::AUTHORIZATION, format!("DPoP {access}"));
    let once = once.header("dpop", prover.text(&Method::POST, "/auth/single-use", Some(&access)));
    assert_eq!(demo.send(once.body(Body::empty()).unwrap()).await.text("token_type"), "DPoP");

    let path = "/auth/refresh";
    let missing = demo.post_with_proof(path, None, &refresh_of(&login)).await;
    assert_eq!((missing.status.as_u16(), &missing.body["error"]), (400, &json!("invalid_dpop_proof")));
    let stolen = demo.post_with_proof(path, Some(&proof(&thief, path)), &refresh_of(&login)).await;
    assert_eq!((stolen.status.as_u16(), &stolen.body["error"]), (401, &json!("invalid_grant")));
    let text = proof(&prover, path);
    let next = demo.post_with_proof(path, Some(&text), &refresh_of(&login)).await;
    assert_eq!((next.status, next.text("token_type")), (StatusCode::OK, "DPoP".into()));
    let replayed = demo.post_with_proof(path, Some(&text), &refresh_of(&next)).await;
    assert_eq!((replayed.status.as_u16(), &replayed.body["error"]), (400, &json!("invalid_dpop_proof")));
    assert_eq!(demo.me_with_proof(&prover, &next.text("access_token")).await.status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn dpop_is_optional_until_it_is_required() {
    for is_required in [false, true] {
        let demo = app_with_proofs(if is_required { REQUIRED } else { OPTIONAL });
        demo.register("ada").await;
        let plain = demo.post("/auth/login", credentials()).await;
        let prover = Prover::new(&demo.clock);
        if is_required {
            assert_eq!((plain.status.as_u16(), &plain.body["error"]), (400, &json!("invalid_dpop_proof")));
            continue;
        }
        assert_eq!((plain.status, plain.text("token_type")), (StatusCode::OK, "Bearer".into()));
        let proof = prover.text(&Method::POST, "/auth/refresh", None);
        let bound = demo.post_with_proof("/auth/refresh", Some(&proof), &refresh_of(&plain)).await;
        assert_eq!(bound.text("token_type"), "DPoP", "a session that is not bound becomes so");
    }
}

#[tokio::test(start_paused = true)]
async fn dpop_proof_that_is_not_for_this_request_is_refused() {
    let demo = app_with_proofs(OPTIONAL);
    demo.register("ada").await;
    let prover = Prover::new(&demo.clock);
    let path = "/auth/login";
    for proof in [
        "a.b.c".to_owned(),
        String::new(),
        prover.text(&Method::GET, path, None),
        prover.text(&Method::POST, "/auth/refresh", None),
        prover
            .text_with(&Method::POST, path, None, |claims| claims["iat"] = (demo.clock.now().timestamp() - 120).into()),
        prover.text_with(&Method::POST, path, None, |claims| claims["htu"] = "https://evil.example/auth/login".into()),
    ] {
        let answer = demo.post_with_proof(path, Some(&proof), &credentials()).await;
        assert_eq!((answer.status.as_u16(), &answer.body["error"]), (400, &json!("invalid_dpop_proof")), "{proof}");
        assert!(!answer.headers.contains_key("dpop-nonce") && !answer.headers.contains_key(header::WWW_AUTHENTICATE));
    }
}

#[tokio::test(start_paused = true)]
async fn dpop_nonce_comes_with_the_refusal_and_survives_a_rotation_of_keys() {
    let demo = app_with_proofs(&[OPTIONAL, &["--dpop-nonce", "on"]].concat());
    let old = SigningKey::generate().unwrap();
    let nonces = demo.state.oauth.nonces.clone().unwrap();
    let set_keys = |ring: Keyring| {
        nonces.set_keys(&ring);
        demo.state.authority.set_keys(ring);
    };
    set_keys(Keyring::new(old.clone()));
    demo.register("ada").await;
    let prover = Prover::new(&demo.clock);
    let with_nonce =
        |path: &str, nonce: &str| prover.text_with(&Method::POST, path, None, |claims| claims["nonce"] = nonce.into());
    let refused = demo
        .post_with_proof("/auth/login", Some(&prover.text(&Method::POST, "/auth/login", None)), &credentials())
        .await;
    assert_eq!((refused.status.as_u16(), &refused.body["error"]), (400, &json!("use_dpop_nonce")));
    let nonce = refused.headers["dpop-nonce"].to_str().unwrap().to_owned();
    let login = demo.post_with_proof("/auth/login", Some(&with_nonce("/auth/login", &nonce)), &credentials()).await;
    assert_eq!(login.status, StatusCode::OK);

    set_keys(Keyring::new(SigningKey::generate().unwrap()).with_retired(old).unwrap());
    let proof = with_nonce("/auth/refresh", &nonce);
    assert_eq!(demo.post_with_proof("/auth/refresh", Some(&proof), &refresh_of(&login)).await.status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn dpop_login_that_was_overtaken_begins_again_while_its_proof_is_unused() {
    let demo = app_with_proofs(OPTIONAL);
    demo.register("ada").await;
    let prover = Prover::new(&demo.clock);
    let path = "/auth/login";
    let log_in = async |proof: &str| {
        let answer = demo.post_with_proof(path, Some(proof), &credentials()).await;
        (answer.status.as_u16(), answer.body["error"].as_str().unwrap_or_default().to_owned())
    };
    // While the password is checked.
    demo.store.raise_fence_after.store(1, Ordering::SeqCst);
    assert_eq!(log_in(&prover.text(&Method::POST, path, None)).await, (200, String::new()));
    // At the commit, which follows the use of the proof.
    demo.store.raise_fence_after.store(2, Ordering::SeqCst);
    let proof = prover.text(&Method::POST, path, None);
    assert_eq!(log_in(&proof).await, (503, "temporarily_unavailable".to_owned()));
    assert_eq!(log_in(&proof).await, (400, "invalid_dpop_proof".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn dpop_challenges_of_handlers_ask_for_a_proof_where_a_layer_does() {
    let metadata = r#"resource_metadata="https://api.example/.well-known/oauth-protected-resource""#;
    let with_proof = format!(r#"DPoP realm="demo-app", algs="ES256 EdDSA", {metadata}"#);
    let challenge = |answer: &TestResponse| answer.headers[header::WWW_AUTHENTICATE].to_str().unwrap().to_owned();
    let path = "/auth/login";
    let wrong = json!({ "username": "ada", "password": "wrong horse" });
    for (flags, expected) in
        [(REQUIRED, with_proof.clone()), (OPTIONAL, format!(r#"Bearer realm="demo-app", {metadata}"#))]
    {
        let demo = app_with_proofs(flags);
        demo.register("ada").await;
        let prover = Prover::new(&demo.clock);
        let proof = prover.text(&Method::POST, path, None);
        let refused = demo.post_with_proof(path, Some(&proof), &wrong).await;
        assert_eq!((refused.status.as_u16(), challenge(&refused)), (401, expected), "{flags:?}");

        // The layer lets the token in, and a check behind it refuses.
        let sign_in = demo.state.authority.begin_sign_in(UserId::generate()).await.unwrap();
        let grant = Grant::new("other").bound_to(&prover.proof());
        let foreign = demo.state.authority.sign_in(sign_in, grant).await.unwrap().access_token;
        let request = Request::post("/auth/logout").header(header::AUTHORIZATION, format!("DPoP {foreign}"));
        let request = request.header("dpop", prover.text(&Method::POST, "/auth/logout", Some(&foreign)));
        let refused = demo.send(request.body(Body::empty()).unwrap()).await;
        let expected = format!(r#"{with_proof}, error="insufficient_scope""#);
        assert_eq!((refused.status.as_u16(), challenge(&refused)), (403, expected), "{flags:?}");
    }
}

/// A browser sends no proof with a cookie.
#[tokio::test(start_paused = true)]
async fn dpop_and_cookies_exclude_each_other() {
    let demo = app_with_proofs(OPTIONAL);
    demo.register("ada").await;
    let prover = Prover::new(&demo.clock);
    let path = "/auth/login?transport=cookie";
    let proof = prover.text(&Method::POST, "/auth/login", None);
    for proof in [proof.as_str(), "a.b.c"] {
        let refused = demo.post_with_proof(path, Some(proof), &credentials()).await;
        assert_eq!((refused.status.as_u16(), &refused.body["error"]), (400, &json!("invalid_request")));
        assert!(refused.set_cookies().is_empty());
    }
    let page = demo.open_page("ada").await;
    let refused = page.request("POST", "/auth/refresh").header("dpop", &proof).body(Body::empty()).unwrap();
    assert_eq!(demo.send(refused).await.body["error"], "invalid_request");

    // A bound refresh token in a cookie has no proof.
    let sign_in = demo.state.authority.begin_sign_in(UserId::generate()).await.unwrap();
    let grant = Grant::new("demo-app").bound_to(&prover.proof()).custom(&Identity { username: "ada".into() }).unwrap();
    let pair = demo.state.authority.sign_in(sign_in, grant).await.unwrap();
    let csrf = demo.state.authority.csrf_token(pair.session_id);
    let bound = browser::Page { access: pair.access_token, refresh: pair.refresh_token, csrf };
    let refused = demo.page(&bound, "POST", "/auth/refresh").await;
    assert_eq!((refused.status.as_u16(), refused.set_cookies().len()), (400, 0), "{}", refused.body);

    let demo = app_with_proofs(REQUIRED);
    demo.register("ada").await;
    let refused = demo.post(path, credentials()).await;
    assert_eq!((refused.status.as_u16(), &refused.body["error"]), (400, &json!("invalid_request")));
}
