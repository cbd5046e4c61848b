//! Is this token good?

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{task::JoinHandle, time::timeout};

use super::{Authority, CheckOrder, error::AuthError};
use crate::{
    cache::local::{Finding, Key, Known},
    claims::{Claims, CustomClaims},
    clock::{Timestamp, earlier, later},
    id::TokenId,
    jwt::{Expected, TokenFault, Unverified},
    store::{ActiveToken, Answer, Consumed, Question, Standing, StoreError, TokenKind, TokenStatus},
};

/// How far a check comes at once.
#[expect(clippy::large_enum_variant, reason = "moved once, into the response future; a box would cost an allocation")]
pub(crate) enum Check<C> {
    /// To its end.
    Done(Result<Claims<C>, AuthError>),
    /// To something that it has to wait for.
    Pending(Pending<C>),
}

/// A check that waits, and goes on from there to its end.
pub(crate) struct Pending<C>(Waiting<C>);

#[expect(clippy::large_enum_variant, reason = "moved once, into the response future; a box would cost an allocation")]
enum Waiting<C> {
    /// For what a store says of a token, which is taken once.
    Store { answer: Answer<'static, Standing>, asking: Option<Asking<C>> },
    /// For its signature, and then for the store.
    Signature(Pin<Box<dyn Future<Output = Result<Claims<C>, AuthError>> + Send>>),
}

/// A token whose record is being asked after.
struct Asking<C> {
    authority: Authority<C>,
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
    generation: u32,
    length: usize,
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
            Check::Pending(pending) => pending.await,
        }
    }

    /// Checks a token as far as that goes without waiting. Its text is asked for where the token is not known by its bytes: one
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
            let key = local.key(bytes);
            place = Some(Place { key, generation: local.generation(), length: bytes.len() });
            match local.get(key, began) {
                Known::Good(claims) => return Check::Done(Ok(claims)),
                Known::Genuine(claims) => {
                    // The process may have slept, and the clock that counts leases with it.
                    if self.now() >= later(claims.exp, inner.settings.leeway) {
                        local.remove(key);
                        return Check::Done(Err(TokenFault::Expired.into()));
                    }
                    let says = claims.says(kind);
                    return Check::Pending(self.ask(claims.jti, Token::Known(claims), says, place, began));
                }
                Known::Nothing => {}
            }
        }
        let token = match text() {
            Ok(token) => token,
            Err(error) => return Check::Done(Err(error)),
        };
        let unverified = match self.read(kind, token) {
            Ok(unverified) => unverified,
            Err(fault) => return Check::Done(Err(fault.into())),
        };
        let (id, says) = (unverified.claims.jti, unverified.claims.says(kind));
        // What uses a token up comes last, when nothing else can be wrong with it.
        let signature_first = kind == TokenKind::SingleUse
            || inner.settings.check_order == CheckOrder::SignatureFirst
            || !inner.unverified_lookups.try_acquire(began);
        if !signature_first {
            return Check::Pending(self.ask(id, Token::Unverified(unverified), says, place, began));
        }
        let verified = if inner.forged_signatures.is_exhausted(began) {
            let (checker, bytes) = (self.clone(), unverified.bytes());
            let verify = move || checker.verify_noting(unverified, began);
            match inner.signature_pool.try_spawn(bytes, verify) {
                Ok(verified) => return Check::Pending(self.ask_after(verified, id, says, place, began)),
                Err(given_back) => given_back(),
            }
        } else {
            self.verify_noting(unverified, began)
        };
        match verified {
            Ok(claims) => Check::Pending(self.ask(id, Token::Verified(claims), says, place, began)),
            Err(fault) => Check::Done(Err(fault.into())),
        }
    }

    fn ask(
        &self,
        id: TokenId,
        token: Token<C>,
        says: ActiveToken,
        place: Option<Place>,
        began: Duration,
    ) -> Pending<C> {
        self.resume_in_background();
        let settings = &self.inner.settings;
        let question = match says.kind {
            // A token within its leeway is still to be accepted, so it still can be used up.
            TokenKind::SingleUse => Question::Consume(id, says, earlier(self.now(), settings.leeway)),
            TokenKind::Access | TokenKind::Refresh => Question::Status(id),
        };
        let answer = Arc::clone(&self.inner.store).ask(question, settings.deadline);
        Pending(Waiting::Store { answer, asking: Some(Asking { authority: self.clone(), token, says, place, began }) })
    }

    /// The same for a token whose signature is being checked.
    fn ask_after(
        &self,
        verified: JoinHandle<Result<Claims<C>, TokenFault>>,
        id: TokenId,
        says: ActiveToken,
        place: Option<Place>,
        began: Duration,
    ) -> Pending<C> {
        let authority = self.clone();
        let deadline = self.inner.settings.deadline;
        let check = async move {
            let cut = |cut| AuthError::Unavailable(StoreError::unavailable("a signature could not be verified", cut));
            let claims = verified.await.map_err(cut)??;
            authority.ask(id, Token::Verified(claims), says, place, began).await
        };
        Pending(Waiting::Signature(Box::pin(async move {
            timeout(deadline, check).await.unwrap_or_else(|late| {
                Err(AuthError::Unavailable(StoreError::unavailable("a token was not checked in time", late)))
            })
        })))
    }

    /// Reads a token of this kind, trusting nothing that it says.
    pub(super) fn read(&self, kind: TokenKind, token: &str) -> Result<Unverified, TokenFault> {
        let expected = self.expected(kind, self.now());
        Unverified::read(token, &self.inner.keys.load(), &expected).inspect_err(|fault| {
            if *fault == TokenFault::Key {
                self.note_missing_key(token, &expected);
            }
        })
    }

    /// What a token of this kind is read against.
    pub(super) fn expected(&self, kind: TokenKind, now: Timestamp) -> Expected<'_> {
        Expected {
            kind,
            issuer: &self.inner.issuer,
            audience: &self.inner.audience,
            leeway: self.inner.settings.leeway,
            max_bytes: self.inner.settings.max_token_bytes,
            now,
        }
    }

    /// The claims of a token whose signature is right; one that is not is counted.
    fn verify_noting(&self, token: Unverified, began: Duration) -> Result<Claims<C>, TokenFault> {
        token.verify().map(Claims::checked).inspect_err(|fault| {
            if *fault == TokenFault::Signature {
                self.inner.forged_signatures.record(began);
            }
        })
    }
}

impl<C: CustomClaims> Future for Pending<C> {
    type Output = Result<Claims<C>, AuthError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.get_mut().0 {
            Waiting::Store { answer, asking } => {
                let answer = ready!(answer.as_mut().poll(cx));
                Poll::Ready(asking.take().expect("`Pending` polled after it was done").conclude(answer))
            }
            Waiting::Signature(end) => end.as_mut().poll(cx),
        }
    }
}

impl<C: CustomClaims> Asking<C> {
    /// Ends a check with what the store answered.
    fn conclude(self, answer: Result<Standing, StoreError>) -> Result<Claims<C>, AuthError> {
        let Self { authority, token, says, place, began } = self;
        let inner = &authority.inner;
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
                authority.verify_late(token, began)?;
                return Err(AuthError::Unavailable(error));
            }
        };
        let kept = inner.local.as_ref().zip(place);
        if let Some(fault) = fault {
            if let Some((local, place)) = kept {
                local.remove(place.key);
            }
            return Err(fault.into());
        }
        let claims = authority.verify_late(token, began)?;
        if let Some((local, Place { key, generation, length })) = kept {
            let end = later(claims.exp, inner.settings.leeway);
            let remaining = (end - authority.now()).to_std().unwrap_or_default();
            local.insert(key, &Finding { claims: &claims, generation, began, remaining, length }, was_known);
        }
        Ok(claims)
    }
}

impl<C: CustomClaims> Authority<C> {
    /// The claims of a token whose record has been asked after.
    fn verify_late(&self, token: Token<C>, began: Duration) -> Result<Claims<C>, TokenFault> {
        match token {
            Token::Unverified(token) => {
                let claims = self.verify_noting(token, began)?;
                self.inner.unverified_lookups.refund();
                Ok(claims)
            }
            Token::Verified(claims) | Token::Known(claims) => Ok(claims),
        }
    }
}
