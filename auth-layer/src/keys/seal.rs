//! Keys derived from a signing key. Only nodes that have that key have them.

use std::fmt;

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    hkdf, hmac,
};
use zeroize::Zeroizing;

use super::KeyError;

/// Seals and authenticates data with keys derived from a signing key.
pub(super) struct Sealer {
    aead: RandomizedNonceKey,
    /// Makes the nonces of [`dpop`](crate::dpop).
    nonce_key: hmac::Key,
    /// Makes tokens against forged requests.
    csrf_key: hmac::Key,
}

struct KeyLength;

impl hkdf::KeyType for KeyLength {
    fn len(&self) -> usize {
        AES_256_GCM.key_len()
    }
}

impl Sealer {
    pub(super) fn derive(private_key: &[u8]) -> Result<Self, KeyError> {
        let mut key = Zeroizing::new([0; 32]);
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(private_key);
        prk.expand(&[b"auth-layer sealed signatures v1"], KeyLength)
            .and_then(|okm| okm.fill(&mut *key))
            .map_err(|_| KeyError::Crypto)?;
        let aead = RandomizedNonceKey::new(&AES_256_GCM, &*key).map_err(|_| KeyError::Crypto)?;
        let mac_key =
            |label: &[u8]| prk.expand(&[label], hmac::HMAC_SHA256).map(hmac::Key::from).map_err(|_| KeyError::Crypto);
        let (nonce_key, csrf_key) = (mac_key(b"auth-layer DPoP nonces v1")?, mac_key(b"auth-layer CSRF tokens v1")?);
        Ok(Self { aead, nonce_key, csrf_key })
    }

    pub(super) fn nonce_key(&self) -> &hmac::Key {
        &self.nonce_key
    }

    pub(super) fn csrf_key(&self) -> &hmac::Key {
        &self.csrf_key
    }

    /// Returns nonce, ciphertext and tag. Opening needs the same `context`.
    pub(super) fn seal(&self, context: &[u8], plain: &[u8]) -> Result<Vec<u8>, KeyError> {
        let mut text = plain.to_vec();
        let nonce = self.aead.seal_in_place_append_tag(Aad::from(context), &mut text).map_err(|_| KeyError::Crypto)?;
        Ok([nonce.as_ref(), &text[..]].concat())
    }

    /// Opens sealed data. `None` for another key, another context or changed bytes.
    pub(super) fn unseal(&self, context: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, text) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = text.to_vec();
        self.aead.open_in_place(nonce, Aad::from(context), &mut text).ok().map(|plain| plain.to_vec())
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer")
    }
}
