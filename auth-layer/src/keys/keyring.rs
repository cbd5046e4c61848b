use std::{fmt, sync::Arc};

use aws_lc_rs::constant_time::verify_slices_are_equal;

use super::{Algorithm, KeyError, SigningKey, VerifyingKey};

/// One key that signs and any number that verify, each with its own `kid`. Cloning copies two
/// pointers.
///
/// ```
/// use auth_layer::keys::{Keyring, SigningKey};
///
/// // Rotation: the new key signs, the old one still verifies.
/// let old = SigningKey::generate()?;
/// let ring = Keyring::new(SigningKey::generate()?).with_retired(old)?;
/// assert_eq!(ring.verifying_keys().count(), 2);
/// # Ok::<(), auth_layer::keys::KeyError>(())
/// ```
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

/// Keys that verify, for a service that issues nothing. Each has its own `kid`.
///
/// Cloning copies one pointer.
///
/// ```
/// use auth_layer::keys::{Algorithm, KeyError, VerifyingKey, VerifyingKeys};
///
/// # fn example(current: &[u8], next: &[u8]) -> Result<VerifyingKeys, KeyError> {
/// let read = |pem| VerifyingKey::from_pem(Algorithm::EdDsa, pem);
/// VerifyingKeys::new([read(current)?, read(next)?])
/// # }
/// ```
#[derive(Clone, Default)]
pub struct VerifyingKeys(Arc<Vec<VerifyingKey>>);

impl VerifyingKeys {
    /// Creates a set of these keys.
    ///
    /// # Errors
    ///
    /// [`KeyError::DuplicateKid`] if two have the same `kid`.
    pub fn new(keys: impl IntoIterator<Item = VerifyingKey>) -> Result<Self, KeyError> {
        keys.into_iter().try_fold(Self::default(), Self::with)
    }

    /// Adds a key.
    ///
    /// # Errors
    ///
    /// [`KeyError::DuplicateKid`] if a key with this `kid` is there already.
    pub fn with(mut self, key: VerifyingKey) -> Result<Self, KeyError> {
        if self.get(key.kid()).is_some() {
            return Err(KeyError::DuplicateKid);
        }
        Arc::make_mut(&mut self.0).push(key);
        Ok(self)
    }

    /// Returns the keys, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = &VerifyingKey> {
        self.0.iter()
    }

    /// Whether there is no key.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the keys for these algorithms.
    pub(crate) fn only(&self, algorithms: &[Algorithm]) -> Self {
        Self(Arc::new(self.iter().filter(|key| algorithms.contains(&key.algorithm())).cloned().collect()))
    }

    /// Returns the only key for this algorithm; `None` if there are several.
    pub(crate) fn only_one_for(&self, algorithm: Algorithm) -> Option<&VerifyingKey> {
        let mut keys = self.iter().filter(|key| key.algorithm() == algorithm);
        keys.next().filter(|_| keys.next().is_none())
    }

    /// Returns the key with this `kid`. There are few keys, so no index is needed.
    pub(crate) fn get(&self, kid: &str) -> Option<&VerifyingKey> {
        self.iter().find(|key| key.kid() == kid)
    }

    /// Whether this key is in the set, by `kid` and thumbprint.
    pub(crate) fn contains(&self, key: &VerifyingKey) -> bool {
        self.get(key.kid()).is_some_and(|here| here.thumbprint() == key.thumbprint())
    }

    /// Whether every key of `other` is in the set.
    pub(crate) fn contains_all(&self, other: &Self) -> bool {
        other.iter().all(|key| self.contains(key))
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
    /// Creates a ring whose only key signs and verifies.
    pub fn new(signing: SigningKey) -> Self {
        let verifying = signing.verifying_key().into();
        Self { signing: Arc::new(SigningKeys { current: signing, retired: Vec::new() }), verifying }
    }

    /// Adds a key that verifies.
    ///
    /// # Errors
    ///
    /// [`KeyError::DuplicateKid`] if a key with this `kid` is there already.
    ///
    /// ```
    /// # use auth_layer::keys::{KeyError, Keyring, SigningKey, VerifyingKey};
    /// # fn example(key: SigningKey, shared: VerifyingKey) -> Result<Keyring, KeyError> {
    /// let keys = Keyring::new(key).with_verifying(shared)?;
    /// assert_eq!(keys.verifying().iter().count(), 2);
    /// # Ok(keys)
    /// # }
    /// ```
    pub fn with_verifying(self, key: VerifyingKey) -> Result<Self, KeyError> {
        Ok(Self { verifying: self.verifying.with(key)?, ..self })
    }

    /// Adds a signing key that signs nothing new but still verifies.
    ///
    /// Add a retired key: with it a retried refresh gets the same bytes again. Or add a key that is
    /// published before it signs.
    ///
    /// # Errors
    ///
    /// [`KeyError::DuplicateKid`] if a key with this `kid` is there already.
    pub fn with_retired(self, key: SigningKey) -> Result<Self, KeyError> {
        let mut ring = self.with_verifying(key.verifying_key())?;
        Arc::make_mut(&mut ring.signing).retired.push(key);
        Ok(ring)
    }

    /// Returns all keys that verify, the signing one first, as a JWK set publishes them.
    pub fn verifying_keys(&self) -> impl Iterator<Item = &VerifyingKey> {
        self.verifying.iter()
    }

    /// Returns the verifying keys, for a service that issues nothing.
    pub fn verifying(&self) -> &VerifyingKeys {
        &self.verifying
    }

    /// Returns the key that signs.
    pub(crate) fn signing(&self) -> &SigningKey {
        &self.signing.current
    }

    /// Returns the signing key with this `kid`, current or retired.
    pub(crate) fn signing_key(&self, kid: &str) -> Option<&SigningKey> {
        self.signing_keys().find(|key| key.kid() == kid)
    }

    /// Returns true if `signature` is what `key`'s private half makes of `message`, and if the ring has
    /// that half of an Ed25519 key. False decides nothing.
    ///
    /// Ed25519 makes one signature of a message (RFC 8032 §5.1.6), in a third of the time that it
    /// takes to verify one. The two are compared in constant time.
    pub(crate) fn has_signed(&self, key: &VerifyingKey, message: &[u8], signature: &[u8]) -> bool {
        if key.algorithm() != Algorithm::EdDsa {
            return false;
        }
        let own = self.signing_key(key.kid()).filter(|own| own.verifying_key().thumbprint() == key.thumbprint());
        let made = own.and_then(|own| own.sign(message).ok());
        made.is_some_and(|made| verify_slices_are_equal(&made, signature).is_ok())
    }

    /// Returns the signing keys: the current one, then the retired ones.
    pub(crate) fn signing_keys(&self) -> impl Iterator<Item = &SigningKey> {
        std::iter::once(&self.signing.current).chain(&self.signing.retired)
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
