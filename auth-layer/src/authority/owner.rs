//! Whose a token is, by its signature alone.

use super::Authority;
use crate::{
    id::{SessionId, Subject},
    kind::TokenKind,
};

/// Whom a token was issued to, see [`Authority::owner_of`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenOwner {
    /// The session of the token.
    pub session_id: SessionId,
    /// The user of the token.
    pub user_id: Subject,
    /// The OAuth client of the token.
    pub client_id: String,
}

impl Authority {
    /// Returns whose an access token or a refresh token is; `None` unless this authority signed it
    /// and it has not expired.
    ///
    /// It asks no store, so the token may be revoked or used. Do not let a request in for it. It is
    /// for what comes before the check, such as a test against [forged
    /// requests](Self::is_csrf_token), and for logs.
    ///
    /// ```
    /// # use auth_layer::Authority;
    /// /// Whether a request with this cookie comes from the service's own page.
    /// fn is_from_our_page(authority: &Authority, cookie: &str, header: &str) -> bool {
    ///     let owner = authority.owner_of(cookie);
    ///     owner.is_some_and(|owner| authority.is_csrf_token(owner.session_id, header))
    /// }
    /// ```
    pub fn owner_of(&self, token: &str) -> Option<TokenOwner> {
        // A token of the other kind fails at its `typ`, before its signature costs anything.
        let claims =
            [TokenKind::Access, TokenKind::Refresh].into_iter().find_map(|kind| self.verify_jwt(kind, token).ok())?;
        Some(TokenOwner { session_id: claims.sid, user_id: claims.sub, client_id: claims.client_id })
    }
}
