//! The conformance suite finds a store that breaks a law, in the function for that law.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
};

use auth_layer::{
    SessionId, Subject, TokenId,
    clock::Timestamp,
    store::{
        ActiveToken, Admission, Consumed, Denial, DynStore, HashedKey, MemoryStore, OneTimeRecord, Payload, Purged,
        Redeemed, Revoked, Rotated, Rotation, Session, StoreDecorator, StoreError, TokenKind, TokenRecord, TokenStatus,
        TokenStore, UserFence,
        conformance::{self, Users},
    },
};
use chrono::TimeDelta;

/// A mistake that is easily made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mistake {
    ReadsThenRotates,
    ReadsThenConsumes,
    ReadsThenAdmits,
    AdmitsAnyEpoch,
    ReadsThenRecords,
    ReadsThenRevokesForReuse,
    RevokesForReuseAlways,
    ReadsThenNotes,
    NotesAgain,
    ReadsThenRaisesFence,
    ReadsThenPurges,
    ReservesAlways,
    ReadsThenReserves,
    ExtendsReservations,
    NeverFreesKeys,
    ReadsThenRedeems,
    RedeemsThenOpens,
    RedeemsAgainForTheSameSession,
    NamesTheLastSession,
    PutsAnew,
    IgnoresExpiry,
    KeepsTheLastDenial,
    ReadsThenDenies,
    AnswersForKeysAsFound,
    PurgesEarly,
    PurgesNoKeys,
    SkipsASessionPerPage,
    ListsSessionsOfAllClients,
    ListsRevokedSessions,
}

/// A [`MemoryStore`] with one mistake, or none. Tokens that it records unasked belong to a session
/// that no test reads.
#[derive(Debug)]
struct BrokenStore {
    store: MemoryStore,
    mistake: Option<Mistake>,
    admitted: Mutex<Vec<SessionId>>,
    /// Sessions that the mistake removed.
    gone: Mutex<HashSet<SessionId>>,
    /// Pairs that the mistake marked as delivered, and when it last did so.
    noted: Mutex<HashMap<TokenId, Timestamp>>,
    /// What the mistakes with reservations reserved.
    reserved: Mutex<HashMap<HashedKey, Timestamp>>,
    /// Under which key a one-time record is kept after it was put anew.
    renamed: Mutex<HashMap<HashedKey, HashedKey>>,
    /// What the mistakes with denials keep.
    denials: Mutex<HashMap<HashedKey, Denial>>,
}

impl BrokenStore {
    fn with(mistake: impl Into<Option<Mistake>>) -> Arc<Self> {
        Arc::new(Self {
            store: MemoryStore::new(),
            mistake: mistake.into(),
            admitted: Mutex::default(),
            gone: Mutex::default(),
            noted: Mutex::default(),
            reserved: Mutex::default(),
            renamed: Mutex::default(),
            denials: Mutex::default(),
        })
    }

    fn makes(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }

    /// Returns the session as this store sees it.
    async fn read_session(&self, id: SessionId) -> Result<Option<Session>, StoreError> {
        if self.gone.lock().unwrap().contains(&id) {
            return Ok(None);
        }
        let mut found = self.store.session(id, Timestamp::UNIX_EPOCH).await?;
        if let Some(session) = &mut found
            && let Some(noted) = self.noted.lock().unwrap().get(&session.current.refresh_id)
            && let Some(previous) = &mut session.previous
        {
            previous.at = *noted;
        }
        Ok(found)
    }

    fn kept_under(&self, key: HashedKey) -> HashedKey {
        self.renamed.lock().unwrap().get(&key).copied().unwrap_or(key)
    }

    /// Returns the time by which this store judges one-time records and denials.
    fn believed(&self, now: Timestamp) -> Timestamp {
        if self.makes(Mistake::IgnoresExpiry) { Timestamp::UNIX_EPOCH } else { now }
    }

    async fn admit(&self, session: Session, tokens: Vec<TokenRecord>) -> Result<Admission, StoreError> {
        yield_to_others().await;
        let epoch = self.store.user_fence(session.user_id.clone()).await?.epoch;
        self.store.open_session(session, tokens, epoch).await
    }

    async fn record(&self, session: Session, tokens: Vec<TokenRecord>) -> Result<Admission, StoreError> {
        self.admit(Session { session_id: SessionId::generate(), ..session }, tokens).await
    }
}

/// Runs between a read and a write. Yields more than once, because the task that yielded last wakes
/// first.
async fn yield_to_others() {
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
}

impl StoreDecorator for BrokenStore {
    type Inner = MemoryStore;

    fn inner(&self) -> &MemoryStore {
        &self.store
    }

    async fn open_session(
        &self,
        session: Session,
        tokens: Vec<TokenRecord>,
        epoch: u64,
    ) -> Result<Admission, StoreError> {
        self.admitted.lock().unwrap().push(session.session_id);
        let fence = self.store.user_fence(session.user_id.clone()).await?;
        let stands = fence.epoch == epoch && !fence.disabled;
        if self.makes(Mistake::AdmitsAnyEpoch) || self.makes(Mistake::ReadsThenAdmits) && stands {
            return self.admit(session, tokens).await;
        }
        self.store.open_session(session, tokens, epoch).await
    }

    async fn session(&self, id: SessionId, _now: Timestamp) -> Result<Option<Session>, StoreError> {
        self.read_session(id).await
    }

    async fn session_for_refresh(
        &self,
        session: SessionId,
        refresh: TokenId,
        _now: Timestamp,
    ) -> Result<Option<(Session, TokenStatus)>, StoreError> {
        let status = self.store.token_status(refresh).await?;
        Ok(self.read_session(session).await?.map(|session| (session, status)))
    }

    async fn rotate(&self, rotation: Rotation) -> Result<Rotated, StoreError> {
        if !self.makes(Mistake::ReadsThenRotates) {
            return self.store.rotate(rotation).await;
        }
        let found = self.read_session(rotation.session_id).await?;
        let Some(session) = found.filter(|it| !it.revoked && it.current.refresh_id == rotation.parent) else {
            return Ok(Rotated::Lost);
        };
        let tokens = rotation.tokens.clone();
        let _ = self.record(session, tokens).await?;
        if let Some(later) = self.read_session(rotation.session_id).await? {
            let _ = self.store.rotate(Rotation { parent: later.current.refresh_id, ..rotation }).await?;
        }
        Ok(Rotated::Committed)
    }

    async fn note_delivered(&self, session: SessionId, current: TokenId, now: Timestamp) -> Result<(), StoreError> {
        let found = self.read_session(session).await?.filter(|it| it.current.refresh_id == current);
        if self.makes(Mistake::NotesAgain) && found.is_some() {
            self.noted.lock().unwrap().insert(current, now);
        }
        if !self.makes(Mistake::ReadsThenNotes) {
            return self.store.note_delivered(session, current, now).await;
        }
        if found.is_some() {
            yield_to_others().await;
            if let Some(later) = self.read_session(session).await? {
                self.store.note_delivered(session, later.current.refresh_id, now).await?;
            }
        }
        Ok(())
    }

    async fn record_token(&self, token: TokenRecord) -> Result<Admission, StoreError> {
        if !self.makes(Mistake::ReadsThenRecords) {
            return self.store.record_token(token).await;
        }
        match self.read_session(token.session_id).await?.filter(|session| !session.revoked) {
            Some(session) => self.record(session, vec![token]).await,
            None => Ok(Admission::Fenced),
        }
    }

    async fn consume(&self, id: TokenId, expected: ActiveToken, now: Timestamp) -> Result<Consumed, StoreError> {
        if !self.makes(Mistake::ReadsThenConsumes) {
            return self.store.consume(id, expected, now).await;
        }
        let usable = expected.kind == TokenKind::SingleUse && expected.expires_at > now;
        if !usable || self.store.token_status(id).await? != TokenStatus::Active(expected) {
            return Ok(Consumed::Refused);
        }
        yield_to_others().await;
        let _ = self.store.revoke_token(id, now).await?;
        Ok(Consumed::Accepted)
    }

    async fn reserve(&self, key: HashedKey, expires_at: Timestamp, now: Timestamp) -> Result<bool, StoreError> {
        let reserved = || self.reserved.lock().unwrap();
        let is_reserved = reserved().get(&key).is_some_and(|until| *until > now);
        match self.mistake {
            Some(Mistake::ReservesAlways) => return Ok(expires_at > now),
            Some(Mistake::ReadsThenReserves) if is_reserved || expires_at <= now => return Ok(false),
            Some(Mistake::ReadsThenReserves) => yield_to_others().await,
            Some(Mistake::ExtendsReservations) if is_reserved => {
                reserved().entry(key).and_modify(|until| *until = expires_at.max(*until));
                return Ok(false);
            }
            Some(Mistake::ExtendsReservations) if expires_at > now => {}
            Some(Mistake::NeverFreesKeys) if expires_at > now => {
                return Ok(reserved().insert(key, expires_at).is_none());
            }
            _ => return self.store.reserve(key, expires_at, now).await,
        }
        reserved().insert(key, expires_at);
        Ok(true)
    }

    async fn put_one_time(&self, key: HashedKey, payload: Payload, expires_at: Timestamp) -> Result<(), StoreError> {
        let mut kept = self.kept_under(key);
        if self.makes(Mistake::PutsAnew) {
            kept = HashedKey::of("anew", kept.as_bytes());
            self.renamed.lock().unwrap().insert(key, kept);
        }
        self.store.put_one_time(kept, payload, expires_at).await
    }

    async fn one_time(&self, key: HashedKey, now: Timestamp) -> Result<Option<OneTimeRecord>, StoreError> {
        self.store.one_time(self.kept_under(key), self.believed(now)).await
    }

    async fn deny(&self, key: HashedKey, denial: Denial) -> Result<(), StoreError> {
        let kept = || self.denials.lock().unwrap();
        let denial = match self.mistake {
            Some(Mistake::KeepsTheLastDenial) => denial,
            Some(Mistake::ReadsThenDenies) => {
                let read = kept().get(&key).copied();
                yield_to_others().await;
                read.map_or(denial, |read| read.extended_by(denial))
            }
            _ => return self.store.deny(key, denial).await,
        };
        kept().insert(key, denial);
        Ok(())
    }

    async fn denials(&self, keys: Vec<HashedKey>, now: Timestamp) -> Result<Vec<Option<Denial>>, StoreError> {
        if self.makes(Mistake::KeepsTheLastDenial) || self.makes(Mistake::ReadsThenDenies) {
            let kept = self.denials.lock().unwrap();
            let live = |key| kept.get(key).filter(|denial| denial.is_live(now)).copied();
            return Ok(keys.iter().map(live).collect());
        }
        let mut denials = self.store.denials(keys, self.believed(now)).await?;
        if self.makes(Mistake::AnswersForKeysAsFound) {
            denials.sort_by_key(Option::is_none);
        }
        Ok(denials)
    }

    async fn redeem(&self, key: HashedKey, by: SessionId, now: Timestamp) -> Result<Redeemed, StoreError> {
        let (key, now) = (self.kept_under(key), self.believed(now));
        let found = self.store.one_time(key, now).await?;
        if self.makes(Mistake::ReadsThenRedeems)
            && let Some(OneTimeRecord { payload, redeemed_by: None, .. }) = found
        {
            yield_to_others().await;
            let _ = self.store.redeem(key, by, now).await?;
            return Ok(Redeemed::First(payload));
        }
        Ok(match (self.store.redeem(key, by, now).await?, found) {
            (Redeemed::Again(first), Some(OneTimeRecord { payload, .. }))
                if first == by && self.makes(Mistake::RedeemsAgainForTheSameSession) =>
            {
                Redeemed::First(payload)
            }
            (Redeemed::Again(_), _) if self.makes(Mistake::NamesTheLastSession) => Redeemed::Again(by),
            (redeemed, _) => redeemed,
        })
    }

    async fn open_and_redeem(
        &self,
        session: Session,
        tokens: Vec<TokenRecord>,
        epoch: u64,
        key: HashedKey,
        now: Timestamp,
    ) -> Result<Option<Redeemed>, StoreError> {
        let by = session.session_id;
        if self.makes(Mistake::RedeemsThenOpens) {
            let redeemed = StoreDecorator::redeem(self, key, by, now).await?;
            let admission = StoreDecorator::open_session(self, session, tokens, epoch).await?;
            return Ok((admission == Admission::Admitted).then_some(redeemed));
        }
        match StoreDecorator::open_session(self, session, tokens, epoch).await? {
            Admission::Admitted => StoreDecorator::redeem(self, key, by, now).await.map(Some),
            Admission::Fenced => Ok(None),
        }
    }

    async fn revoke_for_reuse(
        &self,
        session: SessionId,
        current: TokenId,
        since: Timestamp,
    ) -> Result<Option<Revoked>, StoreError> {
        let reads = self.makes(Mistake::ReadsThenRevokesForReuse);
        if !reads && !self.makes(Mistake::RevokesForReuseAlways) {
            return self.store.revoke_for_reuse(session, current, since).await;
        }
        if reads && self.read_session(session).await?.is_none_or(|it| it.current.refresh_id != current) {
            return Ok(None);
        }
        yield_to_others().await;
        self.store.revoke_session(session, since).await.map(Some)
    }

    /// With the mistake it writes the epoch that it read, plus one. If another call wrote that
    /// number meanwhile, the fence stays and the sessions end.
    async fn revoke_user(
        &self,
        user: Subject,
        except: Option<SessionId>,
        since: Timestamp,
    ) -> Result<Revoked, StoreError> {
        if self.makes(Mistake::ReadsThenRaisesFence) {
            let read = self.store.user_fence(user.clone()).await?;
            yield_to_others().await;
            if self.store.user_fence(user.clone()).await? != read {
                let mut revoked = Revoked::default();
                for session in self.store.sessions(user, since).await? {
                    let one = self.store.revoke_session(session.session_id, since).await?;
                    revoked.sessions += one.sessions;
                    revoked.access_tokens.extend(one.access_tokens);
                }
                return Ok(revoked);
            }
        }
        self.store.revoke_user(user, except, since).await
    }

    async fn sessions_of_client(
        &self,
        client_id: String,
        after: Option<SessionId>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<SessionId>, StoreError> {
        let mut listed = self.store.sessions_of_client(client_id, after, limit.saturating_add(1), now).await?;
        let admitted = self.admitted.lock().unwrap().clone();
        match self.mistake {
            // As a cursor of the last page, which has one row more than the page.
            Some(Mistake::SkipsASessionPerPage) if after.is_some() => {
                drop(listed.drain(..usize::from(!listed.is_empty())));
            }
            Some(Mistake::ListsSessionsOfAllClients) => listed = admitted,
            Some(Mistake::ListsRevokedSessions) if !listed.is_empty() => {
                for session in admitted {
                    if self.store.session(session, now).await?.is_some_and(|session| session.revoked) {
                        listed.push(session);
                    }
                }
            }
            _ => {}
        }
        listed.retain(|session| Some(*session) > after);
        listed.sort();
        listed.truncate(limit);
        Ok(listed)
    }

    /// With the mistake it removes the sessions that it found expired, even if they were refreshed
    /// since.
    async fn purge_expired(&self, before: Timestamp) -> Result<Purged, StoreError> {
        if self.makes(Mistake::ReadsThenPurges) {
            let mut expired = Vec::new();
            let admitted = self.admitted.lock().unwrap().clone();
            for session in admitted {
                expired.extend(self.read_session(session).await?.filter(|it| it.expires_at() < before));
            }
            yield_to_others().await;
            self.gone.lock().unwrap().extend(expired.iter().map(|session| session.session_id));
        }
        if self.makes(Mistake::PurgesNoKeys) {
            return Ok(Purged::default());
        }
        let early = if self.makes(Mistake::PurgesEarly) { TimeDelta::milliseconds(1) } else { TimeDelta::zero() };
        self.store.purge_expired(before + early).await
    }
}

/// A store that ignores the case of user names, as a database with such a collation does.
struct IgnoresCase(MemoryStore);

fn folded(user: &Subject) -> Subject {
    user.to_string().to_lowercase().parse().unwrap()
}

impl StoreDecorator for IgnoresCase {
    type Inner = MemoryStore;

    fn inner(&self) -> &MemoryStore {
        &self.0
    }

    async fn sessions(&self, user: Subject, now: Timestamp) -> Result<Vec<Session>, StoreError> {
        let mut sessions = self.0.sessions(user.clone(), now).await?;
        if folded(&user) != user {
            sessions.extend(self.0.sessions(folded(&user), now).await?);
        }
        Ok(sessions)
    }

    async fn user_fence(&self, user: Subject) -> Result<UserFence, StoreError> {
        self.0.user_fence(folded(&user)).await
    }
}

#[tokio::test]
#[should_panic(expected = "the sessions of")]
async fn conformance_finds_users_taken_for_others() {
    conformance::check::similar_subjects_are_different_users(&IgnoresCase(MemoryStore::new())).await;
}

/// A store that drops the payload members that it does not know.
struct StripsPayloads(MemoryStore);

impl StoreDecorator for StripsPayloads {
    type Inner = MemoryStore;

    fn inner(&self) -> &MemoryStore {
        &self.0
    }

    async fn rotate(&self, mut rotation: Rotation) -> Result<Rotated, StoreError> {
        let known = ["scope", "custom", "kid", "sealed_signatures"];
        let members = rotation.child.payload.iter().filter(|(name, _)| known.contains(&name.as_str()));
        rotation.child.payload = members.map(|(name, text)| (name.clone(), text.clone())).collect();
        self.0.rotate(rotation).await
    }

    async fn put_one_time(&self, key: HashedKey, payload: Payload, expires_at: Timestamp) -> Result<(), StoreError> {
        let members = payload.iter().filter(|(name, _)| ["client_id", "scope"].contains(&name.as_str()));
        let payload = members.map(|(name, text)| (name.clone(), text.clone())).collect();
        self.0.put_one_time(key, payload, expires_at).await
    }
}

#[tokio::test]
#[should_panic(expected = "the pair after a rotation")]
async fn conformance_finds_payloads_that_lose_a_member() {
    conformance::check::every_session_field_round_trips(&StripsPayloads(MemoryStore::new()), Users::Uuids).await;
}

#[tokio::test]
#[should_panic(expected = "a record before it is redeemed")]
async fn conformance_finds_one_time_payloads_that_lose_a_member() {
    conformance::one_time::record_is_redeemed_once(&StripsPayloads(MemoryStore::new())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn conformance_passes_without_a_mistake() {
    conformance::all(&BrokenStore::with(None)).await;
}

/// Makes one test for each mistake and each function that must find it. The function gets these
/// arguments after the store.
macro_rules! finds {
    ($arguments:tt $($name:ident: $mistake:ident by $law:path, $expected:literal;)+) => {
        $(
            #[tokio::test]
            #[should_panic(expected = $expected)]
            async fn $name() {
                // As one type for all tests, and that of `all`: so a law is compiled once.
                let store = Arc::new(DynStore::new(BrokenStore::with(Mistake::$mistake)));
                finds!(@call $law, &store, $arguments);
            }
        )+
    };
    (@call $law:path, $store:expr, ($($argument:expr),*)) => {
        $law($store $(, $argument)*).await
    };
}

finds! {
    ()
    reserve_that_always_succeeds_is_found: ReservesAlways
        by conformance::reserve::key_is_reserved_once, "a reserved key, asked for until";
    reserve_that_looks_first_has_many_winners: ReadsThenReserves
        by conformance::reserve::concurrent_reservations_have_one_winner, "reservations of one key that succeeded";
    reserve_that_is_refused_and_extends_is_found: ExtendsReservations
        by conformance::reserve::expired_reservation_is_taken_again, "a refused call extended nothing";
    reserve_that_never_frees_a_key_is_found: NeverFreesKeys
        by conformance::reserve::expired_reservation_is_taken_again, "at the expiry";
    reserve_that_never_frees_a_key_has_no_winner: NeverFreesKeys
        by conformance::reserve::concurrent_reservations_have_one_winner, "reservations of one key that succeeded";
    one_time_record_that_is_redeemed_again_by_its_session_is_found: RedeemsAgainForTheSameSession
        by conformance::one_time::record_is_redeemed_once, "redeemed again names the first session";
    one_time_record_that_forgets_its_first_session_is_found: NamesTheLastSession
        by conformance::one_time::record_is_redeemed_once, "redeemed again names the first session";
    one_time_record_redeemed_by_a_look_first_has_many_firsts: ReadsThenRedeems
        by conformance::one_time::concurrent_redemptions_have_one_first, "redemptions of one record that were the first";
    one_time_record_that_forgets_its_first_session_is_found_in_races: NamesTheLastSession
        by conformance::one_time::concurrent_redemptions_have_one_first, "one of several concurrent redemptions";
    one_time_record_that_is_put_anew_is_found: PutsAnew
        by conformance::one_time::repeated_put_changes_nothing, "a record that was put again";
    one_time_record_without_an_expiry_is_found: IgnoresExpiry
        by conformance::one_time::expired_record_is_unknown, "an expired record";
    one_time_record_without_an_expiry_comes_back_after_a_purge: IgnoresExpiry
        by conformance::purge::purged_one_time_record_is_not_revived, "put once more";
    purge_of_a_one_time_record_before_the_bound_is_found: PurgesEarly
        by conformance::purge::one_time_record_is_kept_until_the_bound, "after a purge with that bound";
    purge_of_a_reservation_before_the_bound_is_found: PurgesEarly
        by conformance::purge::reservation_is_kept_until_the_bound, "went with that bound";
    denial_that_replaces_another_is_found: KeepsTheLastDenial
        by conformance::deny::denial_keeps_the_later_of_each_time, "two denials of one key";
    denial_that_looks_first_loses_a_concurrent_one: ReadsThenDenies
        by conformance::deny::concurrent_denials_keep_the_latest_times, "concurrent denials of one key";
    denial_without_an_expiry_is_found: IgnoresExpiry
        by conformance::deny::denial_is_found_until_it_expires, "from its expiry on";
    denials_in_another_order_than_their_keys_are_found: AnswersForKeysAsFound
        by conformance::deny::denial_is_found_until_it_expires, "in the order of their keys";
    purge_of_a_denial_before_the_bound_is_found: PurgesEarly
        by conformance::purge::denial_is_kept_until_the_bound, "after a purge with that bound";
    purge_that_leaves_denials_is_found: PurgesNoKeys
        by conformance::purge::denial_is_kept_until_the_bound, "1 denial is counted as";
    purge_that_leaves_reservations_is_found: PurgesNoKeys
        by conformance::purge::reservation_is_kept_until_the_bound, "expired before the bound of a purge";
    purge_that_leaves_one_time_records_is_found: PurgesNoKeys
        by conformance::purge::one_time_record_is_kept_until_the_bound, "a purged record";
}

finds! {
    (Users::Texts)
    one_time_record_that_is_redeemed_before_the_fence_is_found: RedeemsThenOpens
        by conformance::one_time::session_opens_with_its_record, "after one that was fenced";
    one_time_record_that_opens_a_session_again_is_found: RedeemsAgainForTheSameSession
        by conformance::one_time::session_opens_with_its_record, "with a record that was redeemed";
    one_time_record_redeemed_by_a_look_first_opens_many_sessions: ReadsThenRedeems
        by conformance::one_time::concurrent_sessions_with_one_record_have_one_first, "that were the first";
    refresh_that_looks_first_has_many_winners: ReadsThenRotates
        by conformance::refresh::concurrent_rotations_have_one_child, "rotations of one parent that committed";
    refresh_that_looks_first_outlives_a_revocation: ReadsThenRotates
        by conformance::refresh::revocation_finds_every_refresh, "beside a revocation";
    single_use_that_looks_first_is_accepted_twice: ReadsThenConsumes
        by conformance::single_use::concurrent_uses_accept_one, "uses of one single-use token that were accepted";
    sign_in_under_a_passed_epoch_is_found: AdmitsAnyEpoch
        by conformance::sign_in::passed_epoch_is_fenced, "a sign-in under epoch";
    sign_in_that_looks_first_outlives_a_revocation: ReadsThenAdmits
        by conformance::sign_in::user_revocation_finds_every_sign_in, "admitted beside a revocation";
    single_use_issue_that_looks_first_outlives_a_revocation: ReadsThenRecords
        by conformance::single_use::session_revocation_finds_every_token, "used after a revocation";
    reuse_that_revokes_a_session_that_moved_on_is_found: RevokesForReuseAlways
        by conformance::revoke::reuse_revokes_only_the_session_that_was_read, "a session that has moved on";
    reuse_that_looks_first_revokes_a_session_that_moved_on: ReadsThenRevokesForReuse
        by conformance::revoke::reuse_never_revokes_a_session_that_was_refreshed, "a session that has moved on";
    refresh_note_that_looks_first_marks_the_next_pair_delivered: ReadsThenNotes
        by conformance::refresh::late_delivery_note_never_applies_to_the_next_pair, "nobody was given the child of this rotation";
    refresh_note_made_twice_moves_the_window: NotesAgain
        by conformance::refresh::repeated_delivery_note_leaves_the_window_alone, "a second note moved the window";
    revoke_user_that_looks_first_raises_the_fence_once_for_two_calls: ReadsThenRaisesFence
        by conformance::revoke::user_revocation_always_raises_the_fence, "raise the fence twice";
    list_that_skips_a_session_per_page_is_found: SkipsASessionPerPage
        by conformance::list::sessions_of_a_client_are_listed_in_pages, "the sessions of a client in pages of 1";
    list_with_sessions_of_other_clients_is_found: ListsSessionsOfAllClients
        by conformance::list::sessions_of_a_client_are_listed_in_pages, "the sessions of a client in pages of 1";
    list_with_revoked_sessions_is_found: ListsRevokedSessions
        by conformance::list::sessions_of_a_client_are_listed_in_pages, "one session of a client is revoked";
    purge_that_looks_first_removes_a_live_session: ReadsThenPurges
        by conformance::purge::purge_keeps_a_session_that_is_refreshed, "a session that was refreshed beside a purge";
}
