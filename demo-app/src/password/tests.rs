use std::future::Future;

use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};

use super::*;

fn passwords(mib: u32, passes: u32) -> Passwords {
    Passwords::with_params(Params::new(mib * 1024, passes, 1, None).unwrap()).unwrap()
}

async fn check(passwords: &Passwords, password: &str, hash: Option<&str>) -> PasswordCheck {
    let id = UserId::generate();
    passwords.verify(&password.to_owned().into(), hash.map(|hash| (id, hash)), None).await.unwrap()
}

#[tokio::test]
async fn password_hash_is_argon2id_with_owasp_parameters() {
    let passwords = Passwords::new(PasswordCost::default()).unwrap();
    let hash = passwords.hash(&"correct horse".to_owned().into()).await.unwrap();
    assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
    assert_eq!(check(&passwords, "correct horse", Some(&hash)).await, PasswordCheck::Right);
    assert_eq!(check(&passwords, "correct house", Some(&hash)).await, PasswordCheck::Wrong);
    assert_ne!(passwords.hash(&"correct horse".to_owned().into()).await.unwrap(), hash, "the salt differs");
}

#[tokio::test]
async fn password_hash_weaker_than_ours_is_outdated() {
    let hash = passwords(8, 2).hash(&"correct horse".to_owned().into()).await.unwrap();
    for (mib, passes, expected) in [
        (8, 2, PasswordCheck::Right),
        (9, 2, PasswordCheck::RightAndOutdated),
        (8, 3, PasswordCheck::RightAndOutdated),
        (7, 1, PasswordCheck::Right),
    ] {
        assert_eq!(check(&passwords(mib, passes), "correct horse", Some(&hash)).await, expected, "{mib} {passes}");
    }
}

/// The hashes were made in freshly allocated memory.
#[tokio::test]
async fn password_hashes_of_all_argon2_variants_verify_in_reused_memory() {
    use argon2::{Algorithm, Argon2, PasswordHasher, Version};

    let passwords = passwords(1, 1);
    for algorithm in [Algorithm::Argon2d, Algorithm::Argon2i, Algorithm::Argon2id] {
        for version in [Version::V0x10, Version::V0x13] {
            for (memory, passes, lanes) in [(64, 3, 4), (1024, 1, 1), (1000, 2, 3), (4 * 1024, 2, 8)] {
                let params = Params::new(memory, passes, lanes, Some(24)).unwrap();
                let hash = Argon2::new(algorithm, version, params).hash_password(b"correct horse").unwrap().to_string();
                assert_ne!(check(&passwords, "correct horse", Some(&hash)).await, PasswordCheck::Wrong, "{hash}");
                assert_eq!(check(&passwords, "correct house", Some(&hash)).await, PasswordCheck::Wrong, "{hash}");
            }
        }
    }
}

#[tokio::test]
async fn password_hashes_of_bcrypt_verify_and_are_outdated() {
    let passwords = passwords(8, 1);
    let made = bcrypt::hash_with_result("correct horse", 4).unwrap();
    for version in [bcrypt::Version::TwoA, bcrypt::Version::TwoB, bcrypt::Version::TwoY] {
        let hash = made.format_for_version(version);
        assert_eq!(check(&passwords, "correct horse", Some(&hash)).await, PasswordCheck::RightAndOutdated, "{hash}");
        assert_eq!(check(&passwords, "correct house", Some(&hash)).await, PasswordCheck::Wrong, "{hash}");
    }
}

#[test]
fn password_hashes_beyond_the_caps_are_refused() {
    let ours = Params::new(64, 1, 1, None).unwrap();
    let argon2 = |memory: u32, passes: u32| {
        let text = format!("$argon2id$v=19$m={memory},t={passes},p=1$c2FsdHNhbHQ$c2FsdHNhbHRzYWx0c2FsdA");
        StoredHash::read(&text, &ours).err()
    };
    let bcrypt = |cost: u32| StoredHash::read(&format!("$2b${cost:02}${}", "a".repeat(53)), &ours).err();
    let too_costly = Some(stored::UnusableHash::TooCostly);
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
async fn password_of_unknown_user_is_always_wrong() {
    let passwords = passwords(8, 1);
    for password in ["", "correct horse", "nobody's password"] {
        assert_eq!(check(&passwords, password, None).await, PasswordCheck::Wrong);
    }
}

#[tokio::test]
async fn password_hash_unusable_is_logged_once_per_user() {
    let passwords = passwords(1, 1);
    let good = passwords.hash(&"correct horse".to_owned().into()).await.unwrap();
    let (id, password) = (UserId::generate(), Password::from("correct horse".to_owned()));
    let log = ThreadLog::default();
    let guard = log.of_this_thread();
    for (hash, lines) in [("!", 1), ("!", 1), ("pbkdf2_sha256$1$a$b", 1), (good.as_str(), 1), ("!", 2)] {
        // Runs on this thread, whose log is captured.
        passwords.check(&password, Some((id, StoredHash::read(hash, &passwords.params))));
        assert_eq!(log.lines().len(), lines, "{hash}");
    }
    for _ in 0..1_000 {
        passwords.check(&password, Some((UserId::generate(), StoredHash::read("hush!", &passwords.params))));
    }
    drop(guard);
    let lines = log.lines();
    assert!(lines.len() < 110, "{}", lines.len());
    assert!(lines[0].contains("ERROR") && lines[0].contains(&id.to_string()), "{}", lines[0]);
    assert!(!lines.concat().contains("hush"));
}

/// The captured log.
#[derive(Clone, Default)]
struct ThreadLog(Arc<std::sync::Mutex<Vec<u8>>>);

impl ThreadLog {
    fn of_this_thread(&self) -> tracing::subscriber::DefaultGuard {
        let log = self.clone();
        tracing::subscriber::set_default(tracing_subscriber::fmt().with_writer(move || log.clone()).finish())
    }

    fn lines(&self) -> Vec<String> {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap().lines().map(str::to_owned).collect()
    }
}

impl std::io::Write for ThreadLog {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn password_hashing_times_out_without_a_permit() {
    let passwords = passwords(8, 1);
    let _taken = all_permits(&passwords).await;
    assert_eq!(passwords.hash(&"correct horse".to_owned().into()).await, Err(HashError::Busy));
    assert_eq!(passwords.hash_for_registration(&"correct horse".to_owned().into()).await, Err(HashError::Busy));
}

#[tokio::test]
async fn password_of_disconnected_client_is_not_hashed() {
    let passwords = passwords(1, 1);
    let taken = all_permits(&passwords).await;
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
    assert_eq!(passwords.hashes_started.load(std::sync::atomic::Ordering::SeqCst), 1);
}

/// At most half of the permits go to registrations that came before a sign-in.
#[tokio::test]
async fn register_leaves_hash_permits_to_sign_ins() {
    let passwords = passwords(1, 1);
    let begun = || passwords.hashes_started.load(std::sync::atomic::Ordering::SeqCst);
    let registration_permits = passwords.registrations.available_permits();
    assert!(registration_permits <= (passwords.permits.available_permits() / 2).max(1));
    let taken = all_permits(&passwords).await;
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
    assert!(before <= registration_permits, "{before} registrations came first");
}

async fn all_permits(passwords: &Passwords) -> OwnedSemaphorePermit {
    let all = u32::try_from(passwords.permits.available_permits()).unwrap();
    Arc::clone(&passwords.permits).acquire_many_owned(all).await.unwrap()
}
