//! A failure of the store is never taken for reuse of a refresh token, however long the store was
//! away (law 3).

use std::{
    future::Future,
    pin::pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Waker},
};

use auth_layer::store::{Session, StoreErrorKind, TokenStatus, TokenStore};

use super::{faulty_store::FaultyStore, *};

/// Longer than the grace window, as elections of a replica set are.
const ELECTION: Duration = Duration::from_secs(11);

struct Fixture {
    clock: ManualClock,
    store: Arc<FaultyStore>,
    authority: Authority,
    first: IssuedPair,
}

impl Fixture {
    async fn new() -> Self {
        Self::with(Duration::from_secs(10)).await
    }

    async fn with(grace: Duration) -> Self {
        let (clock, store) = (clock(), Arc::new(FaultyStore::default()));
        let keys = Keyring::new(SigningKey::generate().unwrap());
        let authority: Authority = Authority::builder("https://issuer", Arc::clone(&store))
            .audience("api")
            .keys(keys)
            .clock(clock.clone())
            .refresh_grace(grace)
            .build()
            .unwrap();
        let first = sign_in(&authority, UserId::generate()).await;
        Self { clock, store, authority, first }
    }

    /// Commits the next pair, and the caller gets an error.
    async fn lose_an_answer(&self) {
        self.store.loses_answers.store(true, Ordering::SeqCst);
        match self.authority.refresh(&self.first.refresh_token).await {
            Err(RefreshError::Unavailable(error)) => assert_eq!(error.kind(), StoreErrorKind::Unavailable),
            other => panic!("expected a failure, got {other:?}"),
        }
        self.store.loses_answers.store(false, Ordering::SeqCst);
    }

    async fn delivered(&self) -> bool {
        let session = self.authority.sessions(&self.first.user_id).await.unwrap().remove(0);
        let (held, _) = self
            .store
            .session_for_refresh(session.session_id, session.current.refresh_id, self.clock.now())
            .await
            .unwrap()
            .unwrap();
        held.previous.unwrap().delivered
    }
}

#[tokio::test]
async fn refresh_whose_answer_was_lost_returns_the_same_pair_after_the_window() {
    let fixture = Fixture::new().await;
    fixture.lose_an_answer().await;
    finish_background_work().await;
    assert!(!fixture.delivered().await);
    fixture.clock.advance(ELECTION);
    // The retry finds the pair, and its answer is lost as well.
    fixture.lose_an_answer().await;
    fixture.clock.advance(ELECTION);
    let second = fixture.authority.refresh(&fixture.first.refresh_token).await.unwrap();
    finish_background_work().await;
    assert!(fixture.delivered().await, "now it was handed out");
    assert!(fixture.authority.verify(&second.access_token).await.is_ok());
    assert!(fixture.authority.refresh(&second.refresh_token).await.is_ok(), "nobody was punished");
}

/// After an outage several clients may retry with one token. The window starts with the first
/// answer that is delivered. A retry after the window is reuse: somebody has the child.
#[tokio::test]
async fn refresh_window_starts_when_the_pair_is_delivered() {
    let fixture = Fixture::new().await;
    fixture.lose_an_answer().await;
    fixture.clock.advance(ELECTION);
    let second = fixture.authority.refresh(&fixture.first.refresh_token).await.unwrap();
    finish_background_work().await;
    fixture.clock.advance(Duration::from_secs(9));
    let again = fixture.authority.refresh(&fixture.first.refresh_token).await.unwrap();
    assert_eq!((&again.access_token, &again.refresh_token), (&second.access_token, &second.refresh_token));
    finish_background_work().await;
    fixture.clock.advance(Duration::from_secs(1));
    assert_eq!(refusal(&fixture.authority, &fixture.first.refresh_token).await, GrantFault::Reused);
    assert_eq!(fault(&fixture.authority, &second.access_token).await, TokenFault::Revoked);
}

#[tokio::test]
async fn refresh_retries_that_race_after_the_window_get_one_pair() {
    let fixture = Fixture::new().await;
    fixture.lose_an_answer().await;
    fixture.clock.advance(ELECTION);
    let token = &fixture.first.refresh_token;
    let (one, other) = tokio::join!(fixture.authority.refresh(token), fixture.authority.refresh(token));
    assert_eq!(one.unwrap(), other.unwrap());
}

/// The client went away between the commit and the answer.
#[tokio::test]
async fn refresh_whose_caller_went_away_has_delivered_nothing() {
    let fixture = Fixture::new().await;
    fixture.store.hangs.store(true, Ordering::SeqCst);
    {
        let mut cx = Context::from_waker(Waker::noop());
        let mut dropped = pin!(fixture.authority.refresh(&fixture.first.refresh_token));
        assert!(dropped.as_mut().poll(&mut cx).is_pending());
    }
    fixture.store.hangs.store(false, Ordering::SeqCst);
    finish_background_work().await;
    fixture.clock.advance(ELECTION);
    assert!(fixture.authority.refresh(&fixture.first.refresh_token).await.is_ok());
}

/// Reads that a deposed primary repeats later.
impl Fixture {
    async fn read_now(&self, session: SessionId, refresh: auth_layer::TokenId) -> (Session, TokenStatus) {
        self.store.session_for_refresh(session, refresh, self.clock.now()).await.unwrap().unwrap()
    }
}

#[tokio::test]
async fn refresh_judged_by_a_stale_read_is_judged_again() {
    let fixture = Fixture::new().await;
    let first = fixture.authority.sessions(&fixture.first.user_id).await.unwrap().remove(0);
    let second = fixture.authority.refresh(&fixture.first.refresh_token).await.unwrap();
    let current = fixture.authority.sessions(&fixture.first.user_id).await.unwrap().remove(0).current.refresh_id;
    // The deposed primary had the record of the child and not the rotation.
    let (_, active) = fixture.read_now(first.session_id, current).await;
    fixture.store.stale.lock().unwrap().extend(vec![Some((first.clone(), active)); 3]);
    let third = fixture.authority.refresh(&second.refresh_token).await.unwrap();
    assert!(fixture.authority.verify(&third.access_token).await.is_ok());

    // A primary that stays behind makes the call unavailable. The token is not refused for good.
    let current = fixture.authority.sessions(&fixture.first.user_id).await.unwrap().remove(0).current.refresh_id;
    let (_, active) = fixture.read_now(first.session_id, current).await;
    fixture.store.stale.lock().unwrap().extend(vec![Some((first, active)); 8]);
    let unknown = fixture.authority.refresh(&third.refresh_token).await;
    assert!(matches!(unknown, Err(RefreshError::Unavailable(_))), "{unknown:?}");
    assert!(fixture.authority.refresh(&third.refresh_token).await.is_ok(), "and the session lives");
}

#[tokio::test]
async fn reuse_whose_caller_goes_away_still_ends_the_session() {
    let fixture = Fixture::new().await;
    let second = fixture.authority.refresh(&fixture.first.refresh_token).await.unwrap();
    let third = fixture.authority.refresh(&second.refresh_token).await.unwrap();
    {
        let mut cx = Context::from_waker(Waker::noop());
        let mut dropped = pin!(fixture.authority.refresh(&fixture.first.refresh_token));
        assert!(dropped.as_mut().poll(&mut cx).is_pending());
    }
    finish_background_work().await;
    assert_eq!(fault(&fixture.authority, &third.access_token).await, TokenFault::Revoked);
}

/// Law 2 has no exception without a window.
#[tokio::test]
async fn reuse_without_a_window_includes_a_retry_after_a_lost_answer() {
    let fixture = Fixture::with(Duration::ZERO).await;
    fixture.lose_an_answer().await;
    assert_eq!(refusal(&fixture.authority, &fixture.first.refresh_token).await, GrantFault::Reused);
}
