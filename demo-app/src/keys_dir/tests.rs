use super::*;

pub(super) const DELAY: Duration = Duration::from_mins(1);

pub(super) fn keys_dir(directory: &Path) -> KeysDir {
    KeysDir::new(directory.to_owned(), DELAY)
}

/// Loads the ring as a node does at its start.
pub(super) fn load(directory: &Path, now: SystemTime) -> Result<Keyring, KeysError> {
    let mut keys = keys_dir(directory);
    match keys.open(now)? {
        Some(ring) => Ok(ring),
        None => keys.create_first(true, now),
    }
}

pub(super) fn kids(ring: &Keyring) -> Vec<String> {
    ring.verifying_keys().map(|key| key.kid().to_owned()).collect()
}

pub(super) fn signer(ring: &Keyring) -> String {
    kids(ring)[0].clone()
}

pub(super) fn put(directory: &Path, name: &str, modified: SystemTime) -> String {
    let key = SigningKey::generate().unwrap();
    let path = directory.join(name);
    fs::write(&path, key.to_pkcs8_pem().unwrap().as_bytes()).unwrap();
    fs::File::open(&path).unwrap().set_modified(modified).unwrap();
    key.kid().to_owned()
}

pub(super) fn names(directory: &Path) -> Vec<String> {
    let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// Makes the manifest impossible to write, even for root.
pub(super) fn make_unwritable(directory: &Path) {
    fs::create_dir(directory.join(".lock")).unwrap();
}

#[test]
fn keys_first_is_created_for_owner_only() {
    let directory = tempfile::tempdir().unwrap();
    let keys = directory.path().join("deep/keys");
    let ring = load(&keys, SystemTime::now()).unwrap();
    assert_eq!(kids(&load(&keys, SystemTime::now()).unwrap()), kids(&ring), "and keeps it");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&keys.join(FIRST_KEY_FILE)), mode(&keys)), (0o600, 0o700));
    }
}

#[test]
fn keys_first_is_shared_by_concurrent_starts() {
    let directory = tempfile::tempdir().unwrap();
    let all: Vec<Vec<String>> = std::thread::scope(|scope| {
        let load = || kids(&load(directory.path(), SystemTime::now()).unwrap());
        let nodes: Vec<_> = (0..16).map(|_| scope.spawn(load)).collect();
        nodes.into_iter().map(|node| node.join().unwrap()).collect()
    });
    assert!(all.iter().all(|kids| kids.len() == 1 && *kids == all[0]), "{all:?}");
    assert_eq!(names(directory.path()), [".lock", "first.pem", "keys.json"], "nothing is left lying about");
}

#[test]
fn keys_first_is_not_created_for_nonempty_store() {
    let directory = tempfile::tempdir().unwrap();
    let keys = directory.path().join("keys");
    for present in [false, true] {
        if present {
            fs::create_dir(&keys).unwrap();
        }
        let mut dir = keys_dir(&keys);
        assert!(dir.open(SystemTime::now()).unwrap().is_none());
        let error = dir.create_first(false, SystemTime::now()).unwrap_err();
        assert!(matches!(error, KeysError::Lost { .. }), "{error}");
        assert!(error.to_string().contains("demo-app keys generate"), "{error}");
        assert!(!keys.exists() || names(&keys).is_empty());
    }
}

#[test]
fn keys_first_of_another_node_is_loaded_for_nonempty_store() {
    let directory = tempfile::tempdir().unwrap();
    let mut slow = keys_dir(directory.path());
    assert!(slow.open(SystemTime::now()).unwrap().is_none());
    let fast = load(directory.path(), SystemTime::now()).unwrap();
    // A user has registered with the fast node.
    assert_eq!(kids(&slow.create_first(false, SystemTime::now()).unwrap()), kids(&fast));
}

#[test]
fn keys_deleted_while_running_fail_reload_and_are_not_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let mut dir = keys_dir(directory.path());
    let ring = dir.create_first(true, SystemTime::now()).unwrap();
    let second = put(directory.path(), "second.pem", SystemTime::now());
    let (ring_of_two, problem) = dir.reload(SystemTime::now()).unwrap();
    assert!(problem.is_none());
    assert_eq!(kids(&ring_of_two), [signer(&ring), second]);

    // Simulates `rm keys/*`.
    for name in ["first.pem", "second.pem", "keys.json"] {
        fs::remove_file(directory.path().join(name)).unwrap();
    }
    assert!(matches!(dir.reload(SystemTime::now()), Err(KeysError::AllMissing { .. })));
    assert_eq!(names(directory.path()), [".lock"]);
    // An unmounted volume, and then a file in its place.
    fs::remove_dir_all(directory.path()).unwrap();
    assert!(matches!(dir.reload(SystemTime::now()), Err(KeysError::Io { .. })));
    fs::write(directory.path(), "").unwrap();
    assert!(matches!(dir.reload(SystemTime::now()), Err(KeysError::Io { .. })));
    fs::remove_file(directory.path()).unwrap();
    assert!(!directory.path().exists());
}

#[test]
fn keys_restored_from_backup_keep_their_order() {
    for with_manifest in [true, false] {
        let directory = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let first = signer(&load(directory.path(), now).unwrap());
        let second = put(directory.path(), "second.pem", now);
        let mut running = keys_dir(directory.path());
        running.open(now).unwrap().unwrap();
        let later = now + Duration::from_hours(1);
        let pems = ["first.pem", "second.pem"].map(|name| (name, fs::read(directory.path().join(name)).unwrap()));
        let manifest = fs::read(directory.path().join(manifest::FILE_NAME)).unwrap();
        fs::remove_dir_all(directory.path()).unwrap();
        fs::create_dir(directory.path()).unwrap();
        assert!(running.reload(later).is_err());
        for (name, pem) in pems {
            fs::write(directory.path().join(name), pem).unwrap();
        }
        if with_manifest {
            fs::write(directory.path().join(manifest::FILE_NAME), manifest).unwrap();
        }
        let (ring, problem) = running.reload(later).unwrap();
        assert!(problem.is_none(), "{problem:?}");
        assert_eq!(kids(&ring), [second.clone(), first.clone()], "times of modification are not asked");
        assert_eq!(kids(&load(directory.path(), later).unwrap()), [second, first], "and are in the manifest again");
    }
}

#[test]
fn keys_sign_by_manifest_not_by_modification_time() {
    let directory = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let first = signer(&load(directory.path(), now).unwrap());
    // `cp -p` of an old file, which must not sign at once.
    let copied = put(directory.path(), "copied.pem", now - Duration::from_hours(100));
    let signs = |now| signer(&load(directory.path(), now).unwrap());
    assert_eq!(signs(now), first);
    assert_eq!(signs(now + Duration::from_secs(59)), first);
    assert_eq!(signs(now + DELAY), copied);
    // A restore without `-p`: both files are new and their order is lost.
    for (name, ago) in [("copied.pem", 5), ("first.pem", 0)] {
        let file = fs::File::open(directory.path().join(name)).unwrap();
        file.set_modified(now + 2 * DELAY - Duration::from_secs(ago)).unwrap();
    }
    assert_eq!(signs(now + 2 * DELAY), copied);
}

#[test]
fn keys_added_by_hand_are_adopted_once_for_all_nodes() {
    let directory = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let mut nodes: Vec<KeysDir> = (0..4).map(|_| keys_dir(directory.path())).collect();
    load(directory.path(), now).unwrap();
    for node in &mut nodes {
        node.open(now).unwrap().unwrap();
    }
    let added = put(directory.path(), "added.pem", now);
    // Each node reads at another time.
    std::thread::scope(|scope| {
        for (node, seconds) in nodes.iter_mut().zip(0..) {
            scope.spawn(move || node.reload(now + Duration::from_secs(seconds)).unwrap());
        }
    });
    let manifest = Manifest::read(directory.path()).unwrap().unwrap();
    let entry = manifest.entry(&added).unwrap();
    assert_eq!(manifest.keys.len(), 2, "{manifest:?}");
    let begins = SystemTime::from(entry.active_from);
    for node in &mut nodes {
        let before = node.reload(begins - Duration::from_millis(1)).unwrap().0;
        assert_eq!((kids(&before).len(), signer(&before) == added), (2, false));
        assert_eq!(signer(&node.reload(begins).unwrap().0), added);
    }
}

#[test]
fn keys_without_manifest_sign_by_modification_time() {
    let directory = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let old = put(directory.path(), "a.pem", now - Duration::from_hours(1));
    let new = put(directory.path(), "b.pem", now);
    let signs = |now| signer(&load(directory.path(), now).unwrap());
    assert_eq!(kids(&load(directory.path(), now).unwrap()).len(), 2);
    assert_eq!(signs(now + Duration::from_secs(59)), old);
    assert_eq!(signs(now + DELAY), new);
    // A lone key signs, however young.
    let single = tempfile::tempdir().unwrap();
    let only = put(single.path(), "first.pem", now);
    assert_eq!(signer(&load(single.path(), now).unwrap()), only);
}

#[test]
fn keys_missing_fail_start_and_stay_in_running_ring() {
    let directory = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let old = put(directory.path(), "a.pem", now - Duration::from_hours(2));
    let new = put(directory.path(), "b.pem", now - Duration::from_hours(1));
    let mut running = keys_dir(directory.path());
    running.open(now).unwrap().unwrap();
    fs::remove_file(directory.path().join("b.pem")).unwrap();

    let (ring, problem) = running.reload(now).unwrap();
    assert_eq!(kids(&ring), [new.clone(), old.clone()]);
    let problem = problem.unwrap().to_string();
    assert!(problem.contains("`b.pem`") && problem.contains(&new) && problem.contains("--keys-dir"), "{problem}");
    // The missing file does not delay a new key.
    let third = put(directory.path(), "c.pem", now);
    assert_eq!(kids(&running.reload(now).unwrap().0), [new.clone(), third, old]);

    let error = load(directory.path(), now).unwrap_err();
    assert!(matches!(error, KeysError::Missing { .. }), "{error}");
}

#[test]
fn keys_in_renamed_file_are_the_same_keys() {
    let directory = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let ring = load(directory.path(), now).unwrap();
    fs::rename(directory.path().join(FIRST_KEY_FILE), directory.path().join("mine.pem")).unwrap();
    fs::copy(directory.path().join("mine.pem"), directory.path().join("twice.pem")).unwrap();
    assert_eq!(kids(&load(directory.path(), now).unwrap()), kids(&ring));
}

#[test]
fn keys_in_read_only_directory_are_remembered_in_memory() {
    let directory = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let old = put(directory.path(), "a.pem", now - Duration::from_hours(1));
    make_unwritable(directory.path());
    let mut running = keys_dir(directory.path());
    assert_eq!(kids(&running.open(now).unwrap().unwrap()), std::slice::from_ref(&old));
    let new = put(directory.path(), "b.pem", now - Duration::from_hours(1));
    assert_eq!(kids(&running.reload(now).unwrap().0), [old, new.clone()]);
    assert_eq!(signer(&running.reload(now + DELAY).unwrap().0), new);
    assert!(!directory.path().join(manifest::FILE_NAME).exists());

    fs::remove_dir(directory.path().join(".lock")).unwrap();
    running.reload(now + 2 * DELAY).unwrap();
    let entry = Manifest::read(directory.path()).unwrap().unwrap().entry(&new).unwrap().clone();
    assert_eq!(SystemTime::from(entry.created_at), now, "what it knew is written once that is possible");
}

#[test]
fn keys_manifest_damaged_fails_start_and_reload() {
    let directory = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    load(directory.path(), now).unwrap();
    let mut running = keys_dir(directory.path());
    running.open(now).unwrap().unwrap();
    let path = directory.path().join(manifest::FILE_NAME);
    let good = fs::read_to_string(&path).unwrap();
    let twice = good.replace(
        "\"keys\": [",
        &format!("\"keys\": [{},", &good[good.find("    {").unwrap()..=good.rfind("    }").unwrap() + 4]),
    );
    for bad in ["", "{", "[]", &good.replace("\"version\": 1", "\"version\": 2"), &good.replace("kid", "kit"), &twice] {
        fs::write(&path, bad).unwrap();
        assert!(matches!(running.reload(now), Err(KeysError::Manifest { .. })), "{bad}");
        let error = load(directory.path(), now).unwrap_err();
        assert!(matches!(error, KeysError::Manifest { .. }), "{bad}: {error}");
        let error = error.to_string();
        let (_, cause) = error.split_once("`keys.json` cannot be used: ").unwrap_or_else(|| panic!("{error}"));
        assert!(!cause.starts_with(';') && cause.contains("; restore it"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), bad, "it is left as it was");
    }
    fs::write(&path, &good).unwrap();
    assert!(running.reload(now).unwrap().1.is_none());
    fs::write(&path, good.replace("EdDSA", "ES256")).unwrap();
    assert!(matches!(running.reload(now), Err(KeysError::Algorithm { .. })));
}

#[test]
fn keys_retired_stop_signing_when_another_may_then_verifying() {
    let directory = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let first = signer(&load(directory.path(), now).unwrap());
    let second = put(directory.path(), "second.pem", now);
    load(directory.path(), now).unwrap();
    let mut manifest = Manifest::read(directory.path()).unwrap().unwrap();
    let entry = manifest.keys.iter_mut().find(|entry| entry.kid == first).unwrap();
    entry.retired_at = Some((now + 2 * DELAY).into());
    manifest.write(directory.path(), &DirLock::acquire(directory.path()).unwrap()).unwrap();
    let ring = |now| kids(&load(directory.path(), now).unwrap());
    let early = now + DELAY - Duration::from_millis(1);
    for now in [now, early] {
        assert_eq!(ring(now), [first.clone(), second.clone()], "its successor is published and waits");
    }
    assert_eq!(ring(now + DELAY), [second.clone(), first.clone()], "it signs nothing and verifies");
    assert_eq!(ring(now + 2 * DELAY), std::slice::from_ref(&second), "though its file is there");
    fs::remove_file(directory.path().join(FIRST_KEY_FILE)).unwrap();
    assert_eq!(ring(now + 2 * DELAY), [second], "and it is not missed");
    manifest.keys.iter_mut().for_each(|entry| entry.retired_at = Some(now.into()));
    manifest.write(directory.path(), &DirLock::acquire(directory.path()).unwrap()).unwrap();
    assert!(matches!(load(directory.path(), now), Err(KeysError::AllRetired { .. })));
}

#[test]
fn keys_error_names_directory_file_and_flag() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("a.pem"), "rubbish").unwrap();
    fs::write(directory.path().join("notes.txt"), "no key, and no matter").unwrap();
    let error = load(directory.path(), SystemTime::now()).unwrap_err().to_string();
    let expected = format!("`--keys-dir {}`: `a.pem`: the PEM holds no PEM; use one", directory.path().display());
    assert!(error.starts_with(&expected), "{error}");
    let two = [SigningKey::generate().unwrap(), SigningKey::generate().unwrap()].map(|key| key.to_pkcs8_pem().unwrap());
    fs::write(directory.path().join("a.pem"), format!("{}{}", *two[0], *two[1])).unwrap();
    let error = load(directory.path(), SystemTime::now()).unwrap_err().to_string();
    assert!(error.contains("more than one private key"), "{error}");
}

#[cfg(unix)]
#[test]
fn keys_readable_by_others_are_warned_about_once() {
    use std::os::unix::fs::PermissionsExt;

    let directory = tempfile::tempdir().unwrap();
    let mut keys = keys_dir(directory.path());
    keys.create_first(true, SystemTime::now()).unwrap();
    let path = directory.path().join(FIRST_KEY_FILE);
    let chmod = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    assert!(keys.exposed.is_empty());
    chmod(0o644);
    assert!(keys.is_newly_exposed(&path, is_readable_by_others(&fs::metadata(&path).unwrap())));
    keys.reload(SystemTime::now()).unwrap();
    assert!(!keys.is_newly_exposed(&path, true), "the load has it written down already");
    chmod(0o600);
    keys.reload(SystemTime::now()).unwrap();
    assert!(keys.is_newly_exposed(&path, true), "a change is logged again");
}

#[test]
fn keys_published_before_signing_are_waiting() {
    let directory = tempfile::tempdir().unwrap();
    let start = SystemTime::now();
    load(directory.path(), start).unwrap();
    let second = put(directory.path(), "second.pem", start);
    let mut keys = keys_dir(directory.path());
    keys.open(start).unwrap();
    assert_eq!(keys.waiting(start), [second.as_str()]);
    assert!(keys.waiting(start + DELAY).is_empty(), "it signs by then");
}
