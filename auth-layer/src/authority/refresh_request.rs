//! What a refresh is asked for, and what an application gives the next pair.

use std::fmt;

use serde::Serialize;

use crate::{
    claims::{CustomClaimsError, Scope, custom_json},
    dpop::Proof,
};

/// A refresh token, with what a client sends beside it (RFC 6749 §6).
///
/// A text converts into a request with the token alone.
///
/// ```
/// # use auth_layer::{Authority, IssuedPair, RefreshError, dpop::Proof};
/// # async fn example(
/// #     authority: &Authority,
/// #     token: &str,
/// #     proof: &Proof,
/// # ) -> Result<IssuedPair, RefreshError> {
/// use auth_layer::authority::RefreshRequest;
///
/// // At a token endpoint: the client `spa`, which is public, has sent a proof.
/// authority.refresh(RefreshRequest::new(token).client("spa").proof(proof)).await
/// # }
/// ```
#[derive(Clone, Copy)]
#[must_use]
pub struct RefreshRequest<'a> {
    pub(super) token: &'a str,
    pub(super) client_id: Option<&'a str>,
    pub(super) proof: Option<&'a Proof>,
    pub(super) may_change_key: bool,
    pub(super) scope: Option<&'a Scope>,
    pub(super) audiences: &'a [String],
    pub(super) max_token_bytes: Option<usize>,
}

impl<'a> RefreshRequest<'a> {
    /// Creates a request with this refresh token.
    pub fn new(token: &'a str) -> Self {
        Self {
            token,
            client_id: None,
            proof: None,
            may_change_key: false,
            scope: None,
            audiences: &[],
            max_token_bytes: None,
        }
    }

    /// Sets the client that presents the token. Default: any.
    ///
    /// Another client's token is refused, and nothing is used up or punished.
    pub fn client(self, client_id: &'a str) -> Self {
        Self { client_id: Some(client_id), ..self }
    }

    /// Sets the proof of possession (RFC 9449 §5). Default: none.
    ///
    /// A session that is bound to a key needs a proof by that key. The next pair of a session that
    /// is not bound is bound to this one. The proof is used up right before the pair is replaced.
    pub fn proof(self, proof: &'a Proof) -> Self {
        Self { proof: Some(proof), ..self }
    }

    /// Lets the proof be by another key, to which the next pair is then bound. Default: no.
    ///
    /// For clients that have authenticated with a secret: that is what their refresh tokens are
    /// bound to (RFC 9449 §5).
    ///
    /// ```
    /// # use auth_layer::dpop::Proof;
    /// use auth_layer::authority::RefreshRequest;
    ///
    /// fn of_confidential_client<'a>(token: &'a str, proof: &'a Proof) -> RefreshRequest<'a> {
    ///     RefreshRequest::new(token).client("job").proof(proof).may_change_key(true)
    /// }
    /// ```
    pub fn may_change_key(self, may_change_key: bool) -> Self {
        Self { may_change_key, ..self }
    }

    /// Asks for less scope than the session has. Default: all of it.
    ///
    /// The next refresh token keeps the session's scope (RFC 6749 §6). More than that is refused
    /// with [`RefreshError::Scope`](super::RefreshError::Scope).
    pub fn scope(self, scope: &'a Scope) -> Self {
        Self { scope: Some(scope), ..self }
    }

    /// Asks for some of the session's audiences (RFC 8707 §2.2). Default: all of them.
    ///
    /// Another audience is refused with [`RefreshError::Target`](super::RefreshError::Target).
    ///
    /// ```
    /// # use auth_layer::Scope;
    /// use auth_layer::authority::RefreshRequest;
    ///
    /// fn narrow<'a>(token: &'a str, scope: &'a Scope, audiences: &'a [String]) -> RefreshRequest<'a> {
    ///     RefreshRequest::new(token).scope(scope).audiences(audiences)
    /// }
    /// ```
    pub fn audiences(self, audiences: &'a [String]) -> Self {
        Self { audiences, ..self }
    }

    /// Sets the length of the longest token that is issued, in bytes. Default: the longest that a
    /// check takes.
    ///
    /// A refresh whose tokens are longer fails with
    /// [`RefreshError::Unacceptable`](super::RefreshError::Unacceptable). The refresh token is still
    /// good.
    pub fn max_token_bytes(self, bytes: usize) -> Self {
        Self { max_token_bytes: Some(bytes), ..self }
    }
}

impl<'a> From<&'a str> for RefreshRequest<'a> {
    fn from(token: &'a str) -> Self {
        Self::new(token)
    }
}

impl<'a> From<&'a String> for RefreshRequest<'a> {
    fn from(token: &'a String) -> Self {
        Self::new(token)
    }
}

impl fmt::Debug for RefreshRequest<'_> {
    /// Omits the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefreshRequest")
            .field("client_id", &self.client_id)
            .field("scope", &self.scope)
            .field("audiences", &self.audiences)
            .finish_non_exhaustive()
    }
}

/// What the application changes in a session when it is refreshed.
///
/// ```
/// # use auth_layer::{claims::CustomClaimsError, claims::ParseScopeError};
/// use auth_layer::authority::Renewal;
///
/// #[derive(serde::Serialize)]
/// struct Roles {
///     roles: Vec<String>,
/// }
///
/// fn renewal(roles: Vec<String>) -> Result<Renewal, Box<dyn std::error::Error + Send + Sync>> {
///     Ok(Renewal::new().custom(&Roles { roles })?.at_most("profile".parse()?))
/// }
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Renewal {
    pub(super) custom: Option<String>,
    pub(super) scope: Option<Scope>,
}

impl Renewal {
    /// Creates a renewal that changes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces the application's own claims.
    ///
    /// # Errors
    ///
    /// [`CustomClaimsError`] if they are not a JSON object, or one has the name of a registered
    /// claim.
    pub fn custom(self, custom: &impl Serialize) -> Result<Self, CustomClaimsError> {
        Ok(Self { custom: Some(custom_json(custom)?), ..self })
    }

    /// Takes from the session all scope but this, for good. A refresh never adds scope.
    pub fn at_most(self, scope: Scope) -> Self {
        Self { scope: Some(scope), ..self }
    }
}
