//! Opens the file safely, and reopens it after a failure.

use std::{
    ffi::OsString,
    fs, io,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
};

use redb::{Database, Durability, ReadableDatabase, StorageBackend, backends::FileBackend};

use super::{
    error::EmbeddedError,
    options::EmbeddedOptions,
    tables::{Snapshot, Tables},
};

/// Opens the database. If there is none, creates one only when told to.
pub(super) type Opener = Box<dyn Fn(IfAbsent) -> Result<Database, EmbeddedError> + Send + Sync>;

/// What success promises about a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CommitMode {
    /// It is on the disk.
    Durable,
    /// It is visible until the process ends or the file is reopened.
    Unsynced,
}

/// What to do when there is no file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IfAbsent {
    Create,
    /// For an open store whose file is gone: an empty file would not know who is disabled.
    Fail,
}

/// The open file.
///
/// After one failed access (for example a full disk) redb refuses all others until the file is
/// reopened. Operations share a lock, and reopening takes it exclusively.
pub(super) struct DatabaseFile {
    opener: Opener,
    database: RwLock<Option<Database>>,
}

impl DatabaseFile {
    pub(super) fn open(opener: Opener) -> Result<Self, EmbeddedError> {
        let database = open(&opener, IfAbsent::Create)?;
        Ok(Self { opener, database: RwLock::new(Some(database)) })
    }

    /// Reads as of the last commit. Does not wait for writers.
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&Snapshot<'_>) -> Result<T, EmbeddedError>,
    ) -> Result<T, EmbeddedError> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let transaction = database.as_ref().ok_or(redb::Error::DatabaseClosed)?.begin_read()?;
        read(&Snapshot(&transaction))
    }

    /// Writes in one transaction, which is aborted if `write` fails.
    ///
    /// `Ok` means committed, and durable unless `mode` is unsynced. If the commit itself fails, the
    /// outcome is unknown.
    pub(super) fn write<T>(
        &self,
        mode: CommitMode,
        write: impl FnOnce(&mut Tables<'_>) -> Result<T, EmbeddedError>,
    ) -> Result<T, EmbeddedError> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let mut transaction = database.as_ref().ok_or(redb::Error::DatabaseClosed)?.begin_write()?;
        if mode == CommitMode::Unsynced {
            transaction.set_durability(Durability::None).map_err(redb::Error::from)?;
        }
        let written = write(&mut Tables::open(&transaction)?)?;
        transaction.commit()?;
        Ok(written)
    }

    /// Closes and opens the database, which repairs what a failed commit left behind.
    ///
    /// Until that is done, and if it fails, all operations fail at once. Only the writer's thread
    /// may call this.
    pub(super) fn reopen(&self) -> Result<(), EmbeddedError> {
        // Close first: the file's lock also excludes this process.
        self.replace(None);
        self.replace(Some(open(&self.opener, IfAbsent::Fail)?));
        Ok(())
    }

    fn replace(&self, database: Option<Database>) {
        *self.database.write().unwrap_or_else(PoisonError::into_inner) = database;
    }
}

/// Opens the database and creates missing tables, so that reads find them all.
///
/// Writes nothing if they exist: a full disk can still be read.
fn open(opener: &Opener, if_absent: IfAbsent) -> Result<Database, EmbeddedError> {
    let database = opener(if_absent)?;
    if !Snapshot(&database.begin_read()?).is_complete()? {
        create_missing_tables(&database)?;
    }
    Ok(database)
}

/// Creates the missing tables.
fn create_missing_tables(database: &Database) -> Result<(), EmbeddedError> {
    let transaction = database.begin_write()?;
    drop(Tables::open(&transaction)?);
    Ok(transaction.commit()?)
}

/// Returns an opener for the database at `path`. A file that it creates is readable and writable by
/// its owner only.
///
/// An existing file is never initialised: an emptied one has forgotten who is revoked and disabled.
pub(super) fn opener_at(path: &Path, EmbeddedOptions { cache_bytes }: EmbeddedOptions) -> Opener {
    let path: Arc<Path> = path.into();
    Box::new(move |if_absent| {
        if if_absent == IfAbsent::Create && !path.try_exists()? {
            create(&path, |file| file)?;
        }
        let backend = FileBackend::new(fs::OpenOptions::new().read(true).write(true).open(&path)?)?;
        if backend.len()? == 0 {
            return Err(EmbeddedError::NotOurs(Arc::clone(&path)));
        }
        let database = Database::builder().set_cache_size(cache_bytes).create_with_backend(backend)?;
        if !Snapshot(&database.begin_read()?).is_ours()? {
            return Err(EmbeddedError::NotOurs(Arc::clone(&path)));
        }
        // With the file in place and locked, temporary files beside it are leftovers.
        remove_unfinished(&path)?;
        Ok(database)
    })
}

/// Creates a database with all its tables, and names it `path` once it is complete and on the disk.
///
/// A process that is killed leaves a file of another name, never a half-made database. If another
/// process was first, its file stays.
pub(super) fn create<B: StorageBackend>(path: &Path, on: impl FnOnce(FileBackend) -> B) -> Result<(), EmbeddedError> {
    let parent = parent(path);
    // Created with mode 0600.
    let file = tempfile::Builder::new().prefix(&prefix(path)).suffix(UNFINISHED).tempfile_in(parent)?;
    let database = Database::builder().create_with_backend(on(FileBackend::new(file.reopen()?)?))?;
    create_missing_tables(&database)?;
    drop(database);
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => return Err(error.error.into()),
        _ => {}
    }
    // Sync the directory, so that a power loss keeps the file's name.
    #[cfg(unix)]
    fs::File::open(parent)?.sync_all()?;
    Ok(())
}

/// The suffix of a file that is being created.
const UNFINISHED: &str = ".new";

/// Returns the prefix of such files.
fn prefix(path: &Path) -> OsString {
    let mut prefix = path.file_name().unwrap_or_default().to_owned();
    prefix.push(".");
    prefix
}

/// Removes the files of processes that were killed while they created this database.
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
