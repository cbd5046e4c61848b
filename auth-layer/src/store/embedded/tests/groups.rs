use std::{
    future::Future,
    pin::pin,
    sync::{Arc, mpsc},
    task::{Context, Waker},
    time::Duration,
};

use tokio::time::timeout;

use super::{
    super::{
        EmbeddedOptions, OpenError,
        file::{self, DatabaseFile},
        tables::Tables,
        writer::Writer,
    },
    EmbeddedStore, block_writer,
    disk::Disk,
    is_active, login, now, sign_in,
};
use crate::{
    id::{Subject, TokenId},
    store::{Pair, Rotated, Rotation, TokenStore},
};

#[tokio::test]
async fn embedded_writes_that_wait_share_one_commit() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::default();
    let store = Arc::new(EmbeddedStore::with(disk.opener(dir.path().join("tokens.redb"))).unwrap());
    sign_in(&store).await.unwrap();

    let before = disk.syncs();
    sign_in(&store).await.unwrap();
    let each = disk.syncs() - before;
    assert!(each > 0, "a commit reaches the disk");

    let (operation, reached, release) = block_writer();
    let writer_store = Arc::clone(&store);
    let blocked = tokio::spawn(async move { writer_store.writer.run(operation).await });
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
    blocked.await.unwrap().unwrap();
    for task in waiting {
        let (_, access) = task.await.unwrap();
        assert!(is_active(&store, access).await);
    }
    // The blocked one, the hundred that waited meanwhile, and a file that grew for them, perhaps
    // twice.
    let syncs = disk.syncs() - before;
    assert!(syncs <= 4 * each, "{syncs} waits for the disk, where one commit takes {each}");
}

#[tokio::test]
async fn embedded_write_that_need_not_be_durable_shares_the_next_commit() {
    let dir = tempfile::tempdir().unwrap();
    let file =
        DatabaseFile::open(file::opener_at(&dir.path().join("tokens.redb"), EmbeddedOptions::default())).unwrap();
    let writer = Writer::with_delay(Arc::new(file), Duration::from_hours(1)).unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    let (ran, order) = mpsc::channel();
    let note = |name| {
        let ran = ran.clone();
        move |_: &mut Tables<'_>| {
            ran.send(name).unwrap();
            Ok(())
        }
    };
    let mut notes = ["first", "second"].map(|name| Box::pin(writer.run_unsynced(note(name))));
    for note in &mut notes {
        assert!(note.as_mut().poll(&mut cx).is_pending());
    }
    writer.run(note("durable")).await.unwrap();
    let (durable, ran): (Vec<_>, Vec<_>) = order.try_iter().partition(|name| *name == "durable");
    assert_eq!((durable, ran), (vec!["durable"], vec!["first", "second"]), "each once, the notes in their order");
    for note in notes {
        // The answers are sent one after another, so this one may still be on its way.
        timeout(Duration::from_secs(10), note).await.expect("it is answered in the same commit").unwrap();
    }
}

#[tokio::test]
async fn embedded_write_that_need_not_be_durable_is_committed_when_the_store_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let file =
        DatabaseFile::open(file::opener_at(&dir.path().join("tokens.redb"), EmbeddedOptions::default())).unwrap();
    let writer = Writer::with_delay(Arc::new(file), Duration::from_hours(1)).unwrap();
    let (ran, order) = mpsc::channel();
    let mut note = Box::pin(writer.run_unsynced(move |_| {
        ran.send(()).unwrap();
        Ok(())
    }));
    assert!(note.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(note);
    drop(writer);
    assert_eq!(order.try_iter().count(), 1);
}

#[tokio::test]
async fn embedded_delivery_note_is_visible_without_a_sync() {
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
    let (stored, _) = store.session_for_refresh(session.session_id, child.refresh_id, now()).await.unwrap().unwrap();
    assert!(stored.previous.unwrap().delivered);
}

#[tokio::test]
async fn embedded_write_in_the_queue_is_done_after_its_caller_is_dropped() -> Result<(), OpenError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokens.redb");
    let store = EmbeddedStore::open(&path)?;
    let (session, tokens) = login(Subject::generate());
    let access = tokens[0].token_id;
    let (operation, reached, release) = block_writer();
    {
        let mut cx = Context::from_waker(Waker::noop());
        let mut blocked = pin!(store.writer.run(operation));
        let mut cancelled = pin!(store.open_session(session, tokens, 0));
        assert!(blocked.as_mut().poll(&mut cx).is_pending());
        assert!(cancelled.as_mut().poll(&mut cx).is_pending());
    }
    reached.recv().unwrap();
    drop(release);
    drop(store);
    let store = EmbeddedStore::open(&path)?;
    assert!(is_active(&store, access).await, "the drop worked through the queue");
    Ok(())
}
