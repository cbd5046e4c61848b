//! What an operator does with the keys: list, generate, rotate, retire.
//!
//! Each change is made under the directory's lock and replaces the manifest as a whole, so it can
//! run beside nodes and other commands. A directory that cannot be written is an error.

use std::{
    io,
    time::{Duration, SystemTime},
};

use auth_layer::keys::{Algorithm, KeyError, SigningKey};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::{
    DirContents, KeysDir, KeysError, SEEN_WITHIN, is_live, live_entries,
    manifest::{self, DirLock, Manifest, ManifestEntry},
    new_entry, signer_in, write_new,
};

/// A key of the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyInfo {
    pub(crate) kid: String,
    pub(crate) algorithm: String,
    pub(crate) state: KeyState,
    pub(crate) created_at: DateTime<Utc>,
    /// The time from which the key may sign.
    pub(crate) active_from: DateTime<Utc>,
    /// The time from which the key verifies nothing.
    pub(crate) retired_at: Option<DateTime<Utc>>,
    pub(crate) file: String,
}

/// What a key is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum KeyState {
    /// It is published, and will sign.
    Waiting,
    /// It signs and verifies.
    Signing,
    /// It verifies what it has signed.
    Verifying,
    /// It is in no ring.
    Retired,
}

/// When a key that signs no more leaves the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retirement {
    /// When the last token that it signed is accepted no more: this long after its last signature.
    AfterLastToken(Duration),
    /// At once, also on nodes whose clocks are behind by this. For a stolen key.
    Now { clock_skew: Duration },
}

impl KeysDir {
    /// Lists the keys in the order in which they sign, with a problem that a node would report.
    /// Writes nothing.
    pub(crate) fn list(&mut self, now: SystemTime) -> Result<(Vec<KeyInfo>, Option<KeysError>), KeysError> {
        self.check_exists()?;
        let contents = self.read()?;
        let now = now.into();
        let manifest = self.with_new_keys(contents.manifest.as_ref(), &contents, now);
        let keys = describe(&manifest, &contents, now);
        if keys.is_empty() {
            return Err(KeysError::Empty { directory: self.path.clone() });
        }
        Ok((keys, self.missing_files(&manifest, &contents, now)))
    }

    /// Makes a key that is published now and signs after the publish delay. The only key signs at
    /// once.
    pub(crate) fn generate(&mut self, algorithm: Algorithm, now: SystemTime) -> Result<KeyInfo, KeysError> {
        self.create_directory()?;
        let now = now.into();
        let (kid, after) = self.change(now, |keys, manifest, _| keys.add_key(manifest, algorithm, now))?;
        self.find(after, &kid)
    }

    /// Makes a key in place of the one that signs, and retires that one. Returns the new key and
    /// the old one.
    ///
    /// The old key signs until the new one does. It leaves `acceptance` after its last signature.
    pub(crate) fn rotate(
        &mut self,
        algorithm: Option<Algorithm>,
        acceptance: Duration,
        now: SystemTime,
    ) -> Result<(KeyInfo, KeyInfo), KeysError> {
        let now = now.into();
        let ((new, old), after) = self.change(now, |keys, manifest, contents| {
            if let Some(missing) = keys.missing_files(manifest, contents, now) {
                return Err(missing);
            }
            let old = keys.signer(manifest, contents, now)?;
            let waits = |entry: &&ManifestEntry| entry.retired_at.is_none() && entry.active_from > now;
            if let Some(waiting) = live_entries(manifest, now).filter(|entry| entry.kid != old).find(waits) {
                return Err(KeysError::Waiting {
                    directory: keys.path.clone(),
                    kid: waiting.kid.clone(),
                    from: crate::text::rfc3339(waiting.active_from),
                });
            }
            let algorithm = algorithm.or_else(|| contents.algorithm(&old)).unwrap_or(Algorithm::EdDsa);
            let new = keys.add_key(manifest, algorithm, now)?;
            let last_signature = manifest.entry(&new).map_or(now, |entry| entry.active_from);
            retire(manifest, &old, later(last_signature, SEEN_WITHIN + acceptance));
            Ok((new, old))
        })?;
        Ok((self.find(after.clone(), &new)?, self.find(after, &old)?))
    }

    /// Retires a key. A key that signs goes on until another may.
    ///
    /// # Errors
    ///
    /// Returns [`KeysError::LastSigner`] if no other key can sign.
    pub(crate) fn retire(&mut self, kid: &str, retirement: Retirement, now: SystemTime) -> Result<KeyInfo, KeysError> {
        let now = now.into();
        let ((), after) = self.change(now, |keys, manifest, contents| {
            let unknown = || KeysError::Unknown { directory: keys.path.clone(), kid: kid.to_owned() };
            let entry = manifest.entry(kid).ok_or_else(unknown)?;
            if !is_live(entry, now) {
                return Ok(());
            }
            let can_sign = |entry: &ManifestEntry| entry.retired_at.is_none() && contents.has(entry);
            if !live_entries(manifest, now).any(|entry| entry.kid != kid && can_sign(entry)) {
                return Err(KeysError::LastSigner { directory: keys.path.clone(), kid: kid.to_owned() });
            }
            let at = match (retirement, entry.retired_at) {
                (Retirement::Now { clock_skew }, _) => earlier(now, clock_skew),
                (Retirement::AfterLastToken(_), Some(at)) => at,
                (Retirement::AfterLastToken(acceptance), None) => {
                    later(last_signature(entry, manifest, contents, now), SEEN_WITHIN + acceptance).max(now)
                }
            };
            retire(manifest, kid, at);
            Ok(())
        })?;
        self.find(after, kid)
    }

    fn check_exists(&self) -> Result<(), KeysError> {
        if self.path.try_exists().map_err(self.io_error("the directory"))? {
            return Ok(());
        }
        Err(KeysError::Empty { directory: self.path.clone() })
    }

    /// Changes the manifest under the directory's lock. Returns the keys after the change.
    fn change<T>(
        &mut self,
        now: DateTime<Utc>,
        change: impl FnOnce(&Self, &mut Manifest, &DirContents) -> Result<T, KeysError>,
    ) -> Result<(T, Vec<KeyInfo>), KeysError> {
        self.check_exists()?;
        let lock = DirLock::acquire(&self.path).map_err(self.io_error("`.lock`"))?;
        let contents = self.read()?;
        let mut manifest = self.with_new_keys(contents.manifest.as_ref(), &contents, now);
        let done = change(self, &mut manifest, &contents)?;
        manifest.write(&self.path, &lock).map_err(self.io_error(&format!("`{}`", manifest::FILE_NAME)))?;
        let contents = self.read()?;
        Ok((done, describe(&manifest, &contents, now)))
    }

    /// Writes a new key's file and adds its entry to `manifest`. Returns its `kid`.
    ///
    /// The file comes first, so that each entry finds its key. If the manifest cannot be written
    /// after that, nodes adopt the file as they adopt one that was put there by hand.
    fn add_key(&self, manifest: &mut Manifest, algorithm: Algorithm, now: DateTime<Utc>) -> Result<String, KeysError> {
        let key = SigningKey::generate_for(algorithm)?;
        let pem = key.to_pkcs8_pem().ok_or(KeyError::Form(algorithm))?;
        let kid = key.kid().to_owned();
        let file = format!("{}-{}.pem", now.format("%Y%m%dT%H%M%SZ"), kid.get(..8).unwrap_or(&kid));
        let io_error = self.io_error(&format!("`{file}`"));
        if !write_new(&self.path, &self.path.join(&file), pem.as_bytes()).map_err(&io_error)? {
            return Err(io_error(io::ErrorKind::AlreadyExists.into()));
        }
        let is_only_key = live_entries(manifest, now).next().is_none();
        let delay = if is_only_key { TimeDelta::zero() } else { self.publish_delay };
        manifest.keys.push(new_entry(&key, &file, now, delay));
        Ok(kid)
    }

    /// Returns the `kid` of the key that signs.
    fn signer(&self, manifest: &Manifest, contents: &DirContents, now: DateTime<Utc>) -> Result<String, KeysError> {
        let ring = ring(manifest, contents, now);
        match (signer_in(&ring, now), manifest.keys.is_empty()) {
            (Some(signer), _) => Ok(ring[signer].kid.clone()),
            (None, true) => Err(KeysError::Empty { directory: self.path.clone() }),
            (None, false) => Err(KeysError::AllRetired { directory: self.path.clone() }),
        }
    }

    fn find(&self, keys: Vec<KeyInfo>, kid: &str) -> Result<KeyInfo, KeysError> {
        let found = keys.into_iter().find(|key| key.kid == kid);
        found.ok_or_else(|| KeysError::Unknown { directory: self.path.clone(), kid: kid.to_owned() })
    }
}

impl DirContents {
    /// Returns the algorithm of the key with this `kid`.
    fn algorithm(&self, kid: &str) -> Option<Algorithm> {
        self.keys.iter().find(|found| found.key.kid() == kid).map(|found| found.key.algorithm())
    }
}

/// Returns the entries of the ring, in order. Keys whose files are missing are not in it.
fn ring<'a>(manifest: &'a Manifest, contents: &DirContents, now: DateTime<Utc>) -> Vec<&'a ManifestEntry> {
    let mut ring: Vec<&ManifestEntry> = live_entries(manifest, now).filter(|entry| contents.has(entry)).collect();
    ring.sort_by(|one, other| one.order(other));
    ring
}

/// Describes all keys of the manifest, in order.
fn describe(manifest: &Manifest, contents: &DirContents, now: DateTime<Utc>) -> Vec<KeyInfo> {
    let ring = ring(manifest, contents, now);
    let signer = signer_in(&ring, now).map(|signer| ring[signer].kid.as_str());
    let mut entries: Vec<&ManifestEntry> = manifest.keys.iter().collect();
    entries.sort_by(|one, other| one.order(other));
    let state = |entry: &ManifestEntry| {
        if !is_live(entry, now) {
            KeyState::Retired
        } else if signer == Some(entry.kid.as_str()) {
            KeyState::Signing
        } else if entry.retired_at.is_none() && entry.active_from > now {
            KeyState::Waiting
        } else {
            KeyState::Verifying
        }
    };
    let info = |entry: &ManifestEntry| KeyInfo {
        kid: entry.kid.clone(),
        algorithm: entry.algorithm.clone(),
        state: state(entry),
        created_at: entry.created_at,
        active_from: entry.active_from,
        retired_at: entry.retired_at,
        file: entry.file.clone(),
    };
    entries.into_iter().map(info).collect()
}

/// Returns when a key that is being retired signs last, at the latest.
fn last_signature(
    entry: &ManifestEntry,
    manifest: &Manifest,
    contents: &DirContents,
    now: DateTime<Utc>,
) -> DateTime<Utc> {
    let ring = ring(manifest, contents, now);
    let Some(signer) = signer_in(&ring, now).map(|signer| ring[signer]) else { return now };
    if signer.kid != entry.kid {
        // It has not signed since the present signer may, unless its own time came later.
        return if entry.order(signer).is_lt() { signer.active_from.min(now) } else { now };
    }
    let successors = ring.iter().filter(|other| other.kid != entry.kid && other.retired_at.is_none());
    successors.map(|successor| successor.active_from).min().map_or(now, |from| from.max(now))
}

fn retire(manifest: &mut Manifest, kid: &str, at: DateTime<Utc>) {
    if let Some(entry) = manifest.keys.iter_mut().find(|entry| entry.kid == kid) {
        entry.retired_at = Some(at);
    }
}

fn later(moment: DateTime<Utc>, duration: Duration) -> DateTime<Utc> {
    let sum = TimeDelta::from_std(duration).ok().and_then(|duration| moment.checked_add_signed(duration));
    sum.unwrap_or(DateTime::<Utc>::MAX_UTC)
}

fn earlier(moment: DateTime<Utc>, duration: Duration) -> DateTime<Utc> {
    let difference = TimeDelta::from_std(duration).ok().and_then(|duration| moment.checked_sub_signed(duration));
    difference.unwrap_or(DateTime::<Utc>::MIN_UTC)
}

#[cfg(test)]
mod tests;
