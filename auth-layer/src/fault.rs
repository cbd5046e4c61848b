//! What can be wrong with a token.

/// Why a token is not accepted. For logs and metrics: a client is told `invalid_token` and no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum TokenFault {
    /// It is larger than tokens may be.
    #[error("the token is too large")]
    Oversized,
    /// It is not three parts of canonical base64url, or header or payload is not a JSON object without duplicate members.
    #[error("the token is malformed")]
    Malformed,
    /// Its header asks for what we do not do: `crit`, or a key that it brings along (`jwk`, `jku`, `x5c`, `x5u`).
    #[error("the token's header asks for what is not supported")]
    Header,
    /// Its `typ` is not the one of the kind wanted.
    #[error("the token is of another type")]
    Type,
    /// It names no key or one that we do not have, or another algorithm than that key's.
    #[error("the token names no key of ours")]
    Key,
    /// This registered claim is missing or not of its type.
    #[error("the token's claim `{0}` is missing or not of its type")]
    Claim(&'static str),
    /// The custom claims do not read as the type that the application expects.
    #[error("the token's custom claims are not what the application expects")]
    CustomClaims,
    /// Another issuer's.
    #[error("the token is another issuer's")]
    Issuer,
    /// For another audience.
    #[error("the token is for another audience")]
    Audience,
    /// Expired.
    #[error("the token has expired")]
    Expired,
    /// Its `nbf` or `iat` is in the future.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// There is no record of it.
    #[error("the token is unknown")]
    Unknown,
    /// It was revoked or used up.
    #[error("the token is revoked")]
    Revoked,
    /// It is used up, or was revoked, or is no single-use token.
    #[error("the token was used before")]
    Used,
    /// It does not say what its record says.
    #[error("the token differs from its record")]
    Mismatch,
    /// Its signature is not its key's.
    #[error("the token's signature is wrong")]
    Signature,
}
