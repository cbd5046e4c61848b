use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Waker},
};

use super::{
    super::{OpenError, file},
    EmbeddedStore,
    disk::Disk,
    hold, is_active, login, sign_in,
};
use crate::{id::UserId, store::TokenStore};

#[tokio::test]
async fn whoever_waits_shares_one_commit() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::default();
    let store = Arc::new(EmbeddedStore::with(disk.opener(dir.path().join("tokens.redb"))).unwrap());
    sign_in(&store).await.unwrap();

    let before = disk.syncs();
    sign_in(&store).await.unwrap();
    let each = disk.syncs() - before;
    assert!(each > 0, "a commit reaches the disk");

    let (operation, reached, release) = hold();
    let holder = Arc::clone(&store);
    let held = tokio::spawn(async move { holder.writer.run(operation).await });
    tokio::task::spawn_blocking(move || reached.recv().unwrap()).await.unwrap();
    let before = disk.syncs();
    let waiting: Vec<_> = (0..100)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { sign_in(&store).await.unwrap() })
        })
        .collect();
    while store.writer.waiting() < waiting.len() {
        tokio::task::yield_now().await;
    }
    drop(release);
    held.await.unwrap().unwrap();
    for task in waiting {
        let (_, access) = task.await.unwrap();
        assert!(is_active(&store, access).await);
    }
    // The one held, the hundred that waited meanwhile, and perhaps a file that had to grow for them.
    let syncs = disk.syncs() - before;
    assert!(syncs <= 3 * each, "{syncs} waits for the disk, where one commit takes {each}");
}

#[tokio::test]
async fn what_is_queued_is_done_though_nobody_waits_for_it() -> Result<(), OpenError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokens.redb");
    let store = EmbeddedStore::with(file::at(&path))?;
    let (session, tokens) = login(UserId::generate());
    let access = tokens[0].token_id;
    let (operation, reached, release) = hold();
    {
        let mut cx = Context::from_waker(Waker::noop());
        let mut held = pin!(store.writer.run(operation));
        let mut cancelled = pin!(store.open_session(session, tokens, 0));
        assert!(held.as_mut().poll(&mut cx).is_pending());
        assert!(cancelled.as_mut().poll(&mut cx).is_pending());
    }
    reached.recv().unwrap();
    drop(release);
    drop(store);
    let store = EmbeddedStore::open(&path)?;
    assert!(is_active(&store, access).await, "the drop worked through the queue");
    Ok(())
}
