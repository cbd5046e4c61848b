//! What a session is opened with: its audiences, and how its user signed in.

use std::sync::Arc;

use auth_layer::{Claims, authority::Renewal, clock::Timestamp};
use serde_json::json;

use super::*;

fn authority_for_two_audiences(clock: &ManualClock) -> Authority {
    builder(clock).audience("billing").build().unwrap()
}

async fn granted(authority: &Authority, grant: Grant) -> IssuedPair {
    let sign_in = authority.begin_sign_in(UserId::generate()).await.unwrap();
    authority.sign_in(sign_in, grant).await.unwrap()
}

/// Collects the claims of the access token at sign-in and after each of two refreshes, and of a
/// single-use token. Each refresh is repeated and must return the same pair.
async fn all_claims(authority: &Authority, grant: Grant) -> Vec<Claims> {
    let mut pair = granted(authority, grant).await;
    let mut all = vec![authority.verify(&pair.access_token).await.unwrap()];
    for _ in 0..2 {
        let next = authority.refresh(&pair.refresh_token).await.unwrap();
        assert_eq!(authority.refresh(&pair.refresh_token).await.unwrap(), next, "the same pair, byte for byte");
        all.push(authority.verify(&next.access_token).await.unwrap());
        pair = next;
    }
    let once = authority.issue_single_use(&all[0]).await.unwrap();
    all.push(authority.spend(&once.token).await.unwrap());
    all
}

#[tokio::test]
async fn grant_for_audiences_puts_them_in_every_token_of_its_session() {
    let authority = authority_for_two_audiences(&clock());
    let web = || Grant::new("web");
    for (grant, audiences) in [
        (web(), &["api"][..]),
        (web().audience("billing"), &["billing"]),
        (web().audience("billing").audience("api").audience("billing"), &["billing", "api"]),
    ] {
        for claims in all_claims(&authority, grant).await {
            assert_eq!(claims.aud, audiences);
        }
    }
}

/// RFC 8707 §2: `invalid_target`.
#[tokio::test]
async fn grant_for_an_unknown_audience_opens_no_session() {
    let authority = authority_for_two_audiences(&clock());
    let user = UserId::generate();
    let sign_in = authority.begin_sign_in(user).await.unwrap();
    let refused = authority.sign_in(sign_in, Grant::new("web").audience("api").audience("elsewhere")).await;
    assert!(matches!(&refused, Err(SignInError::Target)), "{refused:?}");
    assert_eq!(authority.sessions(user).await.unwrap(), []);
}

/// The audience is removed from the settings while sessions for it live.
#[tokio::test]
async fn grant_for_a_removed_audience_refreshes_again_when_it_is_back() {
    let (clock, store) = (clock(), Arc::new(MemoryStore::new()));
    let keys = Keyring::new(SigningKey::generate().unwrap());
    let authority = |audiences: &[&str]| {
        let builder = Authority::builder("https://issuer", Arc::clone(&store)).keys(keys.clone()).clock(clock.clone());
        audiences.iter().fold(builder, |builder, audience| builder.audience(*audience)).build().unwrap()
    };
    let (both, one) = (authority(&["api", "billing"]), authority(&["api"]));
    let pair = granted(&both, Grant::new("web").audience("billing")).await;
    let refused = one.refresh(&pair.refresh_token).await;
    assert!(matches!(refused, Err(RefreshError::Unacceptable(TokenFault::Audience))), "{refused:?}");
    let next = both.refresh(&pair.refresh_token).await.unwrap();
    assert_eq!(both.verify(&next.access_token).await.unwrap().aud, ["billing"]);
}

#[tokio::test]
async fn grant_records_when_and_how_the_user_signed_in_and_refreshes_keep_it() {
    let clock = clock();
    let authority = authority_for_two_audiences(&clock);
    let now = clock.now().timestamp();
    let earlier = Timestamp::from_timestamp(now - 300, 999_000_000).unwrap();
    let web = || Grant::new("web");
    let strong = web().authenticated_at(earlier).acr("urn:strong").amr(["pwd", "otp"]);
    for (grant, at, acr, amr) in [
        (web(), now, None, &[][..]),
        (strong.clone(), now - 300, Some("urn:strong"), &["pwd", "otp"]),
        (strong.custom(&json!({ "tenant": 7 })).unwrap(), now - 300, Some("urn:strong"), &["pwd", "otp"]),
    ] {
        for claims in all_claims(&authority, grant).await {
            assert_eq!(claims.auth_time.map(|at| at.timestamp()), Some(at));
            assert_eq!(
                (claims.acr.as_deref(), &claims.amr[..]),
                (acr, &amr.iter().map(ToString::to_string).collect::<Vec<_>>()[..])
            );
        }
    }
}

#[tokio::test]
async fn grant_with_new_custom_claims_at_a_refresh_keeps_how_the_user_signed_in() {
    let authority = authority_for_two_audiences(&clock());
    let grant = Grant::new("web").audience("billing").acr("urn:strong").custom(&json!({ "roles": ["clerk"] })).unwrap();
    let pair = granted(&authority, grant).await;
    let before = authority.verify(&pair.access_token).await.unwrap();
    let next = authority
        .refresh_with(&pair.refresh_token, |_| async { Renewal::new().custom(&json!({ "roles": ["chief"] })) })
        .await
        .unwrap();
    let after = authority.verify(&next.access_token).await.unwrap();
    assert_eq!((&after.auth_time, &after.acr, &after.aud), (&before.auth_time, &before.acr, &before.aud));
    assert_eq!(*after.custom::<serde_json::Value>().unwrap(), json!({ "roles": ["chief"] }));
    assert_eq!(*before.custom::<serde_json::Value>().unwrap(), json!({ "roles": ["clerk"] }));
}
