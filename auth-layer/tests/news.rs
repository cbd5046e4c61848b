//! What an authority does with the revocations that its store announces.

use std::{
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use auth_layer::{
    AuthError, Authority, Grant, IssuedPair, TokenId, UserId,
    cache::{CacheAnswer, CacheError, Cached, DenialAnswer, StatusCache},
    clock::{Clock, ManualClock, Timestamp},
    keys::{Keyring, SigningKey},
    store::{ActiveToken, Denial, HashedKey, MemoryStore, RevocationListener, TokenStore},
};
use uuid::Uuid;

const LEASE: Duration = Duration::from_secs(30);

/// A cache without entries that sends its listeners what the test says.
#[derive(Default)]
struct NotifyingCache(Mutex<Vec<Weak<dyn RevocationListener>>>);

impl NotifyingCache {
    fn listeners(&self) -> Vec<Arc<dyn RevocationListener>> {
        self.0.lock().unwrap().iter().filter_map(Weak::upgrade).collect()
    }

    fn notify(&self, notify: impl Fn(&dyn RevocationListener)) {
        let listeners = self.listeners();
        assert_eq!(listeners.len(), 1);
        notify(&*listeners[0]);
    }
}

impl StatusCache for NotifyingCache {
    type Miss = ();

    async fn get(&self, _: TokenId) -> Result<CacheAnswer<()>, CacheError> {
        Ok(CacheAnswer::Miss(()))
    }

    async fn put_active_if_absent(&self, (): (), _: TokenId, _: ActiveToken) -> Result<(), CacheError> {
        Ok(())
    }

    async fn put_tombstones(&self, _: &[(TokenId, Timestamp)], _: Timestamp) -> Result<(), CacheError> {
        Ok(())
    }

    async fn denials(&self, keys: &[HashedKey]) -> Result<(Vec<DenialAnswer>, ()), CacheError> {
        Ok((vec![DenialAnswer::Miss; keys.len()], ()))
    }

    async fn put_denials_if_absent(&self, (): (), _: &[(HashedKey, Option<Denial>)]) -> Result<(), CacheError> {
        Ok(())
    }

    async fn put_denials(&self, (): (), _: &[(HashedKey, Denial)]) -> Result<(), CacheError> {
        Ok(())
    }

    fn bound(&self) -> Duration {
        Duration::ZERO
    }

    async fn ping(&self) -> Result<(), CacheError> {
        Ok(())
    }

    fn subscribe(&self, listener: Weak<dyn RevocationListener>) {
        self.0.lock().unwrap().push(listener);
    }
}

type Store = Arc<Cached<MemoryStore, NotifyingCache>>;

/// An authority with a cached token, and the store under it.
struct Node {
    store: Store,
    authority: Authority,
    clock: ManualClock,
    pair: IssuedPair,
}

impl Node {
    async fn start(lease: Duration) -> Self {
        let store: Store = Arc::new(Cached::new(MemoryStore::new(), NotifyingCache::default()));
        let clock = ManualClock::starting_at(chrono::Utc::now());
        let keys = Keyring::new(SigningKey::generate().unwrap());
        let authority: Authority = Authority::builder("https://issuer", Arc::clone(&store))
            .audience("api")
            .keys(keys)
            .local_cache(lease)
            .clock(clock.clone())
            .build()
            .unwrap();
        let sign_in = authority.begin_sign_in(UserId::generate()).await.unwrap();
        let pair = authority.sign_in(sign_in, Grant::new("c")).await.unwrap();
        authority.verify(&pair.access_token).await.unwrap();
        clock.advance(Duration::from_millis(1));
        Self { store, authority, clock, pair }
    }

    /// Revokes in the store without the authority's knowledge, as another node does.
    async fn revoke_elsewhere(&self) {
        let _ = self.store.revoke_session(self.pair.session_id, self.clock.now()).await.unwrap();
        self.authority.verify(&self.pair.access_token).await.expect("nobody has told the node");
    }

    async fn is_refused(&self) -> bool {
        matches!(self.authority.verify(&self.pair.access_token).await, Err(AuthError::InvalidToken(_)))
    }
}

#[tokio::test]
async fn news_of_a_token_its_session_or_its_user_end_its_cache_entry() {
    for which in 0..3 {
        let node = Node::start(LEASE).await;
        let claims = node.authority.verify(&node.pair.access_token).await.unwrap();
        node.revoke_elsewhere().await;
        node.store.cache().notify(|listener| listener.revoked(Uuid::now_v7()));
        node.revoke_elsewhere().await;
        let id: Uuid =
            [claims.token_id().unwrap().into(), claims.session_id().unwrap().into(), claims.sub.tag()][which];
        node.store.cache().notify(|listener| listener.revoked(id));
        assert!(node.is_refused().await);
    }
}

#[tokio::test]
async fn news_gap_ends_every_cache_entry_checked_before_it() {
    let node = Node::start(LEASE).await;
    node.revoke_elsewhere().await;
    node.store.cache().notify(RevocationListener::gap);
    assert!(node.is_refused().await);
}

#[tokio::test]
async fn news_gap_spares_cache_entries_checked_after_it() {
    let node = Node::start(LEASE).await;
    node.store.cache().notify(RevocationListener::gap);
    node.clock.advance(Duration::from_millis(1));
    node.authority.verify(&node.pair.access_token).await.unwrap();
    node.revoke_elsewhere().await;
    node.clock.advance(LEASE);
    assert!(node.is_refused().await, "nobody told it, and the lease is over");
}

#[tokio::test]
async fn news_are_subscribed_to_once_a_store_and_only_with_a_lease() {
    let Node { store, authority, .. } = Node::start(Duration::ZERO).await;
    assert_eq!(store.cache().listeners().len(), 0, "nothing is believed that news could end");
    drop(authority);

    let Node { store, authority, clock, .. } = Node::start(LEASE).await;
    let keys = authority.keys();
    let second = Authority::builder("https://issuer", Arc::clone(&store)).audience("api").keys(keys);
    let second = second.local_cache(LEASE).clock(clock).build().unwrap();
    assert_eq!(store.cache().listeners().len(), 1, "what the process has verified is the store's");
    drop((authority, second));
    assert_eq!(Arc::strong_count(&store), 1, "listening keeps no store alive");
}
