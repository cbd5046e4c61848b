//! The file: opened with care, and opened again after a failure.

use std::{
    fs, io,
    path::Path,
    sync::{PoisonError, RwLock},
};

use redb::{Database, Durability, ReadableDatabase, backends::FileBackend};

use super::{
    fault::Fault,
    tables::{Snapshot, Tables},
    writer::Weight,
};

/// How many bytes of the file redb keeps in memory at most; the operating system's cache holds more.
const CACHE: usize = 128 << 20;

/// Opens the database; where there is none, makes one only if it is told to.
pub(super) type Opener = Box<dyn Fn(IfAbsent) -> Result<Database, Fault> + Send + Sync>;

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
        let transaction = database.begin_write()?;
        drop(Tables::open(&transaction)?);
        transaction.commit()?;
    }
    Ok(database)
}

/// Opens the database at `path`. One that it creates is its owner's alone to read and write.
pub(super) fn at(path: &Path) -> Opener {
    let path = path.to_owned();
    Box::new(move |if_absent| {
        let file = open_private(&path, if_absent).map_err(redb::Error::Io)?;
        let backend = FileBackend::new(file).map_err(redb::Error::from)?;
        Ok(builder().create_with_backend(backend).map_err(redb::Error::from)?)
    })
}

pub(super) fn builder() -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE);
    builder
}

fn open_private(path: &Path, if_absent: IfAbsent) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true).truncate(false).create(if_absent == IfAbsent::Create);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    // A power loss must not take the file's name with it.
    #[cfg(unix)]
    if if_absent == IfAbsent::Create {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::File::open(parent)?.sync_all()?;
    }
    Ok(file)
}
