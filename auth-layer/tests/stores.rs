//! The stores that need no server keep the laws, also when several users of the suite share one.
#![cfg(feature = "conformance")]

use std::sync::Arc;

use auth_layer::store::{MemoryStore, conformance};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_keeps_the_laws() {
    conformance::all(&Arc::new(MemoryStore::new())).await;
}

#[cfg(feature = "embedded")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn embedded_keeps_the_laws() {
    let dir = tempfile::tempdir().unwrap();
    let store = auth_layer::store::embedded::EmbeddedStore::open(dir.path().join("tokens.redb")).unwrap();
    conformance::all(&Arc::new(store)).await;
}
