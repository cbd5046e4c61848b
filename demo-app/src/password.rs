//! Passwords: argon2id, off the async threads and bounded.
//!
//! bcrypt hashes (`$2a$`, `$2b$`, `$2y$`) brought along from an older system verify and are upgraded at the next sign-in. bcrypt
//! looks at the first 72 bytes of a password only; the upgrade hashes the whole one that was given.
//!
//! # What time tells
//!
//! An unknown user's password is verified against a decoy. bcrypt takes longer than argon2id here, and an argon2id hash made with
//! less takes shorter, so a sign-in is refused no sooner than after a fixed time that is longer than either. What remains: a brought
//! hash of a bcrypt cost of 13 and more, or on a slow or overloaded machine a lower one, takes longer than that; until its user
//! first signs in, the time of a refusal can tell the account from an unknown one. So can a turn to hash that others wait for.

use std::{sync::Arc, time::Duration};

use argon2::{
    Algorithm, Argon2, Params, PasswordHash, PasswordHasher, PasswordVerifier, Version,
    password_hash::Error as PasswordError,
};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;

/// How long a request waits for its turn to hash.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// Hashes and verifies passwords, as many at a time as there are cores.
#[derive(Clone, Debug)]
pub(crate) struct Passwords {
    params: Params,
    turns: Arc<Semaphore>,
    /// What the password of an unknown user is verified against, so that it takes as long as a known one's.
    decoy: Arc<str>,
    /// How many hashes were begun.
    #[cfg(test)]
    pub(crate) begun: Arc<std::sync::atomic::AtomicUsize>,
}

/// What verifying a password found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is wrong.
    Wrong,
    /// It is right.
    Right,
    /// It is right, and its hash is weaker than what is made today.
    RightAndOutdated,
}

/// A password could not be hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HashError {
    /// Too many others wait.
    #[error("too many passwords are being hashed")]
    Busy,
    /// The hash function failed.
    #[error("hashing failed")]
    Failed,
}

/// What it costs to hash a password, and so to guess one of a hash that was stolen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PasswordCost {
    /// OWASP's parameters for argon2id: 19 MiB, two passes, one lane.
    #[default]
    Owasp,
    /// Next to nothing, for tests that sign in thousands of times: whoever has the hashes has the passwords.
    DangerouslyLow,
}

impl Passwords {
    pub(crate) fn new(cost: PasswordCost) -> Result<Self, HashError> {
        let (memory, passes) = match cost {
            PasswordCost::Owasp => (19 * 1024, 2),
            PasswordCost::DangerouslyLow => (Params::MIN_M_COST, 1),
        };
        Self::with_params(Params::new(memory, passes, 1, None).map_err(|_| HashError::Failed)?)
    }

    pub(crate) fn with_params(params: Params) -> Result<Self, HashError> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let decoy = hash(&params, b"nobody's password")?.into();
        Ok(Self {
            params,
            turns: Arc::new(Semaphore::new(cores)),
            decoy,
            #[cfg(test)]
            begun: Arc::default(),
        })
    }

    /// The hash of a new password, a PHC string.
    pub(crate) async fn hash(&self, password: &SecretString) -> Result<String, HashError> {
        let (params, password) = (self.params.clone(), password.clone());
        self.in_turn(move || hash(&params, password.expose_secret().as_bytes())).await?
    }

    /// Verifies a password against a user's hash, or where there is no such user against a decoy, which is always wrong and
    /// takes as long.
    pub(crate) async fn verify(&self, password: &SecretString, hash: Option<&str>) -> Result<Verdict, HashError> {
        let known = hash.is_some();
        let hash = hash.map_or_else(|| Arc::clone(&self.decoy), Arc::from);
        let (params, password) = (self.params.clone(), password.clone());
        let verdict = self.in_turn(move || verify(&params, password.expose_secret(), &hash)).await??;
        Ok(if known { verdict } else { Verdict::Wrong })
    }

    async fn in_turn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, HashError> {
        #[cfg(test)]
        self.begun.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let turn = tokio::time::timeout(PATIENCE, Arc::clone(&self.turns).acquire_owned());
        let turn = turn.await.map_err(|_| HashError::Busy)?.map_err(|_| HashError::Failed)?;
        let work = tokio::task::spawn_blocking(move || {
            // The turn ends with the work, also when nobody waits for the answer any more.
            let _turn = turn;
            work()
        });
        work.await.map_err(|_| HashError::Failed)
    }
}

fn argon2(params: &Params) -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone())
}

fn hash(params: &Params, password: &[u8]) -> Result<String, HashError> {
    argon2(params).hash_password(password).map(|hash| hash.to_string()).map_err(|_| HashError::Failed)
}

fn verify(params: &Params, password: &str, hash: &str) -> Result<Verdict, HashError> {
    if ["$2a$", "$2b$", "$2y$"].iter().any(|prefix| hash.starts_with(prefix)) {
        let right = bcrypt::verify(password, hash).map_err(|_| HashError::Failed)?;
        return Ok(if right { Verdict::RightAndOutdated } else { Verdict::Wrong });
    }
    let hash = PasswordHash::new(hash).map_err(|_| HashError::Failed)?;
    match argon2(params).verify_password(password.as_bytes(), &hash) {
        Ok(()) if is_outdated(params, &hash) => Ok(Verdict::RightAndOutdated),
        Ok(()) => Ok(Verdict::Right),
        Err(PasswordError::PasswordInvalid) => Ok(Verdict::Wrong),
        Err(_) => Err(HashError::Failed),
    }
}

/// Whether a hash costs less than today's, in memory or passes, or is of another kind. One that costs more is left alone, and how many lanes
/// share the cost does not matter.
fn is_outdated(params: &Params, hash: &PasswordHash) -> bool {
    let current = Params::try_from(hash);
    hash.algorithm.as_str() != Algorithm::Argon2id.as_str()
        || hash.version != Some(Version::V0x13.into())
        || current.is_ok_and(|held| held.m_cost() < params.m_cost() || held.t_cost() < params.t_cost())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passwords(mib: u32, passes: u32) -> Passwords {
        Passwords::with_params(Params::new(mib * 1024, passes, 1, None).unwrap()).unwrap()
    }

    async fn verdict(passwords: &Passwords, password: &str, hash: Option<&str>) -> Verdict {
        passwords.verify(&password.to_owned().into(), hash).await.unwrap()
    }

    #[tokio::test]
    async fn a_hash_is_argon2id_at_owasp_s_parameters() {
        let passwords = Passwords::new(PasswordCost::default()).unwrap();
        let hash = passwords.hash(&"correct horse".to_owned().into()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_eq!(verdict(&passwords, "correct horse", Some(&hash)).await, Verdict::Right);
        assert_eq!(verdict(&passwords, "correct house", Some(&hash)).await, Verdict::Wrong);
        assert_ne!(passwords.hash(&"correct horse".to_owned().into()).await.unwrap(), hash, "the salt differs");
    }

    #[tokio::test]
    async fn a_hash_made_with_less_is_outdated_and_one_made_with_more_is_not() {
        let hash = passwords(8, 2).hash(&"correct horse".to_owned().into()).await.unwrap();
        for (mib, passes, expected) in [
            (8, 2, Verdict::Right),
            (9, 2, Verdict::RightAndOutdated),
            (8, 3, Verdict::RightAndOutdated),
            (7, 1, Verdict::Right),
        ] {
            assert_eq!(
                verdict(&passwords(mib, passes), "correct horse", Some(&hash)).await,
                expected,
                "{mib} {passes}"
            );
        }
    }

    #[tokio::test]
    async fn bcrypt_hashes_of_every_prefix_verify_and_are_outdated() {
        let passwords = passwords(8, 1);
        let made = bcrypt::hash_with_result("correct horse", 4).unwrap();
        for version in [bcrypt::Version::TwoA, bcrypt::Version::TwoB, bcrypt::Version::TwoY] {
            let hash = made.format_for_version(version);
            assert_eq!(verdict(&passwords, "correct horse", Some(&hash)).await, Verdict::RightAndOutdated, "{hash}");
            assert_eq!(verdict(&passwords, "correct house", Some(&hash)).await, Verdict::Wrong, "{hash}");
        }
    }

    #[tokio::test]
    async fn an_unknown_user_is_wrong_whatever_the_password() {
        let passwords = passwords(8, 1);
        for password in ["", "correct horse", "nobody's password"] {
            assert_eq!(verdict(&passwords, password, None).await, Verdict::Wrong);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_does_not_wait_for_its_turn_for_ever() {
        let passwords = passwords(8, 1);
        let all = u32::try_from(passwords.turns.available_permits()).unwrap();
        let _taken = passwords.turns.acquire_many(all).await.unwrap();
        assert_eq!(passwords.hash(&"correct horse".to_owned().into()).await, Err(HashError::Busy));
    }
}
