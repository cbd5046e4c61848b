//! Loads and follows the directory of signing keys.
//!
//! Every `*.pem` file is a private key in PKCS #8: Ed25519, P-256 or RSA (used as RS256).
//! `keys.json`, the *manifest*, records from when each key may sign. The key whose time came last
//! signs; the others verify.
//!
//! - **A key that is being retired** has a `retired_at`. It signs only until another key may, and
//!   verifies until that time. Then it leaves the ring.
//! - **A key without an entry** is adopted by the first node that sees it. It signs after the
//!   publish delay, when resource servers have fetched it.
//! - **A directory without a manifest**, from an earlier version, gets one. Each key signs from its
//!   modification time plus the publish delay, as in those versions.
//! - **A missing key file** is an error, not a removal. It is fatal at start; a running node keeps
//!   the loaded key. A key leaves by its `retired_at`, which `keys retire` sets.
//! - **A read-only directory** is used as it is. This process keeps the manifest's changes in
//!   memory.
//! - **The first key** is made at start, if neither the directory nor the store holds anything.

mod change;
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

use self::manifest::{DirLock, Manifest, ManifestEntry};
pub(crate) use self::{
    change::{KeyInfo, KeyState, Retirement},
    error::KeysError,
    follow::follow,
};
use crate::telemetry::set_keys;

/// How often a directory is read again for files that seem to be missing.
const READS: usize = 4;

/// The file of the first key.
const FIRST_KEY_FILE: &str = "first.pem";

/// The time in which every node sees a change. Nodes read the directory every two seconds.
const SEEN_WITHIN: Duration = Duration::from_secs(5);

/// The keys directory and what this process knows of it.
#[derive(Debug)]
pub(crate) struct KeysDir {
    path: PathBuf,
    publish_delay: TimeDelta,
    /// The manifest as last read, with entries that could not be written to it. `None` until the
    /// first key is seen.
    known: Option<Manifest>,
    /// All keys that were read, by `kid`. A key whose file is missing stays in the ring.
    loaded: BTreeMap<String, SigningKey>,
    /// The key files readable by others that were already reported.
    exposed: HashSet<PathBuf>,
    /// Whether the read-only manifest was already reported.
    warned_unwritable: bool,
}

/// The contents of the directory.
struct DirContents {
    manifest: Option<Manifest>,
    keys: Vec<KeyFile>,
}

/// A key that is in the directory.
struct KeyFile {
    file: String,
    modified: DateTime<Utc>,
    key: SigningKey,
}

impl DirContents {
    fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.manifest.as_ref().is_none_or(|manifest| manifest.keys.is_empty())
    }

    fn has(&self, entry: &ManifestEntry) -> bool {
        self.keys.iter().any(|found| found.key.kid() == entry.kid)
    }
}

impl KeysDir {
    pub(crate) fn new(path: PathBuf, publish_delay: Duration) -> Self {
        Self {
            path,
            // A key that signs before all nodes have it makes tokens that some refuse.
            publish_delay: TimeDelta::from_std(publish_delay.max(SEEN_WITHIN)).unwrap_or(TimeDelta::MAX),
            known: None,
            loaded: BTreeMap::new(),
            exposed: HashSet::new(),
            warned_unwritable: false,
        }
    }

    /// Loads the ring when a node starts; `None` if there is nothing yet.
    pub(crate) fn open(&mut self, now: SystemTime) -> Result<Option<Keyring>, KeysError> {
        let contents = match self.read() {
            Err(KeysError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            contents => contents?,
        };
        if contents.is_empty() {
            return Ok(None);
        }
        let now = now.into();
        match self.adopt_and_look_for_all(contents, now)? {
            (_, Some(missing)) => Err(missing),
            (manifest, None) => self.build_ring(&manifest, now).map(Some),
        }
    }

    /// Returns the key files that other users may read, as far as they were read.
    pub(crate) fn exposed(&self) -> impl Iterator<Item = &Path> {
        self.exposed.iter().map(PathBuf::as_path)
    }

    /// Returns the `kid` of each key that is published and may not sign yet.
    pub(crate) fn waiting(&self, now: SystemTime) -> Vec<String> {
        let now = now.into();
        let waits = |entry: &&ManifestEntry| entry.retired_at.is_none() && entry.active_from > now;
        let known = self.known.iter().flat_map(|known| live_entries(known, now));
        known.filter(waits).map(|entry| entry.kid.clone()).collect()
    }

    /// Sets the metrics of the keys, as far as they were read.
    pub(crate) fn record_metrics(&self, now: SystemTime) {
        let (now, waiting) = (now.into(), self.waiting(now).len());
        let known = self.known.iter().flat_map(|known| live_entries(known, now));
        let mut ring: Vec<&ManifestEntry> = known.filter(|entry| self.loaded.contains_key(&entry.kid)).collect();
        ring.sort_by(|one, other| one.order(other));
        let signing = signer_in(&ring, now).map(|signer| ring[signer]);
        let others = ring.len().saturating_sub(waiting + usize::from(signing.is_some()));
        set_keys(usize::from(signing.is_some()), waiting, others, signing.map(|entry| entry.active_from));
    }

    /// Makes the first key, or loads the one that another node has made meanwhile.
    ///
    /// # Errors
    ///
    /// Returns [`KeysError::Lost`] if the store is not empty: its contents were signed with a key
    /// that is missing.
    pub(crate) fn create_first(&mut self, store_is_empty: bool, now: SystemTime) -> Result<Keyring, KeysError> {
        if store_is_empty {
            self.create_directory()?;
            let lock = DirLock::acquire(&self.path).map_err(self.io_error("`.lock`"))?;
            if self.read()?.is_empty() {
                self.write_first_key(&lock, now.into())?;
            }
        }
        // Read after the store was checked: another node may have made a key and signed users in
        // since the directory was read.
        self.open(now)?.ok_or_else(|| KeysError::Lost { directory: self.path.clone() })
    }

    /// Reloads the ring of a running node, with a problem that does not affect it. A key whose file
    /// is missing stays in the ring.
    pub(crate) fn reload(&mut self, now: SystemTime) -> Result<(Keyring, Option<KeysError>), KeysError> {
        let contents = self.read()?;
        let now = now.into();
        let known = self.merge_known(contents.manifest.as_ref());
        if !live_entries(&known, now).any(|entry| contents.has(entry)) {
            // Writes nothing: this may be the mount point of an unmounted volume.
            return Err(KeysError::AllMissing { directory: self.path.clone() });
        }
        let (manifest, missing) = self.adopt_and_look_for_all(contents, now)?;
        self.build_ring(&manifest, now).map(|ring| (ring, missing))
    }

    /// Adopts the keys of the directory. Also returns which key files are missing.
    ///
    /// The manifest may have changed since the directory was read: other processes add keys. Their
    /// files are there before their entries, so what is missing is looked for again.
    fn adopt_and_look_for_all(
        &mut self,
        mut contents: DirContents,
        now: DateTime<Utc>,
    ) -> Result<(Manifest, Option<KeysError>), KeysError> {
        for _ in 0..READS {
            let manifest = self.adopt_keys(&contents, now);
            if self.missing_files(&manifest, &contents, now).is_none() {
                return Ok((manifest, None));
            }
            contents = self.read()?;
        }
        let manifest = self.adopt_keys(&contents, now);
        let missing = self.missing_files(&manifest, &contents, now);
        Ok((manifest, missing))
    }

    /// Adds keys without an entry to the manifest, in memory and if possible on disk.
    fn adopt_keys(&mut self, contents: &DirContents, now: DateTime<Utc>) -> Manifest {
        for found in &contents.keys {
            self.loaded.insert(found.key.kid().to_owned(), found.key.clone());
        }
        let mut manifest = self.with_new_keys(contents.manifest.as_ref(), contents, now);
        if contents.manifest.as_ref() != Some(&manifest) {
            match self.write_manifest(contents, now) {
                Ok(recorded) => {
                    self.warned_unwritable = false;
                    manifest = recorded;
                }
                Err(error) => {
                    if !self.warned_unwritable {
                        tracing::warn!(
                            %error, path = %self.path.display(),
                            "`{}` cannot be written, so this node keeps the change in memory; make the keys directory writable",
                            manifest::FILE_NAME
                        );
                    }
                    self.warned_unwritable = true;
                }
            }
        }
        self.loaded.retain(|kid, _| manifest.entry(kid).is_some_and(|entry| is_live(entry, now)));
        self.known = Some(manifest.clone());
        manifest
    }

    /// Writes the manifest, merged with changes of other nodes.
    fn write_manifest(&self, contents: &DirContents, now: DateTime<Utc>) -> io::Result<Manifest> {
        let lock = DirLock::acquire(&self.path)?;
        let on_disk = Manifest::read(&self.path)?;
        let merged = self.with_new_keys(on_disk.as_ref(), contents, now);
        if on_disk.as_ref() != Some(&merged) {
            merged.write(&self.path, &lock)?;
        }
        Ok(merged)
    }

    /// Returns the directory's manifest and the entries that only this process knows.
    fn merge_known(&self, on_disk: Option<&Manifest>) -> Manifest {
        let mut manifest = on_disk.cloned().unwrap_or_default();
        for entry in self.known.iter().flat_map(|known| &known.keys) {
            if manifest.entry(&entry.kid).is_none() {
                manifest.keys.push(entry.clone());
            }
        }
        manifest
    }

    /// Returns the known manifest with entries for new keys.
    fn with_new_keys(&self, on_disk: Option<&Manifest>, contents: &DirContents, now: DateTime<Utc>) -> Manifest {
        let is_first_sight = on_disk.is_none() && self.known.is_none();
        let mut manifest = self.merge_known(on_disk);
        for found in &contents.keys {
            if manifest.entry(found.key.kid()).is_none() {
                let created_at = if is_first_sight { found.modified.min(now) } else { now };
                manifest.keys.push(new_entry(&found.key, &found.file, created_at, self.publish_delay));
            }
        }
        manifest
    }

    fn missing_files(&self, manifest: &Manifest, contents: &DirContents, now: DateTime<Utc>) -> Option<KeysError> {
        let missing: Vec<String> = live_entries(manifest, now)
            .filter(|entry| !contents.has(entry))
            .map(|entry| format!("`{}` (key {})", entry.file, entry.kid))
            .collect();
        (!missing.is_empty()).then(|| KeysError::Missing { directory: self.path.clone(), files: missing.join(", ") })
    }

    /// Builds the ring of a manifest.
    fn build_ring(&self, manifest: &Manifest, now: DateTime<Utc>) -> Result<Keyring, KeysError> {
        let mut entries: Vec<(&ManifestEntry, &SigningKey)> =
            live_entries(manifest, now).filter_map(|entry| Some((entry, self.loaded.get(&entry.kid)?))).collect();
        entries.sort_by(|(one, _), (other, _)| one.order(other));
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
        let in_order: Vec<&ManifestEntry> = entries.iter().map(|(entry, _)| *entry).collect();
        let signing =
            signer_in(&in_order, now).ok_or_else(|| KeysError::AllRetired { directory: self.path.clone() })?;
        let (_, signing) = entries.remove(signing);
        let others = entries.into_iter().rev().map(|(_, key)| key.clone());
        Ok(others.into_iter().try_fold(Keyring::new(signing.clone()), Keyring::with_retired)?)
    }

    fn read(&mut self) -> Result<DirContents, KeysError> {
        // Read first: a key's file is written before its entry, so each entry finds its key.
        let manifest = Manifest::read(&self.path).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => KeysError::Manifest { directory: self.path.clone(), error },
            _ => self.io_error(&format!("`{}`", manifest::FILE_NAME))(error),
        })?;
        let mut keys: Vec<KeyFile> = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(self.io_error("the directory"))? {
            let path = entry.map_err(self.io_error("the directory"))?.path();
            if path.extension().is_none_or(|extension| extension != "pem") {
                continue;
            }
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let io_error = self.io_error(&format!("`{file}`"));
            let read = fs::metadata(&path).and_then(|metadata| Ok((metadata, fs::read(&path)?)));
            let (metadata, pem) = match read {
                // Another process has just removed the file.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                read => read.map_err(&io_error)?,
            };
            if self.is_newly_exposed(&path, is_readable_by_others(&metadata)) {
                tracing::warn!(path = %path.display(), "other users may read this key file; run `chmod 600` on it");
            }
            let key = SigningKey::from_pkcs8_pem(&pem).map_err(|error| KeysError::Key {
                directory: self.path.clone(),
                file: file.clone(),
                error,
            })?;
            let modified = metadata.modified().map_err(io_error)?.into();
            keys.push(KeyFile { file, modified, key });
        }
        // Of two files with one key, the first by name counts.
        keys.sort_by(|one, other| (one.key.kid(), &one.file).cmp(&(other.key.kid(), &other.file)));
        keys.dedup_by(|one, before| one.key.kid() == before.key.kid());
        Ok(DirContents { manifest, keys })
    }

    /// Returns whether to warn about this file: once, until its mode is right again.
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
        builder.create(&self.path).map_err(self.io_error("the directory"))
    }

    /// Writes the first key atomically, and then its entry.
    fn write_first_key(&self, lock: &DirLock, now: DateTime<Utc>) -> Result<(), KeysError> {
        let key = SigningKey::generate()?;
        let pem = key.to_pkcs8_pem().ok_or(KeyError::Form(Algorithm::EdDsa))?;
        let path = self.path.join(FIRST_KEY_FILE);
        let written =
            write_new(&self.path, &path, pem.as_bytes()).map_err(self.io_error(&format!("`{FIRST_KEY_FILE}`")))?;
        if !written {
            // A node of an earlier version made it; those versions take no lock.
            return Ok(());
        }
        let mut manifest = Manifest::default();
        manifest.keys.push(new_entry(&key, FIRST_KEY_FILE, now, TimeDelta::zero()));
        manifest.write(&self.path, lock).map_err(self.io_error(&format!("`{}`", manifest::FILE_NAME)))?;
        tracing::info!(path = %path.display(), kid = key.kid(), "generated the first signing key");
        Ok(())
    }

    fn io_error(&self, what: &str) -> impl Fn(io::Error) -> KeysError + use<> {
        let (directory, what) = (self.path.clone(), what.to_owned());
        move |error| KeysError::Io { directory: directory.clone(), what: what.clone(), error }
    }
}

/// Makes the entry of a key that may sign `delay` after its creation.
fn new_entry(key: &SigningKey, file: &str, created_at: DateTime<Utc>, delay: TimeDelta) -> ManifestEntry {
    ManifestEntry {
        kid: key.kid().to_owned(),
        file: file.to_owned(),
        algorithm: key.algorithm().as_str().to_owned(),
        created_at,
        active_from: created_at.checked_add_signed(delay).unwrap_or(DateTime::<Utc>::MAX_UTC),
        retired_at: None,
    }
}

/// Returns the place of the key that signs, of keys in the ring in [order](ManifestEntry::order).
/// `None` if all are being retired.
fn signer_in(entries: &[&ManifestEntry], now: DateTime<Utc>) -> Option<usize> {
    let stays = |entry: &&ManifestEntry| entry.retired_at.is_none();
    let is_due = |entry: &&ManifestEntry| entry.active_from <= now;
    let first_to_stay = entries.iter().position(stays)?;
    entries
        .iter()
        .rposition(|entry| stays(entry) && is_due(entry))
        // Its successor is published and must not sign yet.
        .or_else(|| entries.iter().rposition(is_due))
        // Otherwise the key that is due first signs: some key must.
        .or(Some(first_to_stay))
}

/// Returns the entries of the keys in the ring.
fn live_entries(manifest: &Manifest, now: DateTime<Utc>) -> impl Iterator<Item = &ManifestEntry> {
    manifest.keys.iter().filter(move |entry| is_live(entry, now))
}

fn is_live(entry: &ManifestEntry, now: DateTime<Utc>) -> bool {
    entry.retired_at.is_none_or(|retired| now < retired)
}

/// Writes a file with mode 0600, atomically; false if it exists.
fn write_new(directory: &Path, path: &Path, contents: &[u8]) -> io::Result<bool> {
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    io::Write::write_all(&mut file, contents)?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => manifest::sync_directory(directory).map(|()| true),
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
