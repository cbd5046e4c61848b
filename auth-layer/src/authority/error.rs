//! What goes wrong, by who can mend it.

use crate::{claims::CustomClaimsError, fault::TokenFault, keys::KeyError, store::StoreError};

/// A sign-in, or another issue of a token, did not happen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignInError {
    /// Everything the user had was revoked since the sign-in began, or the session that a token was to belong to. A sign-in
    /// begins again, credentials included.
    #[error("a revocation came first")]
    Fenced,
    /// The user is disabled.
    #[error("the user is disabled")]
    Disabled,
    /// The audience that was asked for is none of the issuer's: `invalid_target` (RFC 8707 §2).
    #[error("the audience is none of the issuer's")]
    Target,
    /// The custom claims cannot be put into a token.
    #[error("the custom claims cannot be put into a token")]
    Claims(#[from] CustomClaimsError),
    /// The token cannot be signed.
    #[error("the token cannot be signed")]
    Key(#[from] KeyError),
    /// A check would refuse the token: it is too large, or its claims cannot be read back. Nothing
    /// was recorded.
    #[error("the token would not be accepted")]
    Unacceptable(#[source] TokenFault),
    /// The store cannot be asked now.
    #[error("the store of record cannot be asked")]
    Unavailable(#[source] StoreError),
}

/// A refresh did not happen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RefreshError {
    /// The refresh token is not good: `invalid_grant` (RFC 6749 §5.2).
    #[error("the refresh token is not accepted")]
    InvalidGrant(#[source] GrantFault),
    /// The custom claims of the next pair could not be had, or cannot be put into a token. Nothing was recorded, and the
    /// refresh token stays as good as it was.
    #[error("the custom claims of the next pair cannot be had")]
    Claims(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The pair cannot be signed.
    #[error("the pair cannot be signed")]
    Key(#[from] KeyError),
    /// A check would refuse a token of the pair: it is too large, or the custom claims that the
    /// session was opened with are no longer what the application expects. Nothing was recorded,
    /// and the refresh token stays as good as it was.
    #[error("the pair would not be accepted")]
    Unacceptable(#[source] TokenFault),
    /// Whether the token is good cannot be learnt now. Nothing is known against it.
    #[error("the state of the refresh token cannot be learnt")]
    Unavailable(#[source] StoreError),
}

/// Why a refresh token is not accepted. For logs: a client is told `invalid_grant` and no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GrantFault {
    /// The token itself is not good.
    #[error(transparent)]
    Token(#[from] TokenFault),
    /// Its session is revoked or over.
    #[error("the session is over")]
    SessionOver,
    /// It had been retired: somebody holds a copy. The session is revoked with this answer (RFC 9700 §4.14.2).
    #[error("the refresh token was used before")]
    Reused,
    /// It asks again for a pair whose signing key is gone from the ring.
    #[error("the key of the pair to repeat is gone")]
    KeyGone,
}

impl RefreshError {
    pub(super) fn refused(fault: impl Into<GrantFault>) -> Self {
        Self::InvalidGrant(fault.into())
    }
}
