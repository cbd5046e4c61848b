//! The directory of signing keys.
//!
//! Every `*.pem` in it is a private key: Ed25519, P-256 or RSA (used as RS256), in PKCS #8.
//! `keys.json` beside them, the *manifest*, says since when each may sign. The key with the latest
//! such time that has come signs; the others verify.
//!
//! - **A key without an entry** is adopted by whichever node sees it first. It signs once the
//!   publish delay has passed, so that whoever checks tokens has fetched it by then.
//! - **A directory without a manifest**, as earlier versions left it, gets one: each key signs from
//!   its time of modification and the publish delay on, which is what those versions go by.
//! - **A key that is gone** is an error and no removal. At the start it is fatal; a running node
//!   keeps the key that it has. A key leaves by its `retired_at`.
//! - **A directory that cannot be written** is used as it is. What would be written is then kept by
//!   this process.
//! - **The first key** is made at the start, where neither the directory nor the store has anything
//!   yet.

mod error;
mod follow;
mod manifest;

use std::{
    collections::{BTreeMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use auth_layer::keys::{Algorithm, KeyError, Keyring, SigningKey};
use chrono::{DateTime, TimeDelta, Utc};

use self::manifest::{Entry, Lock, Manifest};
pub(crate) use self::{error::KeysError, follow::follow};

/// The first key's file.
const FIRST: &str = "first.pem";

/// The directory, with what this process knows of it.
#[derive(Debug)]
pub(crate) struct KeysDir {
    path: PathBuf,
    publish_delay: TimeDelta,
    /// The manifest as this process saw it last, with what could not be written into it. Absent
    /// until the first key was seen.
    known: Option<Manifest>,
    /// All keys that were read, by `kid`: one whose file is gone stays in the ring.
    loaded: BTreeMap<String, SigningKey>,
    /// The keys that others may read, as far as that was said.
    exposed: HashSet<PathBuf>,
    /// Whether it was said that the manifest cannot be written.
    said_unwritable: bool,
}

/// What is in the directory.
struct Contents {
    manifest: Option<Manifest>,
    keys: Vec<Found>,
}

/// A key that is in the directory.
struct Found {
    file: String,
    modified: DateTime<Utc>,
    key: SigningKey,
}

impl Contents {
    fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.manifest.as_ref().is_none_or(|manifest| manifest.keys.is_empty())
    }

    fn has(&self, entry: &Entry) -> bool {
        self.keys.iter().any(|found| found.key.kid() == entry.kid)
    }
}

impl KeysDir {
    pub(crate) fn new(path: PathBuf, publish_delay: Duration) -> Self {
        Self {
            path,
            publish_delay: TimeDelta::from_std(publish_delay).unwrap_or(TimeDelta::MAX),
            known: None,
            loaded: BTreeMap::new(),
            exposed: HashSet::new(),
            said_unwritable: false,
        }
    }

    /// The ring of its keys at the start of a node; `None` where nothing is there yet.
    pub(crate) fn open(&mut self, now: SystemTime) -> Result<Option<Keyring>, KeysError> {
        let contents = match self.read() {
            Err(KeysError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
            contents => contents?,
        };
        if contents.is_empty() {
            return Ok(None);
        }
        let now = now.into();
        let manifest = self.take_up(&contents, now);
        match self.missing(&manifest, &contents, now) {
            Some(missing) => Err(missing),
            None => self.ring(&manifest, now).map(Some),
        }
    }

    /// The keys that are published and may not sign yet, by `kid`.
    pub(crate) fn waiting(&self, now: SystemTime) -> Vec<String> {
        let now = now.into();
        let waits = |entry: &&Entry| entry.retired_at.is_none() && entry.active_from > now;
        let known = self.known.iter().flat_map(|known| live(known, now));
        known.filter(waits).map(|entry| entry.kid.clone()).collect()
    }

    /// Makes the first key where there is none, or takes the one that another node has made
    /// meanwhile.
    ///
    /// # Errors
    ///
    /// [`KeysError::Lost`] where the store is not empty: what it holds was signed with a key that
    /// is gone.
    pub(crate) fn create_first(&mut self, store_is_empty: bool, now: SystemTime) -> Result<Keyring, KeysError> {
        if store_is_empty {
            self.create_directory()?;
            let lock = Lock::take(&self.path).map_err(self.failed("its lock"))?;
            if self.read()?.is_empty() {
                self.make_first(&lock, now.into())?;
            }
        }
        // Asked after the store: another node may have made a key, and signed somebody in with it,
        // since the directory was read.
        self.open(now)?.ok_or_else(|| KeysError::Lost { directory: self.path.clone() })
    }

    /// The ring of its keys while a node runs, with what is wrong beside that: a key whose file is
    /// gone stays in the ring.
    pub(crate) fn reload(&mut self, now: SystemTime) -> Result<(Keyring, Option<KeysError>), KeysError> {
        let contents = self.read()?;
        let now = now.into();
        let known = self.known_and(contents.manifest.as_ref());
        if !live(&known, now).any(|entry| contents.has(entry)) {
            // Nothing is written into what may be the place where a volume was mounted.
            return Err(KeysError::Emptied { directory: self.path.clone() });
        }
        let manifest = self.take_up(&contents, now);
        let missing = self.missing(&manifest, &contents, now);
        self.ring(&manifest, now).map(|ring| (ring, missing))
    }

    /// Adds the keys that have no entry to the manifest, here and if possible in the directory.
    fn take_up(&mut self, contents: &Contents, now: DateTime<Utc>) -> Manifest {
        for found in &contents.keys {
            self.loaded.insert(found.key.kid().to_owned(), found.key.clone());
        }
        let mut manifest = self.merged(contents.manifest.as_ref(), contents, now);
        if contents.manifest.as_ref() != Some(&manifest) {
            match self.record(contents, now) {
                Ok(recorded) => {
                    self.said_unwritable = false;
                    manifest = recorded;
                }
                Err(error) => {
                    if !self.said_unwritable {
                        tracing::warn!(
                            %error, path = %self.path.display(),
                            "`{}` cannot be written; this process goes by what it knows of the keys", manifest::NAME
                        );
                    }
                    self.said_unwritable = true;
                }
            }
        }
        self.loaded.retain(|kid, _| manifest.entry(kid).is_some_and(|entry| is_live(entry, now)));
        self.known = Some(manifest.clone());
        manifest
    }

    /// Writes the manifest, which another node may have changed meanwhile.
    fn record(&self, contents: &Contents, now: DateTime<Utc>) -> io::Result<Manifest> {
        let lock = Lock::take(&self.path)?;
        let there = Manifest::read(&self.path)?;
        let merged = self.merged(there.as_ref(), contents, now);
        if there.as_ref() != Some(&merged) {
            merged.write(&self.path, &lock)?;
        }
        Ok(merged)
    }

    /// What the directory says, and what this process knows besides.
    fn known_and(&self, there: Option<&Manifest>) -> Manifest {
        let mut manifest = there.cloned().unwrap_or_default();
        for entry in self.known.iter().flat_map(|known| &known.keys) {
            if manifest.entry(&entry.kid).is_none() {
                manifest.keys.push(entry.clone());
            }
        }
        manifest
    }

    /// The same with the keys that are new.
    fn merged(&self, there: Option<&Manifest>, contents: &Contents, now: DateTime<Utc>) -> Manifest {
        let is_first_sight = there.is_none() && self.known.is_none();
        let mut manifest = self.known_and(there);
        for found in &contents.keys {
            if manifest.entry(found.key.kid()).is_none() {
                let created_at = if is_first_sight { found.modified.min(now) } else { now };
                manifest.keys.push(entry(&found.key, &found.file, created_at, self.publish_delay));
            }
        }
        manifest
    }

    fn missing(&self, manifest: &Manifest, contents: &Contents, now: DateTime<Utc>) -> Option<KeysError> {
        let missing: Vec<String> = live(manifest, now)
            .filter(|entry| !contents.has(entry))
            .map(|entry| format!("`{}` (key {})", entry.file, entry.kid))
            .collect();
        (!missing.is_empty()).then(|| KeysError::Missing { directory: self.path.clone(), files: missing.join(", ") })
    }

    /// The ring that a manifest stands for.
    fn ring(&self, manifest: &Manifest, now: DateTime<Utc>) -> Result<Keyring, KeysError> {
        let mut entries: Vec<(&Entry, &SigningKey)> =
            live(manifest, now).filter_map(|entry| Some((entry, self.loaded.get(&entry.kid)?))).collect();
        entries.sort_by_key(|(entry, _)| (entry.active_from, entry.created_at, &entry.kid));
        for (entry, key) in &entries {
            if entry.algorithm != key.algorithm().as_str() {
                return Err(KeysError::Algorithm {
                    directory: self.path.clone(),
                    file: entry.file.clone(),
                    holds: key.algorithm().as_str(),
                    says: entry.algorithm.clone(),
                });
            }
        }
        let may_sign = |entry: &Entry| entry.retired_at.is_none();
        let signing = entries
            .iter()
            .rposition(|(entry, _)| may_sign(entry) && entry.active_from <= now)
            // Somebody must sign: the one that has been published for longest.
            .or_else(|| entries.iter().position(|(entry, _)| may_sign(entry)))
            .ok_or_else(|| KeysError::NoneSigns { directory: self.path.clone() })?;
        let (_, signing) = entries.remove(signing);
        let others = entries.into_iter().rev().map(|(_, key)| key.clone());
        Ok(others.into_iter().try_fold(Keyring::new(signing.clone()), Keyring::with_retired)?)
    }

    fn read(&mut self) -> Result<Contents, KeysError> {
        // First, so that the key of each entry is there: it is written before its entry.
        let manifest = Manifest::read(&self.path).map_err(|source| match source.kind() {
            io::ErrorKind::InvalidData => KeysError::Manifest { directory: self.path.clone(), source },
            _ => self.failed(manifest::NAME)(source),
        })?;
        let mut keys: Vec<Found> = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(self.failed("the directory"))? {
            let path = entry.map_err(self.failed("the directory"))?.path();
            if path.extension().is_none_or(|extension| extension != "pem") {
                continue;
            }
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let failed = self.failed(&format!("`{file}`"));
            let read = fs::metadata(&path).and_then(|metadata| Ok((metadata, fs::read(&path)?)));
            let (metadata, pem) = match read {
                // Another process removed it just now.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                read => read.map_err(&failed)?,
            };
            if self.is_newly_exposed(&path, is_readable_by_others(&metadata)) {
                tracing::warn!(path = %path.display(), "others than its owner may read this key; its mode should be 0600");
            }
            let key = SigningKey::from_pkcs8_pem(&pem).map_err(|source| KeysError::Key {
                directory: self.path.clone(),
                file: file.clone(),
                source,
            })?;
            let modified = metadata.modified().map_err(failed)?.into();
            keys.push(Found { file, modified, key });
        }
        // One key in two files is the one that comes first.
        keys.sort_by(|one, other| (one.key.kid(), &one.file).cmp(&(other.key.kid(), &other.file)));
        keys.dedup_by(|one, before| one.key.kid() == before.key.kid());
        Ok(Contents { manifest, keys })
    }

    /// Whether this is to be said: once, until it was put right.
    fn is_newly_exposed(&mut self, path: &Path, exposed: bool) -> bool {
        if exposed {
            return self.exposed.insert(path.to_owned());
        }
        self.exposed.remove(path);
        false
    }

    fn create_directory(&self) -> Result<(), KeysError> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&self.path).map_err(self.failed("the directory"))
    }

    /// Makes the first key, whole or not at all, and then its entry.
    fn make_first(&self, lock: &Lock, now: DateTime<Utc>) -> Result<(), KeysError> {
        let key = SigningKey::generate()?;
        let pem = key.to_pkcs8_pem().ok_or(KeyError::Form(Algorithm::EdDsa))?;
        let path = self.path.join(FIRST);
        let written = write_new(&self.path, &path, pem.as_bytes()).map_err(self.failed(FIRST))?;
        if !written {
            // A node of an earlier version takes no lock.
            return Ok(());
        }
        let mut manifest = Manifest::default();
        manifest.keys.push(entry(&key, FIRST, now, TimeDelta::zero()));
        manifest.write(&self.path, lock).map_err(self.failed(manifest::NAME))?;
        tracing::info!(path = %path.display(), kid = key.kid(), "made a signing key");
        Ok(())
    }

    fn failed(&self, what: &str) -> impl Fn(io::Error) -> KeysError + use<> {
        let (directory, what) = (self.path.clone(), what.to_owned());
        move |source| KeysError::Io { directory: directory.clone(), what: what.clone(), source }
    }
}

/// The entry of a key that may sign `delay` after it was created.
fn entry(key: &SigningKey, file: &str, created_at: DateTime<Utc>, delay: TimeDelta) -> Entry {
    Entry {
        kid: key.kid().to_owned(),
        file: file.to_owned(),
        algorithm: key.algorithm().as_str().to_owned(),
        created_at,
        active_from: created_at.checked_add_signed(delay).unwrap_or(DateTime::<Utc>::MAX_UTC),
        retired_at: None,
    }
}

/// The entries of the keys that are in the ring.
fn live(manifest: &Manifest, now: DateTime<Utc>) -> impl Iterator<Item = &Entry> {
    manifest.keys.iter().filter(move |entry| is_live(entry, now))
}

fn is_live(entry: &Entry, now: DateTime<Utc>) -> bool {
    entry.retired_at.is_none_or(|retired| now < retired)
}

/// Writes a file with mode 0600, whole or not at all; false where it is there already.
fn write_new(directory: &Path, path: &Path, contents: &[u8]) -> io::Result<bool> {
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    io::Write::write_all(&mut file, contents)?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => manifest::sync(directory).map(|()| true),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error.error),
    }
}

#[cfg(unix)]
fn is_readable_by_others(metadata: &fs::Metadata) -> bool {
    std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o077 != 0
}

#[cfg(not(unix))]
fn is_readable_by_others(_: &fs::Metadata) -> bool {
    false
}

#[cfg(test)]
mod tests;
