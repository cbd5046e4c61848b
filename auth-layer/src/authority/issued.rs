//! What is handed out.

use std::{fmt, time::Duration};

use crate::{
    claims::Scope,
    id::{SessionId, UserId},
};

/// An access token and the refresh token that came with it.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct IssuedPair {
    /// The access token.
    pub access_token: String,
    /// The refresh token.
    pub refresh_token: String,
    /// For how long the access token is good from now, in whole seconds.
    pub expires_in: Duration,
    /// What the access token may be used for.
    pub scope: Scope,
    /// The session that both belong to.
    pub session_id: SessionId,
    /// Whose they are.
    pub user_id: UserId,
}

impl fmt::Debug for IssuedPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedPair")
            .field("expires_in", &self.expires_in)
            .field("scope", &self.scope)
            .field("session_id", &self.session_id)
            .field("user_id", &self.user_id)
            .finish_non_exhaustive()
    }
}

/// A single-use token.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct IssuedToken {
    /// The token.
    pub token: String,
    /// For how long it is good from now, in whole seconds.
    pub expires_in: Duration,
    /// What it may be used for.
    pub scope: Scope,
}

impl fmt::Debug for IssuedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedToken")
            .field("expires_in", &self.expires_in)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}
