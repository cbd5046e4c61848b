//! Directories in the target directory that are made once.

use std::{
    fmt::Write,
    fs::{self, File},
    path::{Path, PathBuf},
};

use aws_lc_rs::digest::{SHA256, digest};

/// Returns the target directory: the nearest one above this executable that cargo has marked as a
/// cache, or else the workspace's.
pub(crate) fn target_dir() -> PathBuf {
    std::env::current_exe()
        .ok()
        .and_then(|exe| exe.ancestors().find(|dir| dir.join("CACHEDIR.TAG").exists()).map(PathBuf::from))
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target"))
}

/// Returns the directory `name` in `root`. If it is missing, `make` fills it; processes that come
/// meanwhile wait.
pub(crate) fn made_once(
    root: &Path,
    name: &str,
    make: impl FnOnce(&Path) -> Result<(), String>,
) -> Result<PathBuf, String> {
    let _lock = lock(root)?;
    let dir = root.join(name);
    // A directory in its place is complete: it was moved there.
    if !dir.is_dir() {
        let new = tempfile::tempdir_in(root).map_err(|error| error.to_string())?;
        make(new.path())?;
        fs::rename(new.keep(), &dir).map_err(|error| error.to_string())?;
    }
    Ok(dir)
}

/// Makes a directory if it is missing, and locks it until the result is dropped.
pub(crate) fn lock(dir: &Path) -> Result<File, String> {
    fs::create_dir_all(dir).map_err(|error| format!("{} cannot be made: {error}", dir.display()))?;
    let lock = File::create(dir.join("lock")).and_then(|file| file.lock().map(|()| file));
    lock.map_err(|error| format!("{} cannot be locked: {error}", dir.display()))
}

/// Returns the SHA-256 of these bytes in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harness_makes_a_directory_once_and_leaves_nothing_of_a_failed_try() {
        let root = tempfile::tempdir().unwrap();
        let failed = made_once(root.path(), "dir", |new| {
            fs::write(new.join("half"), "").map_err(|error| error.to_string())?;
            Err("no network".to_owned())
        });
        assert_eq!(failed.unwrap_err(), "no network");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1, "the lock alone is left");

        let fill = |new: &Path| fs::write(new.join("whole"), "").map_err(|error| error.to_string());
        let made = made_once(root.path(), "dir", fill).unwrap();
        assert_eq!(made, root.path().join("dir"));
        assert!(made.join("whole").is_file());
        made_once(root.path(), "dir", |_| unreachable!("it is there")).unwrap();
    }

    #[test]
    fn harness_sha256_is_that_of_the_standard() {
        // FIPS 180-4, the example "abc".
        assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
