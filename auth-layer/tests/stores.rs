//! The stores that need no server keep the laws.
#![cfg(feature = "conformance")]

use std::sync::Arc;

use auth_layer::store::{MemoryStore, conformance};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_keeps_the_laws() {
    conformance::all(&Arc::new(MemoryStore::new())).await;
}
