//! Token introspection (RFC 7662).

use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{Authority, TokenType};
use crate::{
    claims::Claims,
    fault::TokenFault,
    kind::TokenKind,
    store::{TokenStatus, Verdict},
    trust::{AuthError, expected_record},
};

/// The answer to an introspection. Serialises as the response of RFC 7662 §2.2.
///
/// ```
/// # use auth_layer::{AuthError, Authority};
/// # async fn example(authority: &Authority, token: &str) -> Result<(), AuthError> {
/// let introspection = authority.introspect(token).await?;
/// match introspection.claims() {
///     Some(claims) => println!("a token of {}", claims.sub),
///     None => println!("not active"),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Introspection(Option<Claims>);

impl Introspection {
    /// Whether the token is active: issued here, current, recorded and not revoked.
    pub fn is_active(&self) -> bool {
        self.0.is_some()
    }

    /// Returns the claims of an active token.
    pub fn claims(&self) -> Option<&Claims> {
        self.0.as_ref()
    }

    /// Returns the kind of an active token.
    pub fn kind(&self) -> Option<TokenKind> {
        self.claims().map(Claims::kind)
    }
}

impl Serialize for Introspection {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Active<'a> {
            active: bool,
            #[serde(skip_serializing_if = "Option::is_none")]
            token_type: Option<TokenType>,
            #[serde(flatten)]
            claims: &'a Claims,
        }
        let Some(claims) = &self.0 else {
            let mut inactive = serializer.serialize_map(Some(1))?;
            inactive.serialize_entry("active", &false)?;
            return inactive.end();
        };
        let token_type = (claims.kind() != TokenKind::Refresh).then(|| TokenType::of(claims.cnf.as_ref()));
        Active { active: true, token_type, claims }.serialize(serializer)
    }
}

impl Authority {
    /// Introspects a token of any kind (RFC 7662 §2.2).
    ///
    /// A token of another issuer, or one that is expired, revoked or used up, is inactive; nothing
    /// more is reported. A refresh token is active while a refresh would accept it.
    ///
    /// # Errors
    ///
    /// [`AuthError::Unavailable`] if the token's state cannot be learnt.
    ///
    /// ```
    /// # use auth_layer::{Authority, Rejection, authority::Introspection};
    /// # use axum::{Json, extract::State};
    /// // Authenticate the caller first: it must be one of your OAuth clients.
    /// async fn introspect(
    ///     State(authority): State<Authority>,
    ///     token: String,
    /// ) -> Result<Json<Introspection>, Rejection> {
    ///     Ok(Json(authority.introspect(&token).await?))
    /// }
    /// ```
    pub async fn introspect(&self, token: &str) -> Result<Introspection, AuthError> {
        for kind in [TokenKind::Access, TokenKind::Refresh, TokenKind::SingleUse] {
            let known = match kind {
                TokenKind::Access | TokenKind::SingleUse => self.inner.trust.inspect(kind, token).await,
                TokenKind::Refresh => self.introspect_refresh(token).await,
            };
            match known {
                Ok(claims) => return Ok(Introspection(Some(claims))),
                Err(AuthError::Unavailable(error)) => return Err(AuthError::Unavailable(error)),
                // The token is of another kind: try the next.
                Err(AuthError::InvalidToken(TokenFault::Type)) => {}
                Err(_) => break,
            }
        }
        Ok(Introspection(None))
    }

    async fn introspect_refresh(&self, token: &str) -> Result<Claims, AuthError> {
        let trust = &self.inner.trust;
        let (unverified, key_set) = {
            let (keys, key_set) = trust.issuer().keys();
            (trust.read(&keys, TokenKind::Refresh, &trust.issuer().audiences, token)?, key_set)
        };
        let (id, session) = (unverified.claims.jti, unverified.claims.sid);
        let expected = expected_record(&unverified.claims, TokenKind::Refresh);
        let claims = unverified.verify(key_set, trust.issuer().number(), trust.own_context().clone())?;
        let now = self.now();
        let found = trust.with_deadline(self.store().session_for_refresh(session, id, now)).await;
        let Some((session, status)) = found.map_err(AuthError::Unavailable)? else {
            return Err(TokenFault::Unknown.into());
        };
        let is_good =
            matches!(session.judge(id, self.inner.settings.refresh_grace, now), Verdict::Rotate | Verdict::Repeat)
                && status == TokenStatus::Active(expected);
        if is_good { Ok(claims) } else { Err(TokenFault::Revoked.into()) }
    }
}
