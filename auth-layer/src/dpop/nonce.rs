use std::{fmt, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use aws_lc_rs::{constant_time::verify_slices_are_equal, hmac};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::HeaderValue;

use crate::{
    clock::Timestamp,
    keys::{KeyError, Keyring, hmac_key},
};

/// How long a nonce is the current one.
const SLOT: Duration = Duration::from_mins(1);

/// How many bytes of the MAC are a nonce. They take 24 characters, without unused bits.
const BYTES: usize = 18;

/// Makes and checks nonces for proofs (RFC 9449 §8, §9), without a store.
///
/// A nonce is a MAC of the time, rounded down to a minute. It is accepted in its minute and the
/// next one. Every node with the same key makes and accepts the same nonces.
///
/// A nonce proves that a client signed its proof lately. It does not stop replays: clients may use
/// one several times.
///
/// ```
/// use std::time::Duration;
///
/// use auth_layer::{
///     clock::{Clock, ManualClock, Timestamp},
///     dpop::Nonces,
///     keys::{Keyring, SigningKey},
/// };
///
/// let nonces = Nonces::from(&Keyring::new(SigningKey::generate()?));
/// let clock = ManualClock::starting_at(Timestamp::UNIX_EPOCH);
/// let nonce = nonces.current(clock.now());
/// assert!(nonces.accepts(nonce.as_str(), clock.now()));
///
/// clock.advance(Duration::from_secs(120));
/// assert!(!nonces.accepts(nonce.as_str(), clock.now()));
/// # Ok::<(), auth_layer::keys::KeyError>(())
/// ```
#[derive(Clone)]
pub struct Nonces(Arc<ArcSwap<NonceKeys>>);

struct NonceKeys {
    /// Makes nonces.
    current: hmac::Key,
    /// Only accept nonces.
    retired: Vec<hmac::Key>,
}

impl Nonces {
    /// Creates nonces from a secret of 32 bytes or more, for a server that has no signing key.
    ///
    /// # Errors
    ///
    /// [`KeyError::ShortSecret`] if the secret is shorter, [`KeyError::SecretIsPem`] if it is a
    /// PEM.
    pub fn from_secret(secret: &[u8]) -> Result<Self, KeyError> {
        Ok(Self::with(NonceKeys { current: hmac_key(secret)?, retired: Vec::new() }))
    }

    fn with(keys: NonceKeys) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(keys)))
    }

    /// Replaces the keys by those of a ring, in all clones. A nonce survives the rotation of its
    /// key.
    ///
    /// ```
    /// # use auth_layer::{Authority, dpop::Nonces, keys::Keyring};
    /// fn rotate(authority: &Authority, nonces: &Nonces, keys: Keyring) {
    ///     nonces.set_keys(&keys);
    ///     authority.set_keys(keys);
    /// }
    /// ```
    pub fn set_keys(&self, ring: &Keyring) {
        self.0.store(Arc::new(NonceKeys::from(ring)));
    }

    /// Returns the nonce for clients to use from now on.
    pub fn current(&self, now: Timestamp) -> Nonce {
        Nonce::of(&self.0.load().current, slot(now))
    }

    /// Whether this is the current nonce or the one before it.
    pub fn accepts(&self, nonce: &str, now: Timestamp) -> bool {
        let (slot, keys) = (slot(now), self.0.load());
        let mut keys = std::iter::once(&keys.current).chain(&keys.retired);
        keys.any(|key| [slot, slot - 1].into_iter().any(|slot| Nonce::of(key, slot).is(nonce)))
    }
}

/// The keys are derived from the signing keys of the ring.
impl From<&Keyring> for Nonces {
    fn from(ring: &Keyring) -> Self {
        Self::with(ring.into())
    }
}

impl From<&Keyring> for NonceKeys {
    fn from(ring: &Keyring) -> Self {
        let mut keys = ring.signing_keys().map(|key| key.nonce_key().clone());
        let current = keys.next().expect("a ring has a key that signs");
        Self { current, retired: keys.collect() }
    }
}

impl fmt::Debug for Nonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nonces").finish_non_exhaustive()
    }
}

/// A nonce for the `DPoP-Nonce` header (RFC 9449 §8.1). `Debug` does not show it.
#[derive(Clone)]
pub struct Nonce(String);

impl Nonce {
    //= RFC 9449 §8
    fn of(key: &hmac::Key, slot: i64) -> Self {
        let mut mac = hmac::Context::with_key(key);
        // No signing input of a JWT has a zero byte, so a secret may serve for HS256 as well.
        mac.update(b"dpop nonce\0");
        mac.update(&slot.to_be_bytes());
        Self(URL_SAFE_NO_PAD.encode(&mac.sign().as_ref()[..BYTES]))
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the value of the `DPoP-Nonce` header.
    #[expect(clippy::missing_panics_doc, reason = "base64url is always a header value")]
    pub fn to_header_value(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).expect("base64url is visible ASCII")
    }

    fn is(&self, text: &str) -> bool {
        verify_slices_are_equal(self.0.as_bytes(), text.as_bytes()).is_ok()
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nonce")
    }
}

fn slot(now: Timestamp) -> i64 {
    now.timestamp().div_euclid(SLOT.as_secs().cast_signed())
}
