//! The in-process cache of verified tokens.

use std::{
    future::Future,
    pin::pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Waker},
};

use auth_layer::store::TokenStore;

use super::{faulty_store::FaultyStore, *};

#[tokio::test]
async fn cache_entry_ends_with_a_revocation_on_this_node() {
    let clock = clock();
    let authority = builder(&clock).local_cache(Duration::from_secs(1)).build().unwrap();
    let user = UserId::generate();
    let by_session = sign_in(&authority, user).await;
    let by_token = sign_in(&authority, user).await;
    let by_user = sign_in(&authority, user).await;
    for pair in [&by_session, &by_token, &by_user] {
        for _ in 0..2 {
            assert!(authority.verify(&pair.access_token).await.is_ok());
        }
    }
    authority.revoke_session(by_session.session_id).await.unwrap();
    assert_eq!(fault(&authority, &by_session.access_token).await, TokenFault::Revoked);
    let claims = authority.verify(&by_token.access_token).await.unwrap();
    authority.revoke_token(claims.token_id().unwrap()).await.unwrap();
    assert_eq!(fault(&authority, &by_token.access_token).await, TokenFault::Revoked);
    authority.revoke_user(user, None).await.unwrap();
    assert_eq!(fault(&authority, &by_user.access_token).await, TokenFault::Revoked);
}

#[tokio::test]
async fn cache_entry_ends_when_the_token_expires() {
    let clock = clock();
    let authority = builder(&clock).local_cache(HOUR).leeway(Duration::ZERO).build().unwrap();
    let pair = sign_in(&authority, UserId::generate()).await;
    clock.advance(14 * MINUTE);
    assert!(authority.verify(&pair.access_token).await.is_ok());
    clock.advance(MINUTE);
    assert_eq!(fault(&authority, &pair.access_token).await, TokenFault::Expired);
}

#[tokio::test]
async fn cache_entry_ends_with_a_revocation_whose_caller_went_away() {
    let authority = builder(&clock()).local_cache(HOUR).build().unwrap();
    let pair = sign_in(&authority, UserId::generate()).await;
    let known = authority.verify(&pair.access_token).await.unwrap();
    {
        let mut cx = Context::from_waker(Waker::noop());
        let mut dropped = pin!(authority.revoke_session(known.session_id().unwrap()));
        assert!(dropped.as_mut().poll(&mut cx).is_pending());
    }
    finish_background_work().await;
    assert_eq!(fault(&authority, &pair.access_token).await, TokenFault::Revoked);
}

#[tokio::test]
async fn cache_ignores_a_read_from_before_a_revocation_on_this_node() {
    let (clock, store) = (clock(), Arc::new(FaultyStore::default()));
    let keys = Keyring::new(SigningKey::generate().unwrap());
    let authority: Authority = Authority::builder("https://issuer", Arc::clone(&store))
        .audience("api")
        .keys(keys)
        .clock(clock.clone())
        .local_cache(MINUTE)
        .build()
        .unwrap();
    for known in [false, true] {
        let pair = sign_in(&authority, UserId::generate()).await;
        if known {
            authority.verify(&pair.access_token).await.unwrap();
            clock.advance(MINUTE);
        }
        store.statuses_wait.store(true, Ordering::SeqCst);
        let (checker, token) = (authority.clone(), pair.access_token.clone());
        let check = tokio::spawn(async move { checker.verify(&token).await });
        finish_background_work().await;
        authority.revoke_session(pair.session_id).await.unwrap();
        clock.advance(Duration::from_secs(1));
        store.statuses_wait.store(false, Ordering::SeqCst);
        assert!(check.await.unwrap().is_ok(), "it had read before");
        assert_eq!(fault(&authority, &pair.access_token).await, TokenFault::Revoked, "known: {known}");
    }
}

/// A token is accepted until its leeway ends, so a revocation must cover it until then.
#[tokio::test]
async fn revoke_of_a_refresh_token_covers_access_tokens_within_their_leeway() {
    let clock = clock();
    let authority = builder(&clock).access_ttl(MINUTE).local_cache(HOUR).build().unwrap();
    let pair = sign_in(&authority, UserId::generate()).await;
    let refresh_id = authority.sessions(&pair.user_id).await.unwrap()[0].current.refresh_id;
    clock.advance(MINUTE + Duration::from_secs(3));
    assert!(authority.verify(&pair.access_token).await.is_ok(), "it is still accepted");
    authority.revoke_token(refresh_id).await.unwrap();
    assert_eq!(fault(&authority, &pair.access_token).await, TokenFault::Revoked);
}

#[tokio::test]
async fn revoke_elsewhere_holds_at_once_without_a_lease() {
    let clock = clock();
    let store = Arc::new(MemoryStore::new());
    let keys = Keyring::new(SigningKey::generate().unwrap());
    let builder = Authority::builder("https://issuer", Arc::clone(&store)).audience("api").keys(keys);
    let here = builder.clock(clock.clone()).build().unwrap();
    let pair = sign_in(&here, UserId::generate()).await;
    for _ in 0..3 {
        assert!(here.verify(&pair.access_token).await.is_ok(), "known by now, and asked after each time");
    }
    let _ = store.revoke_session(pair.session_id, clock.now()).await.unwrap();
    assert_eq!(fault(&here, &pair.access_token).await, TokenFault::Revoked);
}

#[tokio::test]
async fn check_of_a_cached_token_refuses_it_after_its_expiry() {
    let clock = clock();
    let authority = builder(&clock).access_ttl(MINUTE).build().unwrap();
    let pair = sign_in(&authority, UserId::generate()).await;
    clock.advance(MINUTE + Duration::from_secs(29));
    assert!(authority.verify(&pair.access_token).await.is_ok());
    clock.advance(Duration::from_secs(1));
    assert_eq!(fault(&authority, &pair.access_token).await, TokenFault::Expired);
}

#[tokio::test]
async fn keys_that_were_removed_refuse_cached_tokens_at_once() {
    for lease in [Duration::ZERO, HOUR] {
        let authority = builder(&clock()).local_cache(lease).build().unwrap();
        let pair = sign_in(&authority, UserId::generate()).await;
        authority.verify(&pair.access_token).await.unwrap();
        let old = authority.keys();
        authority.set_keys(Keyring::new(SigningKey::generate().unwrap()));
        assert_eq!(fault(&authority, &pair.access_token).await, TokenFault::Key);
        authority.set_keys(old);
        assert!(authority.verify(&pair.access_token).await.is_ok(), "and good again with it");
    }
}

#[tokio::test]
async fn keys_that_are_added_drop_no_cached_token() {
    let (clock, store, key) = (clock(), Arc::new(MemoryStore::new()), SigningKey::generate().unwrap());
    let builder = Authority::builder("https://issuer", Arc::clone(&store)).audience("api");
    let here = builder.keys(Keyring::new(key.clone())).clock(clock.clone()).local_cache(HOUR).build().unwrap();
    let pair = sign_in(&here, UserId::generate()).await;
    here.verify(&pair.access_token).await.unwrap();
    // As another process does.
    let _ = store.revoke_session(pair.session_id, clock.now()).await.unwrap();

    let next = SigningKey::generate().unwrap();
    here.set_keys(here.keys().with_verifying(next.verifying_key()).unwrap());
    assert!(here.verify(&pair.access_token).await.is_ok(), "believed for its lease, so it was not asked about again");
    here.set_keys(Keyring::new(next).with_verifying(key.verifying_key()).unwrap());
    assert!(here.verify(&pair.access_token).await.is_ok(), "nor when the new one signs");
    here.set_keys(Keyring::new(key.clone()));
    assert!(here.verify(&pair.access_token).await.is_ok(), "nor when another one is gone");
    here.set_keys(Keyring::new(SigningKey::generate().unwrap()));
    assert_eq!(fault(&here, &pair.access_token).await, TokenFault::Key);
}
