//! A disk that fails on demand, and tests on it.

use std::{
    io,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering::SeqCst},
};

use redb::{Builder, StorageBackend, backends::FileBackend};

use super::*;

/// A handle on a disk; all clones are the same disk.
#[derive(Clone, Debug, Default)]
struct FaultyDisk(Arc<DiskFaults>);

#[derive(Debug, Default)]
struct DiskFaults {
    full: AtomicBool,
    unreadable: AtomicBool,
    absent: AtomicBool,
}

impl FaultyDisk {
    fn users(&self, path: PathBuf) -> EmbeddedUsers {
        let disk = self.clone();
        EmbeddedUsers::open_with(Box::new(move |_| {
            if disk.0.absent.load(SeqCst) {
                return Err(redb::Error::Io(io::ErrorKind::NotFound.into()).into());
            }
            let mut options = std::fs::OpenOptions::new();
            let file = options.read(true).write(true).create(true).truncate(false).open(&path).unwrap();
            let backend = FaultyBackend { file: FileBackend::new(file).unwrap(), disk: disk.clone() };
            // A zero cache, so that reads reach the disk.
            Ok(Builder::new().set_cache_size(0).create_with_backend(backend)?)
        }))
        .unwrap()
    }
}

#[derive(Debug)]
struct FaultyBackend {
    file: FileBackend,
    disk: FaultyDisk,
}

impl StorageBackend for FaultyBackend {
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
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}

fn user(number: usize) -> User {
    User {
        user_id: UserId::generate(),
        username: format!("user{number}"),
        // Long enough to fill the remaining space.
        password_hash: "hash".repeat(1_000),
        role: Role::User,
        created_at: Utc::now(),
        password_changed_in: None,
    }
}

#[tokio::test]
async fn users_on_full_disk_can_be_read_and_later_written() {
    let directory = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::default();
    let users = disk.users(directory.path().join("users.redb"));
    disk.0.full.store(true, SeqCst);
    let mut added = 0;
    while users.add(user(added)).await.is_ok() {
        added += 1;
    }
    assert!(added > 0, "there was some room left");
    for number in 0..added {
        assert!(users.by_name(&user(number).username).await.unwrap().is_some(), "read from the full disk");
    }
    disk.0.full.store(false, SeqCst);
    assert_eq!(users.add(user(added)).await.unwrap(), AddOutcome::Added, "with room again");
    assert!(users.by_name(&user(added).username).await.unwrap().is_some());
}

#[tokio::test]
async fn users_on_disk_that_failed_return_without_restart() {
    let directory = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::default();
    let users = disk.users(directory.path().join("users.redb"));
    assert_eq!(users.add(user(0)).await.unwrap(), AddOutcome::Added);
    disk.0.unreadable.store(true, SeqCst);
    disk.0.absent.store(true, SeqCst);
    for _ in 0..3 {
        users.by_name("user0").await.expect_err("not: unknown");
    }
    disk.0.unreadable.store(false, SeqCst);
    disk.0.absent.store(false, SeqCst);
    // The first access to the closed file reopens it.
    let _ = users.by_name("user0").await;
    assert!(users.by_name("user0").await.unwrap().is_some());
}

#[test]
fn users_file_deleted_is_not_recreated_on_reopen() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("users.redb");
    let opener = file_opener(&path);
    drop(opener(super::super::file::IfAbsent::Create).unwrap_or_else(|_| panic!("it is made at the start")));
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(opener(super::super::file::IfAbsent::Fail), Err(UserFileError::Database(redb::Error::Io(_)))));
    assert!(!path.exists());
}

#[tokio::test]
async fn users_file_truncated_is_refused_and_unchanged() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("users.redb");
    assert_eq!(EmbeddedUsers::open(&path).unwrap().add(user(0)).await.unwrap(), AddOutcome::Added);
    let whole = std::fs::read(&path).unwrap();
    for length in [0, 1, 64, 4_096, whole.len() / 2] {
        std::fs::write(&path, &whole[..length]).unwrap();
        let error = EmbeddedUsers::open(&path).unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(length > 0 || cause.contains(path.to_str().unwrap()), "{cause}");
        assert_eq!(std::fs::metadata(&path).unwrap().len(), length as u64, "it is left as it is");
    }
    std::fs::write(&path, &whole).unwrap();
    assert!(EmbeddedUsers::open(&path).unwrap().by_name("user0").await.unwrap().is_some());
    // A valid database, but of another program.
    let other = directory.path().join("other.redb");
    drop(Database::create(&other).unwrap());
    EmbeddedUsers::open(&other).unwrap_err();
}

#[test]
fn users_file_is_created_whole_or_not_at_all() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("users.redb");
    let disk = FaultyDisk::default();
    disk.0.full.store(true, SeqCst);
    super::super::file::create(&path, |file| FaultyBackend { file, disk: disk.clone() }).unwrap_err();
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    // As left by a process that was killed.
    std::fs::write(directory.path().join("users.redb.Ab12.new"), "half of one").unwrap();
    EmbeddedUsers::open(&path).unwrap();
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn users_survive_panic_of_an_operation() {
    let directory = tempfile::tempdir().unwrap();
    let users = EmbeddedUsers::open(&directory.path().join("users.redb")).unwrap();
    assert_eq!(users.add(user(0)).await.unwrap(), AddOutcome::Added);
    let bug = users.write(|_| -> Result<(), UserFileError> { std::panic::resume_unwind(Box::new(())) });
    bug.await.unwrap_err();
    assert_eq!(users.add(user(1)).await.unwrap(), AddOutcome::Added);
    for number in 0..2 {
        assert!(users.by_name(&user(number).username).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn users_written_by_older_versions_are_found_by_id() {
    // The older version had no such table, or has added a user since.
    let drop_all: fn(&WriteTransaction) = |write| assert!(write.delete_table(NAMES).unwrap());
    let drop_one: fn(&WriteTransaction) =
        |write| assert!(write.open_table(NAMES).unwrap().pop_first().unwrap().is_some());
    for older in [drop_all, drop_one] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users.redb");
        let users: Vec<User> = (0..3).map(user).collect();
        let opened = EmbeddedUsers::open(&path).unwrap();
        for user in &users {
            assert_eq!(opened.add(user.clone()).await.unwrap(), AddOutcome::Added);
        }
        drop(opened);
        let database = Database::create(&path).unwrap();
        let write = database.begin_write().unwrap();
        older(&write);
        write.commit().unwrap();
        drop(database);
        let opened = EmbeddedUsers::open(&path).unwrap();
        for user in &users {
            assert_eq!(opened.by_id(user.user_id).await.unwrap().unwrap().username, user.username);
        }
        assert!(opened.by_id(UserId::generate()).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn users_are_listed_in_pages_regardless_of_case_and_get_other_roles() {
    let directory = tempfile::tempdir().unwrap();
    let users = EmbeddedUsers::open(&directory.path().join("users.redb")).unwrap();
    for name in ["b", "A", "a-1", "C"] {
        assert_eq!(users.add(User { username: name.to_owned(), ..user(0) }).await.unwrap(), AddOutcome::Added);
    }
    let page = async |after: Option<&str>, limit| {
        let users = users.list(after, limit).await.unwrap();
        users.into_iter().map(|user| user.username).collect::<Vec<_>>()
    };
    assert_eq!(page(None, 10).await, ["A", "a-1", "b", "C"]);
    assert_eq!(page(None, 2).await, ["A", "a-1"]);
    assert_eq!(page(Some("A-1"), 2).await, ["b", "C"]);
    assert_eq!(page(Some("aa"), 1).await, ["b"], "no user has this name");
    assert_eq!(page(Some("c"), 2).await, [""; 0]);

    let stored = users.by_name("b").await.unwrap().unwrap();
    assert!(users.set_role(&stored, Role::Admin).await.unwrap());
    assert_eq!(users.by_name("b").await.unwrap(), Some(User { role: Role::Admin, ..stored.clone() }));
    let other = User { user_id: UserId::generate(), ..stored };
    assert!(!users.set_role(&other, Role::User).await.unwrap(), "another user has the name by now");
}
