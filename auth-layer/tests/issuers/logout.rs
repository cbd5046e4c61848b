//! Logout tokens (OpenID Connect Back-Channel Logout 1.0).

use auth_layer::{clock::Timestamp, oidc::BackChannelLogout, rejection::Rejection};
use axum::{Router, body::Body};
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::*;

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

fn logout_claims(issuer: &str, now: Timestamp) -> Value {
    json!({
        "iss": issuer, "aud": "web", "iat": now.timestamp(), "exp": now.timestamp() + 120, "jti": "l1",
        "sub": "ada", "sid": "s1", "events": { EVENT: {} },
    })
}

fn typed() -> Value {
    json!({ "typ": "logout+jwt" })
}

/// A node with an endpoint for the logout tokens of `THEIRS`.
struct Endpoint {
    clock: ManualClock,
    minter: Minter,
    node: Node,
    app: Router,
}

impl Endpoint {
    fn new() -> Self {
        Self::with(|issuer| issuer)
    }

    fn with(settings: impl Fn(Issuer) -> Issuer) -> Self {
        let (clock, minter) = (clock(), Minter::ed25519("k1"));
        let node = Node::new(&clock, settings(theirs(&minter).logout_audience("web")));
        let app = Router::new().route_service("/logout", BackChannelLogout::new(&node.trust));
        Self { clock, minter, node, app }
    }

    fn token(&self, header: Value, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = logout_claims(THEIRS, self.clock.now());
        change(&mut claims);
        self.minter.mint(header, &claims)
    }

    /// Sends a body, and returns the status and the error of the answer.
    async fn send(&self, method: Method, content_type: &str, body: String) -> (StatusCode, Option<String>) {
        let request = Request::builder().method(method).uri("/logout").header("content-type", content_type);
        let response = self.app.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
        assert_eq!(response.headers()["cache-control"], "no-store");
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let error = serde_json::from_slice::<Value>(&body).ok().map(|body| body["error"].as_str().unwrap().to_owned());
        (status, error)
    }

    async fn post(&self, token: &str) -> (StatusCode, Option<String>) {
        let form = format!("logout_token={token}");
        self.send(Method::POST, "application/x-www-form-urlencoded; charset=utf-8", form).await
    }

    async fn access(&self, session: Option<&str>) -> Result<Claims, AuthError> {
        let mut claims = claims(&self.clock);
        claims["sid"] = session.into();
        claims["jti"] = format!("of {session:?} at {}", self.clock.now()).into();
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        self.node.trust.verify(&self.minter.mint(access(), &claims)).await
    }
}

fn bad() -> (StatusCode, Option<String>) {
    (StatusCode::BAD_REQUEST, Some("invalid_request".into()))
}

#[tokio::test]
async fn logout_token_denies_its_session_once() {
    let endpoint = Endpoint::new();
    endpoint.access(Some("s1")).await.unwrap();
    let token = endpoint.token(typed(), |_| {});
    assert_eq!(endpoint.post(&token).await, (StatusCode::OK, None));
    assert_eq!(fault(endpoint.access(Some("s1")).await), TokenFault::Revoked);
    endpoint.access(Some("s2")).await.unwrap();
    assert_eq!(endpoint.post(&token).await, bad());
    let another = endpoint.token(typed(), |claims| claims["jti"] = "l2".into());
    assert_eq!(endpoint.post(&another).await, (StatusCode::OK, None));
}

#[tokio::test]
async fn logout_token_without_a_session_denies_the_subject_until_its_iat() {
    let endpoint = Endpoint::new();
    let token = endpoint.token(typed(), |claims| {
        claims.as_object_mut().unwrap().remove("sid");
    });
    // It arrives late. What was issued meanwhile is accepted.
    endpoint.clock.advance(MINUTE);
    assert_eq!(endpoint.post(&token).await, (StatusCode::OK, None));
    endpoint.access(Some("s1")).await.unwrap();
    let mut old = claims(&endpoint.clock);
    old["iat"] = (endpoint.clock.now() - MINUTE).timestamp().into();
    assert_eq!(fault(endpoint.node.trust.verify(&endpoint.minter.mint(access(), &old)).await), TokenFault::Revoked);
}

#[tokio::test]
async fn logout_token_denies_the_subject_too_where_access_tokens_name_no_session() {
    for (by_subject, is_denied) in [(false, false), (true, true)] {
        let endpoint = Endpoint::with(|issuer| if by_subject { issuer.logout_by_subject() } else { issuer });
        assert_eq!(endpoint.post(&endpoint.token(typed(), |_| {})).await.0, StatusCode::OK);
        assert_eq!(endpoint.access(None).await.is_err(), is_denied);
    }
}

#[tokio::test]
async fn logout_token_must_be_as_the_specification_says() {
    let endpoint = Endpoint::new();
    let without = |name: &str| {
        endpoint.token(typed(), |claims| {
            claims.as_object_mut().unwrap().remove(name);
        })
    };
    let with = |name: &str, value: Value| endpoint.token(typed(), |claims| claims[name] = value);
    let now = endpoint.clock.now().timestamp();
    let neither = endpoint
        .token(typed(), |claims| claims.as_object_mut().unwrap().retain(|name, _| name != "sub" && name != "sid"));
    for (token, why) in [
        (without("iss"), TokenFault::Claim("iss")),
        (without("aud"), TokenFault::Claim("aud")),
        (without("iat"), TokenFault::Claim("iat")),
        (without("exp"), TokenFault::Claim("exp")),
        (without("jti"), TokenFault::Claim("jti")),
        (without("events"), TokenFault::Claim("events")),
        (neither, TokenFault::Claim("sub")),
        (with("events", json!({ EVENT: true })), TokenFault::Claim("events")),
        (with("events", json!({ "https://other.example": {} })), TokenFault::Claim("events")),
        (with("nonce", json!("n")), TokenFault::Claim("nonce")),
        (with("nonce", json!(null)), TokenFault::Claim("nonce")),
        // The audience of access tokens is not that of logout tokens.
        (with("aud", json!("orders")), TokenFault::Audience),
        (with("iss", json!("https://unknown.example")), TokenFault::Issuer),
        (with("exp", json!(now - 31)), TokenFault::Expired),
        (with("iat", json!(now + 31)), TokenFault::NotYetValid),
        (endpoint.token(json!({ "typ": "at+jwt" }), |_| {}), TokenFault::Type),
        (endpoint.token(json!({ "typ": "JWT" }), |_| {}), TokenFault::Type),
        (Minter::ed25519("k1").mint(typed(), &logout_claims(THEIRS, endpoint.clock.now())), TokenFault::Signature),
        (Minter::ed25519("k2").mint(typed(), &logout_claims(THEIRS, endpoint.clock.now())), TokenFault::Key),
    ] {
        assert_eq!(fault(endpoint.node.trust.log_out(&token).await), why);
        assert_eq!(endpoint.post(&token).await, bad());
    }
    endpoint.access(Some("s1")).await.unwrap();
    assert_eq!(
        endpoint.post(&endpoint.token(typed(), |claims| claims["aud"] = json!(["x", "web"]))).await.0,
        StatusCode::OK
    );
}

/// Keycloak before version 25, for example.
#[tokio::test]
async fn logout_token_of_an_issuer_of_any_jwt_may_have_its_type() {
    let endpoint = Endpoint::with(|issuer| issuer.typ(Typ::AnyJwt));
    for (id, header) in [("l1", json!({ "typ": "JWT" })), ("l2", json!({})), ("l3", typed())] {
        let token = endpoint.token(header, |claims| claims["jti"] = id.into());
        assert_eq!(endpoint.post(&token).await.0, StatusCode::OK, "{id}");
    }
    let token = endpoint.token(json!({ "typ": "dpop+jwt" }), |claims| claims["jti"] = "l4".into());
    assert_eq!(endpoint.post(&token).await, bad());
}

#[tokio::test]
async fn logout_tokens_of_an_issuer_without_an_audience_for_them_are_refused() {
    let (clock, minter) = (clock(), Minter::ed25519("k1"));
    let node = Node::new(&clock, theirs(&minter));
    let token = minter.mint(typed(), &logout_claims(THEIRS, clock.now()));
    assert_eq!(fault(node.trust.log_out(&token).await), TokenFault::Audience);
}

#[tokio::test]
async fn logout_endpoint_refuses_what_is_no_form_with_one_token() {
    let endpoint = Endpoint::new();
    let token = endpoint.token(typed(), |_| {});
    let form = "application/x-www-form-urlencoded";
    for (content_type, body) in [
        (form, String::new()),
        (form, "logout_token=".into()),
        (form, format!("token={token}")),
        (form, format!("logout_token={token}&logout_token={token}")),
        (form, format!("logout_token={}", "a".repeat(64 * 1024))),
        ("application/json", json!({ "logout_token": token }).to_string()),
        ("text/plain", format!("logout_token={token}")),
    ] {
        assert_eq!(endpoint.send(Method::POST, content_type, body).await, bad());
    }
    let (status, _) = endpoint.send(Method::GET, form, format!("logout_token={token}")).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    endpoint.access(Some("s1")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn logout_during_an_outage_is_finished_in_the_background() {
    let endpoint = Endpoint::new();
    let token = endpoint.token(typed(), |_| {});
    endpoint.node.store.fail(true);
    let unavailable = (StatusCode::SERVICE_UNAVAILABLE, Some("temporarily_unavailable".into()));
    assert_eq!(endpoint.post(&token).await, unavailable);
    assert_eq!(Rejection::unavailable().status(), StatusCode::SERVICE_UNAVAILABLE);
    endpoint.node.store.fail(false);
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert_eq!(fault(endpoint.access(Some("s1")).await), TokenFault::Revoked);
    // The issuer may send it again.
    assert_eq!(endpoint.post(&token).await.0, StatusCode::OK);
}
