//! Tokens that a check would refuse are not issued, and nothing is recorded.

use std::sync::Arc;

use auth_layer::{
    CustomClaims,
    authority::RefreshRequest,
    store::{TokenKind, TokenStore},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::*;

fn typed<C: CustomClaims>(store: &Arc<MemoryStore>, keys: &Keyring) -> AuthorityBuilder {
    let builder = Authority::builder("https://issuer", Arc::clone(store)).audience("api").keys(keys.clone());
    builder.clock(clock()).custom_claims::<C>()
}

fn keys() -> Keyring {
    Keyring::new(SigningKey::generate().unwrap())
}

async fn open(authority: &Authority, user: UserId, custom: impl Serialize) -> Result<IssuedPair, SignInError> {
    let sign_in = authority.begin_sign_in(user).await.unwrap();
    authority.sign_in(sign_in, Grant::new("web").custom(&custom)?).await
}

/// Values that `serde_json` writes without an error and cannot read back, each with the fault of the
/// check.
fn unreadable() -> Vec<(&'static str, Value, TokenFault)> {
    let mut deep = json!(1);
    for _ in 0..200 {
        deep = json!([deep]);
    }
    vec![
        ("too long", json!({ "note": "x".repeat(6_000) }), TokenFault::Oversized),
        ("too deep", json!({ "note": deep }), TokenFault::Malformed),
    ]
}

#[tokio::test]
async fn sign_in_issues_tokens_that_are_accepted_or_records_nothing() {
    for (name, custom, expected) in unreadable() {
        let (store, user) = (Arc::new(MemoryStore::new()), UserId::generate());
        let authority = typed::<Value>(&store, &keys()).build().unwrap();
        let refused = open(&authority, user, custom).await;
        assert!(matches!(&refused, Err(SignInError::Unacceptable(fault)) if *fault == expected), "{name}: {refused:?}");
        assert!(authority.sessions(user).await.unwrap().is_empty(), "{name}");
    }
    let store = Arc::new(MemoryStore::new());
    let authority = typed::<Value>(&store, &keys()).build().unwrap();
    let pair = open(&authority, UserId::generate(), json!({ "note": "x".repeat(5_000) })).await.unwrap();
    assert!(authority.verify(&pair.access_token).await.is_ok(), "one that fits");
}

/// `serde_json` writes `NaN` as `null`, and reads no number back from `null`.
#[tokio::test]
async fn sign_in_refuses_claims_that_do_not_read_back_as_their_type() {
    #[derive(Debug, Serialize, Deserialize)]
    struct Ratio {
        ratio: f64,
    }

    let (store, user) = (Arc::new(MemoryStore::new()), UserId::generate());
    let authority = typed::<Ratio>(&store, &keys()).build().unwrap();
    let refused = open(&authority, user, Ratio { ratio: f64::NAN }).await;
    assert!(matches!(refused, Err(SignInError::Unacceptable(TokenFault::CustomClaims))), "{refused:?}");
    for ratio in [0.1, 1.5e300, -2.0, f64::MIN_POSITIVE] {
        let pair = open(&authority, user, Ratio { ratio }).await.unwrap();
        let read = authority.verify(&pair.access_token).await.unwrap().custom::<Ratio>().unwrap().ratio;
        assert!((read - ratio).abs() <= ratio.abs() * f64::EPSILON, "{ratio} was read as {read}");
    }
}

/// The next version of a service has other claims, and meets sessions that the last version opened.
#[tokio::test]
async fn refresh_with_claims_of_another_type_fails_and_keeps_the_session() {
    #[derive(Debug, Serialize, Deserialize)]
    struct Old {
        tenant: String,
    }
    #[derive(Debug, Serialize, Deserialize)]
    struct New {
        tenant: u32,
    }

    let (store, keys) = (Arc::new(MemoryStore::new()), keys());
    let old = typed::<Old>(&store, &keys).build().unwrap();
    let new = typed::<New>(&store, &keys).build().unwrap();
    let pair = open(&old, UserId::generate(), Old { tenant: "acme".into() }).await.unwrap();
    let before = old.session(pair.session_id).await.unwrap();
    for _ in 0..2 {
        let refused = new.refresh(&pair.refresh_token).await;
        assert!(matches!(refused, Err(RefreshError::Unacceptable(TokenFault::CustomClaims))), "{refused:?}");
    }
    assert_eq!(old.session(pair.session_id).await.unwrap(), before, "nothing was written");
    let next = old.refresh(&pair.refresh_token).await.unwrap();
    assert!(old.verify(&next.access_token).await.is_ok());
    let repeated = new.refresh(&pair.refresh_token).await;
    assert!(matches!(repeated, Err(RefreshError::Unacceptable(TokenFault::CustomClaims))), "{repeated:?}");
    assert!(old.verify(&next.access_token).await.is_ok(), "the session lives");
}

#[tokio::test]
async fn refresh_issues_tokens_that_fit_a_limit_that_was_lowered() {
    let (store, keys) = (Arc::new(MemoryStore::new()), keys());
    let wide = typed::<Value>(&store, &keys).build().unwrap();
    let narrow = typed::<Value>(&store, &keys).max_token_bytes(1_000).build().unwrap();
    let pair = open(&wide, UserId::generate(), json!({ "note": "x".repeat(800) })).await.unwrap();
    let refused = narrow.refresh(&pair.refresh_token).await;
    assert!(matches!(refused, Err(RefreshError::Unacceptable(TokenFault::Oversized))), "{refused:?}");
    let claims = wide.verify(&pair.access_token).await.unwrap();
    let refused = narrow.issue_single_use(&claims).await;
    assert!(matches!(refused, Err(SignInError::Unacceptable(TokenFault::Oversized))), "{refused:?}");
    let once = wide.issue_single_use(&claims).await.unwrap();
    assert!(wide.spend(&once.token).await.is_ok());
}

#[tokio::test]
async fn sign_in_issues_names_and_scopes_of_any_kind_as_granted() {
    let store = Arc::new(MemoryStore::new());
    let keys = keys();
    for issuer in ["https://issuer", "\"quoted\" \\ \u{0} ü 😀"] {
        let authority: Authority = Authority::builder(issuer, Arc::clone(&store))
            .audience(issuer)
            .keys(keys.clone())
            .clock(clock())
            .build()
            .unwrap();
        let user = UserId::generate();
        let scope = (0..100).map(|n| n.to_string()).collect::<Vec<_>>().join(" ").parse().unwrap();
        let sign_in = authority.begin_sign_in(user).await.unwrap();
        let pair = authority.sign_in(sign_in, Grant::new(issuer).scope(scope)).await.unwrap();
        let claims = authority.verify(&pair.access_token).await.unwrap();
        assert_eq!((claims.iss.as_str(), claims.client_id.as_deref()), (issuer, Some(issuer)));
        assert_eq!(claims.scope, pair.scope);
        let status = store.token_status(claims.token_id().unwrap()).await.unwrap();
        assert!(matches!(status, auth_layer::store::TokenStatus::Active(record) if record.kind == TokenKind::Access));
    }
}

#[tokio::test]
async fn sign_in_issues_no_token_beyond_the_length_that_was_asked_for() {
    let (store, user) = (Arc::new(MemoryStore::new()), UserId::generate());
    let authority = typed::<Value>(&store, &keys()).build().unwrap();
    let open = async |bytes: usize| {
        let sign_in = authority.begin_sign_in(user).await.unwrap();
        authority.sign_in(sign_in, Grant::new("web").max_token_bytes(bytes)).await
    };
    let pair = open(8_000).await.unwrap();
    let longest = pair.access_token.len().max(pair.refresh_token.len());
    authority.revoke_user(user, None).await.unwrap();
    let refused = open(longest - 1).await;
    assert!(matches!(refused, Err(SignInError::Unacceptable(TokenFault::Oversized))), "{refused:?}");
    assert!(authority.sessions(user).await.unwrap().is_empty(), "nothing is recorded");
    let pair = open(longest).await.unwrap();
    assert_eq!(pair.refresh_expires_in, Duration::from_hours(30 * 24));

    let within = |bytes: usize| RefreshRequest::new(&pair.refresh_token).max_token_bytes(bytes);
    let refused = authority.refresh(within(longest - 1)).await;
    assert!(matches!(refused, Err(RefreshError::Unacceptable(TokenFault::Oversized))), "{refused:?}");
    let next = authority.refresh(within(longest)).await.unwrap();
    // The same holds for a repeat.
    assert!(authority.refresh(within(longest - 1)).await.is_err());
    assert_eq!(authority.refresh(within(longest)).await.unwrap(), next);
}
