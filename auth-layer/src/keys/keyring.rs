use std::{fmt, sync::Arc};

use super::{KeyError, SigningKey, VerifyingKey};

/// One key that signs and any number that verify, no two with one `kid`. Cloning it copies one pointer.
#[derive(Clone)]
pub struct Keyring(Arc<Keys>);

#[derive(Clone)]
struct Keys {
    signing: SigningKey,
    retired: Vec<SigningKey>,
    verifying: Vec<VerifyingKey>,
}

impl Keyring {
    /// A ring whose only key signs and verifies.
    pub fn new(signing: SigningKey) -> Self {
        let verifying = vec![signing.verifying_key()];
        Self(Arc::new(Keys { signing, retired: Vec::new(), verifying }))
    }

    /// With a key that verifies.
    pub fn with_verifying(mut self, key: VerifyingKey) -> Result<Self, KeyError> {
        if self.verifier(key.kid()).is_some() {
            return Err(KeyError::DuplicateKid);
        }
        Arc::make_mut(&mut self.0).verifying.push(key);
        Ok(self)
    }

    /// With a key that verifies and signs nothing new: one that no longer signs, and is kept so that a retried refresh gets
    /// the very bytes that it signed, or one that is published ahead of its first signature.
    pub fn with_retired(self, key: SigningKey) -> Result<Self, KeyError> {
        let mut ring = self.with_verifying(key.verifying_key())?;
        Arc::make_mut(&mut ring.0).retired.push(key);
        Ok(ring)
    }

    /// All keys that verify, the signing one first: what a JWK set publishes.
    pub fn verifying_keys(&self) -> impl Iterator<Item = &VerifyingKey> {
        self.0.verifying.iter()
    }

    /// Whether every key that verifies in `other` verifies here.
    pub(crate) fn has_all_of(&self, other: &Self) -> bool {
        other
            .verifying_keys()
            .all(|key| self.verifier(key.kid()).is_some_and(|here| here.thumbprint() == key.thumbprint()))
    }

    /// The key that signs.
    pub(crate) fn signing(&self) -> &SigningKey {
        &self.0.signing
    }

    /// The key that signed as `kid`.
    pub(crate) fn signer(&self, kid: &str) -> Option<&SigningKey> {
        std::iter::once(&self.0.signing).chain(&self.0.retired).find(|key| key.kid() == kid)
    }

    /// The key that verifies for `kid`. Rings are small: no index is worth its upkeep.
    pub(crate) fn verifier(&self, kid: &str) -> Option<&VerifyingKey> {
        self.0.verifying.iter().find(|key| key.kid() == kid)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("signing", &self.0.signing).field("verifying", &self.0.verifying).finish()
    }
}
