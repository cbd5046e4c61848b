//! No token is taken for another issuer's, or for another kind of token.

use auth_layer::{AuthLayer, TokenId, keys::VerifyingKeys, store::TokenStore};
use axum::{Router, body::Body, routing::get};
use http::StatusCode;
use tower::ServiceExt;

use super::*;

/// Our authority, another issuer, and a trust in both.
struct Two {
    clock: ManualClock,
    authority: Authority,
    keys: Keyring,
    minter: Minter,
    trust: Trust,
}

/// A policy that takes the tokens of both.
fn both() -> Policy {
    Policy::builder().issuers([OURS, THEIRS]).build()
}

impl Two {
    fn new() -> Self {
        Self::with(Minter::ed25519("k1"), |issuer| issuer)
    }

    fn with(minter: Minter, settings: impl FnOnce(Issuer) -> Issuer) -> Self {
        let clock = clock();
        let keys = Keyring::new(SigningKey::generate().unwrap().with_kid("k1").unwrap());
        let authority = Authority::builder(OURS, MemoryStore::new()).audience("orders").keys(keys.clone());
        let authority = authority.local_cache(LEASE).clock(clock.clone()).build().unwrap();
        let trust = Trust::new(&authority).issuer(settings(theirs(&minter))).build().unwrap();
        Self { clock, authority, keys, minter, trust }
    }

    async fn own_token(&self, user: &str) -> String {
        let sign_in = self.authority.begin_sign_in(user.parse::<auth_layer::Subject>().unwrap()).await.unwrap();
        self.authority.sign_in(sign_in, Grant::new("web")).await.unwrap().access_token
    }

    /// Mints a token of theirs whose claims are changed.
    fn token(&self, header: Value, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = claims(&self.clock);
        change(&mut claims);
        self.minter.mint(header, &claims)
    }

    async fn fault(&self, token: &str) -> TokenFault {
        fault(check(&self.trust, &both(), token).await)
    }
}

#[tokio::test]
async fn confusion_of_users_with_one_sub_is_told_by_the_issuer_and_denials_reach_one() {
    let two = Two::new();
    let (own, other) = (two.own_token("ada").await, two.token(access(), |_| {}));
    let [ours, theirs] =
        [check(&two.trust, &both(), &own).await.unwrap(), check(&two.trust, &both(), &other).await.unwrap()];
    assert_eq!((&ours.sub, &*ours.iss, &*theirs.iss), (&theirs.sub, OURS, THEIRS));

    two.trust.deny_subject(THEIRS, &theirs.sub).await.unwrap();
    assert_eq!(two.fault(&other).await, TokenFault::Revoked);
    check(&two.trust, &both(), &own).await.unwrap();
    two.clock.advance(MINUTE);
    let other = two.token(access(), |_| {});
    check(&two.trust, &both(), &other).await.unwrap();
    two.authority.revoke_user(&ours.sub, None).await.unwrap();
    assert_eq!(two.fault(&own).await, TokenFault::Revoked);
    check(&two.trust, &both(), &other).await.unwrap();
}

#[tokio::test]
async fn confusion_of_scopes_admin_of_another_issuer_opens_no_route_of_ours() {
    let two = Two::new();
    let token = two.token(access(), |claims| claims["scope"] = "admin".into());
    let route = || get(async |claims: Claims| claims.sub.to_string());
    let named = AuthLayer::builder(&two.trust).issuers([OURS, THEIRS]).scope("admin").build();
    let app = Router::new()
        .route("/admin", route().layer(AuthLayer::builder(&two.trust).scope("admin").build()))
        .route("/authority", route().layer(AuthLayer::builder(&two.authority).scope("admin").build()))
        .route("/named", route().layer(named));
    for (path, status) in [
        ("/admin", StatusCode::UNAUTHORIZED),
        ("/authority", StatusCode::UNAUTHORIZED),
        ("/named", StatusCode::OK),
        ("/admin", StatusCode::UNAUTHORIZED),
    ] {
        let request = Request::get(path).header("authorization", format!("Bearer {token}")).body(Body::empty());
        assert_eq!(app.clone().oneshot(request.unwrap()).await.unwrap().status(), status, "{path}");
    }
}

#[tokio::test]
async fn confusion_of_keys_our_kid_finds_the_key_of_the_issuer_alone() {
    // Both keys have the kid `k1`.
    let two = Two::new();
    let own = two.own_token("ada").await;
    check(&two.trust, &both(), &own).await.unwrap();
    check(&two.trust, &both(), &two.token(access(), |_| {})).await.unwrap();
    // With their key, and their signature, but our name: our key of that kid does not fit.
    let sid = auth_layer::SessionId::generate().to_string();
    let forged = two.token(access(), |claims| {
        claims["iss"] = OURS.into();
        claims["client_id"] = "web".into();
        claims["jti"] = TokenId::generate().to_string().into();
        claims["sid"] = sid.into();
    });
    assert!(matches!(two.fault(&forged).await, TokenFault::Unknown | TokenFault::Signature));
    assert_eq!(fault(two.authority.verify(&forged).await), TokenFault::Unknown);
}

/// Another service on our store treats our tokens as another issuer's: it asks for no record.
#[tokio::test]
async fn confusion_of_caches_our_name_read_without_a_record_is_no_hit_of_ours() {
    let store = Arc::new(MemoryStore::new());
    let clock = clock();
    let keys = Keyring::new(SigningKey::generate().unwrap());
    let builder = Authority::builder(OURS, Arc::clone(&store)).audience("orders").keys(keys.clone());
    let authority = builder.local_cache(LEASE).clock(clock.clone()).build().unwrap();
    let foreign = Issuer::with_keys(OURS, VerifyingKeys::from(&keys)).audience("orders");
    let other =
        Trust::builder(Arc::clone(&store)).issuer(foreign).local_cache(LEASE).clock(clock.clone()).build().unwrap();
    let sign_in = authority.begin_sign_in(7_u64).await.unwrap();
    let token = authority.sign_in(sign_in, Grant::new("web")).await.unwrap().access_token;
    let claims = authority.verify(&token).await.unwrap();
    // As by hand in the store: no process is told.
    let _ = store.revoke_token(claims.token_id().unwrap(), clock.now()).await.unwrap();
    clock.advance(LEASE + MILLI);
    other.verify(&token).await.unwrap();
    assert_eq!(fault(authority.verify(&token).await), TokenFault::Revoked);
}

#[tokio::test]
async fn confusion_of_issuers_our_name_with_another_signature_is_refused() {
    let two = Two::new();
    let stranger = Minter::ed25519("k2");
    let mut payload = claims(&two.clock);
    payload["iss"] = OURS.into();
    // Read as ours: without a client, it is not even in our form.
    assert!(matches!(two.fault(&stranger.mint(access(), &payload)).await, TokenFault::Key | TokenFault::Claim(_)));
    // Their own key does not sign for us, nor ours for them.
    let renamed = Minter::ed25519("k1").mint(access(), &claims(&two.clock));
    assert_eq!(two.fault(&renamed).await, TokenFault::Signature);
    for name in ["https://idp.example/", "https://IDP.example", "https://other.example", ""] {
        let token = two.token(access(), |claims| claims["iss"] = name.into());
        assert_eq!(two.fault(&token).await, TokenFault::Issuer, "{name}");
    }
    drop(two.keys);
}

#[tokio::test]
async fn confusion_of_tokens_an_id_token_is_refused() {
    // By its type.
    let two = Two::new();
    let id_token = |claims: &mut Value| {
        claims["aud"] = "web".into();
        claims["nonce"] = "n".into();
    };
    assert_eq!(two.fault(&two.token(json!({ "typ": "JWT" }), id_token)).await, TokenFault::Type);
    // By its audience.
    let two = Two::with(Minter::ed25519("k1"), |issuer| issuer.typ(Typ::AnyJwt));
    assert_eq!(two.fault(&two.token(json!({ "typ": "JWT" }), id_token)).await, TokenFault::Audience);
    // By a claim, as with Keycloak (`typ`) and Cognito (`token_use`).
    for (vendor, name, value) in [(vendors::keycloak(), "typ", "ID"), (vendors::cognito(), "token_use", "id")] {
        let [node, _] = Node::pair(&two.clock, || vendor.trusted());
        let token = vendor.token_with(two.clock.now(), |claims| claims[name] = value.into());
        assert_eq!(fault(node.trust.verify(&token).await), TokenFault::ClaimRule, "{name}");
    }
}

#[tokio::test]
async fn confusion_of_tokens_logout_tokens_proofs_and_our_own_types_are_refused() {
    let two = Two::with(Minter::ed25519("k1"), |issuer| issuer.typ(Typ::AnyJwt));
    for typ in ["JWT", "jwt", "application/jwt", "at+jwt", "application/at+jwt"] {
        check(&two.trust, &both(), &two.token(json!({ "typ": typ }), |_| {})).await.unwrap();
    }
    check(&two.trust, &both(), &two.token(json!({}), |_| {})).await.unwrap();
    for typ in [
        "logout+jwt",
        "dpop+jwt",
        "secevent+jwt",
        "rt+jwt",
        "su+jwt",
        "application/logout+jwt",
        "LOGOUT+JWT",
        "oauth-authz-req+jwt",
        "",
    ] {
        assert_eq!(two.fault(&two.token(json!({ "typ": typ }), |_| {})).await, TokenFault::Type, "{typ}");
    }
    // Typed strictly, `JWT` and none are other types too.
    let two = Two::new();
    for header in [json!({ "typ": "JWT" }), json!({}), json!({ "typ": 7 })] {
        assert_eq!(two.fault(&two.token(header, |_| {})).await, TokenFault::Type);
    }
}

#[tokio::test]
async fn confusion_of_algorithms_the_key_decides() {
    let two = Two::with(Minter::p256("k1"), |issuer| issuer);
    for alg in ["none", "HS256", "RS256", "es256", ""] {
        assert_eq!(
            two.fault(&two.token(json!({ "typ": "at+jwt", "alg": alg }), |_| {})).await,
            TokenFault::Key,
            "{alg}"
        );
    }
    for member in ["jwk", "jku", "x5c", "x5u", "crit"] {
        let token = two.token(json!({ "typ": "at+jwt", member: [] }), |_| {});
        assert_eq!(two.fault(&token).await, TokenFault::Header, "{member}");
    }
}

#[tokio::test]
async fn confusion_of_bindings_a_bound_token_of_theirs_is_refused_as_bearer() {
    let two = Two::new();
    let bound = json!({ "jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I" });
    let token = two.token(access(), |claims| claims["cnf"] = bound);
    assert_eq!(two.fault(&token).await, TokenFault::Binding);
    // Bound in a way that nobody here can check.
    let token = two
        .token(access(), |claims| claims["cnf"] = json!({ "x5t#S256": "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0" }));
    assert_eq!(two.fault(&token).await, TokenFault::Claim("cnf"));
}

#[tokio::test]
async fn confusion_of_sessions_an_authority_does_nothing_to_another_issuers() {
    let two = Two::new();
    let own = two.own_token("ada").await;
    let session = two.authority.verify(&own).await.unwrap().session_id().unwrap();
    // Their token names our session.
    let token = two.token(access(), |claims| claims["sid"] = session.to_string().into());
    let claims = check(&two.trust, &both(), &token).await.unwrap();
    assert_eq!((claims.session_id(), claims.token_id()), (None, None));
    two.authority.sign_out(&claims).await.unwrap();
    two.authority.verify(&own).await.unwrap();
}
