use std::future::Future;

use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};

use super::*;

fn passwords(mib: u32, passes: u32) -> Passwords {
    Passwords::with_params(Params::new(mib * 1024, passes, 1, None).unwrap()).unwrap()
}

async fn verdict(passwords: &Passwords, password: &str, hash: Option<&str>) -> Verdict {
    let id = UserId::generate();
    passwords.verify(&password.to_owned().into(), hash.map(|hash| (id, hash)), None).await.unwrap()
}

#[tokio::test]
async fn password_hash_is_argon2id_at_owasp_s_parameters() {
    let passwords = Passwords::new(PasswordCost::default()).unwrap();
    let hash = passwords.hash(&"correct horse".to_owned().into()).await.unwrap();
    assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
    assert_eq!(verdict(&passwords, "correct horse", Some(&hash)).await, Verdict::Right);
    assert_eq!(verdict(&passwords, "correct house", Some(&hash)).await, Verdict::Wrong);
    assert_ne!(passwords.hash(&"correct horse".to_owned().into()).await.unwrap(), hash, "the salt differs");
}

#[tokio::test]
async fn password_hash_made_with_less_is_outdated_and_one_made_with_more_is_not() {
    let hash = passwords(8, 2).hash(&"correct horse".to_owned().into()).await.unwrap();
    for (mib, passes, expected) in [
        (8, 2, Verdict::Right),
        (9, 2, Verdict::RightAndOutdated),
        (8, 3, Verdict::RightAndOutdated),
        (7, 1, Verdict::Right),
    ] {
        assert_eq!(verdict(&passwords(mib, passes), "correct horse", Some(&hash)).await, expected, "{mib} {passes}");
    }
}

/// The hashes were made in freshly allocated memory.
#[tokio::test]
async fn password_hashes_of_other_argon2_verify_in_memory_that_others_have_used() {
    use argon2::{Algorithm, Argon2, PasswordHasher, Version};

    let passwords = passwords(1, 1);
    for algorithm in [Algorithm::Argon2d, Algorithm::Argon2i, Algorithm::Argon2id] {
        for version in [Version::V0x10, Version::V0x13] {
            for (memory, passes, lanes) in [(64, 3, 4), (1024, 1, 1), (1000, 2, 3), (4 * 1024, 2, 8)] {
                let params = Params::new(memory, passes, lanes, Some(24)).unwrap();
                let hash = Argon2::new(algorithm, version, params).hash_password(b"correct horse").unwrap().to_string();
                assert_ne!(verdict(&passwords, "correct horse", Some(&hash)).await, Verdict::Wrong, "{hash}");
                assert_eq!(verdict(&passwords, "correct house", Some(&hash)).await, Verdict::Wrong, "{hash}");
            }
        }
    }
}

#[tokio::test]
async fn password_hashes_of_bcrypt_verify_with_every_prefix_and_are_outdated() {
    let passwords = passwords(8, 1);
    let made = bcrypt::hash_with_result("correct horse", 4).unwrap();
    for version in [bcrypt::Version::TwoA, bcrypt::Version::TwoB, bcrypt::Version::TwoY] {
        let hash = made.format_for_version(version);
        assert_eq!(verdict(&passwords, "correct horse", Some(&hash)).await, Verdict::RightAndOutdated, "{hash}");
        assert_eq!(verdict(&passwords, "correct house", Some(&hash)).await, Verdict::Wrong, "{hash}");
    }
}

#[test]
fn password_hashes_at_the_caps_are_read_and_beyond_them_are_not() {
    let ours = Params::new(64, 1, 1, None).unwrap();
    let argon2 = |memory: u32, passes: u32| {
        let text = format!("$argon2id$v=19$m={memory},t={passes},p=1$c2FsdHNhbHQ$c2FsdHNhbHRzYWx0c2FsdA");
        StoredHash::read(&text, &ours).err()
    };
    let bcrypt = |cost: u32| StoredHash::read(&format!("$2b${cost:02}${}", "a".repeat(53)), &ours).err();
    let too_costly = Some(stored::Unreadable::TooCostly);
    // The defaults of Django, argon2-cffi, PHP and libsodium (interactive).
    for (memory, passes) in [(102_400, 2), (65_536, 3), (65_536, 4), (65_536, 2), (128 * 1024, 4)] {
        assert_eq!(argon2(memory, passes), None);
    }
    for (memory, passes) in [(128 * 1024 + 1, 1), (128 * 1024, 5), (64, 8_193), (u32::MAX, u32::MAX)] {
        assert_eq!(argon2(memory, passes), too_costly);
    }
    assert_eq!((bcrypt(14), bcrypt(15), bcrypt(31)), (None, too_costly, too_costly));
}

#[tokio::test]
async fn password_of_an_unknown_user_is_wrong_for_any_text() {
    let passwords = passwords(8, 1);
    for password in ["", "correct horse", "nobody's password"] {
        assert_eq!(verdict(&passwords, password, None).await, Verdict::Wrong);
    }
}

#[tokio::test]
async fn password_hash_that_cannot_be_read_is_told_of_once_until_it_can() {
    let passwords = passwords(1, 1);
    let good = passwords.hash(&"correct horse".to_owned().into()).await.unwrap();
    let (id, password) = (UserId::generate(), Password::from("correct horse".to_owned()));
    let log = Log::default();
    let guard = log.of_this_thread();
    for (hash, lines) in [("!", 1), ("!", 1), ("pbkdf2_sha256$1$a$b", 1), (good.as_str(), 1), ("!", 2)] {
        // Runs on this thread, whose log is captured.
        passwords.verdict(&password, Some((id, StoredHash::read(hash, &passwords.params))));
        assert_eq!(log.lines().len(), lines, "{hash}");
    }
    for _ in 0..1_000 {
        passwords.verdict(&password, Some((UserId::generate(), StoredHash::read("hush!", &passwords.params))));
    }
    drop(guard);
    let lines = log.lines();
    assert!(lines.len() < 110, "{}", lines.len());
    assert!(lines[0].contains("ERROR") && lines[0].contains(&id.to_string()), "{}", lines[0]);
    assert!(!lines.concat().contains("hush"));
}

/// The captured log.
#[derive(Clone, Default)]
struct Log(Arc<std::sync::Mutex<Vec<u8>>>);

impl Log {
    fn of_this_thread(&self) -> tracing::subscriber::DefaultGuard {
        let log = self.clone();
        tracing::subscriber::set_default(tracing_subscriber::fmt().with_writer(move || log.clone()).finish())
    }

    fn lines(&self) -> Vec<String> {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap().lines().map(str::to_owned).collect()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn password_does_not_wait_for_its_turn_for_ever() {
    let passwords = passwords(8, 1);
    let _taken = all_turns(&passwords).await;
    assert_eq!(passwords.hash(&"correct horse".to_owned().into()).await, Err(HashError::Busy));
    assert_eq!(passwords.hash_for_registration(&"correct horse".to_owned().into()).await, Err(HashError::Busy));
}

#[tokio::test]
async fn password_of_a_request_that_goes_away_while_it_waits_is_not_hashed() {
    let passwords = passwords(1, 1);
    let taken = all_turns(&passwords).await;
    let (secret, password) = ("correct horse".to_owned().into(), Password::from("correct horse".to_owned()));
    let mut waiting: [std::pin::Pin<Box<dyn Future<Output = ()>>>; 3] = [
        Box::pin(passwords.hash(&secret).map(|_| ())),
        Box::pin(passwords.hash_for_registration(&secret).map(|_| ())),
        Box::pin(passwords.verify(&password, None, None).map(|_| ())),
    ];
    for request in &mut waiting {
        assert!(request.now_or_never().is_none());
    }
    drop(waiting);
    drop(taken);
    passwords.hash(&secret).await.unwrap();
    assert_eq!(passwords.begun.load(std::sync::atomic::Ordering::SeqCst), 1);
}

/// At most half of the turns go to registrations that came before a sign-in.
#[tokio::test]
async fn register_leaves_turns_to_sign_ins() {
    let passwords = passwords(1, 1);
    let begun = || passwords.begun.load(std::sync::atomic::Ordering::SeqCst);
    let few = passwords.registrations.available_permits();
    assert!(few <= (passwords.turns.available_permits() / 2).max(1));
    let taken = all_turns(&passwords).await;
    let (secret, password) = ("correct horse".to_owned().into(), Password::from("correct horse".to_owned()));
    let mut registrations: FuturesUnordered<_> = (0..50).map(|_| passwords.hash_for_registration(&secret)).collect();
    assert!(registrations.next().now_or_never().is_none());
    let mut sign_in = Box::pin(passwords.verify(&password, None, None));
    assert!(sign_in.as_mut().now_or_never().is_none());
    drop(taken);
    let mut before = 0;
    loop {
        let others = begun();
        if sign_in.as_mut().now_or_never().is_some() || begun() > others {
            break;
        }
        registrations.next().await.unwrap().unwrap();
        before += 1;
    }
    assert!(before <= few, "{before} registrations came first");
}

async fn all_turns(passwords: &Passwords) -> OwnedSemaphorePermit {
    let all = u32::try_from(passwords.turns.available_permits()).unwrap();
    Arc::clone(&passwords.turns).acquire_many_owned(all).await.unwrap()
}
