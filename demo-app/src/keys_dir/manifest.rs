//! The manifest `keys.json`: from when each key may sign.
//!
//! Modification times do not survive a copy or a restore, so they are used only for a directory
//! that has no manifest yet. The file is replaced atomically: readers need no lock. Writers lock
//! `.lock` and read the file again under the lock.

use std::{
    cmp::Ordering,
    fs, io,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// The manifest's name in the keys directory.
pub(super) const FILE_NAME: &str = "keys.json";

const LOCK_FILE: &str = ".lock";

/// The longest wait for the lock. A healthy process holds it for milliseconds.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

const VERSION: u32 = 1;

/// The keys of a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    version: u32,
    pub(super) keys: Vec<ManifestEntry>,
}

/// The manifest's entry for one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ManifestEntry {
    pub(super) kid: String,
    /// The file where the key was first seen. A renamed file is still the same key.
    pub(super) file: String,
    pub(super) algorithm: String,
    pub(super) created_at: DateTime<Utc>,
    /// The time from which the key may sign.
    pub(super) active_from: DateTime<Utc>,
    /// The time from which the key verifies nothing. A key with this field signs only until another
    /// key may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) retired_at: Option<DateTime<Utc>>,
}

impl ManifestEntry {
    /// Orders keys by the time from which they may sign.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        let key = |entry: &Self| (entry.active_from, entry.created_at);
        key(self).cmp(&key(other)).then_with(|| self.kid.cmp(&other.kid))
    }
}

impl Default for Manifest {
    fn default() -> Self {
        Self { version: VERSION, keys: Vec::new() }
    }
}

impl Manifest {
    /// Reads the manifest of a directory; `None` if there is none.
    pub(super) fn read(directory: &Path) -> io::Result<Option<Self>> {
        let text = match fs::read(directory.join(FILE_NAME)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text?,
        };
        let manifest: Self = serde_json::from_slice(&text).map_err(invalid)?;
        if manifest.version != VERSION {
            return Err(invalid(format!(
                "its version is {}, and this program reads version {VERSION}",
                manifest.version
            )));
        }
        if let Some(duplicate) = manifest.keys.iter().enumerate().find_map(|(at, entry)| {
            manifest.keys[..at].iter().any(|before| before.kid == entry.kid).then_some(&entry.kid)
        }) {
            return Err(invalid(format!("it lists the key {duplicate} twice")));
        }
        Ok(Some(manifest))
    }

    pub(super) fn entry(&self, kid: &str) -> Option<&ManifestEntry> {
        self.keys.iter().find(|entry| entry.kid == kid)
    }

    /// Replaces the manifest of a directory. The caller holds the lock.
    pub(super) fn write(&self, directory: &Path, _lock: &DirLock) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(self).map_err(invalid)?;
        text.push(b'\n');
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        io::Write::write_all(&mut file, &text)?;
        file.as_file().sync_all()?;
        file.persist(directory.join(FILE_NAME)).map_err(|error| error.error)?;
        sync_directory(directory)
    }
}

/// Syncs a directory, so that its names survive a power loss.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    if cfg!(unix) { fs::File::open(directory)?.sync_all() } else { Ok(()) }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// The lock for changes to the directory; released on drop.
pub(super) struct DirLock {
    _file: fs::File,
}

impl DirLock {
    pub(super) fn acquire(directory: &Path) -> io::Result<Self> {
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(directory.join(LOCK_FILE))?;
        let begun = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                Err(fs::TryLockError::WouldBlock) if begun.elapsed() < LOCK_TIMEOUT => {
                    thread::sleep(Duration::from_millis(10));
                }
                Err(fs::TryLockError::WouldBlock) => {
                    let timeout = LOCK_TIMEOUT.as_secs();
                    let held = format!("another process has held `{LOCK_FILE}` for {timeout} s; stop that process");
                    return Err(io::Error::new(io::ErrorKind::WouldBlock, held));
                }
                Err(fs::TryLockError::Error(error)) => return Err(error),
            }
        }
    }
}
