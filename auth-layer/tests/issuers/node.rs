//! Nodes of one service: one store, with an in-process cache for each node.

use std::sync::{
    Weak,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use auth_layer::{
    clock::Timestamp,
    store::{Denial, HashedKey, LocalCache, RevocationListener, StoreDecorator, StoreError, StoreErrorKind},
};

use super::*;

/// How long a node believes that a token is not denied.
pub(crate) const LEASE: Duration = Duration::from_secs(5);

pub(crate) struct Node {
    pub(crate) trust: Trust,
    pub(crate) store: Arc<NodeStore>,
}

/// A handle of a shared store, as if it were connected separately. It counts and fails.
pub(crate) struct NodeStore {
    shared: Arc<MemoryStore>,
    cache: LocalCache,
    questions: AtomicUsize,
    fails: AtomicBool,
}

impl Node {
    /// Starts two nodes that trust this issuer.
    pub(crate) fn pair(clock: &ManualClock, issuer: impl Fn() -> Issuer) -> [Self; 2] {
        let shared = Arc::new(MemoryStore::new());
        [(); 2].map(|()| Self::on(&shared, clock, issuer()))
    }

    /// Starts a node that trusts this issuer.
    pub(crate) fn new(clock: &ManualClock, issuer: Issuer) -> Self {
        Self::on(&Arc::new(MemoryStore::new()), clock, issuer)
    }

    fn on(shared: &Arc<MemoryStore>, clock: &ManualClock, issuer: Issuer) -> Self {
        let store = Arc::new(NodeStore {
            shared: Arc::clone(shared),
            cache: LocalCache::new(),
            questions: AtomicUsize::new(0),
            fails: AtomicBool::new(false),
        });
        let trust = Trust::builder(Arc::clone(&store)).issuer(issuer).local_cache(LEASE).clock(clock.clone());
        Self { trust: trust.build().unwrap(), store }
    }
}

impl NodeStore {
    /// Returns how often the store was asked for denials.
    pub(crate) fn questions(&self) -> usize {
        self.questions.load(Ordering::SeqCst)
    }

    /// Sets whether calls about denials fail.
    pub(crate) fn fail(&self, fails: bool) {
        self.fails.store(fails, Ordering::SeqCst);
    }

    fn answer(&self) -> Result<(), StoreError> {
        if self.fails.load(Ordering::SeqCst) {
            return Err(StoreError::new(StoreErrorKind::Unavailable, "the store is away"));
        }
        Ok(())
    }
}

impl StoreDecorator for NodeStore {
    type Inner = Arc<MemoryStore>;

    fn inner(&self) -> &Arc<MemoryStore> {
        &self.shared
    }

    fn local_cache(&self) -> &LocalCache {
        &self.cache
    }

    fn subscribe(&self, _: Weak<dyn RevocationListener>) {}

    async fn deny(&self, key: HashedKey, denial: Denial) -> Result<(), StoreError> {
        self.answer()?;
        self.shared.deny(key, denial).await
    }

    async fn denials(&self, keys: Vec<HashedKey>, now: Timestamp) -> Result<Vec<Option<Denial>>, StoreError> {
        self.questions.fetch_add(1, Ordering::SeqCst);
        self.answer()?;
        self.shared.denials(keys, now).await
    }
}
