//! A store with a shared cache in front keeps the laws, and the suite finds a cache that breaks its
//! own.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use auth_layer::{
    TokenId,
    cache::{CacheAnswer, CacheError, Cached, DenialAnswer, StatusCache},
    clock::Timestamp,
    store::{
        ActiveToken, Denial, DynStore, HashedKey, MemoryStore,
        conformance::{self, Users},
    },
};

/// A law that a cache breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mistake {
    DropsTombstones,
    DropsDenials,
    KeepsTheLastDenial,
    FillsOverDenials,
    AnswersForKeysAsFound,
}

/// A cache that keeps its laws, unless it makes a mistake.
#[derive(Default)]
struct MapCache {
    /// `None` is a tombstone.
    tokens: Mutex<HashMap<TokenId, Option<ActiveToken>>>,
    /// `None` is "not denied".
    denials: Mutex<HashMap<HashedKey, Option<Denial>>>,
    mistake: Option<Mistake>,
    writes: AtomicUsize,
}

impl MapCache {
    fn with(mistake: Mistake) -> Self {
        Self { mistake: Some(mistake), ..Self::default() }
    }

    fn makes(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }

    /// Lets the writes of other callers overtake this one.
    async fn be_overtaken(&self) {
        let turns = 8 - self.writes.fetch_add(1, Ordering::Relaxed) % 8;
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
    }
}

impl StatusCache for MapCache {
    type Miss = ();

    async fn get(&self, id: TokenId) -> Result<CacheAnswer<()>, CacheError> {
        Ok(match self.tokens.lock().unwrap().get(&id) {
            Some(Some(token)) => CacheAnswer::Active(token.clone()),
            Some(None) => CacheAnswer::Dead,
            None => CacheAnswer::Miss(()),
        })
    }

    async fn put_active_if_absent(&self, (): (), id: TokenId, token: ActiveToken) -> Result<(), CacheError> {
        self.tokens.lock().unwrap().entry(id).or_insert(Some(token));
        Ok(())
    }

    async fn put_tombstones(&self, tokens: &[(TokenId, Timestamp)], _since: Timestamp) -> Result<(), CacheError> {
        if !self.makes(Mistake::DropsTombstones) {
            self.tokens.lock().unwrap().extend(tokens.iter().map(|&(id, _)| (id, None)));
        }
        Ok(())
    }

    async fn denials(&self, keys: &[HashedKey]) -> Result<(Vec<DenialAnswer>, ()), CacheError> {
        let denials = self.denials.lock().unwrap();
        let answer = |key| match denials.get(key) {
            Some(Some(denial)) => DenialAnswer::Denied(*denial),
            Some(None) => DenialAnswer::NotDenied,
            None => DenialAnswer::Miss,
        };
        let mut answers: Vec<DenialAnswer> = keys.iter().map(answer).collect();
        if self.makes(Mistake::AnswersForKeysAsFound) {
            answers.sort_by_key(|answer| !matches!(answer, DenialAnswer::Denied(_)));
        }
        Ok((answers, ()))
    }

    async fn put_denials_if_absent(&self, (): (), read: &[(HashedKey, Option<Denial>)]) -> Result<(), CacheError> {
        self.be_overtaken().await;
        let mut denials = self.denials.lock().unwrap();
        for &(key, denial) in read {
            if self.makes(Mistake::FillsOverDenials) {
                denials.insert(key, denial);
            }
            denials.entry(key).or_insert(denial);
        }
        Ok(())
    }

    async fn put_denials(&self, (): (), made: &[(HashedKey, Denial)]) -> Result<(), CacheError> {
        self.be_overtaken().await;
        let mut denials = self.denials.lock().unwrap();
        for &(key, denial) in made {
            match self.mistake {
                Some(Mistake::DropsDenials) => {}
                Some(Mistake::KeepsTheLastDenial) => {
                    denials.insert(key, Some(denial));
                }
                _ => {
                    let held = denials.entry(key).or_default();
                    *held = Some(held.map_or(denial, |held| held.extended_by(denial)));
                }
            }
        }
        Ok(())
    }

    fn bound(&self) -> Duration {
        Duration::from_mins(1)
    }

    async fn ping(&self) -> Result<(), CacheError> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn conformance_holds_for_a_cached_store() {
    conformance::all(&Arc::new(Cached::new(MemoryStore::new(), MapCache::default()))).await;
}

/// Makes one test for each law of revocation. A store whose cache gets no tombstones breaks it.
macro_rules! finds_missing_tombstones {
    ($($name:ident: $law:path;)+) => {
        $(
            #[tokio::test]
            #[should_panic(expected = "Revoked")]
            async fn $name() {
                let cache = MapCache::with(Mistake::DropsTombstones);
                $law(&DynStore::new(Cached::new(MemoryStore::new(), cache)), Users::Texts).await;
            }
        )+
    };
}

finds_missing_tombstones! {
    revoke_of_an_access_token_without_tombstones_is_found: conformance::revoke::access_token_is_revoked_alone;
    revoke_of_a_refresh_token_without_tombstones_is_found: conformance::revoke::refresh_token_revokes_its_session;
    revoke_of_a_session_without_tombstones_is_found: conformance::revoke::session_revokes_all_its_tokens;
    revoke_of_a_user_without_tombstones_is_found: conformance::revoke::user_revokes_all_sessions_but_one;
    revoke_of_a_disabled_user_without_tombstones_is_found: conformance::sign_in::disabled_user_is_fenced;
    revoke_for_reuse_without_tombstones_is_found: conformance::revoke::reuse_revokes_only_the_session_that_was_read;
}

/// Makes one test for each mistake with denials.
macro_rules! finds_mistakes_with_denials {
    ($($name:ident: $mistake:ident by $law:path, $expected:literal;)+) => {
        $(
            #[tokio::test]
            #[should_panic(expected = $expected)]
            async fn $name() {
                let cache = MapCache::with(Mistake::$mistake);
                $law(&Arc::new(DynStore::new(Cached::new(MemoryStore::new(), cache)))).await;
            }
        )+
    };
}

finds_mistakes_with_denials! {
    denial_that_a_cache_drops_is_found: DropsDenials
        by conformance::deny::check_after_a_denial_finds_it, "a check after a denial";
    denial_that_replaces_a_later_one_in_a_cache_is_found: KeepsTheLastDenial
        by conformance::deny::concurrent_denials_keep_the_latest_times, "concurrent denials of one key";
    denial_that_a_late_fill_replaces_is_found: FillsOverDenials
        by conformance::deny::check_after_a_denial_finds_it, "a check after a denial";
    denials_in_another_order_than_their_keys_in_a_cache_are_found: AnswersForKeysAsFound
        by conformance::deny::denial_is_found_until_it_expires, "in the order of their keys";
}
