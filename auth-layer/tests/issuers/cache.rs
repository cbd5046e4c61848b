//! The in-process cache with tokens of other issuers.

use auth_layer::claims::Claims;

use super::*;

#[tokio::test]
async fn cache_hit_of_another_issuers_token_asks_no_store_within_the_lease() {
    let (clock, minter) = (clock(), Minter::ed25519("k1"));
    let node = Node::new(&clock, theirs(&minter));
    let token = minter.mint(access(), &claims(&clock));
    for (asked, wait) in [(1, Duration::ZERO), (1, LEASE / 2), (2, LEASE + MILLI), (2, LEASE / 2)] {
        clock.advance(wait);
        node.trust.verify(&token).await.unwrap();
        assert_eq!(node.store.questions(), asked);
    }
}

#[tokio::test]
async fn cache_hit_is_judged_by_the_settings_of_each_trust() {
    let (clock, minter) = (clock(), Minter::ed25519("k1"));
    let node = Node::new(&clock, theirs(&minter).typ(Typ::AnyJwt));
    let trust = |issuer: Issuer| {
        let builder = Trust::builder(Arc::clone(&node.store)).issuer(issuer).local_cache(LEASE);
        builder.clock(clock.clone()).build().unwrap()
    };
    let token = minter.mint(json!({ "typ": "JWT" }), &claims(&clock));
    for (strict, why) in [
        (theirs(&minter), TokenFault::Type),
        (theirs(&minter).typ(Typ::AnyJwt).claim("azp", "web"), TokenFault::ClaimRule),
        (theirs(&minter).typ(Typ::AnyJwt).max_life(MINUTE), TokenFault::Lifetime),
        (Issuer::with_jwk_set(THEIRS, minter.jwk_set()).typ(Typ::AnyJwt).audience("billing"), TokenFault::Audience),
        (
            Issuer::with_jwk_set(THEIRS, Minter::ed25519("k1").jwk_set()).typ(Typ::AnyJwt).audience("orders"),
            TokenFault::Signature,
        ),
    ] {
        let strict = trust(strict);
        node.trust.verify(&token).await.unwrap();
        assert_eq!(fault(strict.verify(&token).await), why);
        node.trust.verify(&token).await.unwrap();
    }
}

#[tokio::test]
async fn cache_hit_is_judged_by_the_audience_of_each_policy() {
    let (clock, vendor) = (clock(), vendors::cognito());
    let node = Node::new(&clock, vendor.trusted());
    let token = vendor.token(clock.now());
    let strict = Policy::builder().audience("orders").build();
    for _ in 0..2 {
        check(&node.trust, &Policy::default(), &token).await.unwrap();
        assert_eq!(fault(check(&node.trust, &strict, &token).await), TokenFault::Audience);
    }
    let token = vendor.token_with(clock.now(), |claims| claims["aud"] = "orders".into());
    for _ in 0..2 {
        check(&node.trust, &strict, &token).await.unwrap();
        check(&node.trust, &Policy::default(), &token).await.unwrap();
    }
}

#[tokio::test]
async fn cache_counts_another_issuers_claims_as_the_layer_that_checked_them() {
    let (clock, minter) = (clock(), Minter::ed25519("k1"));
    let node = Node::new(&clock, theirs(&minter));
    let token = minter.mint(access(), &claims(&clock));
    let claims: Claims = node.trust.verify(&token).await.unwrap();
    auth_layer::Demand::new().issuers([THEIRS]).check(&claims).unwrap();
    assert_eq!(fault(auth_layer::Demand::new().issuers([OURS]).check(&claims)), TokenFault::Issuer);
}
