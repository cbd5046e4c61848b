use std::fmt;

use super::{
    super::{code::CodeBinding, pkce::CodeChallenge, redirect_uri::csp_source, secret::Secret},
    AuthorizationErrorKind, AuthorizationResponse,
    response::Destination,
};
use crate::{claims::Scope, keys::Thumbprint};

/// An authorization request that has passed all checks of the protocol. Made by
/// [`AuthorizationQuery::check`](super::AuthorizationQuery::check).
///
/// The server still asks the user, and decides what scope the user may have.
///
/// ```
/// use auth_layer::oauth::{AuthorizationErrorKind, AuthorizationRequest};
///
/// /// Returns the headers of the sign-in page.
/// fn page_headers(request: &AuthorizationRequest) -> [(&'static str, String); 2] {
///     let policy = format!(
///         "default-src 'self'; frame-ancestors 'none'; form-action 'self' {}",
///         request.form_action(),
///     );
///     [("content-security-policy", policy), ("x-frame-options", "DENY".to_owned())]
/// }
///
/// /// Returns where the user goes after a click on "Cancel".
/// fn cancelled(request: &AuthorizationRequest) -> String {
///     request.refuse(AuthorizationErrorKind::AccessDenied).location().to_owned()
/// }
/// ```
#[derive(Clone)]
pub struct AuthorizationRequest {
    pub(super) client_id: String,
    pub(super) destination: Destination,
    pub(super) is_uri_sent: bool,
    pub(super) challenge: CodeChallenge,
    pub(super) scope: Scope,
    pub(super) is_scope_sent: bool,
    pub(super) audiences: Vec<String>,
    pub(super) key: Option<Thumbprint>,
}

impl AuthorizationRequest {
    /// Returns the client's identifier.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// Returns the redirect URI. The client has registered it.
    pub fn redirect_uri(&self) -> &str {
        &self.destination.redirect_uri
    }

    /// Returns the requested scope, or the client's own. The client may have it.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Whether the request itself names its scope (RFC 6749 §3.3). An empty one names nothing.
    pub fn is_scope_sent(&self) -> bool {
        self.is_scope_sent
    }

    /// Returns the audiences that the requested resources stand for. Without any, the token gets
    /// the default.
    pub fn audiences(&self) -> &[String] {
        &self.audiences
    }

    /// Returns what to store with the code, for the check at the exchange.
    pub fn binding(&self) -> CodeBinding {
        let binding = CodeBinding::new(&self.client_id, self.redirect_uri(), self.challenge.clone()).with_key(self.key);
        if self.is_uri_sent { binding } else { binding.with_optional_uri() }
    }

    /// Returns the source that the page's `Content-Security-Policy` needs in `form-action`, beside
    /// `'self'`. Some browsers check the redirect that follows a form.
    pub fn form_action(&self) -> String {
        csp_source(self.redirect_uri())
    }

    /// Creates the response with a code.
    pub fn grant(&self, code: &Secret) -> AuthorizationResponse {
        self.destination.code(code)
    }

    /// Creates the response with an error.
    pub fn refuse(&self, kind: AuthorizationErrorKind) -> AuthorizationResponse {
        self.destination.error(kind, None)
    }
}

impl fmt::Debug for AuthorizationRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizationRequest")
            .field("client_id", &self.client_id)
            .field("redirect_uri", &self.redirect_uri())
            .field("scope", &self.scope)
            .field("audiences", &self.audiences)
            .finish_non_exhaustive()
    }
}
