use std::fs;

use super::{super::tests::*, *};

/// How long after its last signature a key verifies.
const ACCEPTANCE: Duration = Duration::from_hours(1);

const NOW: Retirement = Retirement::Now { clock_skew: Duration::from_mins(5) };

fn states(directory: &std::path::Path, now: SystemTime) -> Vec<(String, KeyState)> {
    let (keys, problem) = keys_dir(directory).list(now).unwrap();
    assert!(problem.is_none(), "{problem:?}");
    keys.into_iter().map(|key| (key.kid, key.state)).collect()
}

/// Makes a directory with one key, as the first start does.
fn first_key(now: SystemTime) -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let kid = signer(&load(directory.path(), now).unwrap());
    (directory, kid)
}

#[test]
fn keys_generate_publishes_before_signing() {
    let now = SystemTime::now();
    let (directory, first) = first_key(now);
    let mut node = keys_dir(directory.path());
    node.open(now).unwrap();
    for algorithm in [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Rs256] {
        let key = keys_dir(directory.path()).generate(algorithm, now).unwrap();
        assert_eq!((key.state, key.algorithm.as_str()), (KeyState::Waiting, algorithm.as_str()));
        assert_eq!(SystemTime::from(key.active_from), now + DELAY);
        let ring = node.reload(now).unwrap().0;
        assert!(kids(&ring).contains(&key.kid), "it is published");
        assert_eq!(signer(&ring), first);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(directory.path().join(&key.file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }
    assert_ne!(signer(&node.reload(now + DELAY).unwrap().0), first);
    assert_eq!(names(directory.path()).len(), 6, "nothing is left lying about");
}

#[test]
fn keys_generate_makes_the_only_key_of_a_directory_sign_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let keys = directory.path().join("deep/keys");
    let now = SystemTime::now();
    let key = keys_dir(&keys).generate(Algorithm::EdDsa, now).unwrap();
    assert_eq!((key.state, SystemTime::from(key.active_from)), (KeyState::Signing, now));
    assert_eq!(signer(&load(&keys, now).unwrap()), key.kid);
}

#[test]
fn keys_publish_delay_is_no_shorter_than_nodes_take_to_see_a_key() {
    let now = SystemTime::now();
    let (directory, _) = first_key(now);
    let mut keys = KeysDir::new(directory.path().to_owned(), Duration::ZERO);
    let key = keys.generate(Algorithm::EdDsa, now).unwrap();
    assert_eq!(SystemTime::from(key.active_from), now + SEEN_WITHIN);
}

#[test]
fn keys_rotate_and_the_old_key_verifies_until_its_last_token_has_expired() {
    let now = SystemTime::now();
    let (directory, first) = first_key(now);
    let mut node = keys_dir(directory.path());
    node.open(now).unwrap();
    let (new, old) = keys_dir(directory.path()).rotate(None, ACCEPTANCE, now).unwrap();
    assert_eq!((new.state, new.algorithm.as_str()), (KeyState::Waiting, "EdDSA"));
    assert_eq!((old.state, &old.kid), (KeyState::Signing, &first));
    let retired_at = now + DELAY + SEEN_WITHIN + ACCEPTANCE;
    assert_eq!(old.retired_at.map(SystemTime::from), Some(retired_at));

    // A running node, without a restart.
    let mut ring = |now| kids(&node.reload(now).unwrap().0);
    let moment = Duration::from_millis(1);
    for now in [now, now + DELAY - moment] {
        assert_eq!(ring(now), [first.clone(), new.kid.clone()], "the old key signs");
    }
    for now in [now + DELAY, retired_at - moment] {
        assert_eq!(ring(now), [new.kid.clone(), first.clone()], "the new key signs, the old one verifies");
    }
    assert_eq!(ring(retired_at), std::slice::from_ref(&new.kid), "its last token has expired");
    assert_eq!(states(directory.path(), now + DELAY)[0], (first.clone(), KeyState::Verifying));
    assert_eq!(states(directory.path(), retired_at)[0], (first, KeyState::Retired));
    fs::remove_file(directory.path().join(&old.file)).unwrap();
    assert!(node.reload(retired_at).unwrap().1.is_none(), "its file is not missed");
    load(directory.path(), retired_at).unwrap();
}

#[test]
fn keys_rotate_keeps_the_algorithm_unless_one_is_named() {
    let now = SystemTime::now();
    let directory = tempfile::tempdir().unwrap();
    let mut keys = keys_dir(directory.path());
    keys.generate(Algorithm::Es256, now).unwrap();
    assert_eq!(keys.rotate(None, ACCEPTANCE, now).unwrap().0.algorithm, "ES256");
    let later = now + DELAY;
    assert_eq!(keys.rotate(Some(Algorithm::EdDsa), ACCEPTANCE, later).unwrap().0.algorithm, "EdDSA");
}

#[test]
fn keys_rotate_twice_is_refused_until_the_new_key_signs() {
    let now = SystemTime::now();
    let (directory, first) = first_key(now);
    let mut keys = keys_dir(directory.path());
    let (new, _) = keys.rotate(None, ACCEPTANCE, now).unwrap();
    let before = fs::read(directory.path().join("keys.json")).unwrap();
    let error = keys.rotate(None, ACCEPTANCE, now + DELAY - Duration::from_millis(1)).unwrap_err();
    assert!(matches!(error, KeysError::Waiting { .. }) && error.to_string().contains(&new.kid), "{error}");
    assert_eq!(fs::read(directory.path().join("keys.json")).unwrap(), before);
    assert_eq!(names(directory.path()).iter().filter(|name| name.contains(".pem")).count(), 2);
    let (_, old) = keys.rotate(None, ACCEPTANCE, now + DELAY).unwrap();
    assert_eq!(old.kid, new.kid);
    assert_eq!(states(directory.path(), now + DELAY)[0].0, first);
}

#[test]
fn keys_retire_counts_from_the_last_signature() {
    let now = SystemTime::now();
    let (directory, first) = first_key(now);
    let mut keys = keys_dir(directory.path());
    let second = keys.generate(Algorithm::EdDsa, now).unwrap().kid;
    let retire = |kid: &str, now| {
        let copy = tempfile::tempdir().unwrap();
        for name in names(directory.path()) {
            fs::copy(directory.path().join(&name), copy.path().join(&name)).unwrap();
        }
        let after = Retirement::AfterLastToken(ACCEPTANCE);
        keys_dir(copy.path()).retire(kid, after, now).unwrap().retired_at.map(SystemTime::from).unwrap()
    };
    let stays = SEEN_WITHIN + ACCEPTANCE;
    assert_eq!(retire(&first, now), now + DELAY + stays, "it signs until the second key does");
    assert_eq!(retire(&second, now), now + stays, "a waiting key");
    let later = now + DELAY + Duration::from_mins(10);
    assert_eq!(retire(&first, later), now + DELAY + stays, "it has not signed for ten minutes");
    assert_eq!(retire(&second, later), later + stays, "it has signed until now");
    let long_after = now + DELAY + stays + ACCEPTANCE;
    assert_eq!(retire(&first, long_after), long_after, "all its tokens have expired: it leaves at once");
    // A second call changes nothing.
    let after = Retirement::AfterLastToken(ACCEPTANCE);
    let once = keys.retire(&first, after, now).unwrap();
    let again = keys.retire(&first, after, now + Duration::from_mins(1)).unwrap();
    assert_eq!(once.retired_at, again.retired_at);
}

#[test]
fn keys_retire_of_the_signing_key_hands_over_to_another() {
    let now = SystemTime::now();
    let (directory, first) = first_key(now);
    let mut keys = keys_dir(directory.path());
    let second = keys.generate(Algorithm::EdDsa, now).unwrap().kid;
    let later = now + DELAY;
    // The older key may sign, and has long been published.
    keys.retire(&second, Retirement::AfterLastToken(ACCEPTANCE), later).unwrap();
    assert_eq!(kids(&load(directory.path(), later).unwrap()), [first, second]);
}

#[test]
fn keys_retire_now_takes_a_stolen_key_out_of_every_ring() {
    let now = SystemTime::now();
    let (directory, first) = first_key(now);
    let mut node = keys_dir(directory.path());
    node.open(now).unwrap();
    let mut keys = keys_dir(directory.path());
    let second = keys.generate(Algorithm::EdDsa, now).unwrap().kid;
    let stolen = keys.retire(&first, NOW, now).unwrap();
    assert_eq!(stolen.state, KeyState::Retired);
    let behind = now - Duration::from_mins(5);
    for now in [now, behind] {
        assert_eq!(kids(&node.reload(now).unwrap().0), std::slice::from_ref(&second), "without the publish delay");
    }
    // Also a key that was being retired.
    let (third, _) = keys.rotate(None, ACCEPTANCE, now + DELAY).unwrap();
    keys.retire(&second, NOW, now + DELAY).unwrap();
    assert_eq!(kids(&load(directory.path(), now + DELAY).unwrap()), [third.kid]);
}

#[test]
fn keys_retire_refuses_the_last_key_that_can_sign() {
    let now = SystemTime::now();
    let (directory, first) = first_key(now);
    let mut keys = keys_dir(directory.path());
    for retirement in [NOW, Retirement::AfterLastToken(ACCEPTANCE)] {
        let error = keys.retire(&first, retirement, now).unwrap_err();
        assert!(matches!(error, KeysError::LastSigner { .. }), "{error}");
        assert!(error.to_string().contains("demo-app keys rotate"), "{error}");
    }
    // A key that is being retired is no successor, and neither is one whose file is missing.
    let (new, _) = keys.rotate(None, ACCEPTANCE, now).unwrap();
    assert!(matches!(keys.retire(&new.kid, NOW, now), Err(KeysError::LastSigner { .. })));
    fs::remove_file(directory.path().join(&new.file)).unwrap();
    assert!(matches!(keys.retire(&first, NOW, now), Err(KeysError::LastSigner { .. })));
    assert_eq!(states_of_incomplete(directory.path(), now), [KeyState::Verifying, KeyState::Waiting]);
    let unknown = keys.retire("nobody", NOW, now).unwrap_err();
    assert!(matches!(unknown, KeysError::Unknown { .. }), "{unknown}");
}

/// Returns the states of keys that lack a file.
fn states_of_incomplete(directory: &std::path::Path, now: SystemTime) -> Vec<KeyState> {
    let (keys, problem) = keys_dir(directory).list(now).unwrap();
    assert!(matches!(problem, Some(KeysError::Missing { .. })), "{problem:?}");
    keys.into_iter().map(|key| key.state).collect()
}

#[test]
fn keys_retire_removes_a_key_whose_file_is_lost() {
    let now = SystemTime::now();
    let (directory, _) = first_key(now);
    let mut keys = keys_dir(directory.path());
    let lost = keys.generate(Algorithm::EdDsa, now).unwrap();
    fs::remove_file(directory.path().join(&lost.file)).unwrap();
    assert!(load(directory.path(), now).is_err());
    assert!(matches!(keys.rotate(None, ACCEPTANCE, now), Err(KeysError::Missing { .. })));
    keys.retire(&lost.kid, NOW, now).unwrap();
    load(directory.path(), now).unwrap();
}

#[test]
fn keys_change_in_an_unwritable_directory_fails_and_changes_nothing() {
    let now = SystemTime::now();
    let (directory, first) = first_key(now);
    keys_dir(directory.path()).generate(Algorithm::EdDsa, now).unwrap();
    fs::remove_file(directory.path().join(".lock")).unwrap();
    make_unwritable(directory.path());
    let before = names(directory.path());
    let mut keys = keys_dir(directory.path());
    for error in [
        keys.generate(Algorithm::EdDsa, now).unwrap_err(),
        keys.rotate(None, ACCEPTANCE, now).map(drop).unwrap_err(),
        keys.retire(&first, NOW, now).unwrap_err(),
    ] {
        assert!(matches!(error, KeysError::Io { .. }) && error.to_string().contains("--keys-dir"), "{error}");
    }
    assert_eq!(names(directory.path()), before);
    assert_eq!(keys.list(now).unwrap().0.len(), 2, "it can be listed");
}

#[test]
fn keys_in_an_empty_directory_are_no_list_and_no_rotation() {
    let directory = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    for path in [directory.path().to_owned(), directory.path().join("missing")] {
        let mut keys = keys_dir(&path);
        assert!(matches!(keys.list(now), Err(KeysError::Empty { .. })));
        assert!(matches!(keys.rotate(None, ACCEPTANCE, now), Err(KeysError::Empty { .. })));
    }
    assert!(!directory.path().join("missing").exists());
}

#[test]
fn keys_change_beside_nodes_loses_no_change() {
    let now = SystemTime::now();
    let (directory, _) = first_key(now);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| keys_dir(directory.path()).generate(Algorithm::EdDsa, now).unwrap());
            scope.spawn(|| {
                let mut node = keys_dir(directory.path());
                node.open(now).unwrap();
                node.reload(now).unwrap();
            });
        }
    });
    assert_eq!(states(directory.path(), now).len(), 5);
}
