mod denials;

use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use tokio::{
    sync::{Notify, Semaphore},
    task::JoinHandle,
    time::{Instant, advance},
};

use super::*;
use crate::{
    AuthError, Authority, Grant, TokenFault,
    cache::DenialAnswer,
    clock::ManualClock,
    id::UserId,
    keys::{Keyring, SigningKey},
    store::{ActiveToken, Admission, MemoryStore, Pair, Payload, Session, StoreErrorKind, TokenRecord},
};

const BOUND: Duration = Duration::from_mins(1);
const LIFE: Duration = Duration::from_mins(15);

/// A cache that keeps its laws, counts its calls and can be made to fail or to wait.
#[derive(Debug, Default)]
struct ScriptedCache {
    entries: Mutex<HashMap<TokenId, ScriptedEntry>>,
    denials: Mutex<HashMap<HashedKey, Option<Denial>>>,
    /// How often it lost everything. Each miss knows its number, and its writes go nowhere else.
    losses: AtomicUsize,
    gets: AtomicUsize,
    /// What fails: everything, writing tombstones and denials, filling.
    down: AtomicBool,
    refuses_tombstones: AtomicBool,
    refuses_fills: AtomicBool,
    announced: Mutex<Vec<Uuid>>,
    after_get: Gate,
    before_fill: Gate,
    before_tombstones: Gate,
    before_denials: Gate,
}

#[derive(Clone, Debug, PartialEq)]
enum ScriptedEntry {
    Active(ActiveToken),
    Dead,
}

/// Lets all callers pass until it is shut. Then each waits to be released, and the test can wait
/// for each.
#[derive(Debug)]
struct Gate {
    shut: AtomicBool,
    arrived: Notify,
    leave: Semaphore,
}

impl Default for Gate {
    fn default() -> Self {
        Self { shut: AtomicBool::new(false), arrived: Notify::new(), leave: Semaphore::new(0) }
    }
}

impl Gate {
    fn shut(&self) {
        self.shut.store(true, Ordering::SeqCst);
    }

    async fn pass(&self) {
        if self.shut.load(Ordering::SeqCst) {
            self.arrived.notify_one();
            self.leave.acquire().await.expect("a gate is never closed for good").forget();
        }
    }

    async fn arrival(&self) {
        self.arrived.notified().await;
    }

    fn let_one_through(&self) {
        self.leave.add_permits(1);
    }
}

impl ScriptedCache {
    fn entry(&self, id: TokenId) -> Option<ScriptedEntry> {
        self.entries.lock().unwrap().get(&id).cloned()
    }

    fn denial(&self, key: HashedKey) -> DenialAnswer {
        match self.denials.lock().unwrap().get(&key) {
            Some(Some(denial)) => DenialAnswer::Denied(*denial),
            Some(None) => DenialAnswer::NotDenied,
            None => DenialAnswer::Miss,
        }
    }

    /// Loses everything, as a Redis that restarts.
    fn lose_everything(&self) {
        self.losses.fetch_add(1, Ordering::SeqCst);
        self.entries.lock().unwrap().clear();
        self.denials.lock().unwrap().clear();
    }

    /// Fails if everything was lost since the miss.
    fn knows(&self, losses: usize) -> Result<(), CacheError> {
        if self.losses.load(Ordering::SeqCst) == losses { Ok(()) } else { Err(CacheError::new("scripted loss")) }
    }

    fn gets(&self) -> usize {
        self.gets.load(Ordering::SeqCst)
    }

    fn fails(&self, why: &AtomicBool) -> Result<(), CacheError> {
        if self.down.load(Ordering::SeqCst) || why.load(Ordering::SeqCst) {
            return Err(CacheError::new("scripted failure"));
        }
        Ok(())
    }
}

impl StatusCache for ScriptedCache {
    type Miss = usize;

    async fn get(&self, id: TokenId) -> Result<CacheAnswer<usize>, CacheError> {
        self.gets.fetch_add(1, Ordering::SeqCst);
        self.fails(&self.down)?;
        let answer = match self.entry(id) {
            Some(ScriptedEntry::Active(token)) => CacheAnswer::Active(token),
            Some(ScriptedEntry::Dead) => CacheAnswer::Dead,
            None => CacheAnswer::Miss(self.losses.load(Ordering::SeqCst)),
        };
        self.after_get.pass().await;
        Ok(answer)
    }

    async fn put_active_if_absent(&self, miss: usize, id: TokenId, token: ActiveToken) -> Result<(), CacheError> {
        self.before_fill.pass().await;
        self.fails(&self.refuses_fills)?;
        self.knows(miss)?;
        self.entries.lock().unwrap().entry(id).or_insert(ScriptedEntry::Active(token));
        Ok(())
    }

    async fn put_tombstones(&self, tokens: &[(TokenId, Timestamp)], _since: Timestamp) -> Result<(), CacheError> {
        self.before_tombstones.pass().await;
        self.fails(&self.refuses_tombstones)?;
        self.entries.lock().unwrap().extend(tokens.iter().map(|&(id, _)| (id, ScriptedEntry::Dead)));
        Ok(())
    }

    async fn denials(&self, keys: &[HashedKey]) -> Result<(Vec<DenialAnswer>, usize), CacheError> {
        self.gets.fetch_add(1, Ordering::SeqCst);
        self.fails(&self.down)?;
        let found = (keys.iter().map(|key| self.denial(*key)).collect(), self.losses.load(Ordering::SeqCst));
        // Only a check asks for several keys. A denial asks for its own.
        if keys.len() > 1 {
            self.after_get.pass().await;
        }
        Ok(found)
    }

    async fn put_denials_if_absent(&self, miss: usize, read: &[(HashedKey, Option<Denial>)]) -> Result<(), CacheError> {
        self.before_fill.pass().await;
        self.fails(&self.refuses_fills)?;
        self.knows(miss)?;
        for &(key, denial) in read {
            self.denials.lock().unwrap().entry(key).or_insert(denial);
        }
        Ok(())
    }

    async fn put_denials(&self, miss: usize, made: &[(HashedKey, Denial)]) -> Result<(), CacheError> {
        self.before_denials.pass().await;
        self.fails(&self.refuses_tombstones)?;
        self.knows(miss)?;
        for &(key, denial) in made {
            let mut denials = self.denials.lock().unwrap();
            let held = denials.entry(key).or_default();
            *held = Some(held.map_or(denial, |held| held.extended_by(denial)));
        }
        Ok(())
    }

    async fn announce(&self, ended: Uuid) {
        self.announced.lock().unwrap().push(ended);
    }

    fn bound(&self) -> Duration {
        BOUND
    }

    async fn ping(&self) -> Result<(), CacheError> {
        self.fails(&self.down)
    }
}

type CachedStore = Arc<Cached<MemoryStore, ScriptedCache>>;

/// Returns a store with one session in it, and a cache in front.
async fn cached_store_with_session() -> (CachedStore, Session) {
    let now = chrono::Utc::now();
    let pair = Pair {
        access_id: TokenId::generate(),
        refresh_id: TokenId::generate(),
        issued_at: now,
        access_expires_at: now + LIFE,
        refresh_expires_at: now + 10 * LIFE,
        payload: Payload::new(),
    };
    let session = Session {
        session_id: SessionId::generate(),
        user_id: UserId::generate().into(),
        created_at: now,
        last_used_at: now,
        ends_at: now + 10 * LIFE,
        revoked: false,
        current: pair,
        previous: None,
        payload: Payload::new(),
    };
    let record = |token_id, kind, expires_at| TokenRecord {
        token_id,
        user_id: session.user_id.clone(),
        session_id: session.session_id,
        kind,
        issued_at: now,
        expires_at,
        jwt_token: None,
    };
    let tokens = vec![
        record(session.current.access_id, TokenKind::Access, now + LIFE),
        record(session.current.refresh_id, TokenKind::Refresh, now + 10 * LIFE),
    ];
    let cached = Cached::new(MemoryStore::new(), ScriptedCache::default());
    assert_eq!(cached.open_session(session.clone(), tokens, 0).await.unwrap(), Admission::Admitted);
    (Arc::new(cached), session)
}

fn spawn_check(cached: &CachedStore, id: TokenId) -> JoinHandle<TokenStatus> {
    let cached = Arc::clone(cached);
    tokio::spawn(async move { cached.token_status(id).await.unwrap() })
}

fn spawn_revocation(cached: &CachedStore, session: SessionId) -> JoinHandle<Result<Revoked, StoreError>> {
    let cached = Arc::clone(cached);
    tokio::spawn(async move { cached.revoke_session(session, chrono::Utc::now()).await })
}

fn is_active(status: &TokenStatus) -> bool {
    matches!(status, TokenStatus::Active(_))
}

#[tokio::test]
async fn cached_second_check_is_answered_by_the_cache() {
    let (cached, session) = cached_store_with_session().await;
    let id = session.current.access_id;
    let first = cached.token_status(id).await.unwrap();
    assert!(is_active(&first));
    // Past the cache, as an operator does it by hand.
    let _ = cached.store.revoke_token(id, chrono::Utc::now()).await.unwrap();
    assert_eq!(cached.token_status(id).await.unwrap(), first);
}

#[tokio::test]
async fn cached_check_beside_a_revocation_leaves_no_active_entry_in_any_order() {
    // The check: Get, Read of the store, Fill. The revocation: Write to the store, put Tombstones.
    for order in interleavings("GRF", "WT") {
        let (cached, session) = cached_store_with_session().await;
        let (cache, id) = (cached.cache(), session.current.access_id);
        for gate in [&cache.after_get, &cache.before_fill, &cache.before_tombstones] {
            gate.shut();
        }
        let (mut check, mut revocation, mut written) = (None, None, false);
        let mut will_fill = true;
        for step in order.chars() {
            match step {
                'G' => {
                    check = Some(spawn_check(&cached, id));
                    cache.after_get.arrival().await;
                }
                'R' => {
                    cache.after_get.let_one_through();
                    will_fill = !written;
                    if will_fill {
                        cache.before_fill.arrival().await;
                    } else {
                        let status = check.take().unwrap().await.unwrap();
                        assert_eq!(status, TokenStatus::Revoked, "{order}");
                    }
                }
                'F' if will_fill => {
                    cache.before_fill.let_one_through();
                    assert!(is_active(&check.take().unwrap().await.unwrap()), "{order}");
                }
                'W' => {
                    revocation = Some(spawn_revocation(&cached, session.session_id));
                    cache.before_tombstones.arrival().await;
                    written = true;
                }
                'T' => {
                    cache.before_tombstones.let_one_through();
                    assert_eq!(revocation.take().unwrap().await.unwrap().unwrap().sessions, 1, "{order}");
                }
                _ => {}
            }
        }
        assert_eq!(cache.entry(id), Some(ScriptedEntry::Dead), "{order}");
        cache.after_get.let_one_through();
        assert_eq!(cached.token_status(id).await.unwrap(), TokenStatus::Revoked, "{order}");
    }
}

/// Returns every merge of the two that keeps the order within each.
fn interleavings(left: &str, right: &str) -> Vec<String> {
    let (Some(l), Some(r)) = (left.chars().next(), right.chars().next()) else {
        return vec![format!("{left}{right}")];
    };
    let begin = |first: char, rest: Vec<String>| rest.into_iter().map(move |rest| format!("{first}{rest}"));
    begin(l, interleavings(&left[1..], right)).chain(begin(r, interleavings(left, &right[1..]))).collect()
}

#[tokio::test]
async fn cached_refresh_tokens_never_reach_the_cache() {
    let (cached, session) = cached_store_with_session().await;
    let refresh = session.current.refresh_id;
    assert!(is_active(&cached.token_status(refresh).await.unwrap()));
    assert_eq!(cached.cache().entry(refresh), None);
    let _ = cached.revoke_session(session.session_id, chrono::Utc::now()).await.unwrap();
    assert_eq!(cached.token_status(refresh).await.unwrap(), TokenStatus::Revoked);
}

#[tokio::test]
async fn cached_entry_of_another_kind_is_not_believed() {
    let (cached, session) = cached_store_with_session().await;
    let id = session.current.refresh_id;
    let TokenStatus::Active(token) = cached.store.token_status(id).await.unwrap() else { panic!("recorded") };
    cached.cache().entries.lock().unwrap().insert(id, ScriptedEntry::Active(token));
    let _ = cached.revoke_session(session.session_id, chrono::Utc::now()).await.unwrap();
    assert_eq!(cached.token_status(id).await.unwrap(), TokenStatus::Revoked);
}

#[tokio::test(start_paused = true)]
async fn cached_store_answers_alone_while_the_cache_fails_and_tries_it_once_per_pause() {
    let (cached, session) = cached_store_with_session().await;
    let id = session.current.access_id;
    cached.cache().down.store(true, Ordering::SeqCst);
    for _ in 0..10 {
        assert!(is_active(&cached.token_status(id).await.unwrap()));
    }
    assert_eq!(cached.cache().gets(), 1);
    for tries in 2..5 {
        advance(PAUSE + Duration::from_millis(1)).await;
        for _ in 0..10 {
            assert!(is_active(&cached.token_status(id).await.unwrap()));
        }
        assert_eq!(cached.cache().gets(), tries);
    }
    cached.cache().down.store(false, Ordering::SeqCst);
    advance(PAUSE + Duration::from_millis(1)).await;
    for _ in 0..10 {
        assert!(is_active(&cached.token_status(id).await.unwrap()));
    }
    assert_eq!(cached.cache().gets(), 14);
}

#[tokio::test(start_paused = true)]
async fn cached_breaker_opens_when_the_cache_refuses_fills() {
    let (cached, session) = cached_store_with_session().await;
    cached.cache().refuses_fills.store(true, Ordering::SeqCst);
    for _ in 0..10 {
        assert!(is_active(&cached.token_status(session.current.access_id).await.unwrap()));
    }
    assert_eq!(cached.cache().gets(), 1);
}

#[tokio::test(start_paused = true)]
async fn cached_revocation_without_tombstones_fails_is_recorded_and_is_retried() {
    let (cached, session) = cached_store_with_session().await;
    let id = session.current.access_id;
    assert!(is_active(&cached.token_status(id).await.unwrap()));
    cached.cache().refuses_tombstones.store(true, Ordering::SeqCst);
    let error = cached.revoke_session(session.session_id, chrono::Utc::now()).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert_eq!(cached.store.token_status(id).await.unwrap(), TokenStatus::Revoked);
    // A retry fails while the cache cannot be told, although nothing is left to record.
    cached.revoke_session(session.session_id, chrono::Utc::now()).await.unwrap_err();

    cached.cache().refuses_tombstones.store(false, Ordering::SeqCst);
    let begun = Instant::now();
    while cached.cache().entry(id) != Some(ScriptedEntry::Dead) {
        assert!(begun.elapsed() < Duration::from_secs(2), "no tombstone was written");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(cached.token_status(id).await.unwrap(), TokenStatus::Revoked);
    let revoked = cached.revoke_session(session.session_id, chrono::Utc::now()).await.unwrap();
    assert_eq!((revoked.access_tokens.len(), revoked.sessions), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn cached_tombstone_is_retried_until_the_bound_has_passed() {
    let (cached, session) = cached_store_with_session().await;
    let id = session.current.access_id;
    cached.cache().refuses_tombstones.store(true, Ordering::SeqCst);
    cached.revoke_session(session.session_id, chrono::Utc::now()).await.unwrap_err();
    tokio::time::sleep(BOUND + Duration::from_secs(1)).await;
    cached.cache().refuses_tombstones.store(false, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(cached.cache().entry(id), None);
    // The next one is retried as well.
    cached.cache().refuses_tombstones.store(true, Ordering::SeqCst);
    cached.revoke_session(session.session_id, chrono::Utc::now()).await.unwrap_err();
    cached.cache().refuses_tombstones.store(false, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(cached.cache().entry(id), Some(ScriptedEntry::Dead));
}

#[tokio::test]
async fn cached_revocation_is_finished_after_its_caller_is_dropped() {
    let (cached, session) = cached_store_with_session().await;
    let cache = cached.cache();
    cache.before_tombstones.shut();
    let keys = Keyring::new(SigningKey::generate().unwrap());
    let authority: Authority =
        Authority::builder("https://issuer", Arc::clone(&cached)).audience("api").keys(keys).build().unwrap();
    let revocation = tokio::spawn(async move { authority.revoke_session(session.session_id).await });
    cache.before_tombstones.arrival().await;
    revocation.abort();
    assert!(revocation.await.unwrap_err().is_cancelled());
    cache.before_tombstones.let_one_through();
    while cache.entry(session.current.access_id) != Some(ScriptedEntry::Dead) {
        tokio::task::yield_now().await;
    }
}

/// A token is accepted until its leeway is over, and longer by a node whose clock is behind. It has
/// a tombstone until then.
#[tokio::test]
async fn cached_revocation_writes_tombstones_for_tokens_within_their_leeway() {
    let clock = ManualClock::starting_at(chrono::Utc::now());
    let cached = Arc::new(Cached::new(MemoryStore::new(), ScriptedCache::default()));
    let keys = Keyring::new(SigningKey::generate().unwrap());
    let authority: Authority = Authority::builder("https://issuer", Arc::clone(&cached))
        .audience("api")
        .keys(keys)
        .access_ttl(Duration::from_mins(1))
        .clock(clock.clone())
        .build()
        .unwrap();
    let sign_in = authority.begin_sign_in(UserId::generate()).await.unwrap();
    let pair = authority.sign_in(sign_in, Grant::new("web")).await.unwrap();
    clock.advance(Duration::from_secs(59));
    let claims = authority.verify(&pair.access_token).await.unwrap();
    clock.advance(Duration::from_secs(3));
    assert!(authority.verify(&pair.access_token).await.is_ok(), "it is still accepted, and the cache calls it active");
    authority.revoke_session(claims.session_id().unwrap()).await.unwrap();
    assert_eq!(cached.cache().entry(claims.token_id().unwrap()), Some(ScriptedEntry::Dead));
    let refused = authority.verify(&pair.access_token).await;
    assert!(matches!(refused, Err(AuthError::InvalidToken(TokenFault::Revoked))), "{refused:?}");
}

/// A session without live access tokens has no tombstones.
#[tokio::test]
async fn cached_announces_the_sessions_and_users_that_it_ends() {
    for refuses_tombstones in [false, true] {
        for way in 0..4 {
            let (cached, session) = cached_store_with_session().await;
            cached.cache.refuses_tombstones.store(refuses_tombstones, Ordering::SeqCst);
            let (id, user, now) = (session.session_id, session.user_id.clone(), chrono::Utc::now());
            let (revoked, ended) = match way {
                0 => (cached.revoke_session(id, now).await, id.into()),
                1 => {
                    let revoked = cached.revoke_for_reuse(id, session.current.refresh_id, now).await;
                    (revoked.map(Option::unwrap), id.into())
                }
                2 => (cached.revoke_user(user.clone(), None, now).await, user.tag()),
                _ => (cached.set_user_disabled(user.clone(), true, now).await, user.tag()),
            };
            assert_eq!(revoked.is_err(), refuses_tombstones, "{way}");
            tokio::task::yield_now().await;
            // A check must not find the session alive after the announcement.
            let expected = if refuses_tombstones { Vec::new() } else { vec![ended] };
            assert_eq!(*cached.cache.announced.lock().unwrap(), expected, "{way}");
        }
    }
    let (cached, session) = cached_store_with_session().await;
    let _ = cached.set_user_disabled(session.user_id, false, chrono::Utc::now()).await.unwrap();
    tokio::task::yield_now().await;
    assert!(cached.cache.announced.lock().unwrap().is_empty(), "nothing has ended");
}
