//! The trait.

use std::{future::Future, sync::Weak, time::Duration};

use super::{
    ActiveToken, Admission, Consumed, LocalCache, Purged, Resumed, Revocation, RevocationListener, Revoked, Rotated,
    Rotation, Session, StoreError, TokenRecord, TokenStatus, UserFence,
};
#[cfg(doc)]
use super::{Retired, StoreDecorator};
use crate::{
    clock::Timestamp,
    id::{SessionId, Subject, TokenId},
};

/// Records tokens and sessions. The [module's documentation](super) has the laws, and what an author of a store must know.
///
/// Times are arguments: an implementation reads no clock, but for one that all its nodes share.
pub trait TokenStore: Send + Sync + 'static {
    /// What this process has verified of this store's tokens: a field of the implementation, made with [`LocalCache::new`].
    /// Clones of a handle, and stores that wrap another, return the same one. That is what makes a revocation end at once
    /// all trust within the process.
    fn local_cache(&self) -> &LocalCache;

    /// What is recorded of a token.
    fn token_status(&self, id: TokenId) -> impl Future<Output = Result<TokenStatus, StoreError>> + Send;

    /// The user's fence. A user nobody has fenced yet has [`UserFence::default`].
    fn user_fence(&self, user: Subject) -> impl Future<Output = Result<UserFence, StoreError>> + Send;

    /// Records a session with the tokens of its first pair, if the user's fence still stands at `epoch` and the user is not
    /// disabled. A session or a token that is recorded already is left as it is.
    fn open_session(
        &self,
        session: Session,
        tokens: Vec<TokenRecord>,
        epoch: u64,
    ) -> impl Future<Output = Result<Admission, StoreError>> + Send;

    /// A session as it is recorded, revoked or expired too; `None` where there is none.
    ///
    /// This only reads: nothing is decided by the answer. `now` is the caller's time, for [`Session::previous`] as with
    /// [`presented`](Self::presented).
    fn session(
        &self,
        id: SessionId,
        now: Timestamp,
    ) -> impl Future<Output = Result<Option<Session>, StoreError>> + Send;

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
    ///
    /// The child replaces the pair as a whole, [payload](Session::payload) included; the session's own payload stays. The
    /// records of the parent's tokens stay as they are.
    fn rotate(&self, rotation: Rotation) -> impl Future<Output = Result<Rotated, StoreError>> + Send;

    /// Makes sure that `current` is the refresh token of the session's current pair, and that a failover will not change that:
    /// what [`presented`](Self::presented) has read may still be lost with a primary, and then this pair must not have been
    /// handed out once more.
    fn confirm(&self, session: SessionId, current: TokenId)
    -> impl Future<Output = Result<Rotated, StoreError>> + Send;

    /// Notes that the pair whose refresh token is `current` was handed out, where that is the session's current pair, replaced
    /// another, and nothing is noted of it yet: [`Retired::delivered`] is true from then on, and [`Retired::at`] is `now`, by the
    /// clock that [`rotate`](Self::rotate) went by, but never earlier than it was. Otherwise changes nothing; in no case anything
    /// else. In particular a second note leaves [`Retired::at`] alone, or each retry would hold the grace window open.
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

    /// Records one more token of a session (a single-use token), if the session is there and not revoked. A record that is there
    /// is left as it is.
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
    ///
    /// Each call raises the fence by one, also of two that run at once: read and write it in one step. Two calls that raise it
    /// once would let in a sign-in that began between them.
    fn revoke_user(
        &self,
        user: Subject,
        except: Option<SessionId>,
        since: Timestamp,
    ) -> impl Future<Output = Result<Revoked, StoreError>> + Send;

    /// Disables the user, which revokes as [`revoke_user`](Self::revoke_user) does and fences every sign-in, until enabled
    /// again. Enabling brings nothing back.
    fn set_user_disabled(
        &self,
        user: Subject,
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

    /// The user's sessions that are neither revoked nor expired at `now`: the newest first, by `created_at` and then by
    /// `session_id`.
    fn sessions(&self, user: Subject, now: Timestamp) -> impl Future<Output = Result<Vec<Session>, StoreError>> + Send;

    /// The user's live sessions beside `new`, without the `keep` that were used last: those that a
    /// limit of sessions ends. The answer may be cut off; those used longest ago come first, by `last_used_at` and then by
    /// `session_id`.
    ///
    /// The default looks through [`sessions`](Self::sessions).
    fn surplus_sessions(
        &self,
        user: Subject,
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
    ///
    /// A session that is refreshed while this runs expires later, and stays. Fences are never removed.
    fn purge_expired(&self, before: Timestamp) -> impl Future<Output = Result<Purged, StoreError>> + Send;

    /// Within what time [`token_status`](Self::token_status) answers, with an error if need be, because the store itself sees to
    /// that. With the default, none, whoever asks sets a limit of its own, which costs a timer for each request.
    fn answers_within(&self) -> Option<Duration> {
        None
    }

    /// How long after its expiry a record is removed without [`purge_expired`](Self::purge_expired), as MongoDB's TTL indexes do
    /// it. Then an [`Authority`](crate::Authority) leaves that to the store, and is not built where this is shorter than its
    /// leeway and margin (law 5).
    ///
    /// With the default, none, the authority purges now and then, and nothing grows for ever.
    fn retention_margin(&self) -> Option<Duration> {
        None
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
    ///
    /// A store that wraps another is a [`StoreDecorator`], which hands this on.
    fn subscribe(&self, listener: Weak<dyn RevocationListener>) {
        drop(listener);
    }
}
