//! Is this token good?

use std::time::Duration;

use super::{Authority, CheckOrder, error::AuthError};
use crate::{
    claims::{Claims, CustomClaims},
    clock::{earlier, later},
    jwt::{Expected, TokenFault, Unverified},
    store::{Answer, Consumed, Question, Standing, StoreError, TokenKind, TokenStatus},
};

/// How far a check comes without asking a store.
#[expect(clippy::large_enum_variant, reason = "moved once, into the response future; a box would cost an allocation")]
pub(crate) enum Check<C> {
    /// To its end.
    Done(Result<Claims<C>, AuthError>),
    /// To a question. [`Authority::conclude`] takes the answer.
    Ask(Answer<'static, Standing>, Asking),
}

/// A token whose record is being asked after.
pub(crate) struct Asking {
    token: Unverified,
    kind: TokenKind,
    text: Box<str>,
    began: Duration,
}

impl<C: CustomClaims> Authority<C> {
    /// The claims of an access token that is good now: of ours, current, recorded, not revoked, rightly signed.
    ///
    /// # Errors
    ///
    /// [`AuthError::InvalidToken`] where it is not, [`AuthError::Unavailable`] where that cannot be learnt.
    pub async fn verify(&self, access_token: &str) -> Result<Claims<C>, AuthError> {
        self.verify_as(TokenKind::Access, access_token).await
    }

    /// Uses up a single-use token: of any number of calls with it, on any number of nodes, one gets its claims. An answer that
    /// is lost on the way burns the token.
    ///
    /// # Errors
    ///
    /// As [`verify`](Self::verify).
    pub async fn consume(&self, single_use_token: &str) -> Result<Claims<C>, AuthError> {
        self.verify_as(TokenKind::SingleUse, single_use_token).await
    }

    async fn verify_as(&self, kind: TokenKind, token: &str) -> Result<Claims<C>, AuthError> {
        match self.check(kind, token) {
            Check::Done(result) => result,
            Check::Ask(answer, asking) => self.conclude(asking, answer.await),
        }
    }

    /// Checks a token as far as that goes without a store.
    pub(crate) fn check(&self, kind: TokenKind, token: &str) -> Check<C> {
        let inner = &self.inner;
        let began = inner.clock.monotonic();
        if kind == TokenKind::Access
            && let Some(claims) = inner.local.as_ref().and_then(|local| local.get(token, began))
        {
            return Check::Done(Ok(claims));
        }
        let now = self.now();
        let read = self.read(kind, token).and_then(|mut unverified| {
            if kind == TokenKind::SingleUse || inner.settings.check_order == CheckOrder::SignatureFirst {
                unverified.check_signature()?;
            }
            Ok(unverified)
        });
        let unverified = match read {
            Ok(unverified) => unverified,
            Err(fault) => return Check::Done(Err(fault.into())),
        };
        let id = unverified.claims.jti;
        let question = match kind {
            // A token within its leeway is still to be accepted, so it still can be used up.
            TokenKind::SingleUse => Question::Consume(id, earlier(now, inner.settings.leeway)),
            TokenKind::Access | TokenKind::Refresh => Question::Status(id),
        };
        let answer = std::sync::Arc::clone(&inner.store).ask(question, inner.settings.deadline);
        Check::Ask(answer, Asking { token: unverified, kind, text: token.into(), began })
    }

    /// Reads a token of this kind, trusting nothing that it says.
    pub(super) fn read(&self, kind: TokenKind, token: &str) -> Result<Unverified, TokenFault> {
        let expected = Expected {
            kind,
            issuer: &self.inner.issuer,
            audience: &self.inner.audience,
            leeway: self.inner.settings.leeway,
            max_bytes: self.inner.settings.max_token_bytes,
            now: self.now(),
        };
        Unverified::read(token, &self.inner.keys.load(), &expected)
    }

    /// Ends a check with what the store answered.
    pub(crate) fn conclude(
        &self,
        asking: Asking,
        answer: Result<Standing, StoreError>,
    ) -> Result<Claims<C>, AuthError> {
        let claims = &asking.token.claims;
        match answer.map_err(AuthError::Unavailable)? {
            Standing::Status(TokenStatus::Active(record)) => {
                let agrees = record.kind == asking.kind
                    && record.user_id == claims.sub
                    && record.session_id == claims.sid
                    && record.expires_at == claims.exp;
                if !agrees {
                    return Err(TokenFault::Mismatch.into());
                }
            }
            Standing::Status(TokenStatus::Unknown) => return Err(TokenFault::Unknown.into()),
            Standing::Status(TokenStatus::Revoked) => return Err(TokenFault::Revoked.into()),
            Standing::Consumed(Consumed::Accepted) => {}
            Standing::Consumed(Consumed::Refused) => return Err(TokenFault::Used.into()),
        }
        let claims = Claims::checked(asking.token.verify()?);
        if asking.kind == TokenKind::Access
            && let Some(local) = &self.inner.local
        {
            let end = later(claims.exp, self.inner.settings.leeway);
            let remaining = (end - self.now()).to_std().unwrap_or_default();
            local.insert(&asking.text, &claims, asking.began, remaining);
        }
        Ok(claims)
    }
}
