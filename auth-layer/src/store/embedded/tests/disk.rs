//! A disk that counts operations, and fails on demand.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
};

use redb::{Database, StorageBackend, backends::FileBackend};

use super::{super::file::Opener, EmbeddedStore, is_active, sign_in};
use crate::store::{StoreErrorKind, TokenStore};

/// A handle to a disk. Its clones are the same disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk(Arc<DiskState>);

#[derive(Debug, Default)]
struct DiskState {
    syncs: AtomicUsize,
    full: AtomicBool,
    unreadable: AtomicBool,
    absent: AtomicBool,
}

impl Disk {
    /// Returns how often the disk was asked to make everything durable.
    pub(super) fn syncs(&self) -> usize {
        self.0.syncs.load(SeqCst)
    }

    /// Makes opening the file fail from now on.
    pub(super) fn disconnect(&self) {
        self.0.absent.store(true, SeqCst);
    }

    /// Makes opening the file work again.
    pub(super) fn reconnect(&self) {
        self.0.absent.store(false, SeqCst);
    }

    pub(super) fn opener(&self, path: PathBuf) -> Opener {
        let disk = self.clone();
        Box::new(move |_| {
            if disk.0.absent.load(SeqCst) {
                return Err(redb::Error::Io(io::ErrorKind::NotFound.into()).into());
            }
            let mut options = std::fs::OpenOptions::new();
            let file = options.read(true).write(true).create(true).truncate(false).open(&path).unwrap();
            let backend = DiskBackend { file: FileBackend::new(file).unwrap(), disk: disk.clone() };
            // A cache of size 0, so that reads reach the disk.
            Ok(Database::builder().set_cache_size(0).create_with_backend(backend).map_err(redb::Error::from)?)
        })
    }
}

#[derive(Debug)]
struct DiskBackend {
    file: FileBackend,
    disk: Disk,
}

impl StorageBackend for DiskBackend {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if self.disk.0.unreadable.load(SeqCst) {
            return Err(io::Error::other("unreadable"));
        }
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if self.disk.0.full.load(SeqCst) && len > self.file.len()? {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.0.syncs.fetch_add(1, SeqCst);
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}

#[tokio::test]
async fn embedded_write_to_a_full_disk_fails_and_reads_work() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::default();
    let store = EmbeddedStore::with(disk.opener(dir.path().join("tokens.redb"))).unwrap();
    disk.0.full.store(true, SeqCst);
    let mut acknowledged = Vec::new();
    let error = loop {
        match sign_in(&store).await {
            Ok((_, access)) => acknowledged.push(access),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}");
    assert!(!acknowledged.is_empty(), "there was some room left");
    recovered(&store).await;
    for access in &acknowledged {
        assert!(is_active(&store, *access).await, "read from the full disk");
    }

    disk.0.full.store(false, SeqCst);
    let (_, access) = sign_in(&store).await.unwrap();
    acknowledged.push(access);
    for access in acknowledged {
        assert!(is_active(&store, access).await, "with room again");
    }
}

#[tokio::test]
async fn embedded_read_recovers_when_the_disk_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::default();
    let store = EmbeddedStore::with(disk.opener(dir.path().join("tokens.redb"))).unwrap();
    let (_, access) = sign_in(&store).await.unwrap();

    disk.0.unreadable.store(true, SeqCst);
    disk.0.absent.store(true, SeqCst);
    let error = store.token_status(access).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "never unknown: {error:?}");
    assert_eq!(store.ping().await.unwrap_err().kind(), StoreErrorKind::Unavailable);

    disk.0.unreadable.store(false, SeqCst);
    disk.0.absent.store(false, SeqCst);
    recovered(&store).await;
    assert!(is_active(&store, access).await);
}

/// Waits until the store serves again. The failed call has already started the recovery.
pub(super) async fn recovered(store: &EmbeddedStore) {
    for _ in 0..1_000 {
        if store.ping().await.is_ok() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("the store did not recover");
}
