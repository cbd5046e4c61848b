//! Authorities of one process on one store: a revocation by one ends the cached tokens of all at
//! once (law 1).

use std::sync::Arc;

use auth_layer::{
    Trust,
    keys::VerifyingKeys,
    store::{TokenStore, embedded::EmbeddedStore},
    trust::Issuer,
};

use super::*;

const LEASE: Duration = Duration::from_secs(5);

fn builder_on(store: impl TokenStore, keys: &Keyring, clock: &ManualClock) -> AuthorityBuilder {
    let builder = Authority::builder("https://issuer", store).audience("api").keys(keys.clone());
    builder.local_cache(LEASE).clock(clock.clone())
}

fn keys() -> Keyring {
    Keyring::new(SigningKey::generate().unwrap())
}

/// Revokes through one of two authorities, in each way, and expects the other to refuse the token.
async fn revocations_reach_the_other<S: TokenStore>(store: Arc<S>) {
    let (keys, clock) = (keys(), clock());
    let node = || builder_on(Arc::clone(&store), &keys, &clock).build().unwrap();
    let (first, second) = (node(), node());
    let user = UserId::generate();
    for way in 0..5 {
        let pair = sign_in(&first, user).await;
        let claims = second.verify(&pair.access_token).await.unwrap();
        match way {
            0 => first.revoke_token(claims.token_id().unwrap()).await.unwrap(),
            1 => first.revoke_session(pair.session_id).await.unwrap(),
            2 => first.revoke_user(user, None).await.unwrap(),
            3 => first.sign_out(&claims).await.unwrap(),
            _ => first.revoke(&pair.access_token).await.unwrap(),
        }
        // The clock stands still, so the lease has not ended.
        assert_eq!(fault(&second, &pair.access_token).await, TokenFault::Revoked, "way {way}");
    }
}

#[tokio::test]
async fn revoke_reaches_another_authority_on_the_memory_store_at_once() {
    revocations_reach_the_other(Arc::new(MemoryStore::new())).await;
}

#[tokio::test]
async fn revoke_reaches_another_authority_on_the_embedded_store_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(directory.path().join("tokens.redb")).unwrap();
    revocations_reach_the_other(Arc::new(store)).await;
}

/// The second authority has a longer lease than the first keeps revocations for.
#[tokio::test]
async fn cache_shared_with_a_longer_lease_believes_nothing_revoked_before() {
    let (store, keys, clock) = (Arc::new(MemoryStore::new()), keys(), clock());
    let first = builder_on(Arc::clone(&store), &keys, &clock).local_cache(Duration::ZERO).build().unwrap();
    let pair = sign_in(&first, UserId::generate()).await;
    first.verify(&pair.access_token).await.unwrap();
    first.revoke_session(pair.session_id).await.unwrap();
    let second = builder_on(Arc::clone(&store), &keys, &clock).local_cache(HOUR).build().unwrap();
    assert_eq!(fault(&second, &pair.access_token).await, TokenFault::Revoked);
}

#[tokio::test]
async fn cache_shared_with_other_keys_believes_no_signature_of_theirs() {
    let (store, clock) = (Arc::new(MemoryStore::new()), clock());
    let key = SigningKey::generate().unwrap();
    let first = builder_on(Arc::clone(&store), &Keyring::new(key.clone()), &clock).build().unwrap();
    let same = builder_on(Arc::clone(&store), &Keyring::new(key.clone()), &clock).build().unwrap();
    let other = builder_on(Arc::clone(&store), &keys(), &clock).build().unwrap();
    let pair = sign_in(&first, UserId::generate()).await;
    first.verify(&pair.access_token).await.unwrap();
    same.verify(&pair.access_token).await.unwrap();
    assert_eq!(fault(&other, &pair.access_token).await, TokenFault::Key);
    // The key leaves the ring of one authority.
    first.set_keys(keys());
    assert_eq!(fault(&first, &pair.access_token).await, TokenFault::Key);
    same.verify(&pair.access_token).await.unwrap();
    // A ring with the same key and another one keeps the entry.
    let more = Keyring::new(SigningKey::generate().unwrap()).with_verifying(key.verifying_key()).unwrap();
    first.set_keys(more);
    first.verify(&pair.access_token).await.unwrap();
}

#[tokio::test]
async fn cache_shared_by_authorities_keeps_no_verdict_on_issuer_audience_or_leeway() {
    let (store, keys, clock) = (Arc::new(MemoryStore::new()), keys(), clock());
    let first = builder_on(Arc::clone(&store), &keys, &clock).leeway(MINUTE).build().unwrap();
    let made = |issuer: &str, audience: &str| {
        let builder = Authority::builder(issuer, Arc::clone(&store)).audience(audience).keys(keys.clone());
        builder.local_cache(LEASE).leeway(Duration::ZERO).clock(clock.clone()).build().unwrap()
    };
    let pair = sign_in(&first, UserId::generate()).await;
    first.verify(&pair.access_token).await.unwrap();
    assert_eq!(fault(&made("https://other", "api"), &pair.access_token).await, TokenFault::Issuer);
    assert_eq!(fault(&made("https://issuer", "other"), &pair.access_token).await, TokenFault::Audience);
    let strict = made("https://issuer", "api");
    strict.verify(&pair.access_token).await.unwrap();
    clock.advance(15 * MINUTE);
    first.verify(&pair.access_token).await.unwrap();
    assert_eq!(fault(&strict, &pair.access_token).await, TokenFault::Expired);
    first.verify(&pair.access_token).await.unwrap();
}

#[tokio::test]
async fn check_by_a_trust_needs_no_signing_key() {
    let (store, keys, clock) = (Arc::new(MemoryStore::new()), keys(), clock());
    let authority = builder_on(Arc::clone(&store), &keys, &clock).build().unwrap();
    let public = VerifyingKeys::new(keys.verifying_keys().cloned()).unwrap();
    let issuer = || Issuer::recorded("https://issuer", public.clone());
    let trust = Trust::builder(Arc::clone(&store)).issuer(issuer().audience("api")).local_cache(LEASE);
    let trust = trust.clock(clock.clone()).build().unwrap();
    let pair = sign_in(&authority, UserId::generate()).await;
    assert_eq!(trust.verify(&pair.access_token).await.unwrap().sub, pair.user_id);
    authority.revoke_session(pair.session_id).await.unwrap();
    assert!(matches!(trust.verify(&pair.access_token).await, Err(AuthError::InvalidToken(TokenFault::Revoked))));
    let no_audience = Trust::builder(Arc::clone(&store)).issuer(issuer()).build();
    assert_eq!(no_audience.unwrap_err().to_string(), "no audience was given");
    assert_eq!(Trust::builder(store).build().unwrap_err().to_string(), "no issuer was given");
}

#[test]
fn settings_that_cannot_work_build_no_authority() {
    let builder = || builder(&clock());
    let bare = || Authority::builder("https://issuer", MemoryStore::new());
    for (built, sentence) in [
        (bare().audience("api").build(), "no key was given"),
        (bare().keys(keys()).build(), "no audience was given"),
        (bare().keys(keys()).audience("").build(), "the audience is empty"),
        (Authority::builder("", MemoryStore::new()).audience("api").keys(keys()).build(), "the issuer's name is empty"),
        (builder().access_ttl(Duration::ZERO).build(), "`access_ttl` is zero or longer than ten years"),
        (builder().refresh_ttl(5_000 * DAY).build(), "`refresh_ttl` is zero or longer than ten years"),
        (builder().deadline(Duration::ZERO).build(), "`deadline` is zero or longer than ten years"),
        (builder().refresh_ttl(MINUTE).build(), "`refresh_ttl` is shorter than `access_ttl`"),
        (builder().refresh_grace(31 * DAY).build(), "`refresh_ttl` is shorter than `refresh_grace`"),
    ] {
        assert_eq!(built.unwrap_err().to_string(), sentence);
    }
}
