use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use arc_swap::{ArcSwap, Guard};

use super::BuildError;
use crate::{
    claims::{Audiences, Claims},
    keys::VerifyingKeys,
};

/// An issuer whose tokens have records in the store: its name, its audiences and its keys.
///
/// ```
/// # fn example(keys: auth_layer::keys::VerifyingKeys) {
/// use auth_layer::trust::Issuer;
///
/// let issuer = Issuer::recorded("https://auth.example", keys).audience("api");
/// # }
/// ```
#[derive(Debug)]
#[must_use]
pub struct Issuer {
    pub(crate) name: String,
    pub(crate) audiences: Audiences,
    keys: ArcSwap<VerifyingKeys>,
    /// A number for the keys as they are: every key that was there under this number is there now.
    among: AtomicU64,
}

impl Issuer {
    /// The issuer of this name (the `iss` of its tokens), which signs with these keys and records each token that it issues.
    pub fn recorded(name: impl Into<String>, keys: impl Into<VerifyingKeys>) -> Self {
        Self {
            name: name.into(),
            audiences: Audiences::default(),
            keys: ArcSwap::from_pointee(keys.into()),
            among: AtomicU64::new(next_number()),
        }
    }

    /// With an audience. A token for any of these is accepted, unless a layer [demands](crate::Demand::audience)
    /// another.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audiences.push(audience.into());
        self
    }

    /// Fails if it has no name or no audience.
    pub(crate) fn check(&self) -> Result<(), BuildError> {
        if self.name.is_empty() {
            return Err(BuildError::Empty("issuer's name"));
        }
        if self.audiences.is_empty() {
            return Err(BuildError::Missing("audience"));
        }
        if self.audiences.iter().any(String::is_empty) { Err(BuildError::Empty("audience")) } else { Ok(()) }
    }

    /// The keys as they are, and their number.
    pub(crate) fn keys(&self) -> (Guard<Arc<VerifyingKeys>>, u64) {
        // Read before the keys: verdicts of keys that are removed meanwhile have the old number.
        let among = self.among.load(Ordering::Acquire);
        (self.keys.load(), among)
    }

    /// Replaces the keys.
    pub(crate) fn set_keys(&self, keys: VerifyingKeys) {
        let new = Arc::new(keys);
        let old = self.keys.swap(Arc::clone(&new));
        if !new.has_all_of(&old) {
            self.among.store(next_number(), Ordering::Release);
        }
    }

    /// Whether these are claims of a token of this issuer, whose signature was verified by a key that is its own now.
    #[inline]
    pub(crate) fn has_verified(&self, claims: &Claims) -> bool {
        // This number is nobody else's.
        claims.signature().among == self.among.load(Ordering::Acquire) || self.has_key_of(claims)
    }

    #[cold]
    fn has_key_of(&self, claims: &Claims) -> bool {
        claims.iss == self.name && self.keys.load().has(&claims.signature().key)
    }
}

/// No two issuers of a process have one number.
fn next_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
