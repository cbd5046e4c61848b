use super::Denied;
use crate::{credentials::CredentialsError, dpop::ProofFault, fault::TokenFault, store::StoreError};

/// Why a request or a token was refused.
///
/// It converts into a [`Rejection`](crate::Rejection), the response to the client.
///
/// ```
/// # use auth_layer::{AuthError, Rejection};
/// fn response(error: AuthError) -> http::Response<bytes::Bytes> {
///     Rejection::from(error).into_http()
/// }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// The request has no credentials, or credentials of a scheme that the layer does not take.
    #[error("no token")]
    MissingCredentials,
    /// The credentials cannot be read: `invalid_request` (RFC 6750 §3.1).
    #[error("the credentials cannot be read")]
    InvalidRequest(#[from] CredentialsError),
    /// The token is not good: `invalid_token` (RFC 6750 §3.1).
    #[error("the token is not accepted")]
    InvalidToken(#[from] TokenFault),
    /// The proof of possession is not good: `invalid_dpop_proof` or `use_dpop_nonce` (RFC 9449 §7.1,
    /// §9).
    #[error("the proof of possession is not accepted")]
    InvalidProof(#[source] ProofFault),
    /// The token is good, but not enough for this route.
    #[error("the token is not enough")]
    Denied(#[from] Denied),
    /// The state of the token cannot be learnt now: 503. The token may be good.
    #[error("the state of the token cannot be learnt")]
    Unavailable(#[source] StoreError),
}

impl From<ProofFault> for AuthError {
    /// A proof by another key than the token's is the token's fault (RFC 9449 §7.1).
    fn from(fault: ProofFault) -> Self {
        match fault {
            ProofFault::Binding => TokenFault::Binding.into(),
            fault => Self::InvalidProof(fault),
        }
    }
}
