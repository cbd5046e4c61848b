//! The file of the embedded users: opened with care, and opened again after a failure.

use std::{
    fs, io,
    path::Path,
    sync::{PoisonError, RwLock},
};

use auth_layer::UserId;
use redb::{
    Builder, Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition, TableError,
    backends::FileBackend,
};
use serde::Deserialize;

/// By folded name, as JSON.
pub(super) const USERS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("users");

/// The folded names by user id.
pub(super) const NAMES: TableDefinition<'_, &str, &str> = TableDefinition::new("names_by_id");

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// The database failed, or was found closed after it had failed.
    #[error("{0}")]
    Database(redb::Error),
    /// A user that this version does not understand.
    #[error("a user cannot be understood")]
    Value(#[from] serde_json::Error),
}

impl Fault {
    /// Whether opening the file again may help: not where what is in it is wrong.
    fn calls_for_reopening(&self) -> bool {
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
            Self::Value(_) => false,
        }
    }
}

impl From<redb::Error> for Fault {
    fn from(error: redb::Error) -> Self {
        Self::Database(error)
    }
}

impl From<redb::DatabaseError> for Fault {
    fn from(error: redb::DatabaseError) -> Self {
        redb::Error::from(error).into()
    }
}

impl From<redb::StorageError> for Fault {
    fn from(error: redb::StorageError) -> Self {
        redb::Error::from(error).into()
    }
}

impl From<TableError> for Fault {
    fn from(error: TableError) -> Self {
        redb::Error::from(error).into()
    }
}

impl From<redb::TransactionError> for Fault {
    fn from(error: redb::TransactionError) -> Self {
        redb::Error::from(error).into()
    }
}

impl From<redb::CommitError> for Fault {
    fn from(error: redb::CommitError) -> Self {
        redb::Error::from(error).into()
    }
}

/// Opens the database; where there is none, makes one only if it is told to.
pub(super) type Opener = Box<dyn Fn(IfAbsent) -> Result<Database, Fault> + Send + Sync>;

/// What to do where there is no file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IfAbsent {
    Create,
    /// Users that were open and whose file is gone must not go on with an empty one.
    Fail,
}

/// The open file.
///
/// After one failed access (a full disk, say) redb refuses all others until the file is opened again. Operations share a lock that is
/// held alone only to put another opening in the place of one.
pub(super) struct File {
    opener: Opener,
    opened: RwLock<Opened>,
}

struct Opened {
    database: Option<Database>,
    /// How many openings there were before this one.
    number: u64,
}

impl File {
    pub(super) fn open(opener: Opener) -> Result<Self, Fault> {
        let database = Some(open(&opener, IfAbsent::Create)?);
        Ok(Self { opener, opened: RwLock::new(Opened { database, number: 0 }) })
    }

    /// Does some work on the database. Where that fails the file is opened again, for those who come after.
    pub(super) fn run<T>(&self, work: impl FnOnce(&Database) -> Result<T, Fault>) -> Result<T, Fault> {
        let opened = self.opened.read().unwrap_or_else(PoisonError::into_inner);
        let number = opened.number;
        let done = opened.database.as_ref().ok_or_else(|| redb::Error::DatabaseClosed.into()).and_then(work);
        drop(opened);
        if let Err(fault) = &done
            && fault.calls_for_reopening()
        {
            tracing::error!(error = fault as &dyn std::error::Error, "the user file failed");
            self.reopen(number);
        }
        done
    }

    /// Closes the opening of this number and opens the file, unless somebody else has.
    fn reopen(&self, number: u64) {
        let mut opened = self.opened.write().unwrap_or_else(PoisonError::into_inner);
        if opened.number != number {
            return;
        }
        // Closed before it is opened: it locks out itself as it does others.
        opened.database = None;
        opened.number += 1;
        match open(&self.opener, IfAbsent::Fail) {
            Ok(database) => {
                opened.database = Some(database);
                tracing::info!("the user file was opened again");
            }
            // The next to come tries once more.
            Err(fault) => {
                tracing::error!(error = &fault as &dyn std::error::Error, "the user file could not be opened again");
            }
        }
    }
}

/// Opens the database and sees to it that it has its table. Where it has, nothing is written: a full disk can still be read.
fn open(opener: &Opener, if_absent: IfAbsent) -> Result<Database, Fault> {
    let database = opener(if_absent)?;
    if let Err(TableError::TableDoesNotExist(_)) = database.begin_read()?.open_table(USERS) {
        let write = database.begin_write()?;
        write.open_table(USERS)?;
        write.commit()?;
    }
    index(&database)?;
    Ok(database)
}

/// Sees to it that users are found by their ids. Versions before this table did not make it, and
/// did not keep it where there was one.
fn index(database: &Database) -> Result<(), Fault> {
    #[derive(Deserialize)]
    struct Stored {
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
            // One that cannot be understood is not found by its name either.
            if let Ok(Stored { user_id }) = serde_json::from_slice(user.value()) {
                names.insert(user_id.to_string().as_str(), name.value())?;
            }
        }
    }
    write.commit()?;
    Ok(())
}

/// Opens the database at `path`. One that it creates is its owner's alone to read and write.
pub(super) fn at(path: &Path) -> Opener {
    let path = path.to_owned();
    Box::new(move |if_absent| {
        let file = open_private(&path, if_absent).map_err(redb::Error::Io)?;
        Ok(Builder::new().create_with_backend(FileBackend::new(file)?)?)
    })
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
