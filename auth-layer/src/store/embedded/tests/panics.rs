//! A panic ends neither writing nor reading.

use std::{panic::resume_unwind, sync::Arc};

use super::{
    super::error::EmbeddedError,
    EmbeddedStore, block_writer,
    disk::{Disk, recovered},
    is_active, sign_in,
};
use crate::store::{StoreErrorKind, TokenStore};

/// Panics without a message on standard error.
fn panics<T>() -> Result<T, EmbeddedError> {
    resume_unwind(Box::new(()))
}

#[tokio::test]
async fn embedded_writer_panic_fails_its_transaction_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokens.redb");
    let store = Arc::new(EmbeddedStore::open(&path).unwrap());
    let (_, before) = sign_in(&store).await.unwrap();

    // Three that wait while the thread is busy share a transaction.
    let (operation, reached, release) = block_writer();
    let writer_store = Arc::clone(&store);
    let blocked = tokio::spawn(async move { writer_store.writer.run(operation).await });
    tokio::task::spawn_blocking(move || reached.recv().unwrap()).await.unwrap();
    let release = async {
        while store.writer.waiting() < 3 {
            tokio::task::yield_now().await;
        }
        drop(release);
    };
    let (one, panicked, other, ()) =
        tokio::join!(sign_in(&store), store.writer.run(|_| panics::<()>()), sign_in(&store), release);
    blocked.await.unwrap().unwrap();
    for error in [one.unwrap_err(), panicked.unwrap_err(), other.unwrap_err()] {
        assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}");
    }

    recovered(&store).await;
    let (_, after) = sign_in(&store).await.unwrap();
    for access in [before, after] {
        assert!(is_active(&store, access).await);
    }
    drop(store);
    let store = EmbeddedStore::open(&path).unwrap();
    for access in [before, after] {
        assert!(is_active(&store, access).await, "the file is whole");
    }
}

#[tokio::test]
async fn embedded_writer_panic_with_the_file_absent_fails_ping_until_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::default();
    let store = EmbeddedStore::with(disk.opener(dir.path().join("tokens.redb"))).unwrap();
    let (_, access) = sign_in(&store).await.unwrap();
    disk.disconnect();
    assert!(store.writer.run(|_| panics::<()>()).await.is_err());
    // The answer comes before the file is closed.
    let begun = std::time::Instant::now();
    while store.ping().await.is_ok() {
        assert!(begun.elapsed() < std::time::Duration::from_secs(10), "the file was not closed");
        tokio::task::yield_now().await;
    }
    disk.reconnect();
    recovered(&store).await;
    assert!(is_active(&store, access).await);
    sign_in(&store).await.unwrap();
}

#[tokio::test]
async fn embedded_reader_panic_is_an_error_and_the_next_read_works() {
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(dir.path().join("tokens.redb")).unwrap();
    let (_, access) = sign_in(&store).await.unwrap();
    let error = store.read(|_| panics::<()>()).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    recovered(&store).await;
    assert!(is_active(&store, access).await);
    sign_in(&store).await.unwrap();
}
