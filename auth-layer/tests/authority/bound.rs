//! Sessions that are bound to a key (RFC 9449).

use auth_layer::{
    Subject,
    authority::{RefreshRequest, TokenType},
    dpop::{Proof, ProofFault},
};
use serde_json::{Value, json};

use super::*;
use crate::prover::Prover;

async fn bound(authority: &Authority, proof: &Proof) -> Result<IssuedPair, SignInError> {
    let sign_in = authority.begin_sign_in(UserId::generate()).await.unwrap();
    authority.sign_in(sign_in, Grant::new("spa").bound_to(proof).custom(&json!({ "tenant": 7 })).unwrap()).await
}

fn request<'a>(pair: &'a IssuedPair, proof: &'a Proof) -> RefreshRequest<'a> {
    RefreshRequest::new(&pair.refresh_token).proof(proof)
}

/// Returns the thumbprint that an active token is bound to.
async fn key_of(authority: &Authority, token: &str) -> Value {
    serde_json::to_value(authority.introspect(token).await.unwrap()).unwrap()["cnf"]["jkt"].clone()
}

#[tokio::test]
async fn dpop_binds_each_token_of_the_session_and_its_single_use_tokens() {
    let clock = clock();
    let (authority, prover) = (builder(&clock).build().unwrap(), Prover::new(&clock));
    let key = json!(prover.proof().thumbprint());
    let mut pair = bound(&authority, &prover.proof()).await.unwrap();
    for _ in 0..3 {
        assert_eq!(pair.token_type, TokenType::Dpop);
        assert_eq!(serde_json::to_value(&pair).unwrap()["token_type"], "DPoP");
        assert_eq!(key_of(&authority, &pair.access_token).await, key);
        let introspected = authority.introspect(&pair.access_token).await.unwrap();
        let claims = introspected.claims().unwrap();
        assert_eq!(*claims.custom::<Value>().unwrap(), json!({ "tenant": 7 }));
        let once = authority.issue_single_use(claims).await.unwrap();
        assert_eq!((once.token_type, key_of(&authority, &once.token).await), (TokenType::Dpop, key.clone()));
        assert!(matches!(authority.spend(&once.token).await, Err(AuthError::InvalidToken(TokenFault::Binding))));
        pair = authority.refresh(request(&pair, &prover.proof())).await.unwrap();
    }
}

#[tokio::test]
async fn introspect_of_a_bound_token_names_its_key() {
    let clock = clock();
    let (authority, prover) = (builder(&clock).build().unwrap(), Prover::new(&clock));
    let pair = bound(&authority, &prover.proof()).await.unwrap();
    let introspected = serde_json::to_value(authority.introspect(&pair.access_token).await.unwrap()).unwrap();
    assert_eq!(introspected["token_type"], "DPoP");
    assert_eq!(introspected["cnf"], json!({ "jkt": prover.proof().thumbprint() }));
}

#[tokio::test]
async fn dpop_bound_token_is_refused_without_a_proof_whether_cached_or_not() {
    let clock = clock();
    for builder in [builder(&clock), builder(&clock).local_cache(Duration::from_secs(1))] {
        let (authority, prover) = (builder.build().unwrap(), Prover::new(&clock));
        let pair = bound(&authority, &prover.proof()).await.unwrap();
        for _ in 0..2 {
            assert_eq!(fault(&authority, &pair.access_token).await, TokenFault::Binding);
            assert!(authority.introspect(&pair.access_token).await.unwrap().is_active(), "and now it is cached");
        }
    }
}

#[tokio::test]
async fn dpop_refresh_needs_a_proof_by_the_same_key_and_uses_nothing_up_without() {
    let clock = clock();
    let (authority, prover) = (builder(&clock).build().unwrap(), Prover::new(&clock));
    let thief = Prover::new(&clock);
    let pair = bound(&authority, &prover.proof()).await.unwrap();
    let missing = authority.refresh(&pair.refresh_token).await;
    assert!(matches!(missing, Err(RefreshError::Proof(ProofFault::Missing))), "{missing:?}");
    let stolen = authority.refresh(request(&pair, &thief.proof())).await;
    assert!(matches!(stolen, Err(RefreshError::InvalidGrant(GrantFault::Key))), "{stolen:?}");

    let next = authority.refresh(request(&pair, &prover.proof())).await.unwrap();
    // A retry needs a proof as well, and gets the same pair.
    assert_eq!(authority.refresh(request(&pair, &prover.proof())).await.unwrap(), next);
    assert!(authority.refresh(&pair.refresh_token).await.is_err());
    authority.refresh(request(&next, &prover.proof())).await.unwrap();
}

#[tokio::test]
async fn dpop_proof_is_used_once_at_sign_in_and_refresh() {
    let clock = clock();
    let (authority, prover) = (builder(&clock).build().unwrap(), Prover::new(&clock));
    let proof = prover.proof();
    let pair = bound(&authority, &proof).await.unwrap();
    let again = bound(&authority, &proof).await;
    assert!(matches!(again, Err(SignInError::Proof(ProofFault::Replayed))), "{again:?}");
    let replayed = authority.refresh(request(&pair, &proof)).await;
    assert!(matches!(replayed, Err(RefreshError::Proof(ProofFault::Replayed))), "{replayed:?}");
    authority.refresh(request(&pair, &prover.proof())).await.unwrap();
}

#[tokio::test]
async fn dpop_proof_is_not_used_up_by_a_sign_in_that_was_overtaken() {
    let clock = clock();
    let (authority, prover) = (builder(&clock).build().unwrap(), Prover::new(&clock));
    let (user, client) = (UserId::generate(), "job".parse::<Subject>().unwrap());
    let proof = prover.proof();
    let grant = || Grant::new("job").bound_to(&proof);
    let begun = authority.begin_sign_in(user).await.unwrap();
    authority.revoke_user(user, None).await.unwrap();
    assert!(matches!(authority.sign_in(begun, grant()).await, Err(SignInError::Fenced)));
    let begun = authority.begin_sign_in(user).await.unwrap();
    authority.set_user_disabled(user, true).await.unwrap();
    assert!(matches!(authority.sign_in(begun, grant()).await, Err(SignInError::Fenced)));
    let begun = authority.begin_sign_in(&client).await.unwrap();
    authority.revoke_user(&client, None).await.unwrap();
    assert!(matches!(authority.issue_client_token(begun, grant()).await, Err(SignInError::Fenced)));

    let begun = authority.begin_sign_in(&client).await.unwrap();
    authority.issue_client_token(begun, grant()).await.unwrap();
    let again = authority.begin_sign_in(&client).await.unwrap();
    let again = authority.issue_client_token(again, grant()).await;
    assert!(matches!(again, Err(SignInError::Proof(ProofFault::Replayed))), "{again:?}");
}

#[tokio::test]
async fn dpop_proof_is_not_used_up_by_a_refresh_whose_pair_is_refused() {
    let clock = clock();
    let (authority, prover) = (builder(&clock).build().unwrap(), Prover::new(&clock));
    let pair = bound(&authority, &prover.proof()).await.unwrap();
    for time in ["the first pair", "the same pair again"] {
        let proof = prover.proof();
        let refused = authority.refresh(request(&pair, &proof).max_token_bytes(10)).await;
        assert!(matches!(refused, Err(RefreshError::Unacceptable(TokenFault::Oversized))), "{time}: {refused:?}");
        authority.refresh(request(&pair, &proof)).await.unwrap();
    }
}

/// The secret of a confidential client is what its refresh tokens are bound to (RFC 9449 §5).
#[tokio::test]
async fn dpop_key_changes_where_the_client_has_authenticated_and_is_never_dropped() {
    let clock = clock();
    let authority = builder(&clock).build().unwrap();
    let (old, new) = (Prover::new(&clock), Prover::new(&clock));
    let pair = bound(&authority, &old.proof()).await.unwrap();
    let dropped = authority.refresh(RefreshRequest::new(&pair.refresh_token).may_change_key(true)).await;
    assert!(matches!(dropped, Err(RefreshError::Proof(ProofFault::Missing))), "{dropped:?}");

    let next = authority.refresh(request(&pair, &new.proof()).may_change_key(true)).await.unwrap();
    assert_eq!(key_of(&authority, &next.access_token).await, json!(new.proof().thumbprint()));
    let claims = authority.introspect(&next.access_token).await.unwrap();
    assert_eq!(*claims.claims().unwrap().custom::<Value>().unwrap(), json!({ "tenant": 7 }), "the others stay");
    assert!(authority.refresh(request(&next, &old.proof())).await.is_err(), "the session has the new key");
}

#[tokio::test]
async fn dpop_binds_a_session_that_had_no_key_from_its_next_refresh_on() {
    let clock = clock();
    let (authority, prover) = (builder(&clock).build().unwrap(), Prover::new(&clock));
    let pair = sign_in(&authority, UserId::generate()).await;
    assert_eq!(pair.token_type, TokenType::Bearer);
    let next = authority.refresh(request(&pair, &prover.proof())).await.unwrap();
    assert_eq!(key_of(&authority, &next.access_token).await, json!(prover.proof().thumbprint()));
    assert!(authority.verify(&pair.access_token).await.is_ok(), "the old access token is good until it expires");
    assert!(authority.refresh(&next.refresh_token).await.is_err());
}

/// Law 3 holds for bound sessions: with the key, or without it if the thief has the key too.
#[tokio::test]
async fn dpop_reuse_of_a_retired_token_ends_the_session() {
    let clock = clock();
    let (authority, prover) = (builder(&clock).build().unwrap(), Prover::new(&clock));
    let first = bound(&authority, &prover.proof()).await.unwrap();
    let second = authority.refresh(request(&first, &prover.proof())).await.unwrap();
    let third = authority.refresh(request(&second, &prover.proof())).await.unwrap();
    let reused = authority.refresh(request(&first, &prover.proof())).await;
    assert!(matches!(reused, Err(RefreshError::InvalidGrant(GrantFault::Reused))), "{reused:?}");
    assert!(!authority.introspect(&third.access_token).await.unwrap().is_active());
}
