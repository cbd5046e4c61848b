//! The stores that need no server keep the laws, also when several runs of the suite share one
//! store.
#![cfg(feature = "conformance")]

mod broken;
mod cached;
#[allow(dead_code, reason = "an example is a program, too")]
#[path = "../../examples/sqlite_store.rs"]
mod sqlite_store;

use std::sync::Arc;

use auth_layer::store::{MemoryStore, conformance};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn conformance_holds_for_the_memory_store() {
    conformance::all(&Arc::new(MemoryStore::new())).await;
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
    use auth_layer::store::embedded::{EmbeddedOptions, EmbeddedStore};

    let default = EmbeddedOptions::default();
    // With no cache at all, each read is one of the file.
    for options in [default, default.with_cache_bytes(0)] {
        let dir = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open_with(dir.path().join("tokens.redb"), options).unwrap();
        conformance::all(&Arc::new(store)).await;
    }
}
