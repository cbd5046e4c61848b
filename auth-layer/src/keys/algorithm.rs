use std::fmt;

/// The signature algorithms (RFC 7518 §3.1, RFC 8037 §3.1).
///
/// ```
/// use auth_layer::keys::Algorithm;
///
/// assert_eq!(Algorithm::from_name("ES256"), Some(Algorithm::Es256));
/// assert_eq!(Algorithm::EdDsa.as_str(), "EdDSA");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// Ed25519. The default: signs fast, keys are small, and a signature is the same each time.
    EdDsa,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// RSA PKCS #1 v1.5 with SHA-256; 2048 to 8192 bits.
    Rs256,
    /// RSA PSS with SHA-256; 2048 to 8192 bits.
    Ps256,
    /// HMAC with SHA-256; secrets of 32 bytes or more. Anyone who can verify can also sign.
    Hs256,
}

impl Algorithm {
    /// Returns the name for `alg`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::Hs256 => "HS256",
        }
    }

    /// Returns the algorithm with this name. Names are case-sensitive (RFC 7515 §4.1.1).
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::EdDsa, Self::Es256, Self::Rs256, Self::Ps256, Self::Hs256].into_iter().find(|one| one.as_str() == name)
    }

    /// Whether a key signs the same message to the same bytes each time.
    pub(crate) const fn is_deterministic(self) -> bool {
        match self {
            Self::EdDsa | Self::Rs256 | Self::Hs256 => true,
            Self::Es256 | Self::Ps256 => false,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
