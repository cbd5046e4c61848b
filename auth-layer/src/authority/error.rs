//! Errors of sign-in and refresh.

use crate::{
    claims::CustomClaimsError, dpop::ProofFault, fault::TokenFault, id::SessionId, keys::KeyError, store::StoreError,
};

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
    /// The proof of possession was used before (RFC 9449 §11.1).
    #[error("the proof of possession is not accepted")]
    Proof(#[source] ProofFault),
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

/// Why an authorization code was not exchanged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodeError {
    /// The code is not good: `invalid_grant` (RFC 6749 §5.2).
    #[error("the authorization code is not accepted")]
    InvalidGrant(#[source] CodeFault),
    /// The requested audience is none of the code's: `invalid_target` (RFC 8707 §2.2).
    ///
    /// The code is not used up.
    #[error("the requested audience is none of the code's")]
    Target,
    /// The session could not be opened.
    #[error("the session of an authorization code cannot be opened")]
    SignIn(#[source] SignInError),
    /// The state of the code cannot be learnt now. It may be good.
    #[error("the state of the authorization code cannot be learnt")]
    Unavailable(#[source] StoreError),
}

/// Why an authorization code was refused. For logs: the client gets `invalid_grant` only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodeFault {
    /// The code is unknown or has expired.
    #[error("the code is unknown or has expired")]
    Unknown,
    /// Another client, redirect URI, verifier or key presents it. It is not used up.
    #[error("the code does not go with its client, redirect URI, verifier or key")]
    Binding,
    /// It was used before. The session that came of it is revoked, see `revoked`.
    #[error("the code was used before")]
    Used {
        /// The session of the first use.
        session_id: SessionId,
    },
    /// All that the user has was revoked since the code was issued, or the user is disabled.
    #[error("a revocation came first")]
    Fenced,
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
    /// The requested scope is more than the session has: `invalid_scope` (RFC 6749 §6).
    ///
    /// Nothing was recorded, and the refresh token is still good. The same holds for the next two.
    #[error("the requested scope is more than the session has")]
    Scope,
    /// The requested audience is none of the session's: `invalid_target` (RFC 8707 §2.2).
    #[error("the requested audience is none of the session's")]
    Target,
    /// The session is bound to a key, and the proof is [missing](ProofFault::Missing) or was [used
    /// before](ProofFault::Replayed).
    #[error("the proof of possession is not accepted")]
    Proof(#[source] ProofFault),
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
    /// Another client presents the token (RFC 6749 §6).
    #[error("the refresh token is another client's")]
    Client,
    /// The proof is by another key than the session's (RFC 9449 §5).
    #[error("the refresh token is bound to another key")]
    Key,
    /// The token asks again for a pair whose signing key has left the ring.
    #[error("the key of the pair to repeat is gone")]
    KeyGone,
}

impl RefreshError {
    pub(super) fn refused(fault: impl Into<GrantFault>) -> Self {
        Self::InvalidGrant(fault.into())
    }
}
