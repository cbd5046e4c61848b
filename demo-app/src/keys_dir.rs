//! The directory of signing keys.
//!
//! Every `*.pem` in it is a private key: Ed25519, P-256 or RSA (used as RS256). The newest by time of modification signs, once it
//! has been there for the publish delay, so that whoever checks tokens has fetched it by then; the others verify. Where no key is
//! old enough the oldest signs. An empty directory gets a key of its own.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use auth_layer::keys::{Algorithm, KeyError, Keyring, SigningKey};

/// The first key's file. Nodes that start at once on one directory agree on it, since only one of them can create it.
const FIRST: &str = "first.pem";

/// The keys could not be loaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeysError {
    /// The directory or a file in it cannot be read or written.
    #[error("{path} cannot be used")]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A file is no key that can be used.
    #[error("{path} is no usable key: PKCS#8 PEM of Ed25519, P-256 or RSA with 2048 bits or more is needed")]
    Key {
        path: PathBuf,
        #[source]
        source: KeyError,
    },
    /// A key cannot be made or put into the ring.
    #[error("the key ring cannot be made")]
    Ring(#[from] KeyError),
}

/// The directory, with what was complained of.
#[derive(Debug)]
pub(crate) struct KeysDir {
    path: PathBuf,
    publish_delay: Duration,
    /// The keys that others may read, as far as that was said.
    exposed: HashSet<PathBuf>,
}

impl KeysDir {
    pub(crate) fn new(path: PathBuf, publish_delay: Duration) -> Self {
        Self { path, publish_delay, exposed: HashSet::new() }
    }

    /// The ring of its keys at the time `now`; makes directory and key where there are none.
    pub(crate) fn load(&mut self, now: SystemTime) -> Result<Keyring, KeysError> {
        let mut keys = self.read()?;
        if keys.is_empty() {
            create_first(&self.path)?;
            keys = self.read()?;
        }
        keys.sort_by_key(|(published, key)| (*published, key.kid().to_owned()));
        let ready = |published: &SystemTime| now.duration_since(*published).is_ok_and(|age| age >= self.publish_delay);
        let signing = keys.iter().rposition(|(published, _)| ready(published)).unwrap_or(0);
        let (_, signing) = keys.remove(signing);
        let others = keys.into_iter().rev().map(|(_, key)| key);
        others.filter(|key| key.kid() != signing.kid()).try_fold(Keyring::new(signing.clone()), |ring, key| {
            match ring.clone().with_retired(key) {
                // The same key in two files.
                Err(KeyError::DuplicateKid) => Ok(ring),
                other => Ok(other?),
            }
        })
    }

    fn read(&mut self) -> Result<Vec<(SystemTime, SigningKey)>, KeysError> {
        let directory = self.path.clone();
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| KeysError::Io { path, source }
        };
        fs::create_dir_all(&directory).map_err(failed(&directory))?;
        let mut keys = Vec::new();
        for entry in fs::read_dir(&directory).map_err(failed(&directory))? {
            let path = entry.map_err(failed(&directory))?.path();
            if path.extension().is_none_or(|extension| extension != "pem") {
                continue;
            }
            let metadata = match fs::metadata(&path) {
                // Another process removed it just now.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                metadata => metadata.map_err(failed(&path))?,
            };
            if self.is_newly_exposed(&path, is_readable_by_others(&metadata)) {
                tracing::warn!(path = %path.display(), "others than its owner may read this key; its mode should be 0600");
            }
            let pem = fs::read(&path).map_err(failed(&path))?;
            let key = parse(&pem).map_err(|source| KeysError::Key { path: path.clone(), source })?;
            keys.push((metadata.modified().map_err(failed(&path))?, key));
        }
        Ok(keys)
    }

    /// Whether this is to be said: once, until it was put right.
    fn is_newly_exposed(&mut self, path: &Path, exposed: bool) -> bool {
        if exposed {
            return self.exposed.insert(path.to_owned());
        }
        self.exposed.remove(path);
        false
    }
}

fn parse(pem: &[u8]) -> Result<SigningKey, KeyError> {
    SigningKey::from_pem(Algorithm::EdDsa, pem)
        .or_else(|_| SigningKey::from_pem(Algorithm::Es256, pem))
        .or_else(|_| SigningKey::from_pem(Algorithm::Rs256, pem))
}

/// Makes the first key, whole or not at all: it is written under another name and then linked, which fails where another
/// process was first.
fn create_first(directory: &Path) -> Result<(), KeysError> {
    let path = directory.join(FIRST);
    let failed = |source| KeysError::Io { path: path.clone(), source };
    let key = SigningKey::generate()?;
    let pem = key.to_pkcs8_pem().ok_or(KeyError::Form(key.algorithm()))?;
    // Made with mode 0600.
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(failed)?;
    io::Write::write_all(&mut file, pem.as_bytes()).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    match file.persist_noclobber(&path) {
        Ok(_) => {
            tracing::info!(path = %path.display(), kid = key.kid(), "made a signing key");
            Ok(())
        }
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(failed(error.error)),
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
mod tests {
    use super::*;

    const DELAY: Duration = Duration::from_mins(1);

    fn load(directory: &Path, publish_delay: Duration, now: SystemTime) -> Result<Keyring, KeysError> {
        KeysDir::new(directory.to_owned(), publish_delay).load(now)
    }

    fn kids(ring: &Keyring) -> Vec<String> {
        ring.verifying_keys().map(|key| key.kid().to_owned()).collect()
    }

    fn put(directory: &Path, name: &str, published: SystemTime) -> String {
        let key = SigningKey::generate().unwrap();
        let path = directory.join(name);
        fs::write(&path, key.to_pkcs8_pem().unwrap().as_bytes()).unwrap();
        fs::File::open(&path).unwrap().set_modified(published).unwrap();
        key.kid().to_owned()
    }

    #[test]
    fn an_empty_directory_gets_a_key_that_only_its_owner_can_read() {
        let directory = tempfile::tempdir().unwrap();
        let keys = directory.path().join("deep/keys");
        let ring = load(&keys, DELAY, SystemTime::now()).unwrap();
        assert_eq!(kids(&load(&keys, DELAY, SystemTime::now()).unwrap()), kids(&ring), "and keeps it");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(keys.join(FIRST)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn nodes_that_start_at_once_agree_on_one_key() {
        let directory = tempfile::tempdir().unwrap();
        let all: Vec<Vec<String>> = std::thread::scope(|scope| {
            let load = || kids(&load(directory.path(), DELAY, SystemTime::now()).unwrap());
            let nodes: Vec<_> = (0..16).map(|_| scope.spawn(load)).collect();
            nodes.into_iter().map(|node| node.join().unwrap()).collect()
        });
        assert!(all.iter().all(|kids| *kids == all[0]), "{all:?}");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left lying about");
    }

    #[test]
    fn a_new_key_is_published_before_it_signs() {
        let directory = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let old = put(directory.path(), "a.pem", now - Duration::from_hours(1));
        let new = put(directory.path(), "b.pem", now);
        let signs = |now| kids(&load(directory.path(), DELAY, now).unwrap())[0].clone();
        assert_eq!(kids(&load(directory.path(), DELAY, now).unwrap()).len(), 2);
        assert_eq!(signs(now + Duration::from_secs(59)), old);
        assert_eq!(signs(now + DELAY), new);
        fs::remove_file(directory.path().join("b.pem")).unwrap();
        assert_eq!(signs(now + DELAY), old);
    }

    #[test]
    fn a_file_that_is_no_key_is_named() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("a.pem"), "rubbish").unwrap();
        fs::write(directory.path().join("notes.txt"), "no key, and no matter").unwrap();
        let error = load(directory.path(), DELAY, SystemTime::now()).unwrap_err();
        assert!(error.to_string().contains("a.pem"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn a_key_that_others_may_read_is_complained_of_once_until_it_is_put_right() {
        use std::os::unix::fs::PermissionsExt;

        let directory = tempfile::tempdir().unwrap();
        let mut keys = KeysDir::new(directory.path().to_owned(), DELAY);
        keys.load(SystemTime::now()).unwrap();
        let path = directory.path().join(FIRST);
        let chmod = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert!(keys.exposed.is_empty());
        chmod(0o644);
        assert!(keys.is_newly_exposed(&path, is_readable_by_others(&fs::metadata(&path).unwrap())));
        keys.load(SystemTime::now()).unwrap();
        assert!(!keys.is_newly_exposed(&path, true), "the load has it written down already");
        chmod(0o600);
        keys.load(SystemTime::now()).unwrap();
        assert!(keys.is_newly_exposed(&path, true), "a change is said anew");
    }
}
