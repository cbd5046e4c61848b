//! A node died after it marked a session as revoked and before it revoked the tokens. The next
//! refresh with the newest token finishes the revocation.

use std::sync::{Arc, atomic::Ordering};

use auth_layer::store::{Session, TokenStore};

use super::{faulty_store::FaultyStore, *};

struct Fixture {
    clock: ManualClock,
    store: Arc<FaultyStore>,
    authority: Authority,
    first: IssuedPair,
    second: IssuedPair,
}

impl Fixture {
    /// The first access token lives for two hours, the second for a minute, as if the setting had
    /// been lowered in between.
    async fn new() -> Self {
        let (clock, store) = (clock(), Arc::new(FaultyStore::default()));
        let keys = Keyring::new(SigningKey::generate().unwrap());
        let issuing = |access_ttl| -> Authority {
            Authority::builder("https://issuer", Arc::clone(&store))
                .audience("api")
                .keys(keys.clone())
                .clock(clock.clone())
                .access_ttl(access_ttl)
                .build()
                .unwrap()
        };
        let first = sign_in(&issuing(2 * HOUR), UserId::generate()).await;
        let authority = issuing(MINUTE);
        let second = authority.refresh(&first.refresh_token).await.unwrap();
        Self { clock, store, authority, first, second }
    }

    /// Refreshes with the newest token `times` times, each time with the session read as revoked.
    async fn refresh_as_revoked(&self, times: usize) {
        for _ in 0..times {
            let current = self.authority.session(self.first.session_id).await.unwrap().unwrap().current.refresh_id;
            let (id, now) = (self.first.session_id, self.clock.now());
            let (session, status) = self.store.session_for_refresh(id, current, now).await.unwrap().unwrap();
            let marked = Session { revoked: true, ..session };
            self.store.stale.lock().unwrap().push_back(Some((marked, status)));
            self.authority.refresh(&self.second.refresh_token).await.unwrap_err();
        }
    }

    fn revocations(&self) -> usize {
        self.store.revocations.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn revoke_that_broke_off_is_finished_for_older_access_tokens_too() {
    let fixture = Fixture::new().await;
    fixture.clock.advance(HOUR);
    assert!(fixture.authority.verify(&fixture.first.access_token).await.is_ok());
    fixture.refresh_as_revoked(1).await;
    assert_eq!(fault(&fixture.authority, &fixture.first.access_token).await, TokenFault::Revoked);
}

#[tokio::test]
async fn revoke_that_is_finished_is_not_repeated() {
    let fixture = Fixture::new().await;
    fixture.refresh_as_revoked(3).await;
    assert_eq!(fixture.revocations(), 1);
    fixture.clock.advance(HOUR);
    fixture.refresh_as_revoked(3).await;
    assert_eq!(fixture.revocations(), 1);
}

#[tokio::test]
async fn revoke_that_failed_is_tried_again() {
    let fixture = Fixture::new().await;
    fixture.store.revocation_fails.store(true, Ordering::SeqCst);
    fixture.refresh_as_revoked(2).await;
    assert_eq!(fixture.revocations(), 2);
    assert!(fixture.authority.verify(&fixture.first.access_token).await.is_ok());
    fixture.store.revocation_fails.store(false, Ordering::SeqCst);
    fixture.refresh_as_revoked(2).await;
    assert_eq!(fixture.revocations(), 3);
    assert_eq!(fault(&fixture.authority, &fixture.first.access_token).await, TokenFault::Revoked);
}
