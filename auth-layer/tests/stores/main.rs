//! The stores that need no server keep the laws, also when several runs of the suite share one
//! store.
#![cfg(feature = "conformance")]

mod broken;
#[allow(dead_code, reason = "an example is a program, too")]
#[path = "../../examples/sqlite_store.rs"]
mod sqlite_store;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use auth_layer::{
    TokenId,
    cache::{CacheAnswer, CacheError, Cached, StatusCache},
    clock::Timestamp,
    store::{
        ActiveToken, DynStore, MemoryStore,
        conformance::{self, Users},
    },
};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn conformance_holds_for_the_memory_store() {
    conformance::all(&Arc::new(MemoryStore::new())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn conformance_holds_for_dyn_store() {
    conformance::all(&Arc::new(DynStore::new(MemoryStore::new()))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn conformance_holds_for_the_sqlite_example() {
    let dir = tempfile::tempdir().unwrap();
    let store = sqlite_store::SqliteStore::open(dir.path().join("tokens.sqlite").to_str().unwrap()).unwrap();
    conformance::all(&Arc::new(store)).await;
}

#[test]
fn example_sqlite_store_is_as_short_as_promised() {
    assert!(include_str!("../../examples/sqlite_store.rs").lines().count() < 275);
}

#[cfg(feature = "embedded")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn conformance_holds_for_the_embedded_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = auth_layer::store::embedded::EmbeddedStore::open(dir.path().join("tokens.redb")).unwrap();
    conformance::all(&Arc::new(store)).await;
}

/// A cache that keeps its laws, unless it drops tombstones.
#[derive(Default)]
struct MapCache {
    /// `None` is a tombstone.
    entries: Mutex<HashMap<TokenId, Option<ActiveToken>>>,
    drops_tombstones: bool,
}

impl StatusCache for MapCache {
    type Miss = ();

    async fn get(&self, id: TokenId) -> Result<CacheAnswer<()>, CacheError> {
        Ok(match self.entries.lock().unwrap().get(&id) {
            Some(Some(token)) => CacheAnswer::Active(token.clone()),
            Some(None) => CacheAnswer::Dead,
            None => CacheAnswer::Miss(()),
        })
    }

    async fn put_active_if_absent(&self, (): (), id: TokenId, token: ActiveToken) -> Result<(), CacheError> {
        self.entries.lock().unwrap().entry(id).or_insert(Some(token));
        Ok(())
    }

    async fn put_tombstones(&self, tokens: &[(TokenId, Timestamp)], _since: Timestamp) -> Result<(), CacheError> {
        if !self.drops_tombstones {
            self.entries.lock().unwrap().extend(tokens.iter().map(|&(id, _)| (id, None)));
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
                let cache = MapCache { drops_tombstones: true, ..MapCache::default() };
                $law(&Cached::new(MemoryStore::new(), cache), Users::Texts).await;
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
