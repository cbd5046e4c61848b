//! Errors of the token, revocation and introspection endpoints.

use auth_layer::{
    AuthError, RefreshError, SignInError,
    authority::{CodeError, CodeFault},
    dpop::ProofFault,
    oauth::{TokenError, TokenErrorKind, UnknownResource},
    store::StoreError,
};
use axum::response::{IntoResponse, Response};

use crate::{clients::ClientsError, error::ApiError};

/// An error in the form of RFC 6749 §5.2, or an outage or a limit as everywhere.
#[derive(Debug)]
pub(crate) struct OAuthError {
    error: ApiError,
    code_fault: Option<CodeFault>,
}

impl OAuthError {
    fn new(error: ApiError) -> Self {
        Self { error, code_fault: None }
    }

    /// Returns why an authorization code was refused, which the response does not tell.
    pub(crate) fn code_fault(&self) -> Option<CodeFault> {
        self.code_fault
    }
}

impl IntoResponse for OAuthError {
    fn into_response(self) -> Response {
        self.error.into_response()
    }
}

impl AsRef<ApiError> for OAuthError {
    fn as_ref(&self) -> &ApiError {
        &self.error
    }
}

impl From<ApiError> for OAuthError {
    fn from(error: ApiError) -> Self {
        Self::new(match error {
            // The user's name and password are a grant here (RFC 6749 §5.2).
            ApiError::InvalidCredentials => TokenErrorKind::InvalidGrant.into(),
            ApiError::InvalidScope => TokenErrorKind::InvalidScope.into(),
            other => other,
        })
    }
}

impl From<TokenError> for OAuthError {
    fn from(error: TokenError) -> Self {
        Self::new(ApiError::OAuth(error))
    }
}

impl From<TokenErrorKind> for OAuthError {
    fn from(kind: TokenErrorKind) -> Self {
        Self::new(kind.into())
    }
}

impl From<UnknownResource> for OAuthError {
    fn from(error: UnknownResource) -> Self {
        TokenError::from(error).into()
    }
}

impl From<ProofFault> for OAuthError {
    fn from(fault: ProofFault) -> Self {
        Self::new(fault.into())
    }
}

impl From<ClientsError> for OAuthError {
    fn from(error: ClientsError) -> Self {
        Self::new(error.into())
    }
}

impl From<StoreError> for OAuthError {
    fn from(error: StoreError) -> Self {
        Self::new(error.into())
    }
}

impl From<AuthError> for OAuthError {
    fn from(error: AuthError) -> Self {
        Self::new(error.into())
    }
}

impl From<SignInError> for OAuthError {
    fn from(error: SignInError) -> Self {
        match error {
            SignInError::Target => TokenErrorKind::InvalidTarget.into(),
            other => Self::from(ApiError::from(other)),
        }
    }
}

impl From<CodeError> for OAuthError {
    fn from(error: CodeError) -> Self {
        match error {
            CodeError::InvalidGrant(fault) => {
                tracing::debug!(%fault, "an authorization code was refused");
                Self { code_fault: Some(fault), ..TokenErrorKind::InvalidGrant.into() }
            }
            CodeError::Target => TokenErrorKind::InvalidTarget.into(),
            CodeError::SignIn(error) => error.into(),
            CodeError::Unavailable(error) => error.into(),
            other => {
                tracing::error!(error = &other as &dyn std::error::Error, "exchanging a code failed; answered 500");
                Self::new(ApiError::Internal)
            }
        }
    }
}

impl From<RefreshError> for OAuthError {
    fn from(error: RefreshError) -> Self {
        match error {
            RefreshError::InvalidGrant(fault) => {
                tracing::debug!(%fault, "refresh token refused");
                TokenErrorKind::InvalidGrant.into()
            }
            RefreshError::Scope => TokenErrorKind::InvalidScope.into(),
            RefreshError::Target => TokenErrorKind::InvalidTarget.into(),
            other => Self::new(other.into()),
        }
    }
}
