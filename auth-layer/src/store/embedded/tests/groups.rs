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
    hold, is_active, login, now, sign_in,
};
use crate::{
    id::{Subject, TokenId},
    store::{Pair, Rotated, Rotation, TokenStore},
};

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
    // The held one, the hundred that waited meanwhile, and a file that grew for them, perhaps
    // twice.
    let syncs = disk.syncs() - before;
    assert!(syncs <= 4 * each, "{syncs} waits for the disk, where one commit takes {each}");
}

#[tokio::test]
async fn a_note_of_a_delivery_is_seen_at_once_and_waits_for_no_disk() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::default();
    let store = EmbeddedStore::with(disk.opener(dir.path().join("tokens.redb"))).unwrap();
    let (session, tokens) = login(Subject::generate());
    let _ = store.open_session(session.clone(), tokens, 0).await.unwrap();
    let child = Pair { refresh_id: TokenId::generate(), ..session.current.clone() };
    let rotation = Rotation {
        session_id: session.session_id,
        parent: session.current.refresh_id,
        child: child.clone(),
        tokens: Vec::new(),
        now: now(),
    };
    assert_eq!(store.rotate(rotation).await.unwrap(), Rotated::Committed);

    let before = disk.syncs();
    store.note_delivered(session.session_id, child.refresh_id, now()).await.unwrap();
    assert_eq!(disk.syncs(), before);
    let (held, _) = store.session_for_refresh(session.session_id, child.refresh_id, now()).await.unwrap().unwrap();
    assert!(held.previous.unwrap().delivered);
}

#[tokio::test]
async fn what_is_queued_is_done_though_nobody_waits_for_it() -> Result<(), OpenError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokens.redb");
    let store = EmbeddedStore::with(file::at(&path))?;
    let (session, tokens) = login(Subject::generate());
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
