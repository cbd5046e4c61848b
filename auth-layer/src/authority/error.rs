//! What goes wrong, by who can mend it.

use crate::{bearer::BearerError, claims::CustomClaimsError, jwt::TokenFault, keys::KeyError, store::StoreError};

/// A request or a token was not let in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// There are no credentials, or they are of another scheme than Bearer.
    #[error("no bearer token")]
    MissingCredentials,
    /// The credentials cannot be read: `invalid_request` (RFC 6750 §3.1).
    #[error("the credentials cannot be read")]
    InvalidRequest(#[from] BearerError),
    /// The token is not good: `invalid_token` (RFC 6750 §3.1).
    #[error("the token is not accepted")]
    InvalidToken(#[from] TokenFault),
    /// Whether the token is good cannot be learnt now. Nothing is known against it.
    #[error("the state of the token cannot be learnt")]
    Unavailable(#[source] StoreError),
}

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
