//! Tokens against forged requests from other sites.

use super::Authority;
use crate::{id::SessionId, keys::SigningKey};

impl Authority {
    /// Returns the token that proves that a request with cookies comes from the service's own page.
    ///
    /// It is bound to the session and derived from the signing key, so no store keeps it. A page
    /// sends it in a header, which another site cannot. Check it on every request that a cookie
    /// authenticates, except GET, HEAD and OPTIONS.
    ///
    /// ```
    /// # use auth_layer::{Authority, SessionId};
    /// fn is_from_our_page(authority: &Authority, session: SessionId, header: &str) -> bool {
    ///     authority.is_csrf_token(session, header)
    /// }
    /// ```
    pub fn csrf_token(&self, session: SessionId) -> String {
        self.inner.keys.load().signing().csrf_token(session.as_bytes())
    }

    /// Whether this is the session's token, made by any key that this authority still has.
    pub fn is_csrf_token(&self, session: SessionId, token: &str) -> bool {
        let keys = self.inner.keys.load();
        let is_token = |key: &SigningKey| key.is_csrf_token(session.as_bytes(), token);
        keys.signing_keys().any(is_token)
    }
}
