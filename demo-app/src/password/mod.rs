//! Passwords: argon2id, off the async threads, bounded in time, memory and turns.
//!
//! # Hashes from elsewhere
//!
//! argon2 hashes of other parameters and bcrypt hashes (`$2a$`, `$2b$`, `$2y$`) verify, and are
//! renewed at the next sign-in. bcrypt looks at the first 72 bytes of a password only; the renewed
//! hash is of the whole password. A hash that cannot be read, or costs more than the caps in
//! [`stored`], is verified as an unknown user's would be, and is one error in the log.
//!
//! # Turns
//!
//! As many passwords are hashed at a time as there are cores. New accounts get half of these turns
//! at most, so that a flood of registrations leaves the other half to sign-ins. Hashes that need
//! more memory than ours get one turn at a time. A request that goes away while it waits has
//! nothing hashed. What has begun ends, and its verdict counts.
//!
//! # Memory
//!
//! Each turn needs 19 MiB. The blocks are kept and used again: freed and allocated anew by changing
//! threads, they stay with every arena of the allocator. They are not wiped: they hold the state of
//! argon2, not passwords.
//!
//! # What time tells
//!
//! An unknown user's password is verified against a decoy. bcrypt takes longer than argon2id here,
//! and an argon2id hash made with less takes shorter, so a sign-in is refused no sooner than after
//! a fixed time that is longer than either. What remains: a bcrypt hash of cost 13 or 14 takes
//! longer than that, on a slow or overloaded machine a lower cost, too. Until its user first signs
//! in, the time of a refusal can tell the account from an unknown one. So can a turn to hash that
//! others wait for.

mod memory;
mod stored;
mod text;
mod unreadable;

use std::{sync::Arc, time::Duration};

use argon2::Params;
use auth_layer::UserId;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

pub(crate) use self::text::{Password, check_password};
use self::{memory::Memory, stored::StoredHash, unreadable::UnreadableHashes};
use crate::rate_limit::Try;

/// How long a request waits for its turn to hash.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// Hashes and verifies passwords, as many at a time as there are cores.
#[derive(Clone, Debug)]
pub(crate) struct Passwords {
    params: Params,
    turns: Arc<Semaphore>,
    /// How many of the turns new accounts may have.
    registrations: Arc<Semaphore>,
    /// How many of the turns may need more memory than our own hashes do.
    large: Arc<Semaphore>,
    memory: Arc<Memory>,
    /// What the password of an unknown user is verified against, so that it takes as long as a
    /// known one's.
    decoy: Arc<StoredHash>,
    unreadable: Arc<UnreadableHashes>,
    /// How many turns were taken.
    #[cfg(test)]
    pub(crate) begun: Arc<std::sync::atomic::AtomicUsize>,
    /// While a test holds this, what has begun does not end.
    #[cfg(test)]
    pub(crate) gate: Arc<tokio::sync::Mutex<()>>,
}

/// What verifying a password found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is wrong.
    Wrong,
    /// It is right.
    Right,
    /// It is right, and its hash is not as one made today.
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

impl From<AcquireError> for HashError {
    fn from(_: AcquireError) -> Self {
        Self::Failed
    }
}

/// What it costs to hash a password, and so to guess one of a hash that was stolen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PasswordCost {
    /// OWASP's parameters for argon2id: 19 MiB, two passes, one lane.
    #[default]
    Owasp,
    /// Next to nothing, for tests that sign in thousands of times: whoever has the hashes has the
    /// passwords.
    DangerouslyLow,
}

/// A turn to hash. It ends with the work, also when nobody waits for the answer any more.
struct Turn {
    _turn: OwnedSemaphorePermit,
    _of_few: Option<OwnedSemaphorePermit>,
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
        let memory = Memory::new(params.block_count());
        let decoy = stored::hash(&params, b"nobody's password", &memory).ok_or(HashError::Failed)?;
        let decoy = StoredHash::read(&decoy, &params).map_err(|_| HashError::Failed)?;
        Ok(Self {
            params,
            turns: Arc::new(Semaphore::new(cores)),
            registrations: Arc::new(Semaphore::new((cores / 2).max(1))),
            large: Arc::new(Semaphore::new(1)),
            memory: Arc::new(memory),
            decoy: Arc::new(decoy),
            unreadable: Arc::default(),
            #[cfg(test)]
            begun: Arc::default(),
            #[cfg(test)]
            gate: Arc::default(),
        })
    }

    /// The hash of a password in NFC, a PHC string.
    pub(crate) async fn hash(&self, password: &SecretString) -> Result<String, HashError> {
        self.hash_in(self.turn(None).await?, password).await
    }

    /// The same for a new account, which waits for others of its kind first.
    pub(crate) async fn hash_for_registration(&self, password: &SecretString) -> Result<String, HashError> {
        self.hash_in(self.turn(Some(&self.registrations)).await?, password).await
    }

    async fn hash_in(&self, turn: Turn, password: &SecretString) -> Result<String, HashError> {
        let (params, memory, password) = (self.params.clone(), Arc::clone(&self.memory), password.clone());
        let hash = self.run(turn, move || stored::hash(&params, password.expose_secret().as_bytes(), &memory));
        hash.await?.ok_or(HashError::Failed)
    }

    /// Verifies a password against the stored hash of a user, or where there is no such user
    /// against a decoy, which is always wrong and takes as long.
    ///
    /// `attempt` is settled by the thread that hashes: it counts as wrong, or is given back, also
    /// when the caller has gone away. Where hashing never begins it is given back.
    pub(crate) async fn verify(
        &self,
        password: &Password,
        user: Option<(UserId, &str)>,
        attempt: Option<Try>,
    ) -> Result<Verdict, HashError> {
        let user = user.map(|(id, hash)| (id, StoredHash::read(hash, &self.params)));
        let blocks = user.as_ref().and_then(|(_, hash)| hash.as_ref().ok()).map_or(0, StoredHash::blocks);
        let turn = self.turn((blocks > self.params.block_count()).then_some(&self.large)).await?;
        let (password, passwords) = (password.clone(), self.clone());
        let work = move || {
            let attempt = attempt.map(Try::start);
            let verdict = passwords.verdict(&password, user);
            if let Some(attempt) = attempt
                && verdict != Verdict::Wrong
            {
                attempt.give_back();
            }
            verdict
        };
        self.run(turn, work).await
    }

    fn verdict(&self, password: &Password, user: Option<(UserId, Result<StoredHash, stored::Unreadable>)>) -> Verdict {
        let unreadable = match user {
            Some((id, hash)) => match hash.and_then(|hash| hash.verify(password, &self.memory)) {
                Ok(verdict) => {
                    self.unreadable.forget(&id);
                    return verdict;
                }
                Err(why) => Some((id, why)),
            },
            None => None,
        };
        // The decoy can be read, and nothing is said of whether the password is its.
        let _ = self.decoy.verify(password, &self.memory);
        if let Some((id, why)) = unreadable {
            self.unreadable.report(id, why);
        }
        Verdict::Wrong
    }

    /// Waits for a turn, and first for one of `few` where there are fewer of those.
    async fn turn(&self, few: Option<&Arc<Semaphore>>) -> Result<Turn, HashError> {
        let both = async {
            let of_few = match few {
                Some(few) => Some(Arc::clone(few).acquire_owned().await?),
                None => None,
            };
            Ok(Turn { _turn: Arc::clone(&self.turns).acquire_owned().await?, _of_few: of_few })
        };
        tokio::time::timeout(PATIENCE, both).await.map_err(|_| HashError::Busy)?
    }

    async fn run<T: Send + 'static>(
        &self,
        turn: Turn,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, HashError> {
        #[cfg(test)]
        self.begun.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        #[cfg(test)]
        let gate = Arc::clone(&self.gate);
        let work = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            #[cfg(test)]
            drop(gate.blocking_lock());
            work()
        });
        work.await.map_err(|_| HashError::Failed)
    }
}

#[cfg(test)]
mod tests;
