//! Remembers refresh tokens that this authority has signed, so that their signatures need not be
//! verified.

use std::fmt;

use highway::{HighwayHash, HighwayHasher};
use quick_cache::sync::Cache;

use crate::{hash::highway_secret, keys::VerifyingKey};

/// How many tokens are remembered: a few megabytes. A forgotten one is verified as any other.
const REMEMBERED: usize = 100_000;

/// Tokens that were signed, each by a 128-bit `HighwayHash` of key and token.
///
/// The hash has a secret of this process, so nobody can construct a token that collides with one of
/// these. That a signature is right never changes. All else about a token is checked each time.
pub(super) struct SignedTokens {
    secret: highway::Key,
    tags: Cache<[u64; 2], ()>,
}

impl SignedTokens {
    /// Creates an empty memory; `None` without randomness.
    pub(super) fn new() -> Option<Self> {
        Some(Self { secret: highway_secret()?, tags: Cache::new(REMEMBERED) })
    }

    /// Remembers that this key has signed a token.
    pub(super) fn insert(&self, key: &VerifyingKey, token: &str) {
        self.tags.insert(self.tag(key, token), ());
    }

    /// Whether this key is known to have signed a token. False decides nothing.
    pub(super) fn contains(&self, key: &VerifyingKey, token: &str) -> bool {
        self.tags.get(&self.tag(key, token)).is_some()
    }

    fn tag(&self, key: &VerifyingKey, token: &str) -> [u64; 2] {
        let mut hasher = HighwayHasher::new(self.secret);
        // The thumbprint has a fixed length, so no two pairs of key and token are one text.
        hasher.append(key.thumbprint());
        hasher.append(token.as_bytes());
        hasher.finalize128()
    }
}

impl fmt::Debug for SignedTokens {
    /// Omits the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedTokens").field("tokens", &self.tags.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::SigningKey;

    #[test]
    fn refresh_token_that_was_signed_is_known_under_its_key_alone() {
        let (signed, other) = (SignedTokens::new().unwrap(), SignedTokens::new().unwrap());
        let [key, another] = [(); 2].map(|()| SigningKey::generate().unwrap());
        signed.insert(key.verifying(), "a.b.c");
        assert!(signed.contains(key.verifying(), "a.b.c"));
        assert!(!signed.contains(another.verifying(), "a.b.c"), "another key");
        for token in ["a.b.d", "a.b.", "a.b.cc", ""] {
            assert!(!signed.contains(key.verifying(), token), "{token}");
        }
        assert!(!other.contains(key.verifying(), "a.b.c"), "another authority has another secret");
    }
}
