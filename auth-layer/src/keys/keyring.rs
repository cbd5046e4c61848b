use std::{fmt, sync::Arc};

use super::{KeyError, SigningKey, VerifyingKey};

/// One key that signs and any number that verify, no two with one `kid`. Cloning it copies two pointers.
#[derive(Clone)]
pub struct Keyring {
    signing: Arc<SigningKeys>,
    verifying: VerifyingKeys,
}

#[derive(Clone)]
struct SigningKeys {
    current: SigningKey,
    retired: Vec<SigningKey>,
}

/// Keys that verify, no two with one `kid`: what a service needs that issues nothing. Cloning it copies one pointer.
#[derive(Clone, Default)]
pub struct VerifyingKeys(Arc<Vec<VerifyingKey>>);

impl VerifyingKeys {
    /// These keys.
    ///
    /// # Errors
    ///
    /// [`KeyError::DuplicateKid`] if two have one `kid`.
    pub fn new(keys: impl IntoIterator<Item = VerifyingKey>) -> Result<Self, KeyError> {
        keys.into_iter().try_fold(Self::default(), Self::with)
    }

    /// With one key more.
    ///
    /// # Errors
    ///
    /// [`KeyError::DuplicateKid`] if there is one of its `kid`.
    pub fn with(mut self, key: VerifyingKey) -> Result<Self, KeyError> {
        if self.get(key.kid()).is_some() {
            return Err(KeyError::DuplicateKid);
        }
        Arc::make_mut(&mut self.0).push(key);
        Ok(self)
    }

    /// The keys, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = &VerifyingKey> {
        self.0.iter()
    }

    /// The key of this `kid`. There are few: no index is worth its upkeep.
    pub(crate) fn get(&self, kid: &str) -> Option<&VerifyingKey> {
        self.iter().find(|key| key.kid() == kid)
    }

    /// Whether this very key is one of them.
    pub(crate) fn has(&self, key: &VerifyingKey) -> bool {
        self.get(key.kid()).is_some_and(|here| here.thumbprint() == key.thumbprint())
    }

    /// Whether every key of `other` is one of them.
    pub(crate) fn has_all_of(&self, other: &Self) -> bool {
        other.iter().all(|key| self.has(key))
    }
}

impl fmt::Debug for VerifyingKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl From<VerifyingKey> for VerifyingKeys {
    fn from(key: VerifyingKey) -> Self {
        Self(Arc::new(vec![key]))
    }
}

impl Keyring {
    /// A ring whose only key signs and verifies.
    pub fn new(signing: SigningKey) -> Self {
        let verifying = signing.verifying_key().into();
        Self { signing: Arc::new(SigningKeys { current: signing, retired: Vec::new() }), verifying }
    }

    /// With a key that verifies.
    pub fn with_verifying(self, key: VerifyingKey) -> Result<Self, KeyError> {
        Ok(Self { verifying: self.verifying.with(key)?, ..self })
    }

    /// With a key that verifies and signs nothing new: one that no longer signs, and is kept so that a retried refresh gets
    /// the very bytes that it signed, or one that is published ahead of its first signature.
    pub fn with_retired(self, key: SigningKey) -> Result<Self, KeyError> {
        let mut ring = self.with_verifying(key.verifying_key())?;
        Arc::make_mut(&mut ring.signing).retired.push(key);
        Ok(ring)
    }

    /// All keys that verify, the signing one first: what a JWK set publishes.
    pub fn verifying_keys(&self) -> impl Iterator<Item = &VerifyingKey> {
        self.verifying.iter()
    }

    /// The same, for a service that issues nothing.
    pub fn verifying(&self) -> &VerifyingKeys {
        &self.verifying
    }

    /// The key that signs.
    pub(crate) fn signing(&self) -> &SigningKey {
        &self.signing.current
    }

    /// The key that signed as `kid`.
    pub(crate) fn signer(&self, kid: &str) -> Option<&SigningKey> {
        std::iter::once(&self.signing.current).chain(&self.signing.retired).find(|key| key.kid() == kid)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("signing", self.signing()).field("verifying", &self.verifying).finish()
    }
}

impl From<&Keyring> for VerifyingKeys {
    fn from(ring: &Keyring) -> Self {
        ring.verifying.clone()
    }
}
