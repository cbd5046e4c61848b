//! The authority purges expired records by itself, and never too early.

use std::sync::{Arc, atomic::Ordering};

use auth_layer::{
    clock::Timestamp,
    store::{StoreErrorKind, TokenStatus, TokenStore},
};

use super::{faulty_store::FaultyStore, *};

const INTERVAL: Duration = Duration::from_mins(10);

/// The default leeway and margin.
const KEPT: Duration = Duration::from_secs(330);

fn authority(clock: &ManualClock, store: &Arc<FaultyStore>) -> AuthorityBuilder {
    let keys = Keyring::new(SigningKey::generate().unwrap());
    Authority::builder("https://issuer", Arc::clone(store))
        .audience("api")
        .keys(keys)
        .clock(clock.clone())
        .access_ttl(MINUTE)
}

/// Waits for background work, then returns the number of purges.
async fn purges(store: &FaultyStore) -> usize {
    finish_background_work().await;
    store.purges.lock().unwrap().len()
}

async fn is_gone(store: &impl TokenStore, authority: &Authority, pair: &IssuedPair) -> bool {
    // The session outlives its access token and has its id.
    let session = authority.sessions(&pair.user_id).await.unwrap().remove(0);
    store.token_status(session.current.access_id).await.unwrap() == TokenStatus::Unknown
}

#[tokio::test]
async fn purge_runs_at_a_sign_in_after_the_interval_and_keeps_the_margin() {
    let (clock, store) = (clock(), Arc::new(FaultyStore::default()));
    let authority: Authority = authority(&clock, &store).build().unwrap();
    let first = sign_in(&authority, UserId::generate()).await;
    assert_eq!(purges(&store).await, 1, "the first sign-in of a process");

    clock.advance(INTERVAL.saturating_sub(Duration::from_millis(1)));
    let second = sign_in(&authority, UserId::generate()).await;
    assert_eq!(purges(&store).await, 1, "the interval has not passed");
    assert!(!is_gone(&*store, &authority, &first).await);
    clock.advance(Duration::from_millis(1));
    sign_in(&authority, UserId::generate()).await;
    assert_eq!(purges(&store).await, 2);
    assert!(is_gone(&*store, &authority, &first).await, "it had expired nine minutes ago");

    // This purge runs two seconds before the margin of the second pair ends.
    clock.advance((MINUTE + KEPT).saturating_sub(Duration::from_secs(2)));
    authority.purge_expired().await.unwrap();
    assert!(!is_gone(&*store, &authority, &second).await, "within leeway and margin");
    clock.advance(INTERVAL);
    sign_in(&authority, UserId::generate()).await;
    assert_eq!(purges(&store).await, 4);
    assert!(is_gone(&*store, &authority, &second).await);
    let latest: Timestamp = *store.purges.lock().unwrap().last().unwrap();
    let kept = clock.now() - latest;
    assert!(kept.to_std().unwrap() >= KEPT, "the bound is {kept} ago");
}

#[tokio::test]
async fn purge_runs_at_a_refresh_and_a_single_use_issue() {
    let (clock, store) = (clock(), Arc::new(FaultyStore::default()));
    let authority: Authority = authority(&clock, &store).build().unwrap();
    let pair = sign_in(&authority, UserId::generate()).await;
    assert_eq!(purges(&store).await, 1);
    clock.advance(INTERVAL);
    let pair = authority.refresh(&pair.refresh_token).await.unwrap();
    assert_eq!(purges(&store).await, 2);
    let claims = authority.verify(&pair.access_token).await.unwrap();
    clock.advance(INTERVAL);
    authority.issue_single_use(&claims).await.unwrap();
    assert_eq!(purges(&store).await, 3);
}

#[tokio::test]
async fn purge_that_fails_harms_nobody_and_is_tried_again_after_the_interval() {
    let (clock, store) = (clock(), Arc::new(FaultyStore::default()));
    store.purge_fails.store(true, Ordering::SeqCst);
    let authority: Authority = authority(&clock, &store).build().unwrap();
    let first = sign_in(&authority, UserId::generate()).await;
    assert_eq!(purges(&store).await, 1);
    assert!(authority.verify(&first.access_token).await.is_ok());
    assert_eq!(authority.purge_expired().await.unwrap_err().kind(), StoreErrorKind::Unavailable);
    sign_in(&authority, UserId::generate()).await;
    assert_eq!(purges(&store).await, 2, "not again at once: one that was asked for, and none by itself");
    store.purge_fails.store(false, Ordering::SeqCst);
    clock.advance(INTERVAL);
    sign_in(&authority, UserId::generate()).await;
    assert_eq!(purges(&store).await, 3);
    assert!(is_gone(&*store, &authority, &first).await);
}

#[tokio::test]
async fn purge_runs_one_at_a_time() {
    let (clock, store) = (clock(), Arc::new(FaultyStore::default()));
    store.purge_hangs.store(true, Ordering::SeqCst);
    let authority: Authority = authority(&clock, &store).build().unwrap();
    for _ in 0..3 {
        sign_in(&authority, UserId::generate()).await;
        assert_eq!(purges(&store).await, 1);
        clock.advance(INTERVAL);
    }
}

#[tokio::test]
async fn purge_leaves_a_store_alone_that_purges_itself_or_where_it_is_off() {
    let clock = clock();
    let by_itself = Arc::new(FaultyStore { retention_margin: Some(Duration::from_hours(1)), ..FaultyStore::default() });
    let switched_off = Arc::new(FaultyStore::default());
    let authorities: [(_, Authority); 2] = [
        (&by_itself, authority(&clock, &by_itself).build().unwrap()),
        (&switched_off, authority(&clock, &switched_off).purge_every(Duration::ZERO).build().unwrap()),
    ];
    for _ in 0..2 {
        for (store, authority) in &authorities {
            sign_in(authority, UserId::generate()).await;
            assert_eq!(purges(store).await, 0);
        }
        clock.advance(INTERVAL);
    }
}

#[cfg(feature = "embedded")]
#[tokio::test]
async fn purge_runs_on_the_embedded_store() {
    let directory = tempfile::tempdir().unwrap();
    let store =
        Arc::new(auth_layer::store::embedded::EmbeddedStore::open(directory.path().join("tokens.redb")).unwrap());
    let clock = clock();
    let keys = Keyring::new(SigningKey::generate().unwrap());
    let authority: Authority = Authority::builder("https://issuer", Arc::clone(&store))
        .audience("api")
        .keys(keys)
        .clock(clock.clone())
        .access_ttl(MINUTE)
        .build()
        .unwrap();
    let pair = sign_in(&authority, UserId::generate()).await;
    assert!(!is_gone(&*store, &authority, &pair).await);
    clock.advance(INTERVAL);
    let purged = async {
        // The first purge may still be running, and then none starts.
        while !is_gone(&*store, &authority, &pair).await {
            sign_in(&authority, UserId::generate()).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), purged).await.expect("the writer comes to it");
}
