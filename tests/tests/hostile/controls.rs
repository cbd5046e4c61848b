//! Tokens that must be accepted. Otherwise a forgery might be refused for another reason than its
//! own.

use auth_layer::{AuthError, SessionId, TokenFault, store::TokenKind};
use http::HeaderValue;
use serde_json::json;

use crate::{
    corpus::es256_twin,
    fixture::{AUDIENCE, Fixture, GoodTokens, LEEWAY},
    forge::{KEYS, TokenDraft},
    protected_route::{ProtectedRoute, bearer},
};

/// Returns tokens that differ from the one issued and are as good.
fn equivalent_tokens(good: &GoodTokens) -> Vec<(&'static str, String)> {
    let draft = &good.eddsa;
    let in_leeway = (good.now + LEEWAY).timestamp();
    let header = |name, value: serde_json::Value| draft.clone().header(name, value).token();
    let claim = |name, value: serde_json::Value| draft.clone().claim(name, value).token();
    vec![
        // RFC 7515 §4.1.9: a media type, without regard to case, with `application/` or without.
        ("typ: in upper case", header("typ", draft.typ().to_uppercase().into())),
        ("typ: in full", header("typ", format!("application/{}", draft.typ()).into())),
        ("typ: in full and in upper case", header("typ", format!("APPLICATION/{}", draft.typ()).into())),
        // RFC 7515 §4: members that are not understood are ignored. These two ask for nothing.
        ("header: a stranger", header("x", json!({ "a": [1, { "b": null }] }))),
        ("header: x5t", header("x5t", json!("AAAA"))),
        ("aud: an array", claim("aud", json!([AUDIENCE]))),
        ("aud: others beside us", claim("aud", json!(["other", AUDIENCE]))),
        ("claim: a stranger", claim("x", json!({ "a": [1, 2.5, "\u{0}\u{1f600}"] }))),
        ("claim: an empty client_id", claim("client_id", json!(""))),
        ("scope: missing", draft.clone().without_claim("scope").token()),
        ("scope: empty", claim("scope", json!(""))),
        ("future: iat", claim("iat", in_leeway.into())),
        ("future: nbf", claim("nbf", in_leeway.into())),
        ("nbf: in 1970", claim("nbf", 0.into())),
        ("JSON: blanks around", draft.key.token(draft.header_text(), format!(" \t\r\n{} ", draft.payload_text()))),
        (
            "JSON: a name escaped",
            draft.with_payload_text(draft.payload_text().replace("\"jti\"", r#""\u006a\u0074i""#)),
        ),
        ("JSON: as deep as a hundred", claim("x", nested(100))),
        ("length: just within the limit", draft.of_length(8 * 1024)),
        ("key: the second of its algorithm", draft.clone().signed_by(&KEYS.second).token()),
        ("signature: ES256's twin", es256_twin(&good.es256.token())),
        ("expired: within the leeway", good.expiring.token()),
    ]
}

/// Returns an array of this depth.
fn nested(depth: usize) -> serde_json::Value {
    (0..depth).fold(json!(1), |inner, _| json!([inner]))
}

#[tokio::test]
async fn check_accepts_the_untouched_token_of_each_algorithm_and_kind() {
    let fixture = Fixture::new();
    for (order, authority) in fixture.authorities() {
        for key in KEYS.each() {
            let draft = async |kind| fixture.good(kind).await.eddsa.signed_by(key);
            let access = draft(TokenKind::Access).await;
            assert!(authority.verify(&access.token()).await.is_ok(), "{order}, {}", key.alg());
            let refresh = draft(TokenKind::Refresh).await;
            assert!(authority.refresh(&refresh.token()).await.is_ok(), "{order}, {}", key.alg());
            let once = draft(TokenKind::SingleUse).await;
            assert!(authority.spend(&once.token()).await.is_ok(), "{order}, {}", key.alg());
        }
    }
}

#[tokio::test]
async fn check_accepts_good_tokens_that_look_odd() {
    let fixture = Fixture::new();
    let good = fixture.good(TokenKind::Access).await;
    for (order, authority) in fixture.authorities() {
        let route = ProtectedRoute::new(authority, false);
        for (name, token) in equivalent_tokens(&good) {
            let verified = authority.verify(&token).await;
            assert!(verified.is_ok(), "{order}, {name}: {verified:?}");
            let request = http::Request::get("/").header("authorization", bearer(&token).unwrap());
            let response = route.send(request.body(axum::body::Body::empty()).unwrap()).await;
            assert_eq!(response.status, 200, "{order}, {name}");
        }
        let token = good.eddsa.token();
        for credentials in [format!("bearer {token}"), format!("BEARER {token}"), format!("bEaReR    {token}")] {
            let request = http::Request::get("/").header("authorization", HeaderValue::try_from(&credentials).unwrap());
            let response = route.send(request.body(axum::body::Body::empty()).unwrap()).await;
            assert_eq!(response.status, 200, "{order}, {}", &credentials[..10]);
        }
    }
}

/// RFC 7518 §3.4 asks for no low `s`, and neither does aws-lc, so each ES256 signature has a twin.
/// The twin is another text of the same token. It must not get around a revocation or a single use.
#[tokio::test]
async fn revoke_covers_the_twin_of_an_es256_signature() {
    let fixture = Fixture::new();
    for (order, authority) in fixture.authorities() {
        let draft = fixture.good(TokenKind::Access).await.es256;
        let token = draft.token();
        let twin = es256_twin(&token);
        assert_ne!(token, twin);
        let [first, second] = [authority.verify(&token).await.unwrap(), authority.verify(&twin).await.unwrap()];
        assert_eq!(first.jti, second.jti, "{order}");
        authority.revoke_token(first.token_id().unwrap()).await.unwrap();
        for (what, token) in [("itself", &token), ("its twin", &twin)] {
            let verified = authority.verify(token).await;
            assert!(
                matches!(verified, Err(AuthError::InvalidToken(TokenFault::Revoked))),
                "{order}, {what}: {verified:?}"
            );
        }

        let once = fixture.good(TokenKind::SingleUse).await.es256.token();
        assert!(authority.spend(&es256_twin(&once)).await.is_ok(), "{order}");
        let again = authority.spend(&once).await;
        assert!(matches!(again, Err(AuthError::InvalidToken(TokenFault::Used))), "{order}: {again:?}");

        let refresh = fixture.good(TokenKind::Refresh).await.es256;
        let session: SessionId = TokenDraft::text(&refresh, "sid").parse().unwrap();
        let token = refresh.token();
        let child = authority.refresh(&token).await.unwrap();
        let repeated = authority.refresh(&es256_twin(&token)).await.unwrap();
        assert_eq!(child.session_id, session);
        assert_eq!(child.refresh_token, repeated.refresh_token, "{order}: one child, also for the twin");
    }
}
