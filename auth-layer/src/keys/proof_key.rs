//! The public key that a proof of possession brings along.

use super::{
    Algorithm, KeyError, Thumbprint,
    jwk::{decode, served_algorithms},
    public::PublicKey,
};
use crate::json::{Datum, Fields, member_fields};

/// The members of a JWK that are read, and after them those of private and symmetric keys (RFC 7518
/// §6.2.2, §6.3.2, §6.4).
const MEMBERS: [&str; 12] = ["kty", "crv", "x", "y", "d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// A public key of the sender. It proves nothing but that the sender has its private half.
pub(crate) struct ProofKey {
    algorithm: Algorithm,
    public: PublicKey,
}

impl ProofKey {
    /// Reads the member `jwk` of a JOSE header (RFC 7515 §4.1.3): a key for `EdDSA` or ES256.
    ///
    /// # Errors
    ///
    /// [`KeyError::PrivateKey`] if it has a member of a private or symmetric key.
    pub(crate) fn from_header(header: &[u8]) -> Result<Self, KeyError> {
        let Fields { values, .. } =
            member_fields(header, "jwk", &MEMBERS).ok_or(KeyError::Jwk("the header has no jwk"))?;
        let [key_type, curve, x, y, private @ ..] = values;
        if private.iter().any(Option::is_some) {
            return Err(KeyError::PrivateKey);
        }
        let [key_type, curve, x, y] = [key_type, curve, x, y].map(|value| value.and_then(Datum::text));
        let algorithm = match served_algorithms(key_type.as_deref(), curve.as_deref())? {
            [Algorithm::EdDsa] => Algorithm::EdDsa,
            [Algorithm::Es256] => Algorithm::Es256,
            _ => return Err(KeyError::Jwk("a proof's key is for EdDSA or ES256")),
        };
        let public = PublicKey::from_members(algorithm, |name| match name {
            "x" => decode(x.as_deref()),
            _ => decode(y.as_deref()),
        })?;
        Ok(Self { algorithm, public })
    }

    /// Returns the key's one algorithm.
    pub(crate) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns the RFC 7638 thumbprint with SHA-256.
    pub(crate) fn thumbprint(&self) -> Thumbprint {
        Thumbprint::new(self.public.thumbprint())
    }

    /// Whether `signature` is this key's signature of `message`.
    ///
    /// # Errors
    ///
    /// [`KeyError::Inconsistent`] if the key is not a point of its curve.
    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> Result<bool, KeyError> {
        Ok(self.public.parse(self.algorithm)?.verify_sig(message, signature).is_ok())
    }
}
