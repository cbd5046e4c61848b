//! The writes of each operation.
//!
//! An operation decides first and writes then, so a refused one writes nothing. What may exist
//! already is the exception: it is written, and what was there is put back. That saves a search per
//! new record. If an operation fails, its transaction is aborted.

use redb::ReadableTable;

use super::{
    codec::{
        StoredSession, StoredToken, encode_denial, encode_fence, encode_one_time, encode_reservation, encode_session,
        encode_token,
    },
    error::EmbeddedError,
    tables::{
        ExpiryRow, KeyExpiryKey, KeyExpiryRow, Tables, denial, denial_expiry_key, fence, first_expiry_key,
        first_key_expiry_key, index_key, members, one_time, reservation, session, text_members, token,
    },
};
use crate::{
    clock::{Timestamp, later},
    id::{SessionId, Subject, TokenId},
    store::{
        ActiveToken, Admission, Consumed, Denial, HashedKey, Pair, Payload, Purged, Redeemed, Retired, Revoked,
        Rotated, Rotation, Session, TokenKind, TokenRecord, UserFence,
    },
};

/// A session that is extended is kept longer than needed by this part of the time. So a refresh
/// seldom moves its row in `expiry`.
const SPARE_PART: u32 = 16;

impl Tables<'_> {
    pub(super) fn open_session(
        &mut self,
        new: &Session,
        tokens: &[TokenRecord],
        epoch: u64,
    ) -> Result<Admission, EmbeddedError> {
        let fence = self.fence(&new.user_id)?;
        if fence.disabled || fence.epoch != epoch {
            return Ok(Admission::Fenced);
        }
        let id = new.session_id;
        let kept_until = kept_for(new, tokens);
        let existing = self.sessions.insert(id.as_bytes(), encode_session(new, kept_until).as_slice())?;
        // A retry after a lost answer. What has happened since stands.
        if let Some(existing) = existing.map(|existing| existing.value().to_vec()) {
            self.sessions.insert(id.as_bytes(), existing.as_slice())?;
            let stored = StoredSession::decode(id, &existing).ok_or(EmbeddedError::Value("sessions"))?;
            return Ok(if stored.session.revoked { Admission::Fenced } else { Admission::Admitted });
        }
        match new.user_id.id() {
            Some(user) => self.user_sessions.insert(&index_key(user, id), ())?,
            None => self.text_user_sessions.insert((&*new.user_id.to_text(), id.as_bytes()), ())?,
        };
        self.put_expiry(ExpiryRow::of_session(new), kept_until)?;
        self.put_tokens(new, tokens)?;
        Ok(Admission::Admitted)
    }

    pub(super) fn rotate(&mut self, rotation: &Rotation) -> Result<Rotated, EmbeddedError> {
        let Some(StoredSession { mut session, kept_until }) = session(&self.sessions, rotation.session_id)? else {
            return Ok(Rotated::Lost);
        };
        if !session.is_current(rotation.parent) {
            return Ok(Rotated::Lost);
        }
        let parent = std::mem::replace(&mut session.current, rotation.child.clone());
        if let Some(access) = ends_with_session(&parent)
            && token(&self.tokens, access)?.is_some()
        {
            self.put_expiry(ExpiryRow::Token(access, session.session_id), parent.access_expires_at)?;
        }
        session.previous = Some(Retired { refresh_id: rotation.parent, at: rotation.now, delivered: false });
        session.last_used_at = rotation.now;
        self.extend_session(&session, kept_until, &rotation.tokens)?;
        Ok(Rotated::Committed)
    }

    pub(super) fn note_delivered(
        &mut self,
        id: SessionId,
        current: TokenId,
        now: Timestamp,
    ) -> Result<(), EmbeddedError> {
        if let Some(mut stored) = session(&self.sessions, id)?
            && stored.session.note_delivered(current, now)
        {
            let value = encode_session(&stored.session, stored.kept_until);
            self.sessions.insert(id.as_bytes(), value.as_slice())?;
        }
        Ok(())
    }

    pub(super) fn record_token(&mut self, token: &TokenRecord) -> Result<Admission, EmbeddedError> {
        match session(&self.sessions, token.session_id)? {
            Some(stored) if !stored.session.revoked => {
                self.extend_session(&stored.session, stored.kept_until, std::slice::from_ref(token))?;
                Ok(Admission::Admitted)
            }
            _ => Ok(Admission::Fenced),
        }
    }

    pub(super) fn consume(
        &mut self,
        id: TokenId,
        expected: &ActiveToken,
        now: Timestamp,
    ) -> Result<Consumed, EmbeddedError> {
        match token(&self.tokens, id)? {
            Some(stored) if !stored.revoked && expected.is_usable(&(&stored.record).into(), now) => {
                self.put_revoked(&stored.record)?;
                Ok(Consumed::Accepted)
            }
            _ => Ok(Consumed::Refused),
        }
    }

    pub(super) fn reserve(
        &mut self,
        key: HashedKey,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<bool, EmbeddedError> {
        let keys = self.keys()?;
        let stored = reservation(&keys.reserved, key)?;
        if expires_at <= now || stored.is_some_and(|until| until > now) {
            return Ok(false);
        }
        let row = KeyExpiryRow::Reservation(key);
        if let Some(expired) = stored {
            keys.expiry.remove(&row.encode(expired))?;
        }
        keys.reserved.insert(key.as_bytes(), encode_reservation(expires_at).as_slice())?;
        keys.expiry.insert(&row.encode(expires_at), ())?;
        Ok(true)
    }

    pub(super) fn put_one_time(
        &mut self,
        key: HashedKey,
        payload: &Payload,
        expires_at: Timestamp,
    ) -> Result<(), EmbeddedError> {
        let keys = self.keys()?;
        // An existing record may be redeemed: keep it.
        if one_time(&keys.one_time, Some(&keys.redemptions), key)?.is_none() {
            keys.one_time.insert(key.as_bytes(), encode_one_time(payload, expires_at).as_slice())?;
            keys.expiry.insert(&KeyExpiryRow::OneTime(key).encode(expires_at), ())?;
        }
        Ok(())
    }

    pub(super) fn redeem(&mut self, key: HashedKey, by: SessionId, now: Timestamp) -> Result<Redeemed, EmbeddedError> {
        let keys = self.keys()?;
        let Some(mut record) = one_time(&keys.one_time, Some(&keys.redemptions), key)? else {
            return Ok(Redeemed::Unknown);
        };
        let redeemed = record.redeem(by, now);
        if matches!(redeemed, Redeemed::First(_)) {
            keys.redemptions.insert(&KeyExpiryRow::OneTime(key).encode(record.expires_at), by.as_bytes())?;
        }
        Ok(redeemed)
    }

    pub(super) fn open_and_redeem(
        &mut self,
        new: &Session,
        tokens: &[TokenRecord],
        epoch: u64,
        key: HashedKey,
        now: Timestamp,
    ) -> Result<Option<Redeemed>, EmbeddedError> {
        match self.open_session(new, tokens, epoch)? {
            Admission::Admitted => self.redeem(key, new.session_id, now).map(Some),
            Admission::Fenced => Ok(None),
        }
    }

    pub(super) fn deny(&mut self, key: HashedKey, new: Denial) -> Result<(), EmbeddedError> {
        let tables = self.denials()?;
        let stored = denial(&tables.denials, key)?;
        let extended = stored.map_or(new, |stored| stored.extended_by(new));
        if stored == Some(extended) {
            return Ok(());
        }
        if let Some(stored) = stored {
            tables.expiry.remove(&denial_expiry_key(stored.expires_at, key))?;
        }
        tables.denials.insert(key.as_bytes(), encode_denial(extended).as_slice())?;
        tables.expiry.insert(&denial_expiry_key(extended.expires_at, key), ())?;
        Ok(())
    }

    pub(super) fn revoke_token(&mut self, id: TokenId, since: Timestamp) -> Result<Revoked, EmbeddedError> {
        let mut revoked = Revoked::default();
        if let Some(stored) = token(&self.tokens, id)? {
            let session = stored.record.session_id;
            if stored.record.kind == TokenKind::Refresh {
                return self.revoke_session(session, since);
            }
            self.revoke_record(&stored, since, &mut revoked)?;
        }
        Ok(revoked)
    }

    pub(super) fn revoke_session(&mut self, id: SessionId, since: Timestamp) -> Result<Revoked, EmbeddedError> {
        let mut revoked = Revoked::default();
        self.end_session(id, since, &mut revoked)?;
        Ok(revoked)
    }

    pub(super) fn revoke_for_reuse(
        &mut self,
        id: SessionId,
        current: TokenId,
        since: Timestamp,
    ) -> Result<Option<Revoked>, EmbeddedError> {
        match session(&self.sessions, id)? {
            Some(stored) if stored.session.current.refresh_id == current => self.revoke_session(id, since).map(Some),
            _ => Ok(None),
        }
    }

    pub(super) fn revoke_user(
        &mut self,
        user: &Subject,
        except: Option<SessionId>,
        since: Timestamp,
    ) -> Result<Revoked, EmbeddedError> {
        let fence = self.fence(user)?;
        self.raise_fence(user, fence)?;
        self.end_sessions(user, except, since)
    }

    pub(super) fn set_disabled(
        &mut self,
        user: &Subject,
        disabled: bool,
        since: Timestamp,
    ) -> Result<Revoked, EmbeddedError> {
        let fence = UserFence { disabled, ..self.fence(user)? };
        if disabled {
            self.raise_fence(user, fence)?;
            return self.end_sessions(user, None, since);
        }
        self.put_fence(user, fence)?;
        Ok(Revoked::default())
    }

    /// Removes up to `limit` records that are due before `before`, and as many that have a key.
    pub(super) fn purge(&mut self, before: Timestamp, limit: usize) -> Result<Purged, EmbeddedError> {
        let mut due = Vec::with_capacity(limit);
        for row in self.expiry.range::<&[u8; 25]>(..&first_expiry_key(before))?.take(limit) {
            let (key, owner) = row?;
            due.push((*key.value(), ExpiryRow::decode(key.value(), owner.value())?));
        }
        let mut purged = Purged::default();
        for (key, due) in due {
            match due {
                ExpiryRow::Token(id, session) => {
                    self.tokens.remove(id.as_bytes())?;
                    self.session_tokens.remove(&index_key(session, id))?;
                    purged.tokens += 1;
                }
                ExpiryRow::Session(id, user) => {
                    self.user_sessions.remove(&index_key(user, id))?;
                    self.purge_session(id, &mut purged)?;
                }
                ExpiryRow::TextSession(id) => {
                    if let Some(session) = self.purge_session(id, &mut purged)? {
                        self.text_user_sessions.remove((&*session.user_id.to_text(), id.as_bytes()))?;
                    }
                }
            }
            self.expiry.remove(&key)?;
        }
        purged.keys = self.purge_keys(before, limit)? + self.purge_denials(before, limit)?;
        Ok(purged)
    }

    /// Removes a session, and the token that ends with it. Returns the session if it can be read.
    fn purge_session(&mut self, id: SessionId, purged: &mut Purged) -> Result<Option<Session>, EmbeddedError> {
        let Some(removed) = self.sessions.remove(id.as_bytes())? else { return Ok(None) };
        purged.sessions += 1;
        let Some(StoredSession { session, .. }) = StoredSession::decode(id, removed.value()) else { return Ok(None) };
        if let Some(access) = ends_with_session(&session.current)
            && self.tokens.remove(access.as_bytes())?.is_some()
        {
            self.session_tokens.remove(&index_key(id, access))?;
            purged.tokens += 1;
        }
        Ok(Some(session))
    }

    fn purge_keys(&mut self, before: Timestamp, limit: usize) -> Result<u64, EmbeddedError> {
        let keys = self.keys()?;
        let due = due_rows(&keys.expiry, before, limit)?;
        for row in &due {
            match KeyExpiryRow::decode(row)? {
                KeyExpiryRow::Reservation(key) => keys.reserved.remove(key.as_bytes()).map(drop)?,
                KeyExpiryRow::OneTime(key) => {
                    keys.one_time.remove(key.as_bytes())?;
                    keys.redemptions.remove(row)?;
                }
            }
            keys.expiry.remove(row)?;
        }
        Ok(due.len() as u64)
    }

    fn purge_denials(&mut self, before: Timestamp, limit: usize) -> Result<u64, EmbeddedError> {
        let tables = self.denials()?;
        let due = due_rows(&tables.expiry, before, limit)?;
        for row in &due {
            let key: [u8; 32] = row.last_chunk().copied().unwrap_or_default();
            tables.denials.remove(&key)?;
            tables.expiry.remove(row)?;
        }
        Ok(due.len() as u64)
    }

    fn fence(&self, user: &Subject) -> Result<UserFence, EmbeddedError> {
        match user.id() {
            Some(id) => fence(&self.fences, id.as_bytes()),
            None => fence(&self.text_fences, &*user.to_text()),
        }
    }

    fn put_fence(&mut self, user: &Subject, fence: UserFence) -> Result<(), EmbeddedError> {
        let value = encode_fence(fence);
        match user.id() {
            Some(id) => self.fences.insert(id.as_bytes(), value.as_slice()).map(drop)?,
            None => self.text_fences.insert(&*user.to_text(), value.as_slice()).map(drop)?,
        }
        Ok(())
    }

    fn raise_fence(&mut self, user: &Subject, fence: UserFence) -> Result<(), EmbeddedError> {
        self.put_fence(user, UserFence { epoch: fence.epoch.saturating_add(1), ..fence })
    }

    fn end_sessions(
        &mut self,
        user: &Subject,
        except: Option<SessionId>,
        since: Timestamp,
    ) -> Result<Revoked, EmbeddedError> {
        let mut revoked = Revoked::default();
        let sessions = match user.id() {
            Some(user) => members(&self.user_sessions, user)?,
            None => text_members(&self.text_user_sessions, &user.to_text())?,
        };
        for id in sessions {
            if Some(id) != except {
                self.end_session(id, since, &mut revoked)?;
            }
        }
        Ok(revoked)
    }

    /// Revokes a session and its tokens, even if the session is already revoked.
    ///
    /// The session decides about its retired refresh tokens, so their records stay as they are.
    fn end_session(&mut self, id: SessionId, since: Timestamp, revoked: &mut Revoked) -> Result<(), EmbeddedError> {
        let mut tokens = members(&self.session_tokens, id)?;
        if let Some(mut stored) = session(&self.sessions, id)? {
            tokens.push(stored.session.current.refresh_id);
            if !stored.session.revoked {
                stored.session.revoked = true;
                let value = encode_session(&stored.session, stored.kept_until);
                self.sessions.insert(id.as_bytes(), value.as_slice())?;
                revoked.sessions += 1;
            }
        }
        for id in tokens {
            if let Some(stored) = token(&self.tokens, id)? {
                self.revoke_record(&stored, since, revoked)?;
            }
        }
        Ok(())
    }

    fn revoke_record(
        &mut self,
        StoredToken { record, revoked: is_revoked }: &StoredToken,
        since: Timestamp,
        revoked: &mut Revoked,
    ) -> Result<(), EmbeddedError> {
        if record.kind == TokenKind::Access && record.expires_at > since {
            revoked.access_tokens.push((record.token_id, record.expires_at));
        }
        if *is_revoked { Ok(()) } else { self.put_revoked(record) }
    }

    /// Writes a session that has changed, and records new tokens of it. `due` is when it was to be
    /// removed so far.
    fn extend_session(
        &mut self,
        session: &Session,
        due: Timestamp,
        tokens: &[TokenRecord],
    ) -> Result<(), EmbeddedError> {
        let needed_until = kept_for(session, tokens);
        let mut kept_until = due;
        if needed_until > due {
            let needed = (needed_until - session.last_used_at).to_std().unwrap_or_default();
            kept_until = later(needed_until, needed / SPARE_PART);
            let row = ExpiryRow::of_session(session);
            self.expiry.remove(&row.encode(due).0)?;
            self.put_expiry(row, kept_until)?;
        }
        self.sessions.insert(session.session_id.as_bytes(), encode_session(session, kept_until).as_slice())?;
        self.put_tokens(session, tokens)
    }

    /// Records tokens of a session.
    fn put_tokens(&mut self, session: &Session, tokens: &[TokenRecord]) -> Result<(), EmbeddedError> {
        let (session_id, refresh) = (session.session_id, session.current.refresh_id);
        let ends_with_session = ends_with_session(&session.current);
        for record in tokens {
            let id = record.token_id;
            let existing = self.tokens.insert(id.as_bytes(), encode_token(record, false).as_slice())?;
            // An existing record may be revoked: it stays.
            if let Some(existing) = existing.map(|existing| existing.value().to_vec()) {
                self.tokens.insert(id.as_bytes(), existing.as_slice())?;
                continue;
            }
            if id != refresh {
                self.session_tokens.insert(&index_key(session_id, id), ())?;
            }
            if Some(id) != ends_with_session {
                self.put_expiry(ExpiryRow::Token(id, session_id), record.expires_at)?;
            }
        }
        Ok(())
    }

    fn put_revoked(&mut self, record: &TokenRecord) -> Result<(), EmbeddedError> {
        self.tokens.insert(record.token_id.as_bytes(), encode_token(record, true).as_slice())?;
        Ok(())
    }

    fn put_expiry(&mut self, due: ExpiryRow, at: Timestamp) -> Result<(), EmbeddedError> {
        let (key, owner) = due.encode(at);
        self.expiry.insert(&key, &owner)?;
        Ok(())
    }
}

/// Returns how long a session is kept at least: as long as the longest-lived of these tokens of it,
/// so that revoking it or its user finds all of them.
fn kept_for(session: &Session, tokens: &[TokenRecord]) -> Timestamp {
    tokens.iter().map(|token| token.expires_at).fold(session.expires_at(), Timestamp::max)
}

/// Returns the access token of a session's newest pair if it lives as long as the session, as those
/// of clients do. It has no row in `expiry`: the session takes it along when it is removed.
fn ends_with_session(newest: &Pair) -> Option<TokenId> {
    (newest.access_expires_at >= newest.refresh_expires_at).then_some(newest.access_id)
}

/// Returns up to `limit` rows of `key_expiry` or `denial_expiry` that are due before `before`.
fn due_rows(
    expiry: &impl ReadableTable<KeyExpiryKey, ()>,
    before: Timestamp,
    limit: usize,
) -> Result<Vec<[u8; 41]>, EmbeddedError> {
    let rows = expiry.range::<&[u8; 41]>(..&first_key_expiry_key(before))?.take(limit);
    rows.map(|row| Ok(*row?.0.value())).collect()
}
