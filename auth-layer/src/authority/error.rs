//! Errors of sign-in and refresh.

use crate::{claims::CustomClaimsError, fault::TokenFault, keys::KeyError, store::StoreError};

/// Why a sign-in failed, or no token was issued.
///
/// It converts into a [`Rejection`](crate::Rejection), which a handler can return.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignInError {
    /// A revocation came first: of all that the user has, or of the token's session.
    ///
    /// Begin the sign-in again, credentials included.
    #[error("a revocation came first")]
    Fenced,
    /// The user is disabled.
    #[error("the user is disabled")]
    Disabled,
    /// The requested audience is not the issuer's: `invalid_target` (RFC 8707 §2).
    #[error("the audience is none of the issuer's")]
    Target,
    /// The custom claims cannot be put into a token.
    #[error("the custom claims cannot be put into a token")]
    Claims(#[from] CustomClaimsError),
    /// The token cannot be signed.
    #[error("the token cannot be signed")]
    Key(#[from] KeyError),
    /// A check would refuse the token: it is too large, or its claims cannot be read back.
    ///
    /// Nothing was recorded.
    #[error("the token would not be accepted")]
    Unacceptable(#[source] TokenFault),
    /// The store cannot be reached now.
    #[error("the store of record cannot be asked")]
    Unavailable(#[source] StoreError),
}

/// Why a refresh failed.
///
/// It converts into a [`Rejection`](crate::Rejection), which a handler can return.
///
/// ```
/// # use auth_layer::{GrantFault, RefreshError};
/// fn tell_the_user(error: &RefreshError) -> &'static str {
///     match error {
///         RefreshError::InvalidGrant(GrantFault::Reused) => "somebody had a copy: sign in again",
///         RefreshError::InvalidGrant(_) => "sign in again",
///         _ => "try again later",
///     }
/// }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RefreshError {
    /// The refresh token is not good: `invalid_grant` (RFC 6749 §5.2).
    #[error("the refresh token is not accepted")]
    InvalidGrant(#[source] GrantFault),
    /// The custom claims of the next pair could not be obtained, or cannot be put into a token.
    ///
    /// Nothing was recorded, and the refresh token is still good.
    #[error("the custom claims of the next pair cannot be had")]
    Claims(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The pair cannot be signed.
    #[error("the pair cannot be signed")]
    Key(#[from] KeyError),
    /// A check would refuse a token of the pair.
    ///
    /// The token is too large, or the session's custom claims are no longer of the type that the
    /// application expects. Nothing was recorded, and the refresh token is still good.
    #[error("the pair would not be accepted")]
    Unacceptable(#[source] TokenFault),
    /// The state of the refresh token cannot be learnt now. The token may be good.
    #[error("the state of the refresh token cannot be learnt")]
    Unavailable(#[source] StoreError),
}

/// Why a refresh token was refused. For logs: the client gets `invalid_grant` only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GrantFault {
    /// The token itself is not good.
    #[error(transparent)]
    Token(#[from] TokenFault),
    /// The session is revoked or over.
    #[error("the session is over")]
    SessionOver,
    /// The token was retired, so somebody holds a copy. The session is revoked (RFC 9700 §4.14.2).
    #[error("the refresh token was used before")]
    Reused,
    /// The token asks again for a pair whose signing key has left the ring.
    #[error("the key of the pair to repeat is gone")]
    KeyGone,
}

impl RefreshError {
    pub(super) fn refused(fault: impl Into<GrantFault>) -> Self {
        Self::InvalidGrant(fault.into())
    }
}
