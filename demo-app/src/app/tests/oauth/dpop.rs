//! Proofs of possession at the endpoints that issue tokens (RFC 9449 §5).

use std::sync::atomic::Ordering;

use auth_layer::dpop::PROOF_HEADER;
use http::Method;

use super::{
    prover::{ORIGIN, Prover},
    *,
};

/// An application whose clients may or must send proofs, and the key of one.
struct Dpop {
    demo: TestApp,
    prover: Prover,
}

impl Dpop {
    async fn new(flags: &[&str]) -> Self {
        let demo = oauth_app(&[&["--issuer", ORIGIN, "--password-grant", "on"][..], flags].concat()).await;
        let prover = Prover::new(&demo.clock);
        Self { demo, prover }
    }

    fn proof(&self) -> String {
        self.prover.text(&Method::POST, "/oauth/token", None)
    }

    /// Sends a token request with this proof, as `job` if it names no client.
    async fn token(&self, fields: Fields<'_>, proof: Option<&str>) -> Answer {
        let is_public = fields.iter().any(|(name, _)| *name == "client_id");
        let mut headers: Vec<(HeaderName, &str)> = proof.into_iter().map(|proof| (PROOF_HEADER, proof)).collect();
        if !is_public {
            headers.push((header::AUTHORIZATION, JOB));
        }
        self.demo.post_form("/oauth/token", form(fields, &[]), &headers).await
    }

    fn key(&self) -> Value {
        json!({ "jkt": self.prover.proof().thumbprint() })
    }

    /// Returns the `cnf` of an access token.
    async fn confirmation(&self, tokens: &Answer) -> Value {
        let fields = [("token", tokens.member("access_token"))];
        let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
        self.demo.as_job("/oauth/introspect", &fields).await.json()["cnf"].clone()
    }

    /// Calls `/me` with a bound token.
    async fn me(&self, prover: &Prover, access_token: &str) -> u16 {
        let request = Request::get("/me")
            .header(header::AUTHORIZATION, format!("DPoP {access_token}"))
            .header(PROOF_HEADER, prover.text(&Method::GET, "/me", Some(access_token)));
        self.demo.answer(request.body(Body::empty()).unwrap()).await.status.as_u16()
    }
}

const CLIENT_CREDENTIALS: Fields<'_> = &[("grant_type", "client_credentials")];
const ADA: Fields<'_> =
    &[("grant_type", "password"), ("client_id", "shop"), ("username", "ada"), ("password", PASSWORD)];

fn refresh<'a>(client: &'a str, token: &'a str) -> Vec<(&'a str, &'a str)> {
    let fields = [("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", client)];
    fields.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}

#[tokio::test(start_paused = true)]
async fn dpop_client_token_that_was_overtaken_is_issued_again_while_its_proof_is_unused() {
    let app = Dpop::new(&["--dpop", "optional"]).await;
    app.demo.store.raise_fence_after.store(1, Ordering::SeqCst);
    app.token(CLIENT_CREDENTIALS, Some(&app.proof())).await.assert_ok();
    app.demo.store.raise_fence_after.store(2, Ordering::SeqCst);
    let proof = app.proof();
    let error = app.token(CLIENT_CREDENTIALS, Some(&proof)).await.error();
    assert_eq!(error, (503, "temporarily_unavailable".to_owned()));
    app.token(CLIENT_CREDENTIALS, Some(&proof)).await.assert_refused("invalid_dpop_proof");
}

#[tokio::test(start_paused = true)]
async fn dpop_token_endpoint_binds_tokens_to_the_key_of_the_proof() {
    let app = Dpop::new(&["--dpop", "optional"]).await;
    let code = app.demo.code(&[]).await;
    let exchange = exchange_form(&code, &[]);
    let tokens = app.token(&exchange, Some(&app.proof())).await.assert_ok();
    let refresh_token = tokens.member("refresh_token");
    let refreshed = app.token(&refresh("shop", &refresh_token), Some(&app.proof())).await.assert_ok();
    let own = app.token(CLIENT_CREDENTIALS, Some(&app.proof())).await.assert_ok();
    let signed_in = app.token(ADA, Some(&app.proof())).await.assert_ok();
    for tokens in [&refreshed, &own, &signed_in] {
        assert_eq!(tokens.member("token_type"), "DPoP");
        assert_eq!(app.confirmation(tokens).await, app.key());
    }
    let access = refreshed.member("access_token");
    assert_eq!(app.me(&app.prover, &access).await, 200);
    assert_eq!(app.me(&Prover::new(&app.demo.clock), &access).await, 401);
    assert_eq!(app.demo.me(&access).await, 401, "not as Bearer");

    for fields in [CLIENT_CREDENTIALS, ADA] {
        let tokens = app.token(fields, None).await.assert_ok();
        assert_eq!(tokens.member("token_type"), "Bearer");
        assert_eq!(app.confirmation(&tokens).await, Value::Null);
    }
}

#[tokio::test(start_paused = true)]
async fn dpop_token_endpoint_refuses_a_bad_proof() {
    let app = Dpop::new(&["--dpop", "optional"]).await;
    let code = app.demo.code(&[]).await;
    let exchange = exchange_form(&code, &[]);
    let tokens = app.token(ADA, Some(&app.proof())).await.assert_ok();
    let refresh_token = tokens.member("refresh_token");
    let refresh = refresh("shop", &refresh_token);
    let used = app.proof();
    app.token(CLIENT_CREDENTIALS, Some(&used)).await.assert_ok();
    let changed = |change: fn(&mut Value)| app.prover.text_with(&Method::POST, "/oauth/token", None, change);
    let good = app.proof();
    let proofs = [
        used,
        "e30.e30.AA".to_owned(),
        format!("{}AAAA", &good[..good.len() - 4]),
        app.prover.text(&Method::GET, "/oauth/token", None),
        app.prover.text(&Method::POST, "/oauth/authorize", None),
        changed(|claims| claims["htu"] = "https://other.example/oauth/token".into()),
        changed(|claims| claims["iat"] = (claims["iat"].as_i64().unwrap() - 31).into()),
        changed(|claims| claims["iat"] = (claims["iat"].as_i64().unwrap() + 61).into()),
        changed(|claims| claims["jti"] = Value::Null),
    ];
    for proof in &proofs {
        for fields in [&exchange[..], &refresh, CLIENT_CREDENTIALS, ADA] {
            app.token(fields, Some(proof)).await.assert_refused("invalid_dpop_proof");
        }
    }
    let (one, other) = (app.proof(), app.proof());
    let headers = [(PROOF_HEADER, one.as_str()), (PROOF_HEADER, other.as_str())];
    let two = app.demo.post_form("/oauth/token", form(&exchange, &[]), &headers).await;
    two.assert_refused("invalid_dpop_proof");
    // None of that used the code or the refresh token up.
    app.token(&exchange, Some(&app.proof())).await.assert_ok();
    app.token(&refresh, Some(&app.proof())).await.assert_ok();
}

#[tokio::test(start_paused = true)]
async fn dpop_token_endpoint_needs_a_proof_where_it_is_required() {
    let app = Dpop::new(&["--dpop", "required"]).await;
    let code = app.demo.code(&[]).await;
    let exchange = exchange_form(&code, &[]);
    for fields in [&exchange[..], CLIENT_CREDENTIALS, ADA] {
        app.token(fields, None).await.assert_refused("invalid_dpop_proof");
        app.token(fields, Some(&app.proof())).await.assert_ok();
    }
    let bearer = app.demo.fetch("/me").await;
    assert!(bearer.header("www-authenticate").starts_with("DPoP realm=\"demo-app\", algs="), "{bearer:?}");
}

#[tokio::test(start_paused = true)]
async fn dpop_is_ignored_where_it_is_off() {
    let app = Dpop::new(&[]).await;
    let tokens = app.token(CLIENT_CREDENTIALS, Some("rubbish")).await.assert_ok();
    assert_eq!(tokens.member("token_type"), "Bearer");
}

#[tokio::test(start_paused = true)]
async fn dpop_token_endpoint_demands_and_gives_a_nonce() {
    let app = Dpop::new(&["--dpop", "optional", "--dpop-nonce", "on"]).await;
    let asked = app.token(CLIENT_CREDENTIALS, Some(&app.proof())).await;
    asked.assert_refused("use_dpop_nonce");
    assert_eq!(asked.headers.get_all("dpop-nonce").iter().count(), 1);
    let with_nonce = |nonce: &str| {
        app.prover.text_with(&Method::POST, "/oauth/token", None, |claims| claims["nonce"] = nonce.into())
    };
    let nonce = asked.header("dpop-nonce");
    let answered = app.token(CLIENT_CREDENTIALS, Some(&with_nonce(nonce))).await.assert_ok();
    assert_eq!(answered.header("dpop-nonce"), nonce, "the next proof may have it too");
    app.token(CLIENT_CREDENTIALS, Some(&with_nonce("guess"))).await.assert_refused("use_dpop_nonce");
    app.demo.clock.advance(std::time::Duration::from_mins(2));
    let stale = app.token(CLIENT_CREDENTIALS, Some(&with_nonce(nonce))).await;
    stale.assert_refused("use_dpop_nonce");
    app.token(CLIENT_CREDENTIALS, Some(&with_nonce(stale.header("dpop-nonce")))).await.assert_ok();
    // A client that sends no proof needs no nonce.
    app.token(CLIENT_CREDENTIALS, None).await.assert_ok();
}

#[tokio::test(start_paused = true)]
async fn dpop_refresh_token_of_a_public_client_needs_its_key() {
    let app = Dpop::new(&["--dpop", "optional"]).await;
    let thief = Prover::new(&app.demo.clock);
    let stolen = || thief.text(&Method::POST, "/oauth/token", None);
    let tokens = app.token(ADA, Some(&app.proof())).await.assert_ok();
    let refresh_token = tokens.member("refresh_token");
    let fields = refresh("shop", &refresh_token);
    app.token(&fields, None).await.assert_refused("invalid_dpop_proof");
    app.token(&fields, Some(&stolen())).await.assert_refused("invalid_grant");
    let next = app.token(&fields, Some(&app.proof())).await.assert_ok();
    assert_eq!(app.confirmation(&next).await, app.key(), "nothing was rotated before");
    let refresh_token = next.member("refresh_token");
    app.token(&refresh("shop", &refresh_token), Some(&app.proof())).await.assert_ok();

    // A confidential client's refresh token is bound to its secret.
    let of_job = [("grant_type", "password"), ("username", "ada"), ("password", PASSWORD)];
    let tokens = app.token(&of_job, Some(&app.proof())).await.assert_ok();
    let refresh_token = tokens.member("refresh_token");
    let next = app.token(&refresh("", &refresh_token), Some(&stolen())).await.assert_ok();
    assert_eq!(app.confirmation(&next).await, json!({ "jkt": thief.proof().thumbprint() }));
}

#[tokio::test(start_paused = true)]
async fn dpop_login_and_refresh_are_bound_to_the_key() {
    let app = Dpop::new(&["--dpop", "optional"]).await;
    let post = async |path: &str, body: Value, proof: Option<String>| {
        let mut request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
        if let Some(proof) = proof {
            request = request.header(PROOF_HEADER, proof);
        }
        app.demo.answer(request.body(body.to_string().into()).unwrap()).await
    };
    let proof = |path: &str| Some(app.prover.text(&Method::POST, path, None));
    let login = || json!({ "username": "ada", "password": PASSWORD });
    let wrong = post("/auth/login", login(), proof("/auth/refresh")).await;
    assert_eq!(wrong.error(), (400, "invalid_dpop_proof".to_owned()));
    let tokens = post("/auth/login", login(), proof("/auth/login")).await.assert_ok();
    assert_eq!(tokens.member("token_type"), "DPoP");
    let body = json!({ "refresh_token": tokens.member("refresh_token") });
    let missing = post("/auth/refresh", body.clone(), None).await;
    assert_eq!(missing.error(), (400, "invalid_dpop_proof".to_owned()));
    let next = post("/auth/refresh", body, proof("/auth/refresh")).await.assert_ok();
    assert_eq!(app.confirmation(&next).await, app.key());
}

/// The library binds codes to `dpop_jkt`.
#[tokio::test(start_paused = true)]
async fn dpop_code_is_bound_to_the_key_of_the_authorization_request() {
    let app = Dpop::new(&["--dpop", "optional"]).await;
    let key = app.prover.proof().thumbprint().to_string();
    let code = app.demo.code(&[("dpop_jkt", &key)]).await;
    let exchange = exchange_form(&code, &[]);
    app.token(&exchange, None).await.assert_refused("invalid_grant");
    let thief = Prover::new(&app.demo.clock).text(&Method::POST, "/oauth/token", None);
    app.token(&exchange, Some(&thief)).await.assert_refused("invalid_grant");
    app.token(&exchange, Some(&app.proof())).await.assert_ok();
}

#[tokio::test(start_paused = true)]
async fn dpop_bound_token_is_revoked_without_a_proof_and_not_with_a_bad_one() {
    let app = Dpop::new(&["--dpop", "required", "--dpop-nonce", "off"]).await;
    let tokens = app.token(ADA, Some(&app.proof())).await.assert_ok();
    let access = tokens.member("access_token");
    let fields = [("client_id", "shop"), ("token", access.as_str())];
    let revoke = async |proof: Option<&str>| {
        let headers = proof.map(|proof| (PROOF_HEADER, proof));
        app.demo.post_form("/oauth/revoke", form(&fields, &[]), headers.as_slice()).await
    };
    revoke(Some(&app.proof())).await.assert_refused("invalid_dpop_proof");
    assert_eq!(app.me(&app.prover, &access).await, 200);
    revoke(None).await.assert_ok();
    assert_eq!(app.me(&app.prover, &access).await, 401);
    revoke(Some(&app.prover.text(&Method::POST, "/oauth/revoke", None))).await.assert_ok();
}
