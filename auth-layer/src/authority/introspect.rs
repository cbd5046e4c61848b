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

/// The answer to an introspection. Serialises as the response of RFC 7662 §2.2. In axum, a handler
/// can return it.
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

#[cfg(feature = "axum")]
mod response {
    use axum_core::response::{IntoResponse, Response};
    use bytes::Bytes;

    use super::Introspection;
    use crate::{
        authority::issued::response::json_response,
        rejection::{Rejection, RejectionKind},
    };

    /// The body of a response about one token.
    struct Body(Bytes);

    impl Introspection {
        /// Returns the body. It is made once for a token that the in-process cache holds.
        pub(super) fn body(&self) -> Option<Bytes> {
            let make = || serde_json::to_vec(self).ok().map(|json| Bytes::from(json.into_boxed_slice()));
            match self.claims() {
                Some(claims) => {
                    let body = claims.keep(|| {
                        let body = make()?;
                        let length = body.len();
                        Some((Body(body), length))
                    });
                    body.map(|body| body.0.clone())
                }
                None => make(),
            }
        }
    }

    /// Responds 200 with the body of RFC 7662 §2.2 and `Cache-Control: no-store`.
    impl IntoResponse for Introspection {
        fn into_response(self) -> Response {
            match self.body() {
                Some(body) => json_response(body),
                None => Rejection::new(RejectionKind::Internal).into_response(),
            }
        }
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
    /// # use axum::extract::State;
    /// // Authenticate the caller first: it must be one of your OAuth clients.
    /// async fn introspect(
    ///     State(authority): State<Authority>,
    ///     token: String,
    /// ) -> Result<Introspection, Rejection> {
    ///     Ok(authority.introspect(&token).await?)
    /// }
    /// ```
    pub async fn introspect(&self, token: &str) -> Result<Introspection, AuthError> {
        for kind in TokenKind::ALL {
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

#[cfg(all(test, feature = "axum"))]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        Grant, UserId,
        keys::{Keyring, SigningKey},
        store::MemoryStore,
    };

    #[tokio::test]
    async fn introspection_body_is_made_once_while_the_token_is_cached() {
        let authority = Authority::builder("https://auth.example", MemoryStore::new())
            .audience("api")
            .keys(Keyring::new(SigningKey::generate().unwrap()))
            .local_cache(Duration::from_mins(1))
            .build()
            .unwrap();
        let sign_in = authority.begin_sign_in(UserId::generate()).await.unwrap();
        let pair = authority.sign_in(sign_in, Grant::new("web")).await.unwrap();
        let body = async || {
            let introspection = authority.introspect(&pair.access_token).await.unwrap();
            let json = serde_json::to_vec(&introspection).unwrap();
            let body = introspection.body().unwrap();
            assert_eq!(body, json);
            (body, introspection.claims().map(Claims::read_bytes))
        };
        let ((first, counted), (second, _)) = (body().await, body().await);
        assert_eq!(first.as_ptr(), second.as_ptr());
        assert!(counted.is_some_and(|bytes| bytes as usize > first.len()), "the cache counts it: {counted:?}");
        authority.revoke(&pair.access_token).await.unwrap();
        assert_eq!(body().await.0, r#"{"active":false}"#, "the body does not outlive the token");
    }
}
