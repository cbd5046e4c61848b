//! Secrets and their hashes.

use std::fmt;

use aws_lc_rs::{constant_time::verify_slices_are_equal, rand};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::{
    hash::{bytes_32, sha256},
    keys::KeyError,
};

/// Text that must not leave: a client secret, code, verifier, refresh token or password.
///
/// `Debug` hides it, and it is overwritten when it is dropped.
///
/// ```
/// use auth_layer::oauth::Secret;
///
/// let secret = Secret::generate()?;
/// assert_eq!(secret.expose().len(), 43);
/// assert_eq!(format!("{secret:?}"), "Secret");
///
/// let stored = secret.hash();
/// assert!(stored.verify(&secret) && !stored.verify(&Secret::from("guess")));
/// # Ok::<(), auth_layer::keys::KeyError>(())
/// ```
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Generates 256 random bits, in base64url: 43 characters.
    ///
    /// # Errors
    ///
    /// [`KeyError::Crypto`] if the system has no randomness.
    pub fn generate() -> Result<Self, KeyError> {
        //= RFC 6749 §10.10
        let mut bytes = Zeroizing::new([0; 32]);
        rand::fill(&mut *bytes).map_err(|_| KeyError::Crypto)?;
        Ok(Self::from(URL_SAFE_NO_PAD.encode(*bytes)))
    }

    /// Returns the text.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Returns its hash, to store or to look up.
    pub fn hash(&self) -> SecretHash {
        SecretHash(sha256(&[self.0.as_bytes()]))
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// The SHA-256 of a [`Secret`]. Its serialised form is 43 characters of base64url.
///
/// A plain hash protects [generated](Secret::generate) secrets. It does not protect passwords.
///
/// ```
/// use auth_layer::oauth::{Secret, SecretHash};
///
/// let stored = serde_json::to_string(&Secret::from("secret").hash())?;
/// assert_eq!(stored, r#""K7gNU3sdo-OL0wNhqoVWhr3g6s1xYv72ol_pe_Unols""#);
/// let hash: SecretHash = serde_json::from_str(&stored)?;
/// assert!(hash.verify(&Secret::from("secret")));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Eq)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// Whether this is the secret's hash. Compares in constant time.
    pub fn verify(&self, secret: &Secret) -> bool {
        *self == secret.hash()
    }

    /// Returns the 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for SecretHash {
    /// Compares in constant time.
    fn eq(&self, other: &Self) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash")
    }
}

impl Serialize for SecretHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl<'de> Deserialize<'de> for SecretHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let bytes = bytes_32(&text).ok_or_else(|| serde::de::Error::custom("not 32 bytes in base64url"))?;
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oauth_secrets_differ_and_are_hidden() {
        let (one, other) = (Secret::generate().unwrap(), Secret::generate().unwrap());
        assert_ne!(one.expose(), other.expose());
        assert!(bytes_32(one.expose()).is_some() && bytes_32(other.expose()).is_some(), "256 bits each");
        assert!(one.hash().verify(&one) && !one.hash().verify(&other));
        assert_eq!(format!("{one:?} {:?}", one.hash()), "Secret SecretHash");
    }

    #[test]
    fn oauth_secret_hash_is_read_in_one_form_only() {
        let text = URL_SAFE_NO_PAD.encode([0xFF; 32]);
        assert_eq!(bytes_32(&text), Some([0xFF; 32]));
        let (start, _) = text.split_at(42);
        // The last of 43 characters has two bits of no byte: they are zero.
        for other in [format!("{start}9"), format!("{text}="), start.to_owned(), format!("{start}+"), String::new()] {
            assert_eq!(bytes_32(&other), None, "{other}");
            assert!(serde_json::from_value::<SecretHash>(other.clone().into()).is_err(), "{other}");
        }
    }
}
