//! Where tokens are recorded, and the laws a store keeps.
//!
//! A [`TokenStore`] is asked for whole operations, not for rows: it opens a session, rotates its pair, revokes, consumes.
//! Each backend decides an operation by its own best means, and whoever implements the trait implements the laws:
//!
//! 1. **Durable.** An operation that returned success survives the crash of any process, and with a replicated backend the
//!    loss of a minority of its members. [`note_delivered`](TokenStore::note_delivered) alone need not.
//! 2. **Linear.** Each operation takes effect at one moment between its call and its return. In particular
//!    [`token_status`](TokenStore::token_status), called after a revocation returned, sees it.
//! 3. **One winner.** Of any number of concurrent [`rotate`](TokenStore::rotate) calls for one parent one is
//!    [`Rotated::Committed`]; of any number of [`consume`](TokenStore::consume) calls for one token one is
//!    [`Consumed::Accepted`].
//! 4. **Fence.** [`open_session`](TokenStore::open_session) under an epoch that has passed, or for a disabled user, is
//!    [`Admission::Fenced`]. What was admitted before a revocation is found by it, whatever ran beside it.
//! 5. **No revival.** `revoked` flips once. Nothing sets it back, and nothing removes a record before the moment that
//!    [`purge_expired`](TokenStore::purge_expired) is given.
//! 6. **Absence is not failure.** "There is no such record" is an `Ok`; a store that could not look is a [`StoreError`].
//! 7. **All or nothing, or harmless.** An operation that fails half-way leaves either no trace or
//!    records of tokens that nobody holds, and calling it again is safe. A revocation that is
//!    recorded and breaks off is answered by [`resume`](TokenStore::resume), on any node.
//! 8. **The session decides.** A refresh token dies with its session: of those that a rotation
//!    retired the records need not be marked, so that ending a session costs what its live tokens
//!    cost.
//!
//! `store::conformance` (feature `conformance`) holds them as plain functions to run on a store of your own.

mod arc;
mod erased;
mod error;
#[cfg(any(feature = "mongodb", feature = "redis"))]
mod feed;
mod listener;
mod memory;
mod record;
mod session;

#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(feature = "embedded")]
pub mod embedded;
#[cfg(feature = "mongodb")]
pub mod mongodb;

use std::{future::Future, sync::Weak, time::Duration};

use uuid::Uuid;

pub(crate) use erased::{Answer, ErasedStore, Question, Standing, within};
pub use error::{StoreError, StoreErrorKind};
#[cfg(any(feature = "mongodb", feature = "redis"))]
pub(crate) use feed::{Feed, Listeners};
pub use listener::RevocationListener;
pub use memory::MemoryStore;
pub use record::{ActiveToken, TokenKind, TokenRecord, TokenStatus};
pub use session::{Pair, Retired, Session, Verdict};

use crate::{
    clock::Timestamp,
    id::{SessionId, TokenId, UserId},
};

/// Records tokens and sessions. The module's documentation has the laws.
///
/// Times are arguments: an implementation reads no clock, but for one that all its nodes share.
pub trait TokenStore: Send + Sync + 'static {
    /// What is recorded of a token.
    fn token_status(&self, id: TokenId) -> impl Future<Output = Result<TokenStatus, StoreError>> + Send;

    /// The user's fence. A user nobody has fenced yet has [`UserFence::default`].
    fn user_fence(&self, user: UserId) -> impl Future<Output = Result<UserFence, StoreError>> + Send;

    /// Records a session with the tokens of its first pair, if the user's fence still stands at `epoch` and the user is not
    /// disabled.
    fn open_session(
        &self,
        session: Session,
        tokens: Vec<TokenRecord>,
        epoch: u64,
    ) -> impl Future<Output = Result<Admission, StoreError>> + Send;

    /// The session that a refresh token names, with what is recorded of that token, both read from the store of record
    /// itself; `None` where there is no such session.
    ///
    /// `now` is the caller's time. How long ago [`Session::previous`] was retired should not depend on whose clock was asked:
    /// a backend with a clock that all nodes share measures by that, and gives the moment by the caller's clock.
    fn presented(
        &self,
        session: SessionId,
        refresh: TokenId,
        now: Timestamp,
    ) -> impl Future<Output = Result<Option<(Session, TokenStatus)>, StoreError>> + Send;

    /// Makes `rotation.child` the session's current pair, which has not been [delivered](Retired::delivered), and records its
    /// tokens, if the session is not revoked and its current refresh token is `rotation.parent`; otherwise changes nothing.
    fn rotate(&self, rotation: Rotation) -> impl Future<Output = Result<Rotated, StoreError>> + Send;

    /// Makes sure that `current` is the refresh token of the session's current pair, and that a failover will not change that:
    /// what [`presented`](Self::presented) has read may still be lost with a primary, and then this pair must not have been
    /// handed out once more.
    fn confirm(&self, session: SessionId, current: TokenId)
    -> impl Future<Output = Result<Rotated, StoreError>> + Send;

    /// Notes that the pair whose refresh token is `current` was handed out, where that is the session's current pair, replaced
    /// another, and nothing is noted of it yet: [`Retired::delivered`] is true from then on, and [`Retired::at`] is `now`, by the
    /// clock that [`rotate`](Self::rotate) went by. Otherwise changes nothing; in no case anything else.
    ///
    /// It is called once the answer of a [`rotate`](Self::rotate) or a [`confirm`](Self::confirm) is decided, and nobody waits for
    /// it. So it may be done cheaply: it need not survive the crash of anything, since a note that is lost only means that the
    /// retired token is answered with this one pair for longer. But it must not come to stand for another pair, or before this
    /// call: then a retry would be taken for theft of what nobody was given.
    fn note_delivered(
        &self,
        session: SessionId,
        current: TokenId,
        now: Timestamp,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Records one more token of a session (a single-use token), if the session is there and not revoked.
    fn record_token(&self, token: TokenRecord) -> impl Future<Output = Result<Admission, StoreError>> + Send;

    /// Uses up a single-use token: accepts it if it is recorded as what it says, not revoked, not used before and not
    /// expired at `now`.
    fn consume(
        &self,
        id: TokenId,
        says: ActiveToken,
        now: Timestamp,
    ) -> impl Future<Output = Result<Consumed, StoreError>> + Send;

    /// Revokes one token. With a refresh token dies its whole session (RFC 7009 §2.1). An unknown token is a success that
    /// revokes nothing.
    ///
    /// Here and in the other revocations: what is unknown must be unknown for good. A server whose data may be out of date (a primary that was
    /// deposed, a secondary) is not to be believed that there is nothing to revoke.
    ///
    /// Here and in the other revocations: access tokens that expired before `since` need not be named in the answer, since
    /// nobody accepts them. The caller has taken leeway and margin off.
    fn revoke_token(&self, id: TokenId, since: Timestamp) -> impl Future<Output = Result<Revoked, StoreError>> + Send;

    /// Revokes a session and every token of it. An unknown session is a success that revokes nothing.
    fn revoke_session(
        &self,
        session: SessionId,
        since: Timestamp,
    ) -> impl Future<Output = Result<Revoked, StoreError>> + Send;

    /// Revokes a session as [`revoke_session`](Self::revoke_session) does, also one that is revoked already, if `current` is the
    /// refresh token of its current pair in the store of record; otherwise changes nothing and answers `None`.
    ///
    /// This is how a reuse is punished: what [`presented`](Self::presented) read may have been out of date, and a session that
    /// went on meanwhile must be looked at again before it is ended. The condition belongs to the write that revokes.
    fn punish(
        &self,
        session: SessionId,
        current: TokenId,
        since: Timestamp,
    ) -> impl Future<Output = Result<Option<Revoked>, StoreError>> + Send;

    /// Raises the user's fence and revokes every session of the user, but for `except`, with every token of them.
    fn revoke_user(
        &self,
        user: UserId,
        except: Option<SessionId>,
        since: Timestamp,
    ) -> impl Future<Output = Result<Revoked, StoreError>> + Send;

    /// Disables the user, which revokes as [`revoke_user`](Self::revoke_user) does and fences every sign-in, until enabled
    /// again. Enabling brings nothing back.
    fn set_user_disabled(
        &self,
        user: UserId,
        disabled: bool,
        since: Timestamp,
    ) -> impl Future<Output = Result<Revoked, StoreError>> + Send;

    /// Goes on with revocations that were recorded and broke off: their node died, or the store
    /// went away. Answers what they cover, as the revocations themselves would have. It leaves
    /// those alone that may still be under way, and answers a bounded number at a time.
    ///
    /// An [`Authority`](crate::Authority) calls this every few seconds where a revocation [takes
    /// several writes](Self::revokes_in_steps). What is answered comes again later, until
    /// [`settle`](Self::settle) is called.
    ///
    /// The default answers none. That is right where each revocation is one transaction.
    fn resume(&self, since: Timestamp) -> impl Future<Output = Result<Vec<Resumed>, StoreError>> + Send {
        let _ = since;
        async { Ok(Vec::new()) }
    }

    /// Notes that nothing is left to do for a revocation: its tokens are revoked and the shared
    /// cache knows. This may be lost, since [`resume`](Self::resume) may answer a revocation that
    /// is finished.
    ///
    /// The default does nothing. It is called for [`Revoked::unsettled`] alone.
    fn settle(&self, revocation: Revocation) -> impl Future<Output = Result<(), StoreError>> + Send {
        let _ = revocation;
        async { Ok(()) }
    }

    /// Whether a revocation takes more than one write, so that it can break off half-way. A store
    /// that says so implements [`resume`](Self::resume) and [`settle`](Self::settle). Default:
    /// false.
    fn revokes_in_steps(&self) -> bool {
        false
    }

    /// The user's sessions that are neither revoked nor expired at `now`, the newest first.
    fn sessions(&self, user: UserId, now: Timestamp) -> impl Future<Output = Result<Vec<Session>, StoreError>> + Send;

    /// The user's live sessions beside `new`, without the `keep` that were used last: those that a
    /// limit of sessions ends. The answer may be cut off; those used longest ago come first.
    ///
    /// The default looks through [`sessions`](Self::sessions).
    fn surplus_sessions(
        &self,
        user: UserId,
        new: SessionId,
        keep: usize,
        now: Timestamp,
    ) -> impl Future<Output = Result<Vec<SessionId>, StoreError>> + Send {
        async move {
            let mut others = self.sessions(user, now).await?;
            others.retain(|session| session.session_id != new);
            others.sort_by_key(|session| (session.last_used_at, session.session_id));
            let surplus = others.len().saturating_sub(keep);
            Ok(others.into_iter().take(surplus).map(|session| session.session_id).collect())
        }
    }

    /// Removes the tokens and sessions that expired before `before`. The caller has taken leeway and margin off. A token that
    /// outlives its session is still found by a revocation of the session or of its user.
    fn purge_expired(&self, before: Timestamp) -> impl Future<Output = Result<Purged, StoreError>> + Send;

    /// Within what time [`token_status`](Self::token_status) answers, with an error if need be, because the store itself sees to
    /// that. With the default, none, whoever asks sets a limit of its own, which costs a timer for each request.
    fn answers_within(&self) -> Option<Duration> {
        None
    }

    /// Whether what has expired is removed without [`purge_expired`](Self::purge_expired), as MongoDB's TTL indexes do. Then an
    /// [`Authority`](crate::Authority) leaves it to the store, and the store alone answers for what law 5 says of it: nothing goes
    /// before leeway and margin have passed.
    ///
    /// With the default, false, the authority purges now and then, and nothing grows for ever.
    fn expires_by_itself(&self) -> bool {
        false
    }

    /// Succeeds when the store of record can serve.
    fn ping(&self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Tells `listener` from now on, until it is gone, of what other processes revoke, or that something may have been missed.
    ///
    /// No law rests on this. Whoever keeps what a store said believes it for a bounded time only
    /// ([`local_cache`](crate::authority::AuthorityBuilder::local_cache)'s lease), and that bound holds where nothing is ever
    /// told. To be told makes it short. So the default tells nothing, which is also right where no other process has access.
    ///
    /// What is told must be seen: a [`token_status`](Self::token_status) that begins after [`RevocationListener::revoked`] was
    /// called finds the revocation.
    fn subscribe(&self, listener: Weak<dyn RevocationListener>) {
        drop(listener);
    }
}

/// What a sign-in must pass: read before the credentials are checked, presented when the session is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserFence {
    /// How often all of the user's sessions were revoked.
    pub epoch: u64,
    /// Whether the user is refused sign-in.
    pub disabled: bool,
}

/// Whether something was let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Admission {
    /// It was recorded.
    Admitted,
    /// A revocation came first: nothing that anyone holds was recorded.
    Fenced,
}

/// A request to replace a session's pair.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// The session.
    pub session_id: SessionId,
    /// The refresh token that was presented; it must be the session's current one.
    pub parent: TokenId,
    /// What replaces it.
    pub child: Pair,
    /// The records of the child's tokens.
    pub tokens: Vec<TokenRecord>,
    /// The time now: when the parent is retired, and when the session was last used.
    pub now: Timestamp,
}

/// How a rotation, or the confirmation of one, ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Rotated {
    /// The child is the session's current pair.
    Committed,
    /// The session has moved on, is revoked or is gone; look at it again.
    Lost,
}

/// How the use of a single-use token ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Consumed {
    /// This call used it up.
    Accepted,
    /// It is unknown, of another kind, not what it says, revoked, expired or was used before.
    Refused,
}

/// What a revocation covered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Revoked {
    /// The access tokens that it covers and that may still be accepted, with their expiry: what a cache may hold as active. It
    /// names those that an earlier call revoked, too, so that a retry repeats all that the first try may have left undone.
    pub access_tokens: Vec<(TokenId, Timestamp)>,
    /// How many sessions this call turned from active to revoked.
    pub sessions: u64,
    /// Set by a store that [revokes in steps](TokenStore::revokes_in_steps): what to
    /// [settle](TokenStore::settle) once the shared cache knows of the tokens.
    pub unsettled: Option<Revocation>,
}

/// A revocation that a store has recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Revocation {
    /// Of a token alone.
    Token(TokenId),
    /// Of a session.
    Session(SessionId),
    /// Of all that a user has. A user may be revoked again while this goes on, so each has an
    /// identifier of its own.
    User(UserId, Uuid),
}

/// A revocation that broke off and was taken up again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resumed {
    /// What it covers.
    pub revoked: Revoked,
    /// How long ago it was recorded.
    pub age: Duration,
}

/// What a purge removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Token records.
    pub tokens: u64,
    /// Sessions.
    pub sessions: u64,
}
