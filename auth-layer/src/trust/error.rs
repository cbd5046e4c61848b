use super::Denied;
use crate::{bearer::BearerError, fault::TokenFault, store::StoreError};

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
    /// The token is good, and not enough for this route.
    #[error("the token is not enough")]
    Denied(#[from] Denied),
    /// Whether the token is good cannot be learnt now. Nothing is known against it.
    #[error("the state of the token cannot be learnt")]
    Unavailable(#[source] StoreError),
}
