use std::{
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
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
    keys: ArcSwap<NumberedKeys>,
    /// A copy of the number of the current keys, cheaper to read.
    key_set: AtomicU64,
}

/// A key set with its number, so that nobody sees the one without the other.
#[derive(Debug)]
pub(crate) struct NumberedKeys {
    keys: VerifyingKeys,
    /// It changes when a key is removed, not when one is added.
    number: u64,
}

impl Deref for NumberedKeys {
    type Target = VerifyingKeys;

    fn deref(&self) -> &VerifyingKeys {
        &self.keys
    }
}

impl Issuer {
    /// Creates an issuer that records each token it issues.
    ///
    /// `name` is the `iss` of its tokens; `keys` verify their signatures.
    pub fn recorded(name: impl Into<String>, keys: impl Into<VerifyingKeys>) -> Self {
        let keys = NumberedKeys { keys: keys.into(), number: next_number() };
        Self {
            name: name.into(),
            audiences: Audiences::default(),
            key_set: AtomicU64::new(keys.number),
            keys: ArcSwap::from_pointee(keys),
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
    pub(crate) fn keys(&self) -> (Guard<Arc<NumberedKeys>>, u64) {
        let keys = self.keys.load();
        let number = keys.number;
        (keys, number)
    }

    /// Replaces the keys. Calls must not overlap.
    pub(crate) fn set_keys(&self, keys: VerifyingKeys) {
        let old = self.keys.load();
        let number = if keys.contains_all(&old) { old.number } else { next_number() };
        self.keys.store(Arc::new(NumberedKeys { keys, number }));
        self.key_set.store(number, Ordering::Relaxed);
    }

    /// Whether a current key of this issuer verified the signature of these claims.
    #[inline]
    pub(crate) fn has_verified(&self, claims: &Claims) -> bool {
        // Numbers are unique in the process, so an equal number means this issuer.
        claims.signature().key_set == self.key_set.load(Ordering::Relaxed) || self.has_key_of(claims)
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
