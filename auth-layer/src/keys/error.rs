use super::Algorithm;

/// Why a key was refused or could not be used. Tells nothing of the key itself.
///
/// ```
/// use auth_layer::keys::{KeyError, SigningKey};
///
/// let refused = SigningKey::from_secret("shared", b"too short").unwrap_err();
/// assert_eq!(refused, KeyError::ShortSecret(9));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The text is not the PEM of a key, or does not contain valid DER.
    #[error(
        "not a PEM of a key for {0}; private keys are PKCS#8 (for RSA also PKCS#1), public ones SubjectPublicKeyInfo"
    )]
    Pem(Algorithm),
    /// The PEM does not hold exactly one usable private key. The text continues a sentence after
    /// "holds".
    #[error(
        "the PEM holds {0}; use one unencrypted PKCS#8 private key (`PRIVATE KEY`) of Ed25519, P-256 or RSA with 2048 to \
         8192 bits"
    )]
    PemHolds(&'static str),
    /// The text is not a JWK (RFC 7517 §4), or its key type or curve is not supported.
    #[error("not a usable JWK: {0}")]
    Jwk(&'static str),
    /// The JWK's `use` or `key_ops` excludes signatures.
    #[error("the JWK is not for signatures: its {0} says otherwise")]
    Use(&'static str),
    /// The JWK names an algorithm that its key type cannot serve.
    #[error("the JWK's alg does not fit its key type")]
    AlgorithmMismatch,
    /// A private key is needed, and this is a public one.
    #[error("a private key is needed, and this is a public one")]
    PublicKey,
    /// A public key is needed, and this is a private one, which must not spread.
    #[error("a public key is needed, and this is a private one")]
    PrivateKey,
    /// Public and private half do not belong together, or the key is not a point of its curve.
    #[error("the key's parts do not belong together")]
    Inconsistent,
    /// The RSA key has less than 2048 or more than 8192 bits (RFC 7518 §3.3).
    #[error("an RSA key of {0} bits; 2048 to 8192 are accepted")]
    RsaBits(usize),
    /// The secret is shorter than the hash (RFC 7518 §3.2).
    #[error("a secret of {0} bytes; 32 and more are accepted")]
    ShortSecret(usize),
    /// The secret is a PEM. If a public key were used as a secret, anyone could sign.
    #[error("the secret is a PEM file; HS256 needs a secret of its own")]
    SecretIsPem,
    /// A symmetric key does not come in this form, or a key pair does not.
    #[error("{0} keys do not come in this form")]
    Form(Algorithm),
    /// The `kid` is empty, longer than 128 bytes or not printable ASCII without spaces, or a secret
    /// has none.
    #[error("a kid is 1 to 128 printable ASCII characters without spaces, and a secret needs one")]
    Kid,
    /// The ring already has a key with this `kid`.
    #[error("the ring has a key with this kid already")]
    DuplicateKid,
    /// The text is not a JWK set (RFC 7517 §5), or none of its keys can be used. Keys of other
    /// types and algorithms than those that are allowed cannot be used.
    #[error("not a JWK set with a usable key: {0}")]
    Set(&'static str),
    /// The crypto library failed, for example for lack of randomness.
    #[error("the crypto library failed")]
    Crypto,
}
