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

/// An issuer whose tokens have records in the store: a name, audiences and keys.
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
    /// The number of the current key set. It changes when a key is removed, not when one is added.
    key_set: AtomicU64,
}

impl Issuer {
    /// Creates an issuer that records each token it issues.
    ///
    /// `name` is the `iss` of its tokens; `keys` verify their signatures.
    pub fn recorded(name: impl Into<String>, keys: impl Into<VerifyingKeys>) -> Self {
        Self {
            name: name.into(),
            audiences: Audiences::default(),
            keys: ArcSwap::from_pointee(keys.into()),
            key_set: AtomicU64::new(next_number()),
        }
    }

    /// Adds an audience. At least one is required.
    ///
    /// A token for any of them is accepted, unless a layer [demands](crate::Demand::audience)
    /// another.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audiences.push(audience.into());
        self
    }

    /// Fails if the issuer has no name or no audience, or an empty audience.
    pub(crate) fn check(&self) -> Result<(), BuildError> {
        if self.name.is_empty() {
            return Err(BuildError::Empty("issuer's name"));
        }
        if self.audiences.is_empty() {
            return Err(BuildError::Missing("audience"));
        }
        if self.audiences.iter().any(String::is_empty) { Err(BuildError::Empty("audience")) } else { Ok(()) }
    }

    /// Returns the current keys and their number.
    pub(crate) fn keys(&self) -> (Guard<Arc<VerifyingKeys>>, u64) {
        // Read before the keys: if a key is removed in between, the verdict keeps the old number.
        let key_set = self.key_set.load(Ordering::Acquire);
        (self.keys.load(), key_set)
    }

    /// Replaces the keys.
    pub(crate) fn set_keys(&self, keys: VerifyingKeys) {
        let new = Arc::new(keys);
        let old = self.keys.swap(Arc::clone(&new));
        if !new.contains_all(&old) {
            self.key_set.store(next_number(), Ordering::Release);
        }
    }

    /// Whether a current key of this issuer verified the signature of these claims.
    #[inline]
    pub(crate) fn has_verified(&self, claims: &Claims) -> bool {
        // Numbers are unique in the process, so an equal number means this issuer.
        claims.signature().key_set == self.key_set.load(Ordering::Acquire) || self.has_key_of(claims)
    }

    #[cold]
    fn has_key_of(&self, claims: &Claims) -> bool {
        claims.iss == self.name && self.keys.load().contains(&claims.signature().key)
    }
}

/// Numbers are unique over all issuers of the process.
fn next_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
