use super::*;
use crate::store::StoreDecorator;

/// A store that notes how many keys each read asks for, and can be made to fail.
#[derive(Debug, Default)]
struct ScriptedStore {
    store: MemoryStore,
    reads: Mutex<Vec<usize>>,
    down: AtomicBool,
}

impl ScriptedStore {
    fn fails(&self) -> Result<(), StoreError> {
        let is_down = self.down.load(Ordering::SeqCst);
        if is_down { Err(StoreError::new(StoreErrorKind::Unavailable, "scripted failure")) } else { Ok(()) }
    }
}

impl StoreDecorator for ScriptedStore {
    type Inner = MemoryStore;

    fn inner(&self) -> &MemoryStore {
        &self.store
    }

    async fn deny(&self, key: HashedKey, denial: Denial) -> Result<(), StoreError> {
        self.fails()?;
        TokenStore::deny(&self.store, key, denial).await
    }

    async fn denials(&self, keys: Vec<HashedKey>, now: Timestamp) -> Result<Vec<Option<Denial>>, StoreError> {
        self.reads.lock().unwrap().push(keys.len());
        self.fails()?;
        TokenStore::denials(&self.store, keys, now).await
    }
}

type CachedDenials = Cached<ScriptedStore, ScriptedCache>;

fn cached() -> Arc<CachedDenials> {
    Arc::new(Cached::new(ScriptedStore::default(), ScriptedCache::default()))
}

fn key(name: &str) -> HashedKey {
    HashedKey::of("cached", name)
}

/// Returns a denial that is made so many seconds after the first, and lives as long as any.
fn denial(seconds: u32) -> Denial {
    let denied_at = Timestamp::from_timestamp(1_800_000_000 + i64::from(seconds), 0).unwrap();
    Denial { denied_at, expires_at: denied_at + LIFE }
}

/// A time at which all of these denials are live.
fn now() -> Timestamp {
    denial(0).denied_at
}

/// Forgets what the store was asked, and returns it.
fn reads(cached: &CachedDenials) -> Vec<usize> {
    std::mem::take(&mut *cached.store.reads.lock().unwrap())
}

async fn denials(cached: &CachedDenials, keys: &[HashedKey]) -> Vec<Option<Denial>> {
    TokenStore::denials(cached, keys.to_vec(), now()).await.unwrap()
}

#[tokio::test]
async fn cached_denials_ask_the_store_once_and_only_for_what_the_cache_lacks() {
    let cached = cached();
    let [token, session, subject, other] = ["token", "session", "subject", "other"].map(key);
    let held = denial(0);
    TokenStore::deny(&*cached, session, held).await.unwrap();
    assert_eq!(reads(&cached), [1], "a denial reads what the cache is told");
    assert_eq!(denials(&cached, &[token, session, subject]).await, [None, Some(held), None]);
    assert_eq!(reads(&cached), [2], "one read of both that are missing");
    for _ in 0..3 {
        assert_eq!(denials(&cached, &[subject, session, token]).await, [None, Some(held), None]);
    }
    assert!(reads(&cached).is_empty(), "all are in the cache");
    assert_eq!(denials(&cached, &[other, token, other]).await, [None; 3]);
    assert_eq!(reads(&cached), [2], "a key that is named twice");
    assert!(denials(&cached, &[]).await.is_empty());

    cached.cache.lose_everything();
    assert_eq!(denials(&cached, &[token, session]).await, [None, Some(held)]);
    assert_eq!(cached.cache.denial(session), DenialAnswer::Denied(held), "what is denied is filled, too");
}

#[tokio::test]
async fn cached_check_beside_a_denial_finds_it_afterwards_in_any_order() {
    // The check: Get, Read of the store, Fill. The denial: Write to the store, Put in the cache.
    for order in interleavings("GRF", "WP") {
        let cached = cached();
        let (cache, keys, held) = (&cached.cache, [key("token"), key("subject")], denial(0));
        for gate in [&cache.after_get, &cache.before_fill, &cache.before_denials] {
            gate.shut();
        }
        let (mut check, mut deny, mut has_put) = (None, None, false);
        for step in order.chars() {
            let cached = Arc::clone(&cached);
            match step {
                'G' => {
                    check = Some(tokio::spawn(async move { denials(&cached, &keys).await }));
                    cache.after_get.arrival().await;
                }
                // Also after the denial: the cache still lacks the other key.
                'R' => {
                    cache.after_get.let_one_through();
                    cache.before_fill.arrival().await;
                }
                'F' => {
                    cache.before_fill.let_one_through();
                    let found = check.take().unwrap().await.unwrap();
                    assert_eq!(found[0], None, "{order}");
                    assert!(found[1].is_some() || !order.starts_with("WP"), "{order}");
                }
                'W' => {
                    deny = Some(tokio::spawn(async move { TokenStore::deny(&*cached, keys[1], held).await }));
                    cache.before_denials.arrival().await;
                }
                'P' => {
                    cache.before_denials.let_one_through();
                    deny.take().unwrap().await.unwrap().unwrap();
                    has_put = true;
                }
                _ => {}
            }
            assert!(!has_put || cache.denial(keys[1]) == DenialAnswer::Denied(held), "{order}, after {step}");
        }
        cache.after_get.let_one_through();
        assert_eq!(denials(&cached, &keys).await, [None, Some(held)], "{order}");
    }
}

#[tokio::test(start_paused = true)]
async fn cached_denial_hides_no_later_one_that_the_cache_has_lost() {
    let cached = cached();
    let (subject, earlier, later) = (key("subject"), denial(1), denial(2));
    // Stopped after it has read the store, and before the later denial is made.
    cached.cache.before_denials.shut();
    let stopped = tokio::spawn({
        let cached = Arc::clone(&cached);
        async move { TokenStore::deny(&*cached, subject, earlier).await }
    });
    cached.cache.before_denials.arrival().await;
    cached.cache.before_denials.shut.store(false, Ordering::SeqCst);
    TokenStore::deny(&*cached, subject, later).await.unwrap();
    cached.cache.lose_everything();
    cached.cache.before_denials.let_one_through();
    let error = stopped.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "recorded as denied, but the shared cache could not be told");
    assert_eq!(cached.cache.denial(subject), DenialAnswer::Miss, "the earlier one alone");
    until_told(&cached, subject, later).await;
}

/// Waits until the cache has this denial. Before, it has nothing that contradicts it.
async fn until_told(cached: &CachedDenials, key: HashedKey, denial: Denial) {
    let begun = Instant::now();
    while cached.cache.denial(key) != DenialAnswer::Denied(denial) {
        assert!(begun.elapsed() < Duration::from_secs(2), "the cache was not told");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(denials(cached, &[key]).await, [Some(denial)]);
}

/// It tells the others nothing about the end of a denial, neither by its fill nor by its answer.
#[tokio::test]
async fn cached_denial_that_is_over_by_a_clock_ahead_lives_for_the_others() {
    let cached = cached();
    let (subject, held) = (key("subject"), denial(0));
    TokenStore::deny(&cached.store, subject, held).await.unwrap();
    for at in [held.expires_at, now()] {
        let expected = held.is_live(at).then_some(held);
        assert_eq!(TokenStore::denials(&*cached, vec![subject], at).await.unwrap(), [expected], "{at}");
    }
    assert_eq!(reads(&cached), [1], "the second answer came from the cache");
}

#[tokio::test(start_paused = true)]
async fn cached_denial_that_the_cache_refuses_fails_is_recorded_and_is_retried() {
    let cached = cached();
    let (session, held) = (key("session"), denial(0));
    assert_eq!(denials(&cached, &[session]).await, [None]);
    cached.cache.refuses_tombstones.store(true, Ordering::SeqCst);
    let error = TokenStore::deny(&*cached, session, held).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert_eq!(denials(&cached, &[session]).await, [None], "the cache was not told");
    assert_eq!(TokenStore::denials(&cached.store, vec![session], now()).await.unwrap(), [Some(held)]);
    // Calling again is safe, and fails until the cache can be told.
    TokenStore::deny(&*cached, session, held).await.unwrap_err();
    cached.cache.refuses_tombstones.store(false, Ordering::SeqCst);
    until_told(&cached, session, held).await;
}

#[tokio::test(start_paused = true)]
async fn cached_denial_that_the_cache_refuses_is_retried_until_the_bound_has_passed() {
    let cached = cached();
    let (session, held) = (key("session"), denial(0));
    cached.cache.refuses_tombstones.store(true, Ordering::SeqCst);
    TokenStore::deny(&*cached, session, held).await.unwrap_err();
    tokio::time::sleep(BOUND + Duration::from_secs(1)).await;
    cached.cache.refuses_tombstones.store(false, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(cached.cache.denial(session), DenialAnswer::Miss);
}

#[tokio::test(start_paused = true)]
async fn cached_denial_that_the_store_refuses_is_retried_until_both_have_it() {
    let cached = cached();
    let (first, second, held) = (key("first"), key("second"), denial(0));
    assert_eq!(denials(&cached, &[first, second]).await, [None; 2]);
    cached.store.down.store(true, Ordering::SeqCst);
    for made in [held, denial(1)] {
        TokenStore::deny(&*cached, first, made).await.unwrap_err();
    }
    TokenStore::deny(&*cached, second, held).await.unwrap_err();
    assert_eq!(denials(&cached, &[first, second]).await, [None; 2], "nobody has recorded them");
    // Longer than the cache's bound, which says nothing about what is not recorded.
    tokio::time::sleep(2 * BOUND).await;
    cached.store.down.store(false, Ordering::SeqCst);
    until_told(&cached, first, denial(1)).await;
    until_told(&cached, second, held).await;
    assert_eq!(denials(&cached, &[first, second]).await, [Some(denial(1)), Some(held)]);
    let recorded = TokenStore::denials(&cached.store, vec![first, second], now()).await.unwrap();
    assert_eq!(recorded, [Some(denial(1)), Some(held)]);
}

#[tokio::test(start_paused = true)]
async fn cached_denials_come_from_the_store_alone_while_the_cache_fails() {
    let failures: [fn(&ScriptedCache) -> &AtomicBool; 2] = [|cache| &cache.down, |cache| &cache.refuses_fills];
    for fails in failures {
        let cached = cached();
        let (token, subject, held) = (key("token"), key("subject"), denial(0));
        TokenStore::deny(&cached.store, subject, held).await.unwrap();
        fails(&cached.cache).store(true, Ordering::SeqCst);
        for _ in 0..10 {
            assert_eq!(denials(&cached, &[token, subject]).await, [None, Some(held)]);
        }
        assert_eq!((cached.cache.gets(), reads(&cached)), (1, vec![2; 10]));
        fails(&cached.cache).store(false, Ordering::SeqCst);
        advance(PAUSE + Duration::from_millis(1)).await;
        for _ in 0..10 {
            assert_eq!(denials(&cached, &[token, subject]).await, [None, Some(held)]);
        }
        assert_eq!((cached.cache.gets(), reads(&cached)), (11, vec![2]));
    }
}
