//! Calls that take the text of a token: revocation (RFC 7009) and introspection (RFC 7662).

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use auth_layer::{
    authority::{Renewal, RevokeOutcome},
    store::TokenKind,
};
use serde_json::{Value, json};

use super::*;

async fn introspected(authority: &Authority, token: &str) -> Value {
    serde_json::to_value(authority.introspect(token).await.unwrap()).unwrap()
}

#[tokio::test]
async fn introspect_describes_an_active_token_of_each_kind() {
    let clock = clock();
    let authority = builder(&clock).build().unwrap();
    let sign_in = authority.begin_sign_in(UserId::generate()).await.unwrap();
    let grant = Grant::new("web").scope("profile".parse().unwrap()).custom(&json!({ "tenant": 7 })).unwrap();
    let pair = authority.sign_in(sign_in, grant).await.unwrap();
    let claims = authority.verify(&pair.access_token).await.unwrap();
    let once = authority.issue_single_use(&claims).await.unwrap();

    let access = introspected(&authority, &pair.access_token).await;
    assert_eq!(access["active"], true);
    assert_eq!(access["token_type"], "Bearer");
    assert_eq!(access["sub"], pair.user_id.to_string());
    assert_eq!(access["aud"], json!(["api"]));
    assert_eq!(access["scope"], "profile");
    assert_eq!(access["client_id"], "web");
    assert_eq!(access["exp"], claims.exp.timestamp());
    assert_eq!(access["tenant"], 7);
    for (token, kind) in [
        (&pair.access_token, TokenKind::Access),
        (&pair.refresh_token, TokenKind::Refresh),
        (&once.token, TokenKind::SingleUse),
    ] {
        for _ in 0..2 {
            assert_eq!(authority.introspect(token).await.unwrap().kind(), Some(kind), "and asking uses nothing up");
        }
    }
    authority.spend(&once.token).await.unwrap();
    assert_eq!(introspected(&authority, &once.token).await, json!({ "active": false }));
    let next = authority.refresh(&pair.refresh_token).await.unwrap();
    assert!(authority.introspect(&pair.refresh_token).await.unwrap().is_active(), "it still gets its pair once more");
    // Waits until the pair is marked as delivered.
    finish_background_work().await;
    clock.advance(MINUTE);
    assert!(!authority.introspect(&pair.refresh_token).await.unwrap().is_active(), "it is retired");
    assert!(authority.refresh(&next.refresh_token).await.is_ok(), "that was no use of it");
    authority.revoke_session(pair.session_id).await.unwrap();
    for token in [&pair.access_token, &next.refresh_token, "a.b.c", ""] {
        assert_eq!(introspected(&authority, token).await, json!({ "active": false }), "{token}");
    }
}

/// RFC 7662 §4.
#[tokio::test]
async fn introspect_of_an_expired_early_or_forged_token_is_inactive() {
    let (store, key) = (Arc::new(MemoryStore::new()), SigningKey::generate().unwrap());
    let on_time_of = |clock: &ManualClock| {
        let builder = Authority::builder("https://issuer", Arc::clone(&store)).audience("api");
        builder.keys(Keyring::new(key.clone())).clock(clock.clone()).build().unwrap()
    };
    let (clock, fast_clock) = (clock(), clock());
    fast_clock.advance(MINUTE);
    let authority = on_time_of(&clock);
    let early = sign_in(&on_time_of(&fast_clock), UserId::generate()).await;
    let pair = sign_in(&authority, UserId::generate()).await;
    let is_active = async |token: &str| authority.introspect(token).await.unwrap().is_active();
    for token in [&early.access_token, &early.refresh_token] {
        assert!(!is_active(token).await, "from the future");
    }
    for token in [&pair.access_token, &pair.refresh_token] {
        assert!(is_active(token).await);
        assert!(!is_active(&format!("{}AAAA", &token[..token.len() - 4])).await, "forged");
    }
    clock.advance(15 * MINUTE + Duration::from_secs(31));
    assert!(!is_active(&pair.access_token).await, "expired");
    assert!(is_active(&pair.refresh_token).await);
    clock.advance(400 * DAY);
    assert!(!is_active(&pair.refresh_token).await, "expired");
}

#[tokio::test]
async fn revoke_by_text_ends_a_token_of_any_kind_and_ignores_a_forged_one() {
    let authority = builder(&clock()).build().unwrap();
    let pair = sign_in(&authority, UserId::generate()).await;
    let claims = authority.verify(&pair.access_token).await.unwrap();
    let once = authority.issue_single_use(&claims).await.unwrap();
    let forged = |token: &str| format!("{}AAAA", &token[..token.len() - 4]);
    for token in [forged(&pair.access_token), forged(&pair.refresh_token), forged(&once.token), "a.b.c".into()] {
        authority.revoke(&token).await.unwrap();
    }
    authority.verify(&pair.access_token).await.unwrap();
    authority.revoke(&once.token).await.unwrap();
    assert!(matches!(authority.spend(&once.token).await, Err(AuthError::InvalidToken(TokenFault::Used))));
    authority.revoke(&pair.access_token).await.unwrap();
    assert_eq!(fault(&authority, &pair.access_token).await, TokenFault::Revoked);
    let next = authority.refresh(&pair.refresh_token).await.unwrap();
    authority.revoke(&next.refresh_token).await.unwrap();
    assert_eq!(fault(&authority, &next.access_token).await, TokenFault::Revoked, "the session is over");
}

#[tokio::test]
async fn revoke_as_a_client_ends_its_own_tokens_alone() {
    let clock = clock();
    let authority = builder(&clock).build().unwrap();
    let pair = sign_in(&authority, UserId::generate()).await;
    let claims = authority.verify(&pair.access_token).await.unwrap();
    let once = authority.issue_single_use(&claims).await.unwrap();
    for token in [&pair.access_token, &pair.refresh_token, &once.token] {
        for other in ["other", "WEB", ""] {
            assert_eq!(authority.revoke_as(token, other).await.unwrap(), RevokeOutcome::OtherClient);
        }
    }
    for token in ["", "a.b.c", &pair.access_token[1..]] {
        assert_eq!(authority.revoke_as(token, "web").await.unwrap(), RevokeOutcome::Unknown);
    }
    authority.verify(&pair.access_token).await.unwrap();
    assert!(authority.introspect(&once.token).await.unwrap().is_active());
    for _ in 0..2 {
        assert_eq!(authority.revoke_as(&once.token, "web").await.unwrap(), RevokeOutcome::Revoked);
        assert_eq!(authority.revoke_as(&pair.access_token, "web").await.unwrap(), RevokeOutcome::Revoked);
    }
    assert!(!authority.introspect(&once.token).await.unwrap().is_active());
    assert_eq!(fault(&authority, &pair.access_token).await, TokenFault::Revoked);
    let next = authority.refresh(&pair.refresh_token).await.unwrap();
    assert_eq!(authority.revoke_as(&next.refresh_token, "web").await.unwrap(), RevokeOutcome::Revoked);
    assert_eq!(fault(&authority, &next.access_token).await, TokenFault::Revoked, "the session is over");
    clock.advance(15 * MINUTE + MINUTE);
    assert_eq!(authority.revoke_as(&next.access_token, "web").await.unwrap(), RevokeOutcome::Unknown, "expired");
}

#[derive(Debug, thiserror::Error)]
#[error("the roles cannot be read")]
struct NoRoles;

#[tokio::test]
async fn refresh_with_gives_the_next_pair_new_claims_and_a_retry_the_same_pair() {
    let authority = builder(&clock()).build().unwrap();
    let sign_in = authority.begin_sign_in(UserId::generate()).await.unwrap();
    let grant = Grant::new("web").custom(&json!({ "roles": ["clerk"] })).unwrap();
    let pair = authority.sign_in(sign_in, grant).await.unwrap();
    let asked = AtomicUsize::new(0);
    let roles = |roles: Result<Value, NoRoles>| {
        let asked = &asked;
        move |_| {
            asked.fetch_add(1, Ordering::SeqCst);
            let renewal = roles.as_ref().map(|roles| Renewal::new().custom(&json!({ "roles": roles })).unwrap());
            std::future::ready(renewal.map_err(|_| NoRoles))
        }
    };
    let failed = authority.refresh_with(&pair.refresh_token, roles(Err(NoRoles))).await;
    assert!(matches!(failed, Err(RefreshError::Claims(_))), "{failed:?}");
    let named =
        authority.refresh_with(&pair.refresh_token, |_| async { Renewal::new().custom(&json!({ "sub": 1 })) }).await;
    assert!(matches!(named, Err(RefreshError::Claims(_))), "a registered claim: {named:?}");

    let next = authority.refresh_with(&pair.refresh_token, roles(Ok(json!(["chief"])))).await.unwrap();
    let claims = authority.verify(&next.access_token).await.unwrap();
    assert_eq!(serde_json::to_value(&claims).unwrap()["roles"], json!(["chief"]));
    let before = asked.load(Ordering::SeqCst);
    let again = authority.refresh_with(&pair.refresh_token, roles(Ok(json!(["other"])))).await.unwrap();
    assert_eq!(again, next, "a retry gets the pair that it got before");
    assert_eq!(asked.load(Ordering::SeqCst), before, "and the application is not asked");
    let kept = authority.refresh(&next.refresh_token).await.unwrap();
    let claims = authority.verify(&kept.access_token).await.unwrap();
    assert_eq!(serde_json::to_value(&claims).unwrap()["roles"], json!(["chief"]), "they stay until they are changed");
}
