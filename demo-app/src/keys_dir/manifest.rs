//! `keys.json`: since when each key may sign.
//!
//! Times of modification do not survive a copy or a restore, so they are asked only once, of a
//! directory that has no manifest yet. The file is replaced as a whole: readers need no lock.
//! Writers take turns by a lock on `.lock` and read it again under that.

use std::{
    fs, io,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Its name in the keys directory.
pub(super) const NAME: &str = "keys.json";

const LOCK: &str = ".lock";

/// How long another process may hold the lock: it does for some milliseconds, unless it was
/// stopped.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

const VERSION: u32 = 1;

/// The keys of a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    version: u32,
    pub(super) keys: Vec<Entry>,
}

/// One key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) kid: String,
    /// Where it was when it was first seen. A file that was renamed still is this key.
    pub(super) file: String,
    pub(super) algorithm: String,
    pub(super) created_at: DateTime<Utc>,
    /// From then on it may sign.
    pub(super) active_from: DateTime<Utc>,
    /// A key that has this signs nothing, and from then on it verifies nothing either.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) retired_at: Option<DateTime<Utc>>,
}

impl Default for Manifest {
    fn default() -> Self {
        Self { version: VERSION, keys: Vec::new() }
    }
}

impl Manifest {
    /// The manifest in this directory; `None` where there is none.
    pub(super) fn read(directory: &Path) -> io::Result<Option<Self>> {
        let text = match fs::read(directory.join(NAME)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text?,
        };
        let manifest: Self = serde_json::from_slice(&text).map_err(invalid)?;
        if manifest.version != VERSION {
            return Err(invalid(format!("it is of version {}, and this program reads {VERSION}", manifest.version)));
        }
        if let Some(twice) = manifest.keys.iter().enumerate().find_map(|(at, entry)| {
            manifest.keys[..at].iter().any(|before| before.kid == entry.kid).then_some(&entry.kid)
        }) {
            return Err(invalid(format!("it names the key {twice} twice")));
        }
        Ok(Some(manifest))
    }

    pub(super) fn entry(&self, kid: &str) -> Option<&Entry> {
        self.keys.iter().find(|entry| entry.kid == kid)
    }

    /// Replaces the manifest in this directory. The lock must be held.
    pub(super) fn write(&self, directory: &Path, _lock: &Lock) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(self).map_err(invalid)?;
        text.push(b'\n');
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        io::Write::write_all(&mut file, &text)?;
        file.as_file().sync_all()?;
        file.persist(directory.join(NAME)).map_err(|error| error.error)?;
        sync(directory)
    }
}

/// Makes the names in a directory survive a loss of power.
pub(super) fn sync(directory: &Path) -> io::Result<()> {
    if cfg!(unix) { fs::File::open(directory)?.sync_all() } else { Ok(()) }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// The right to change the directory, given back when this is dropped.
pub(super) struct Lock {
    _file: fs::File,
}

impl Lock {
    pub(super) fn take(directory: &Path) -> io::Result<Self> {
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(directory.join(LOCK))?;
        let begun = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                Err(fs::TryLockError::WouldBlock) if begun.elapsed() < LOCK_PATIENCE => {
                    thread::sleep(Duration::from_millis(10));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}
