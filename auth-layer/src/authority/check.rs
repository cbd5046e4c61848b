//! Is this token good?

use std::time::Duration;

use super::{Authority, CheckOrder, error::AuthError};
use crate::{
    claims::{ClaimSet, Claims, CustomClaims},
    clock::{earlier, later},
    jwt::{Expected, TokenFault, Unverified},
    store::{ActiveToken, Answer, Consumed, Question, Standing, StoreError, TokenKind, TokenStatus},
};

/// How far a check comes without asking a store.
#[expect(clippy::large_enum_variant, reason = "moved once, into the response future; a box would cost an allocation")]
pub(crate) enum Check<C> {
    /// To its end.
    Done(Result<Claims<C>, AuthError>),
    /// To a question. [`Authority::conclude`] takes the answer.
    Ask(Answer<'static, Standing>, Asking<C>),
}

/// A token whose record is being asked after.
pub(crate) struct Asking<C> {
    token: Token<C>,
    says: ActiveToken,
    text: Box<str>,
    began: Duration,
}

/// How far a token has been checked when its record is asked after.
enum Token<C> {
    Unverified(Unverified),
    Verified(ClaimSet<C>),
}

impl<C: CustomClaims> Token<C> {
    fn verify(self) -> Result<ClaimSet<C>, TokenFault> {
        match self {
            Self::Unverified(token) => token.verify(),
            Self::Verified(claims) => Ok(claims),
        }
    }
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
        let read = self.read(kind, token).and_then(|unverified| {
            let (id, says) = (unverified.claims.jti, unverified.claims.says(kind));
            // What uses a token up comes last, when nothing else can be wrong with it.
            let verify = kind == TokenKind::SingleUse || inner.settings.check_order == CheckOrder::SignatureFirst;
            let token = if verify { Token::Verified(unverified.verify()?) } else { Token::Unverified(unverified) };
            Ok((id, says, token))
        });
        let (id, says, checked) = match read {
            Ok(read) => read,
            Err(fault) => return Check::Done(Err(fault.into())),
        };
        let question = match kind {
            // A token within its leeway is still to be accepted, so it still can be used up.
            TokenKind::SingleUse => Question::Consume(id, says, earlier(now, inner.settings.leeway)),
            TokenKind::Access | TokenKind::Refresh => Question::Status(id),
        };
        let answer = std::sync::Arc::clone(&inner.store).ask(question, inner.settings.deadline);
        Check::Ask(answer, Asking { token: checked, says, text: token.into(), began })
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
        asking: Asking<C>,
        answer: Result<Standing, StoreError>,
    ) -> Result<Claims<C>, AuthError> {
        match answer {
            Ok(Standing::Status(TokenStatus::Active(record))) if record == asking.says => {}
            Ok(Standing::Status(TokenStatus::Active(_))) => return Err(TokenFault::Mismatch.into()),
            Ok(Standing::Status(TokenStatus::Unknown)) => return Err(TokenFault::Unknown.into()),
            Ok(Standing::Status(TokenStatus::Revoked)) => return Err(TokenFault::Revoked.into()),
            Ok(Standing::Consumed(Consumed::Accepted)) => {}
            Ok(Standing::Consumed(Consumed::Refused)) => return Err(TokenFault::Used.into()),
            Err(error) => {
                // Only of a token of ours is the state unknown: a forged one is the client's fault, store or no store.
                asking.token.verify()?;
                return Err(AuthError::Unavailable(error));
            }
        }
        let claims = Claims::checked(asking.token.verify()?);
        if asking.says.kind == TokenKind::Access
            && let Some(local) = &self.inner.local
        {
            let end = later(claims.exp, self.inner.settings.leeway);
            let remaining = (end - self.now()).to_std().unwrap_or_default();
            local.insert(&asking.text, &claims, asking.began, remaining);
        }
        Ok(claims)
    }
}
