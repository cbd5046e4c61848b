/// Why a proof is refused. It holds nothing of the proof.
///
/// ```
/// use auth_layer::dpop::ProofFault;
///
/// assert_eq!(ProofFault::Signature.error(), "invalid_dpop_proof");
/// assert_eq!(ProofFault::Nonce.error(), "use_dpop_nonce");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ProofFault {
    /// The request has no `DPoP` header, and needs one.
    #[error("the request has no DPoP proof")]
    Missing,
    /// The request has more than one `DPoP` header.
    #[error("the request has more than one DPoP proof")]
    Several,
    /// The proof is larger than [`MAX_PROOF_BYTES`](super::MAX_PROOF_BYTES).
    #[error("the DPoP proof is too large")]
    Oversized,
    /// The proof is not three parts of canonical base64url, or header or payload is not a JSON
    /// object without duplicate members.
    #[error("the DPoP proof is malformed")]
    Malformed,
    /// The header asks for something unsupported: `crit`, or a key by reference or certificate.
    #[error("the DPoP proof's header asks for what is not supported")]
    Header,
    /// The `typ` is not `dpop+jwt`.
    #[error("the DPoP proof's typ is not dpop+jwt")]
    Type,
    /// The `alg` is missing, not one of [`ALGORITHMS`](super::ALGORITHMS), or not the key's.
    #[error("the DPoP proof's alg is not supported, or not its key's")]
    Algorithm,
    /// The `jwk` is missing, or not a public key for one of [`ALGORITHMS`](super::ALGORITHMS).
    #[error("the DPoP proof's jwk is not a public key for ES256 or EdDSA")]
    Key,
    /// The `jwk` has a member of a private or symmetric key.
    #[error("the DPoP proof's jwk holds a private or symmetric key")]
    PrivateKey,
    /// This claim is missing or has the wrong type. A `jti` has 1 to 256 characters.
    #[error("the DPoP proof's claim `{0}` is missing or not of its type")]
    Claim(&'static str),
    /// The `htm` is another method.
    #[error("the DPoP proof's htm is not the method of this request")]
    Method,
    /// The `htu` is another URI, or none.
    #[error("the DPoP proof's htu is not the URI of this request")]
    Target,
    /// The `iat` or `nbf` is too far in the future.
    #[error("the DPoP proof's iat or nbf is in the future")]
    NotYetValid,
    /// The `iat` or `exp` is too far in the past.
    #[error("the DPoP proof's iat or exp is in the past")]
    Expired,
    /// The `ath` is missing or that of another access token.
    #[error("the DPoP proof's ath is not the hash of this access token")]
    AccessToken,
    /// The key is not the one that the token is bound to.
    #[error("the DPoP proof's key is not the one that the token is bound to")]
    Binding,
    /// The server demands a nonce, and the `nonce` is missing or none of its current ones.
    #[error("the DPoP proof needs the nonce of the DPoP-Nonce header")]
    Nonce,
    /// The signature is wrong.
    #[error("the DPoP proof's signature is wrong")]
    Signature,
    /// The proof was used before. [`ProofCheck`](super::ProofCheck) does not find this; the caller
    /// that reserves [`Proof::replay_key`](super::Proof::replay_key) does.
    #[error("the DPoP proof was used before")]
    Replayed,
}

impl ProofFault {
    /// Returns the error code for the client (RFC 9449 §5, §7.1, §8).
    ///
    /// It is `invalid_dpop_proof`, except `use_dpop_nonce` for [`Nonce`](Self::Nonce) and
    /// `invalid_token` for [`Binding`](Self::Binding): there the token is the wrong one.
    pub const fn error(self) -> &'static str {
        match self {
            Self::Nonce => "use_dpop_nonce",
            Self::Binding => "invalid_token",
            _ => "invalid_dpop_proof",
        }
    }
}
