use super::Algorithm;

/// A key was refused, or could not be used. Says why, and nothing of the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The text is no PEM of a key, or no DER of one is inside.
    #[error(
        "not a PEM of a key for {0}; private keys are PKCS#8 (for RSA also PKCS#1), public ones SubjectPublicKeyInfo"
    )]
    Pem(Algorithm),
    /// The PEM holds something else than one private key that can be used: what that is, as a
    /// sentence goes on after "holds".
    #[error(
        "the PEM holds {0}; use one unencrypted PKCS#8 private key (`PRIVATE KEY`) of Ed25519, P-256 or RSA with 2048 to \
         8192 bits"
    )]
    PemHolds(&'static str),
    /// The text is no JWK (RFC 7517 §4), or one of a kind or curve that is not supported.
    #[error("not a usable JWK: {0}")]
    Jwk(&'static str),
    /// The JWK's `use` or `key_ops` is not about signatures.
    #[error("the JWK is not for signatures: its {0} says otherwise")]
    Use(&'static str),
    /// The JWK names another algorithm than its key type can serve.
    #[error("the JWK's alg does not fit its key type")]
    AlgorithmMismatch,
    /// There is no private key where one is needed.
    #[error("a private key is needed, and this is a public one")]
    PublicKey,
    /// There is a private key where a public one is needed: it would spread.
    #[error("a public key is needed, and this is a private one")]
    PrivateKey,
    /// The public and the private half do not belong together, or the key is no point of its curve.
    #[error("the key's parts do not belong together")]
    Inconsistent,
    /// RSA below 2048 or above 8192 bits (RFC 7518 §3.3).
    #[error("an RSA key of {0} bits; 2048 to 8192 are accepted")]
    RsaBits(usize),
    /// A secret shorter than the hash (RFC 7518 §3.2).
    #[error("a secret of {0} bytes; 32 and more are accepted")]
    ShortSecret(usize),
    /// The secret of an HMAC is a PEM: a public key taken for a secret lets anybody sign.
    #[error("the secret is a PEM file; HS256 needs a secret of its own")]
    SecretIsPem,
    /// A symmetric key is asked for in a form that only key pairs have, or the reverse.
    #[error("{0} keys do not come in this form")]
    Form(Algorithm),
    /// A `kid` that is empty, longer than 128 bytes or not of printable ASCII without spaces; or none where one is needed.
    #[error("a kid is 1 to 128 printable ASCII characters without spaces, and a secret needs one")]
    Kid,
    /// The ring has a key of this `kid` already.
    #[error("the ring has a key with this kid already")]
    DuplicateKid,
    /// The crypto library failed, for instance for lack of randomness.
    #[error("the crypto library failed")]
    Crypto,
}
