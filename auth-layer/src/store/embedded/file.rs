//! The file: opened with care, and opened again after a failure.

use std::{
    ffi::OsString,
    fs, io,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
};

use redb::{Database, Durability, ReadableDatabase, StorageBackend, backends::FileBackend};

use super::{
    fault::Fault,
    tables::{Snapshot, Tables},
};

/// How many bytes of the file redb keeps in memory at most; the operating system's cache holds more.
const CACHE: usize = 128 << 20;

/// Opens the database; where there is none, makes one only if it is told to.
pub(super) type Opener = Box<dyn Fn(IfAbsent) -> Result<Database, Fault> + Send + Sync>;

/// What is promised of an operation that was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    /// That it is on the disk.
    Durable,
    /// That it is seen from then on, until the process ends or the file has to be opened again.
    Light,
}

/// What to do where there is no file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IfAbsent {
    Create,
    /// A store that was open and finds its file gone must not go on with an empty one, which has forgotten who is disabled.
    Fail,
}

/// The open file.
///
/// After one failed access (a full disk, say) redb refuses all others until the file is opened again. Operations therefore share
/// a lock that is held alone only to put another opening in the place of one.
pub(super) struct File {
    opener: Opener,
    database: RwLock<Option<Database>>,
}

impl File {
    pub(super) fn open(opener: Opener) -> Result<Self, Fault> {
        let database = open(&opener, IfAbsent::Create)?;
        Ok(Self { opener, database: RwLock::new(Some(database)) })
    }

    /// Reads as of the last commit, and waits for none.
    pub(super) fn read<T>(&self, read: impl FnOnce(&Snapshot<'_>) -> Result<T, Fault>) -> Result<T, Fault> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let transaction = database.as_ref().ok_or(redb::Error::DatabaseClosed)?.begin_read()?;
        read(&Snapshot(&transaction))
    }

    /// Writes in one transaction: committed when this returns `Ok`, and durable unless it is light; aborted where `write` fails.
    /// Where the commit fails it is not known which.
    pub(super) fn write<T>(
        &self,
        weight: Weight,
        write: impl FnOnce(&mut Tables<'_>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let mut transaction = database.as_ref().ok_or(redb::Error::DatabaseClosed)?.begin_write()?;
        if weight == Weight::Light {
            transaction.set_durability(Durability::None).map_err(redb::Error::from)?;
        }
        let written = write(&mut Tables::open(&transaction)?)?;
        transaction.commit()?;
        Ok(written)
    }

    /// Closes the database and opens it, which repairs what a failed commit left behind. Until that is done, and if it fails, all
    /// operations fail at once. For the writer's thread alone to call.
    pub(super) fn reopen(&self) -> Result<(), Fault> {
        // Closed before it is opened: it locks out itself as it does others.
        self.replace(None);
        self.replace(Some(open(&self.opener, IfAbsent::Fail)?));
        Ok(())
    }

    fn replace(&self, database: Option<Database>) {
        *self.database.write().unwrap_or_else(PoisonError::into_inner) = database;
    }
}

/// Opens the database and sees to it that it has all tables, so that reading need not handle their absence. Where it has them,
/// nothing is written: a full disk can still be read.
fn open(opener: &Opener, if_absent: IfAbsent) -> Result<Database, Fault> {
    let database = opener(if_absent)?;
    if !Snapshot(&database.begin_read()?).is_complete()? {
        complete(&database)?;
    }
    Ok(database)
}

/// Makes the tables that are missing.
fn complete(database: &Database) -> Result<(), Fault> {
    let transaction = database.begin_write()?;
    drop(Tables::open(&transaction)?);
    Ok(transaction.commit()?)
}

/// Opens the database at `path`. One that it creates is its owner's alone to read and write.
///
/// A file that is there is never initialised: one that was emptied has forgotten who is revoked and
/// who is disabled.
pub(super) fn at(path: &Path) -> Opener {
    let path: Arc<Path> = path.into();
    Box::new(move |if_absent| {
        if if_absent == IfAbsent::Create && !path.try_exists()? {
            create(&path, |file| file)?;
        }
        let backend = FileBackend::new(fs::OpenOptions::new().read(true).write(true).open(&path)?)?;
        if backend.len()? == 0 {
            return Err(Fault::NotOurs(Arc::clone(&path)));
        }
        let database = builder().create_with_backend(backend)?;
        if !Snapshot(&database.begin_read()?).is_ours()? {
            return Err(Fault::NotOurs(Arc::clone(&path)));
        }
        // By now nobody else can be at it.
        remove_unfinished(&path)?;
        Ok(database)
    })
}

/// Makes a database with all its tables, and gives it its name when it is whole and on the disk: a
/// process that is killed leaves a file of another name and no half-made database. Where another
/// process was first, its file stays.
pub(super) fn create<B: StorageBackend>(path: &Path, on: impl FnOnce(FileBackend) -> B) -> Result<(), Fault> {
    let parent = parent(path);
    // Made with mode 0600.
    let file = tempfile::Builder::new().prefix(&prefix(path)).suffix(UNFINISHED).tempfile_in(parent)?;
    let database = builder().create_with_backend(on(FileBackend::new(file.reopen()?)?))?;
    complete(&database)?;
    drop(database);
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => return Err(error.error.into()),
        _ => {}
    }
    // A power loss must not take the file's name with it.
    #[cfg(unix)]
    fs::File::open(parent)?.sync_all()?;
    Ok(())
}

/// What the name of a file ends in that is being made.
const UNFINISHED: &str = ".new";

/// What the names of such files begin with.
fn prefix(path: &Path) -> OsString {
    let mut prefix = path.file_name().unwrap_or_default().to_owned();
    prefix.push(".");
    prefix
}

/// Removes what processes have left that were killed while they made this file.
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

pub(super) fn builder() -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE);
    builder
}
