//! Defines [`TokenStore`].

use std::{future::Future, sync::Weak, time::Duration};

use super::{
    ActiveToken, Admission, Consumed, Denial, HashedKey, LocalCache, OneTimeRecord, Payload, Purged, Redeemed, Resumed,
    Revocation, RevocationListener, Revoked, Rotated, Rotation, Session, StoreError, TokenRecord, TokenStatus,
    UserFence,
};
#[cfg(doc)]
use super::{Retired, StoreDecorator};
use crate::{
    clock::Timestamp,
    id::{SessionId, Subject, TokenId},
};

/// Records tokens and sessions. The [module's documentation](super) has the laws, and what an
/// author of a store must know.
///
/// Times are arguments. An implementation reads no clock, except one that all its nodes share.
///
/// `examples/sqlite_store.rs` implements it in 270 lines.
///
/// ```
/// use auth_layer::{
///     TokenId,
///     store::{StoreError, TokenStatus, TokenStore},
/// };
///
/// // Works with any store.
/// async fn is_recorded(store: &impl TokenStore, id: TokenId) -> Result<bool, StoreError> {
///     Ok(store.token_status(id).await? != TokenStatus::Unknown)
/// }
/// ```
pub trait TokenStore: Send + Sync + 'static {
    /// Returns what this process has verified of this store's tokens.
    ///
    /// The cache is a field of the implementation, made with [`LocalCache::new`]. Clones of a
    /// handle and stores that wrap another return the same one, so a revocation takes effect at
    /// once in the whole process.
    fn local_cache(&self) -> &LocalCache;

    /// Returns what is recorded of a token.
    fn token_status(&self, id: TokenId) -> impl Future<Output = Result<TokenStatus, StoreError>> + Send;

    /// Returns the user's fence: [`UserFence::default`] for a user without a record.
    fn user_fence(&self, user: Subject) -> impl Future<Output = Result<UserFence, StoreError>> + Send;

    /// Records a session with the tokens of its first pair, if the user's fence is still at `epoch`
    /// and the user is not disabled.
    ///
    /// A session or a token that is already recorded stays as it is.
    fn open_session(
        &self,
        session: Session,
        tokens: Vec<TokenRecord>,
        epoch: u64,
    ) -> impl Future<Output = Result<Admission, StoreError>> + Send;

    /// Returns a session as it is recorded, also when it is revoked or expired. `None` when there
    /// is no such session.
    ///
    /// This only reads, and nothing is decided by the answer. `now` is the caller's time, used for
    /// [`Session::previous`] as in [`session_for_refresh`](Self::session_for_refresh).
    fn session(
        &self,
        id: SessionId,
        now: Timestamp,
    ) -> impl Future<Output = Result<Option<Session>, StoreError>> + Send;

    /// Returns the session that a refresh token names, with the status of that token. `None` when
    /// there is no such session.
    ///
    /// Both are read from the store of record. `now` is the caller's time. The age of
    /// [`Session::previous`] should not depend on which node's clock is asked. A backend with a
    /// clock that all nodes share measures the age by that clock, and returns the moment converted
    /// to the caller's clock.
    fn session_for_refresh(
        &self,
        session: SessionId,
        refresh: TokenId,
        now: Timestamp,
    ) -> impl Future<Output = Result<Option<(Session, TokenStatus)>, StoreError>> + Send;

    /// Makes `rotation.child` the session's current pair and records its tokens, if the session is
    /// not revoked and its current refresh token is `rotation.parent`.
    ///
    /// Otherwise changes nothing. The new pair is not yet [delivered](Retired::delivered). The
    /// child replaces the pair as a whole, [payload](Session::payload) included. The session's own
    /// payload and the records of the parent's tokens stay as they are.
    fn rotate(&self, rotation: Rotation) -> impl Future<Output = Result<Rotated, StoreError>> + Send;

    /// Confirms that `current` is the refresh token of the session's current pair, and that no
    /// failover will change that.
    ///
    /// What [`session_for_refresh`](Self::session_for_refresh) read may still be lost with a
    /// primary. That pair must then not be handed out a second time.
    fn confirm(&self, session: SessionId, current: TokenId)
    -> impl Future<Output = Result<Rotated, StoreError>> + Send;

    /// Records that the pair with refresh token `current` was handed out: sets
    /// [`Retired::delivered`], and sets [`Retired::at`] to `now`.
    ///
    /// Changes nothing unless that pair is the session's current one, replaced another pair, and is
    /// not yet recorded as delivered. A second call leaves [`Retired::at`] alone, or each retry
    /// would keep the grace window open. `now` is by the clock that [`rotate`](Self::rotate) uses,
    /// and [`Retired::at`] never moves back.
    ///
    /// Called once the answer of a [`rotate`](Self::rotate) or a [`confirm`](Self::confirm) is
    /// decided, and nobody waits for it. It need not be durable: if it is lost, the retired token
    /// gets this one pair for longer. It must never apply to another pair, or before this call. A
    /// retry would then be taken for theft although nobody received the pair.
    fn note_delivered(
        &self,
        session: SessionId,
        current: TokenId,
        now: Timestamp,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Records one more token of a session (a single-use token), if the session exists and is not
    /// revoked.
    ///
    /// An existing record stays as it is.
    fn record_token(&self, token: TokenRecord) -> impl Future<Output = Result<Admission, StoreError>> + Send;

    /// Uses up a single-use token. Accepts it if its record matches `expected` and it is not
    /// revoked, not used and not expired at `now`.
    fn consume(
        &self,
        id: TokenId,
        expected: ActiveToken,
        now: Timestamp,
    ) -> impl Future<Output = Result<Consumed, StoreError>> + Send;

    /// Reserves `key` until `expires_at`. Returns true if this call made the reservation.
    ///
    /// A reservation lives while its `expires_at` is after `now`, the caller's time. A store may
    /// remove it later, so judge it by `now`:
    ///
    /// - While a reservation lives, no other call for its key returns true, on any node.
    /// - An expired reservation counts as none, also while the store still has it. Of many calls
    ///   that find it expired, one returns true. Read and write it in one step.
    /// - A call that returns false changes nothing. In particular it extends no reservation.
    /// - If `expires_at` is not after `now`, returns false and writes nothing.
    ///
    /// A call that fails, or whose answer is lost, may have reserved the key. Then another call
    /// returns false.
    ///
    /// A DPoP proof is accepted once by reserving its identifier (RFC 9449 §11.1). Reserve after all
    /// other checks, so that what they refuse writes nothing.
    fn reserve(
        &self,
        key: HashedKey,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Records what `key` stands for, until `expires_at`: a [`OneTimeRecord`] that nobody has
    /// redeemed.
    ///
    /// An existing record of this key stays as it is, also one that was redeemed or has expired.
    /// The payload is kept as it is given, unknown members included.
    fn put_one_time(
        &self,
        key: HashedKey,
        payload: Payload,
        expires_at: Timestamp,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Returns a one-time record, also one that was redeemed. `None` if there is none, or if it has
    /// expired at `now`, the caller's time.
    ///
    /// This only reads, and nothing is decided by the answer.
    fn one_time(
        &self,
        key: HashedKey,
        now: Timestamp,
    ) -> impl Future<Output = Result<Option<OneTimeRecord>, StoreError>> + Send;

    /// Redeems a one-time record for the session `by`.
    ///
    /// - The first call for a record that has not expired at `now` is [`Redeemed::First`]. There is
    ///   one on all nodes together.
    /// - Each later call is [`Redeemed::Again`] with the session of the first, until the record
    ///   expires. The caller can then revoke what came of the first (RFC 6749 §4.1.2).
    /// - From `expires_at` on, and without a record, it is [`Redeemed::Unknown`], and nothing
    ///   changes.
    ///
    /// The session need not be recorded in this store. The first call is decided and written in one
    /// step. No purge, restart or failover brings the record back.
    ///
    /// A call that fails, or whose answer is lost, may have redeemed the record. Then another call
    /// returns [`Redeemed::Again`] with the session of the lost one, and never
    /// [`Redeemed::First`].
    fn redeem(
        &self,
        key: HashedKey,
        by: SessionId,
        now: Timestamp,
    ) -> impl Future<Output = Result<Redeemed, StoreError>> + Send;

    /// Opens a session and redeems a one-time record for it. `None` if the session is
    /// [fenced](Admission::Fenced).
    ///
    /// Otherwise the answer is that of [`redeem`](Self::redeem). Unless it is [`Redeemed::First`],
    /// the session may or may not be opened. The caller hands out none of its tokens and revokes
    /// it, also if this fails.
    ///
    /// The default calls [`open_session`](Self::open_session) and then [`redeem`](Self::redeem): a
    /// session that is never handed out does no harm, and a record without a session could not be
    /// redeemed again. A store that has transactions can do both in one.
    fn open_and_redeem(
        &self,
        session: Session,
        tokens: Vec<TokenRecord>,
        epoch: u64,
        key: HashedKey,
        now: Timestamp,
    ) -> impl Future<Output = Result<Option<Redeemed>, StoreError>> + Send {
        async move {
            let by = session.session_id;
            match self.open_session(session, tokens, epoch).await? {
                Admission::Admitted => self.redeem(key, by, now).await.map(Some),
                Admission::Fenced => Ok(None),
            }
        }
    }

    /// Records the denial of what `key` stands for, for tokens that the store has no records of.
    ///
    /// If the key has a denial already, of each of its times the later one stays, also when several
    /// calls run at the same time: [`Denial::extended_by`], read and written in one step. A denial
    /// that has expired counts like any other.
    ///
    /// Durable before it returns, as every revocation.
    fn deny(&self, key: HashedKey, denial: Denial) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Returns the denials of these keys, in their order: `None` for a key that has none, or whose
    /// denial has expired at `now`, the caller's time.
    ///
    /// A check of another issuer's token calls this, with up to three keys. Make it one read.
    fn denials(
        &self,
        keys: Vec<HashedKey>,
        now: Timestamp,
    ) -> impl Future<Output = Result<Vec<Option<Denial>>, StoreError>> + Send;

    /// Revokes one token. Revoking a refresh token revokes its whole session (RFC 7009 §2.1).
    ///
    /// An unknown token is a success that revokes nothing. For this and the other revocations:
    ///
    /// - Unknown means that no server has the record. The word of a server whose data may be out of
    ///   date (a deposed primary, a secondary) is not enough.
    /// - The answer need not name access tokens that expired before `since`, because nobody accepts
    ///   them. The caller has subtracted leeway and margin.
    fn revoke_token(&self, id: TokenId, since: Timestamp) -> impl Future<Output = Result<Revoked, StoreError>> + Send;

    /// Revokes a session and every token of it. An unknown session is a success that revokes
    /// nothing.
    fn revoke_session(
        &self,
        session: SessionId,
        since: Timestamp,
    ) -> impl Future<Output = Result<Revoked, StoreError>> + Send;

    /// Revokes a session for the reuse of a refresh token, if its current refresh token in the
    /// store of record is still `current`.
    ///
    /// Otherwise changes nothing and returns `None`. It revokes as
    /// [`revoke_session`](Self::revoke_session) does, and also answers for a session that is
    /// already revoked.
    ///
    /// What [`session_for_refresh`](Self::session_for_refresh) read may have been out of date. A
    /// session that was refreshed meanwhile must be looked at again before it is ended. The
    /// condition is therefore part of the write that revokes.
    fn revoke_for_reuse(
        &self,
        session: SessionId,
        current: TokenId,
        since: Timestamp,
    ) -> impl Future<Output = Result<Option<Revoked>, StoreError>> + Send;

    /// Raises the user's fence, and revokes every session of the user except `except`, with every
    /// token of them.
    ///
    /// Each call raises the fence by one, also when two run at the same time: read and write it in
    /// one step. If two calls raised it once, a sign-in that began between them would be admitted.
    fn revoke_user(
        &self,
        user: Subject,
        except: Option<SessionId>,
        since: Timestamp,
    ) -> impl Future<Output = Result<Revoked, StoreError>> + Send;

    /// Disables or enables the user. Disabling revokes as [`revoke_user`](Self::revoke_user) does,
    /// and fences every sign-in until the user is enabled.
    ///
    /// Enabling brings nothing back.
    fn set_user_disabled(
        &self,
        user: Subject,
        disabled: bool,
        since: Timestamp,
    ) -> impl Future<Output = Result<Revoked, StoreError>> + Send;

    /// Continues revocations that were recorded and then broke off, because the node died or the
    /// store was unreachable.
    ///
    /// Returns what they cover, as the revocations themselves would have. Leaves out those that may
    /// still be running. Returns a bounded number at a time.
    ///
    /// An [`Authority`](crate::Authority) calls this every few seconds if a revocation [takes
    /// several writes](Self::revokes_in_steps). A revocation is returned again later, until
    /// [`settle`](Self::settle) is called for it.
    ///
    /// The default returns none. That is right when each revocation is one transaction.
    fn resume(&self, since: Timestamp) -> impl Future<Output = Result<Vec<Resumed>, StoreError>> + Send {
        let _ = since;
        async { Ok(Vec::new()) }
    }

    /// Records that a revocation is complete: its tokens are revoked and the shared cache knows.
    ///
    /// Called for [`Revoked::unsettled`] only. The record may be lost, since
    /// [`resume`](Self::resume) may return a revocation that is complete. The default does nothing.
    fn settle(&self, revocation: Revocation) -> impl Future<Output = Result<(), StoreError>> + Send {
        let _ = revocation;
        async { Ok(()) }
    }

    /// Returns whether a revocation takes more than one write, so that it can break off half-way.
    ///
    /// A store that returns true implements [`resume`](Self::resume) and [`settle`](Self::settle).
    /// Default: false.
    fn revokes_in_steps(&self) -> bool {
        false
    }

    /// Returns the user's sessions that are neither revoked nor expired at `now`, newest first, by
    /// `created_at` and then by `session_id`.
    fn sessions(&self, user: Subject, now: Timestamp) -> impl Future<Output = Result<Vec<Session>, StoreError>> + Send;

    /// Returns the live sessions that an OAuth client opened, for any user, in the order of their
    /// ids. At most `limit` of them, those after `after`.
    ///
    /// A live session is neither revoked nor expired at `now`. Its client is
    /// [`Session::client_id`], compared by its bytes. Fewer than `limit` sessions mean that there
    /// are no more.
    ///
    /// It is called when a client is deleted, which is rare. A store may read all its sessions for
    /// it, and needs no index that each sign-in would have to keep.
    fn sessions_of_client(
        &self,
        client_id: String,
        after: Option<SessionId>,
        limit: usize,
        now: Timestamp,
    ) -> impl Future<Output = Result<Vec<SessionId>, StoreError>> + Send;

    /// Returns the sessions that a limit of `keep` sessions ends: the user's live sessions without
    /// `new` and without the `keep` that were used last.
    ///
    /// Those used longest ago come first, by `last_used_at` and then by `session_id`. The answer
    /// may be cut off. The default filters [`sessions`](Self::sessions).
    fn surplus_sessions(
        &self,
        user: Subject,
        new: SessionId,
        keep: usize,
        now: Timestamp,
    ) -> impl Future<Output = Result<Vec<SessionId>, StoreError>> + Send {
        async move { Ok(used_longest_ago(self.sessions(user, now).await?, new, keep)) }
    }

    /// Removes the tokens, sessions, reservations and one-time records that expired before
    /// `before`. The caller has subtracted leeway and margin.
    ///
    /// A revocation of a session or of its user still finds a token that outlives its session. A
    /// session that is refreshed while this runs expires later, and stays. Fences are never
    /// removed.
    fn purge_expired(&self, before: Timestamp) -> impl Future<Output = Result<Purged, StoreError>> + Send;

    /// Returns the time within which [`token_status`](Self::token_status) answers or fails, if the
    /// store itself enforces one.
    ///
    /// Default: none. The caller then sets its own limit, which costs a timer for each request.
    fn answers_within(&self) -> Option<Duration> {
        None
    }

    /// Returns how long after its expiry a record is removed without
    /// [`purge_expired`](Self::purge_expired), for example by MongoDB's TTL indexes.
    ///
    /// An [`Authority`](crate::Authority) then never purges. Building it fails when this is shorter
    /// than its leeway and margin (law 5). Default: none. The authority then purges from time to
    /// time.
    fn retention_margin(&self) -> Option<Duration> {
        None
    }

    /// Succeeds when the store of record can serve.
    fn ping(&self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Reports to `listener` what other processes revoke and [deny](Self::deny), and that something
    /// may have been missed, until the listener is dropped. A denial is reported by the
    /// [tag](HashedKey::tag) of its key.
    ///
    /// No law depends on this. A cached answer is believed for a bounded time only
    /// ([`local_cache`](crate::authority::AuthorityBuilder::local_cache)'s lease), and that bound
    /// holds without any report. Reports make the time short. The default reports nothing. That is
    /// also right when no other process has access.
    ///
    /// A reported revocation must be visible: a [`token_status`](Self::token_status) or a
    /// [`denials`](Self::denials) that begins after the call of [`RevocationListener::revoked`] sees
    /// it.
    ///
    /// A store that wraps another is a [`StoreDecorator`], which forwards this.
    fn subscribe(&self, listener: Weak<dyn RevocationListener>) {
        drop(listener);
    }
}

/// Returns the ids of these sessions, without `new` and without the `keep` that were used last, as
/// [`TokenStore::surplus_sessions`] does.
pub(super) fn used_longest_ago(mut sessions: Vec<Session>, new: SessionId, keep: usize) -> Vec<SessionId> {
    sessions.retain(|session| session.session_id != new);
    sessions.sort_by_key(|session| (session.last_used_at, session.session_id));
    let surplus = sessions.len().saturating_sub(keep);
    sessions.into_iter().take(surplus).map(|session| session.session_id).collect()
}
