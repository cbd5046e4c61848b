//! Is this token good?

use std::{sync::Arc, time::Duration};

use super::{Authority, CheckOrder, error::AuthError};
use crate::{
    cache::local::{Finding, Key, Known},
    claims::{Claims, CustomClaims},
    clock::{earlier, later},
    id::TokenId,
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
    place: Option<Place>,
    began: Duration,
}

/// How far a token has been checked when its record is asked after.
#[expect(clippy::large_enum_variant, reason = "moved once, into the response future; a box would cost an allocation")]
enum Token<C> {
    Unverified(Unverified),
    Verified(Claims<C>),
    /// Verified before, and kept in process.
    Known(Claims<C>),
}

/// Where the in-process cache keeps what is found out about a token.
#[derive(Clone, Copy)]
struct Place {
    key: Key,
    ring: u64,
    length: usize,
}

impl<C: CustomClaims> Token<C> {
    fn verify(self) -> Result<Claims<C>, TokenFault> {
        match self {
            Self::Unverified(token) => token.verify().map(Claims::checked),
            Self::Verified(claims) | Self::Known(claims) => Ok(claims),
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
        match self.check(kind, token.as_bytes(), || Ok(token)) {
            Check::Done(result) => result,
            Check::Ask(answer, asking) => self.conclude(asking, answer.await),
        }
    }

    /// Checks a token as far as that goes without a store. Its text is asked for where the token is not known by its bytes: one
    /// that was let in before needs no second look at its characters.
    pub(crate) fn check<'t>(
        &self,
        kind: TokenKind,
        bytes: &[u8],
        text: impl FnOnce() -> Result<&'t str, AuthError>,
    ) -> Check<C> {
        let inner = &self.inner;
        let began = inner.clock.monotonic();
        let mut place = None;
        // A token that is too large is not even worth a hash.
        if kind == TokenKind::Access
            && bytes.len() <= inner.settings.max_token_bytes
            && let Some(local) = &inner.local
        {
            let (key, ring) = (local.key(bytes), inner.ring.load().number);
            place = Some(Place { key, ring, length: bytes.len() });
            match local.get(key, ring, began) {
                Known::Good(claims) => return Check::Done(Ok(claims)),
                Known::Genuine(claims) => {
                    // The process may have slept, and the clock that counts leases with it.
                    if self.now() >= later(claims.exp, inner.settings.leeway) {
                        local.remove(key);
                        return Check::Done(Err(TokenFault::Expired.into()));
                    }
                    let (id, says) = (claims.jti, claims.says(kind));
                    return self.ask(id, Asking { token: Token::Known(claims), says, place, began });
                }
                Known::Nothing => {}
            }
        }
        let token = match text() {
            Ok(token) => token,
            Err(error) => return Check::Done(Err(error)),
        };
        let read = self.read(kind, token).and_then(|unverified| {
            let (id, says) = (unverified.claims.jti, unverified.claims.says(kind));
            // What uses a token up comes last, when nothing else can be wrong with it.
            let verify = kind == TokenKind::SingleUse
                || inner.settings.check_order == CheckOrder::SignatureFirst
                || inner.forgeries.are_a_flood(began);
            let token = if verify {
                Token::Verified(Claims::checked(unverified.verify()?))
            } else {
                Token::Unverified(unverified)
            };
            Ok((id, Asking { token, says, place, began }))
        });
        match read {
            Ok((id, asking)) => self.ask(id, asking),
            Err(fault) => Check::Done(Err(fault.into())),
        }
    }

    fn ask(&self, id: TokenId, asking: Asking<C>) -> Check<C> {
        let settings = &self.inner.settings;
        let question = match asking.says.kind {
            // A token within its leeway is still to be accepted, so it still can be used up.
            TokenKind::SingleUse => Question::Consume(id, asking.says, earlier(self.now(), settings.leeway)),
            TokenKind::Access | TokenKind::Refresh => Question::Status(id),
        };
        Check::Ask(Arc::clone(&self.inner.store).ask(question, settings.deadline), asking)
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
        Unverified::read(token, &self.inner.ring.load().keys, &expected)
    }

    /// Ends a check with what the store answered.
    pub(crate) fn conclude(
        &self,
        asking: Asking<C>,
        answer: Result<Standing, StoreError>,
    ) -> Result<Claims<C>, AuthError> {
        let Asking { token, says, place, began } = asking;
        let was_known = matches!(token, Token::Known(_));
        let fault = match answer {
            Ok(Standing::Status(TokenStatus::Active(record))) if record == says => None,
            Ok(Standing::Status(TokenStatus::Active(_))) => Some(TokenFault::Mismatch),
            Ok(Standing::Status(TokenStatus::Unknown)) => Some(TokenFault::Unknown),
            Ok(Standing::Status(TokenStatus::Revoked)) => Some(TokenFault::Revoked),
            Ok(Standing::Consumed(Consumed::Accepted)) => None,
            Ok(Standing::Consumed(Consumed::Refused)) => Some(TokenFault::Used),
            Err(error) => {
                // Only of a token of ours is the state unknown: a forged one is the client's fault, store or no store.
                self.verify_late(token, began)?;
                return Err(AuthError::Unavailable(error));
            }
        };
        let kept = self.inner.local.as_ref().zip(place);
        if let Some(fault) = fault {
            // It may be forged, and its signature no longer matters.
            if matches!(token, Token::Unverified(_)) {
                self.inner.forgeries.note(began);
            }
            if let Some((local, place)) = kept {
                local.remove(place.key);
            }
            return Err(fault.into());
        }
        let claims = self.verify_late(token, began)?;
        if let Some((local, Place { key, ring, length })) = kept {
            let end = later(claims.exp, self.inner.settings.leeway);
            let remaining = (end - self.now()).to_std().unwrap_or_default();
            local.insert(key, &Finding { claims: &claims, ring, began, remaining, length }, was_known);
        }
        Ok(claims)
    }

    /// The claims of a token whose record has been asked after.
    fn verify_late(&self, token: Token<C>, began: Duration) -> Result<Claims<C>, TokenFault> {
        token.verify().inspect_err(|fault| {
            if *fault == TokenFault::Signature {
                self.inner.forgeries.note(began);
            }
        })
    }
}
