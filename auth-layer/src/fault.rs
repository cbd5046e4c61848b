//! Reasons to refuse a token.

/// Why a token is refused. For logs and metrics: the client gets `invalid_token` only.
///
/// ```
/// use auth_layer::{AuthError, TokenFault};
///
/// fn is_forged(error: &AuthError) -> bool {
///     matches!(error, AuthError::InvalidToken(TokenFault::Signature))
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum TokenFault {
    /// The token is larger than allowed.
    #[error("the token is too large")]
    Oversized,
    /// The token is not three parts of canonical base64url, or header or payload is not a JSON
    /// object without duplicate members.
    #[error("the token is malformed")]
    Malformed,
    /// The header asks for something unsupported: `crit`, or a key that it brings along (`jwk`,
    /// `jku`, `x5c`, `x5u`).
    #[error("the token's header asks for what is not supported")]
    Header,
    /// The `typ` is that of another kind of token.
    #[error("the token is of another type")]
    Type,
    /// The token names no key, an unknown key, or another algorithm than the key's.
    #[error("the token names no key of ours")]
    Key,
    /// This registered claim is missing or has the wrong type.
    #[error("the token's claim `{0}` is missing or not of its type")]
    Claim(&'static str),
    /// The custom claims do not read as the type that the application expects.
    #[error("the token's custom claims are not what the application expects")]
    CustomClaims,
    /// The token is another issuer's.
    #[error("the token is another issuer's")]
    Issuer,
    /// The token is for another audience.
    #[error("the token is for another audience")]
    Audience,
    /// A claim is not what the settings of the token's issuer say.
    #[error("a claim is not what the settings of the token's issuer say")]
    ClaimRule,
    /// The token lives longer than the settings of its issuer allow.
    #[error("the token lives longer than its issuer may give")]
    Lifetime,
    /// The token has expired.
    #[error("the token has expired")]
    Expired,
    /// The `nbf` or `iat` is in the future.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// The store has no record of the token.
    #[error("the token is unknown")]
    Unknown,
    /// The token is revoked; or it is denied, if it is another issuer's.
    #[error("the token is revoked")]
    Revoked,
    /// The single-use token was used before or is revoked.
    #[error("the token was used before")]
    Used,
    /// The token differs from its record.
    #[error("the token differs from its record")]
    Mismatch,
    /// The token is bound to a key and came without a proof by that key; or it is not bound, and a
    /// proof is needed (RFC 9449 §7.1, §7.2).
    #[error("the token's binding to a key does not go with the request")]
    Binding,
    /// The signature is wrong.
    #[error("the token's signature is wrong")]
    Signature,
}
