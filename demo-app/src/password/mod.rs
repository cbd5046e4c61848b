//! Hashes and verifies passwords with argon2id, off the async threads and bounded in time and
//! memory.
//!
//! # Hashes from elsewhere
//!
//! argon2 hashes with other parameters and bcrypt hashes (`$2a$`, `$2b$`, `$2y$`) verify. The next
//! sign-in replaces them. bcrypt reads only the first 72 bytes of a password; the new hash covers
//! all of it. A hash that is unreadable or exceeds the caps in [`stored`] is a wrong password to
//! the client and one error in the log.
//!
//! # Permits
//!
//! One password per core is hashed at a time. Registrations get at most half of these permits, so
//! that a flood of them leaves the other half to sign-ins. Hashes that need more memory than ours
//! get one permit at a time. A request that is dropped while it waits hashes nothing. A hash that
//! has begun is finished, and its result counts.
//!
//! # Memory
//!
//! Each permit needs 19 MiB. The blocks are reused: with fresh allocations on changing threads,
//! every arena of the allocator would keep some. They are not wiped, because they hold argon2's
//! state and no password.
//!
//! # Timing
//!
//! An unknown user's password is verified against a decoy. A bcrypt hash takes longer than ours and
//! a weaker argon2id hash shorter. So a refusal comes no sooner than after a fixed time, which is
//! longer than either.
//!
//! What remains: a bcrypt hash of cost 13 or 14 takes longer than that, and on a slow or overloaded
//! machine a lower cost does too. Until such a user first signs in, the time of a refusal
//! distinguishes the account from an unknown one. So does a wait for a permit.

mod memory;
mod stored;
mod text;
mod unusable;

use std::{sync::Arc, time::Duration};

use argon2::Params;
use auth_layer::UserId;
use secrecy::{ExposeSecret, SecretString};
use tokio::{
    sync::{AcquireError, OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

pub(crate) use self::text::{Password, check_password};
use self::{memory::MemoryPool, stored::StoredHash, unusable::UnusableHashes};
use crate::{
    rate_limit::Attempt,
    telemetry::{Counted, count_refused_hash, record_hash, record_hash_wait},
};

/// Fails if no password can be verified against a stored hash. The reason completes "the hash is".
pub(crate) fn check_hash(stored: &str) -> Result<(), String> {
    StoredHash::read(stored, &Params::DEFAULT).map(drop).map_err(|unusable| unusable.to_string())
}

/// The longest wait of a request for its permit.
const PERMIT_TIMEOUT: Duration = Duration::from_millis(1_500);

/// Hashes and verifies passwords, one per core at a time.
#[derive(Clone, Debug)]
pub(crate) struct Passwords {
    params: Params,
    permits: Arc<Semaphore>,
    /// The permits that registrations may take.
    registrations: Arc<Semaphore>,
    /// The permits for hashes that need more memory than our own.
    large: Arc<Semaphore>,
    memory: Arc<MemoryPool>,
    /// The hash for unknown users, so that they take as long as known ones.
    decoy: Arc<StoredHash>,
    unusable: Arc<UnusableHashes>,
    /// The number of hashes started.
    #[cfg(test)]
    pub(crate) hashes_started: Arc<std::sync::atomic::AtomicUsize>,
    /// While a test holds this, hashes that have begun do not end.
    #[cfg(test)]
    pub(crate) gate: Arc<tokio::sync::Mutex<()>>,
}

/// The result of verifying a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PasswordCheck {
    /// The password is wrong.
    Wrong,
    /// The password is right.
    Right,
    /// The password is right, and its hash must be replaced.
    RightAndOutdated,
}

/// The reason why a password could not be hashed.
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

/// The cost of hashing a password, and so of guessing one from a stolen hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PasswordCost {
    /// OWASP's parameters for argon2id: 19 MiB, two passes, one lane.
    #[default]
    Owasp,
    /// Nearly free, for tests with thousands of sign-ins. A stolen hash reveals its password.
    DangerouslyLow,
}

/// A permit to hash. It ends with the work, even when the caller is gone.
struct HashPermit {
    _permit: OwnedSemaphorePermit,
    _pool_permit: Option<OwnedSemaphorePermit>,
    _running: Counted,
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
        let memory = MemoryPool::new(params.block_count());
        let decoy = stored::hash(&params, b"nobody's password", &memory).ok_or(HashError::Failed)?;
        let decoy = StoredHash::read(&decoy, &params).map_err(|_| HashError::Failed)?;
        Ok(Self {
            params,
            permits: Arc::new(Semaphore::new(cores)),
            registrations: Arc::new(Semaphore::new((cores / 2).max(1))),
            large: Arc::new(Semaphore::new(1)),
            memory: Arc::new(memory),
            decoy: Arc::new(decoy),
            unusable: Arc::default(),
            #[cfg(test)]
            hashes_started: Arc::default(),
            #[cfg(test)]
            gate: Arc::default(),
        })
    }

    /// Hashes a password in NFC to a PHC string.
    pub(crate) async fn hash(&self, password: &SecretString) -> Result<String, HashError> {
        self.hash_in(self.permit(None).await?, password).await
    }

    /// Hashes the password of a new account, which first waits for other registrations.
    pub(crate) async fn hash_for_registration(&self, password: &SecretString) -> Result<String, HashError> {
        self.hash_in(self.permit(Some(&self.registrations)).await?, password).await
    }

    async fn hash_in(&self, permit: HashPermit, password: &SecretString) -> Result<String, HashError> {
        let (params, memory, password) = (self.params.clone(), Arc::clone(&self.memory), password.clone());
        let hash = self.run(permit, move || stored::hash(&params, password.expose_secret().as_bytes(), &memory));
        hash.await?.ok_or(HashError::Failed)
    }

    /// Verifies a password against a user's stored hash. Without a user it verifies against a
    /// decoy, which takes as long and is always wrong.
    ///
    /// The hashing thread settles `attempt`: it counts as wrong or is refunded, even when the
    /// caller is gone. It is refunded if hashing never begins.
    pub(crate) async fn verify(
        &self,
        password: &Password,
        user: Option<(UserId, &str)>,
        attempt: Option<Attempt>,
    ) -> Result<PasswordCheck, HashError> {
        let user = user.map(|(id, hash)| (id, StoredHash::read(hash, &self.params)));
        let blocks = user.as_ref().and_then(|(_, hash)| hash.as_ref().ok()).map_or(0, StoredHash::blocks);
        let permit = self.permit((blocks > self.params.block_count()).then_some(&self.large)).await?;
        let (password, passwords) = (password.clone(), self.clone());
        let work = move || {
            let attempt = attempt.map(Attempt::start);
            let check = passwords.check(&password, user);
            if let Some(attempt) = attempt
                && check != PasswordCheck::Wrong
            {
                attempt.refund();
            }
            check
        };
        self.run(permit, work).await
    }

    fn check(
        &self,
        password: &Password,
        user: Option<(UserId, Result<StoredHash, stored::UnusableHash>)>,
    ) -> PasswordCheck {
        let unusable = match user {
            Some((id, hash)) => match hash.and_then(|hash| hash.verify(password, &self.memory)) {
                Ok(check) => {
                    self.unusable.forget(&id);
                    return check;
                }
                Err(why) => Some((id, why)),
            },
            None => None,
        };
        // The result does not matter: this call only takes the time.
        let _ = self.decoy.verify(password, &self.memory);
        if let Some((id, why)) = unusable {
            self.unusable.report(id, why);
        }
        PasswordCheck::Wrong
    }

    /// Waits until no hash runs or waits for the test's gate.
    #[cfg(test)]
    pub(crate) async fn idle(&self) {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let all = u32::try_from(cores).expect("there are fewer cores");
        drop(self.permits.acquire_many(all).await.expect("it is never closed"));
    }

    /// Waits for a permit; with `pool`, first for one of that smaller pool.
    async fn permit(&self, pool: Option<&Arc<Semaphore>>) -> Result<HashPermit, HashError> {
        let both = async {
            let pool_permit = match pool {
                Some(pool) => Some(Arc::clone(pool).acquire_owned().await?),
                None => None,
            };
            let permit = Arc::clone(&self.permits).acquire_owned().await?;
            Ok(HashPermit { _permit: permit, _pool_permit: pool_permit, _running: Counted::running_hash() })
        };
        let (_waiting, begun) = (Counted::waiting_hash(), Instant::now());
        let Ok(permit) = tokio::time::timeout(PERMIT_TIMEOUT, both).await else {
            count_refused_hash();
            return Err(HashError::Busy);
        };
        record_hash_wait(begun.elapsed());
        permit
    }

    async fn run<T: Send + 'static>(
        &self,
        permit: HashPermit,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, HashError> {
        #[cfg(test)]
        self.hashes_started.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        #[cfg(test)]
        let gate = Arc::clone(&self.gate);
        let work = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            #[cfg(test)]
            drop(gate.blocking_lock());
            let begun = Instant::now();
            let done = work();
            record_hash(begun.elapsed());
            done
        });
        work.await.map_err(|_| HashError::Failed)
    }
}

#[cfg(test)]
mod tests;
