//! Opens the users' file, and reopens it after a failure.

use std::{
    ffi::OsString,
    fs, io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{PoisonError, RwLock, TryLockError},
};

use auth_layer::UserId;
use redb::{
    Builder, Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, StorageBackend, TableDefinition,
    TableError, backends::FileBackend,
};
use serde::Deserialize;

/// Users as JSON, by folded name.
pub(super) const USERS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("users");

/// Folded names, by user id.
pub(super) const NAMES: TableDefinition<'_, &str, &str> = TableDefinition::new("names_by_id");

/// The reason why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UserFileError {
    /// The database failed, or was closed after a failure.
    #[error("{0}")]
    Database(redb::Error),
    /// A record is not valid in this version.
    #[error("a record is unreadable (damaged, or written by a newer version)")]
    Value(#[from] serde_json::Error),
    /// The file is empty, or is not a users' file.
    #[error(
        "{} is empty or is not a user file; restore it from a backup, or remove it if it never held users",
        .0.display()
    )]
    NotAUserFile(PathBuf),
    /// The database, or an operation on it, panicked.
    #[error("the database panicked")]
    Panicked,
}

impl UserFileError {
    /// Returns whether reopening may help. It does not if the contents are wrong.
    fn needs_reopening(&self) -> bool {
        use redb::Error::{Corrupted, TableIsMultimap, TableTypeMismatch, TypeDefinitionChanged, UpgradeRequired};

        match self {
            Self::Database(error) => !matches!(
                error,
                Corrupted(_)
                    | TableIsMultimap(_)
                    | TableTypeMismatch { .. }
                    | TypeDefinitionChanged { .. }
                    | UpgradeRequired(_)
            ),
            Self::Value(_) | Self::NotAUserFile(_) => false,
            Self::Panicked => true,
        }
    }
}

impl From<redb::Error> for UserFileError {
    fn from(error: redb::Error) -> Self {
        Self::Database(error)
    }
}

impl From<io::Error> for UserFileError {
    fn from(error: io::Error) -> Self {
        redb::Error::Io(error).into()
    }
}

impl From<redb::DatabaseError> for UserFileError {
    fn from(error: redb::DatabaseError) -> Self {
        redb::Error::from(error).into()
    }
}

impl From<redb::StorageError> for UserFileError {
    fn from(error: redb::StorageError) -> Self {
        redb::Error::from(error).into()
    }
}

impl From<TableError> for UserFileError {
    fn from(error: TableError) -> Self {
        redb::Error::from(error).into()
    }
}

impl From<redb::TransactionError> for UserFileError {
    fn from(error: redb::TransactionError) -> Self {
        redb::Error::from(error).into()
    }
}

impl From<redb::CommitError> for UserFileError {
    fn from(error: redb::CommitError) -> Self {
        redb::Error::from(error).into()
    }
}

/// Opens the database, and creates a missing one only on request.
pub(super) type Opener = Box<dyn Fn(IfAbsent) -> Result<Database, UserFileError> + Send + Sync>;

/// What to do if the file is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IfAbsent {
    Create,
    /// A users' file that disappears while it is open must not be replaced by an empty one.
    Fail,
}

/// The open file.
///
/// After one failed access, for instance on a full disk, redb refuses every other until the file is
/// reopened. Operations share the lock; only a reopening holds it exclusively.
pub(super) struct UserFile {
    opener: Opener,
    opened: RwLock<OpenDatabase>,
}

struct OpenDatabase {
    database: Option<Database>,
    /// The number of reopenings before this one.
    generation: u64,
}

impl OpenDatabase {
    fn run<T>(&self, work: impl FnOnce(&Database) -> Result<T, UserFileError>) -> Result<T, UserFileError> {
        let work = || self.database.as_ref().ok_or_else(|| redb::Error::DatabaseClosed.into()).and_then(work);
        catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(UserFileError::Panicked))
    }
}

impl UserFile {
    pub(super) fn open(opener: Opener) -> Result<Self, UserFileError> {
        let database = Some(open(&opener, IfAbsent::Create)?);
        Ok(Self { opener, opened: RwLock::new(OpenDatabase { database, generation: 0 }) })
    }

    /// Runs `work` on the database. After a failure the file is reopened for later calls.
    pub(super) fn run<T>(&self, work: impl FnOnce(&Database) -> Result<T, UserFileError>) -> Result<T, UserFileError> {
        let opened = self.opened.read().unwrap_or_else(PoisonError::into_inner);
        let generation = opened.generation;
        let done = opened.run(work);
        drop(opened);
        if let Err(error) = &done
            && error.needs_reopening()
        {
            tracing::error!(error = error as &dyn std::error::Error, "an access to users.redb failed; reopening it");
            self.reopen(generation);
        }
        done
    }

    /// Reads from the database without waiting for a reopening. `None` during one.
    pub(super) fn try_read<T>(
        &self,
        read: impl FnOnce(&Database) -> Result<T, UserFileError>,
    ) -> Option<Result<T, UserFileError>> {
        match self.opened.try_read() {
            Ok(opened) => Some(opened.run(read)),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner().run(read)),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Reopens the file, unless another caller has reopened this `generation`.
    fn reopen(&self, generation: u64) {
        let mut opened = self.opened.write().unwrap_or_else(PoisonError::into_inner);
        if opened.generation != generation {
            return;
        }
        // Closed first: redb's file lock excludes this process too.
        opened.database = None;
        opened.generation += 1;
        match catch_unwind(AssertUnwindSafe(|| open(&self.opener, IfAbsent::Fail)))
            .unwrap_or(Err(UserFileError::Panicked))
        {
            Ok(database) => {
                opened.database = Some(database);
                tracing::info!("users.redb was reopened");
            }
            // The next call tries again.
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "users.redb cannot be reopened; the next access retries"
                );
            }
        }
    }
}

/// Opens the database and creates a missing table. An existing table needs no write, so a full disk
/// can be read.
fn open(opener: &Opener, if_absent: IfAbsent) -> Result<Database, UserFileError> {
    let database = opener(if_absent)?;
    if !has_users_table(&database)? {
        create_users_table(&database)?;
    }
    complete_index(&database)?;
    Ok(database)
}

fn has_users_table(database: &Database) -> Result<bool, UserFileError> {
    match database.begin_read()?.open_table(USERS) {
        Err(TableError::TableDoesNotExist(_)) => Ok(false),
        opened => Ok(opened.map(|_| true)?),
    }
}

fn create_users_table(database: &Database) -> Result<(), UserFileError> {
    let write = database.begin_write()?;
    write.open_table(USERS)?;
    Ok(write.commit()?)
}

/// Creates or completes the index by id. Earlier versions neither made it nor maintained it.
fn complete_index(database: &Database) -> Result<(), UserFileError> {
    #[derive(Deserialize)]
    struct IndexedUser {
        user_id: UserId,
    }

    let read = database.begin_read()?;
    let users = read.open_table(USERS)?;
    match read.open_table(NAMES) {
        Ok(names) if names.len()? == users.len()? => return Ok(()),
        Ok(_) | Err(TableError::TableDoesNotExist(_)) => {}
        Err(error) => return Err(error.into()),
    }
    let write = database.begin_write()?;
    {
        let mut names = write.open_table(NAMES)?;
        for user in users.iter()? {
            let (name, user) = user?;
            // An unreadable record is not found by its name either.
            if let Ok(IndexedUser { user_id }) = serde_json::from_slice(user.value()) {
                names.insert(user_id.to_string().as_str(), name.value())?;
            }
        }
    }
    write.commit()?;
    Ok(())
}

/// Opens the database at `path`. A new file is readable and writable only by its owner.
///
/// An existing file is never initialised: an emptied one has lost its users.
pub(super) fn file_opener(path: &Path) -> Opener {
    let path = path.to_owned();
    Box::new(move |if_absent| {
        if if_absent == IfAbsent::Create && !path.try_exists()? {
            create(&path, |file| file)?;
        }
        let backend = FileBackend::new(fs::OpenOptions::new().read(true).write(true).open(&path)?)?;
        if backend.len()? == 0 {
            return Err(UserFileError::NotAUserFile(path.clone()));
        }
        let database = Builder::new().create_with_backend(backend)?;
        if !has_users_table(&database)? {
            return Err(UserFileError::NotAUserFile(path.clone()));
        }
        // The database lock excludes every other process by now.
        remove_unfinished(&path)?;
        Ok(database)
    })
}

/// Creates a database with its table under another name, syncs it and then renames it. A killed
/// process leaves no half-made database. If another process was first, its file stays.
pub(super) fn create<B: StorageBackend>(path: &Path, on: impl FnOnce(FileBackend) -> B) -> Result<(), UserFileError> {
    let parent = parent(path);
    // Created with mode 0600.
    let file = tempfile::Builder::new().prefix(&prefix(path)).suffix(UNFINISHED).tempfile_in(parent)?;
    let database = Builder::new().create_with_backend(on(FileBackend::new(file.reopen()?)?))?;
    create_users_table(&database)?;
    drop(database);
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => return Err(error.error.into()),
        _ => {}
    }
    // A power loss must not lose the file's name.
    #[cfg(unix)]
    fs::File::open(parent)?.sync_all()?;
    Ok(())
}

/// The suffix of a file that is not finished.
const UNFINISHED: &str = ".new";

/// Returns the prefix of such files.
fn prefix(path: &Path) -> OsString {
    let mut prefix = path.file_name().unwrap_or_default().to_owned();
    prefix.push(".");
    prefix
}

/// Removes the unfinished files of processes that were killed.
fn remove_unfinished(path: &Path) -> io::Result<()> {
    let prefix = prefix(path);
    for entry in fs::read_dir(parent(path))? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        if name.starts_with(prefix.as_encoded_bytes()) && name.ends_with(UNFINISHED.as_bytes()) {
            match fs::remove_file(entry.path()) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
