//! Keeps tokens in this process's memory, for tests and first steps. They are lost when the process
//! ends.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{
    ActiveToken, Admission, Consumed, Denial, HashedKey, LocalCache, OneTimeRecord, Payload, Purged, Redeemed, Retired,
    Revoked, Rotated, Rotation, Session, StoreError, TokenKind, TokenRecord, TokenStatus, TokenStore, UserFence,
};
use crate::{
    clock::Timestamp,
    id::{SessionId, Subject, TokenId},
};

/// A [`TokenStore`] in memory.
///
/// One lock makes every operation atomic. That makes this the shortest statement of what each
/// operation means.
///
/// ```
/// use auth_layer::{Authority, store::MemoryStore};
///
/// let builder = Authority::builder("https://auth.example", MemoryStore::new());
/// # let _ = builder;
/// ```
#[derive(Debug, Default)]
pub struct MemoryStore {
    contents: Mutex<Contents>,
    local: LocalCache,
}

#[derive(Debug, Default)]
struct Contents {
    tokens: HashMap<TokenId, MemoryToken>,
    sessions: HashMap<SessionId, Session>,
    fences: HashMap<Subject, UserFence>,
    /// When each reservation expires.
    reserved: HashMap<HashedKey, Timestamp>,
    one_time: HashMap<HashedKey, OneTimeRecord>,
    denials: HashMap<HashedKey, Denial>,
}

#[derive(Debug)]
struct MemoryToken {
    record: ActiveToken,
    revoked: bool,
}

impl MemoryToken {
    fn status(&self) -> TokenStatus {
        if self.revoked { TokenStatus::Revoked } else { TokenStatus::Active(self.record.clone()) }
    }
}

impl MemoryStore {
    /// Creates an empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        // Recovering from a poisoned lock is safe: no operation can panic between two changes.
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Contents {
    /// Returns how many rows have a hashed key.
    fn keys(&self) -> usize {
        self.reserved.len() + self.one_time.len() + self.denials.len()
    }

    fn record(&mut self, tokens: &[TokenRecord]) {
        for token in tokens {
            // An existing record may be revoked: keep it.
            self.tokens.entry(token.token_id).or_insert(MemoryToken { record: token.into(), revoked: false });
        }
    }

    fn revoke_sessions(&mut self, since: Timestamp, mut is_covered: impl FnMut(&Session) -> bool) -> Revoked {
        let mut revoked = Revoked::default();
        let mut covered = HashSet::new();
        for session in self.sessions.values_mut().filter(|session| is_covered(session)) {
            revoked.sessions += u64::from(!std::mem::replace(&mut session.revoked, true));
            covered.insert(session.session_id);
        }
        for (id, token) in self.tokens.iter_mut().filter(|(_, token)| covered.contains(&token.record.session_id)) {
            token.revoked = true;
            if token.record.kind == TokenKind::Access && token.record.expires_at > since {
                revoked.access_tokens.push((*id, token.record.expires_at));
            }
        }
        revoked
    }
}

impl TokenStore for MemoryStore {
    fn local_cache(&self) -> &LocalCache {
        &self.local
    }

    async fn token_status(&self, id: TokenId) -> Result<TokenStatus, StoreError> {
        Ok(self.contents().tokens.get(&id).map_or(TokenStatus::Unknown, MemoryToken::status))
    }

    async fn user_fence(&self, user: Subject) -> Result<UserFence, StoreError> {
        Ok(self.contents().fences.get(&user).copied().unwrap_or_default())
    }

    async fn open_session(
        &self,
        session: Session,
        tokens: Vec<TokenRecord>,
        epoch: u64,
    ) -> Result<Admission, StoreError> {
        let mut contents = self.contents();
        let fence = contents.fences.get(&session.user_id).copied().unwrap_or_default();
        if fence.disabled || fence.epoch != epoch {
            return Ok(Admission::Fenced);
        }
        if let Some(stored) = contents.sessions.get(&session.session_id) {
            // A retry after a lost answer. What has happened since stands.
            return Ok(if stored.revoked { Admission::Fenced } else { Admission::Admitted });
        }
        contents.record(&tokens);
        contents.sessions.insert(session.session_id, session);
        Ok(Admission::Admitted)
    }

    async fn session(&self, id: SessionId, _now: Timestamp) -> Result<Option<Session>, StoreError> {
        Ok(self.contents().sessions.get(&id).cloned())
    }

    async fn session_for_refresh(
        &self,
        session: SessionId,
        refresh: TokenId,
        _now: Timestamp,
    ) -> Result<Option<(Session, TokenStatus)>, StoreError> {
        let contents = self.contents();
        let token = contents.tokens.get(&refresh).map_or(TokenStatus::Unknown, MemoryToken::status);
        Ok(contents.sessions.get(&session).map(|session| (session.clone(), token)))
    }

    async fn rotate(&self, rotation: Rotation) -> Result<Rotated, StoreError> {
        let mut contents = self.contents();
        match contents.sessions.get_mut(&rotation.session_id) {
            Some(session) if !session.revoked && session.current.refresh_id == rotation.parent => {
                session.current = rotation.child;
                session.previous = Some(Retired { refresh_id: rotation.parent, at: rotation.now, delivered: false });
                session.last_used_at = rotation.now;
            }
            _ => return Ok(Rotated::Lost),
        }
        contents.record(&rotation.tokens);
        Ok(Rotated::Committed)
    }

    async fn confirm(&self, session: SessionId, current: TokenId) -> Result<Rotated, StoreError> {
        let contents = self.contents();
        let is_current = contents.sessions.get(&session).is_some_and(|stored| stored.is_current(current));
        Ok(if is_current { Rotated::Committed } else { Rotated::Lost })
    }

    async fn note_delivered(&self, session: SessionId, current: TokenId, now: Timestamp) -> Result<(), StoreError> {
        if let Some(session) = self.contents().sessions.get_mut(&session) {
            session.note_delivered(current, now);
        }
        Ok(())
    }

    async fn record_token(&self, token: TokenRecord) -> Result<Admission, StoreError> {
        let mut contents = self.contents();
        match contents.sessions.get(&token.session_id) {
            Some(session) if !session.revoked => {
                contents.record(&[token]);
                Ok(Admission::Admitted)
            }
            _ => Ok(Admission::Fenced),
        }
    }

    async fn consume(&self, id: TokenId, expected: ActiveToken, now: Timestamp) -> Result<Consumed, StoreError> {
        match self.contents().tokens.get_mut(&id) {
            Some(token) if !token.revoked && expected.is_usable(&token.record, now) => {
                token.revoked = true;
                Ok(Consumed::Accepted)
            }
            _ => Ok(Consumed::Refused),
        }
    }

    async fn reserve(&self, key: HashedKey, expires_at: Timestamp, now: Timestamp) -> Result<bool, StoreError> {
        let mut contents = self.contents();
        let is_free = contents.reserved.get(&key).is_none_or(|until| *until <= now);
        let reserves = is_free && expires_at > now;
        if reserves {
            contents.reserved.insert(key, expires_at);
        }
        Ok(reserves)
    }

    async fn put_one_time(&self, key: HashedKey, payload: Payload, expires_at: Timestamp) -> Result<(), StoreError> {
        let record = OneTimeRecord { payload, expires_at, redeemed_by: None };
        self.contents().one_time.entry(key).or_insert(record);
        Ok(())
    }

    async fn one_time(&self, key: HashedKey, now: Timestamp) -> Result<Option<OneTimeRecord>, StoreError> {
        Ok(self.contents().one_time.get(&key).filter(|record| record.is_live(now)).cloned())
    }

    async fn redeem(&self, key: HashedKey, by: SessionId, now: Timestamp) -> Result<Redeemed, StoreError> {
        Ok(self.contents().one_time.get_mut(&key).map_or(Redeemed::Unknown, |record| record.redeem(by, now)))
    }

    async fn deny(&self, key: HashedKey, denial: Denial) -> Result<(), StoreError> {
        self.contents().denials.entry(key).and_modify(|old| *old = old.extended_by(denial)).or_insert(denial);
        self.local.forget(key.tag());
        Ok(())
    }

    async fn denials(&self, keys: Vec<HashedKey>, now: Timestamp) -> Result<Vec<Option<Denial>>, StoreError> {
        let contents = self.contents();
        let live = |key| contents.denials.get(key).filter(|denial| denial.is_live(now)).copied();
        Ok(keys.iter().map(live).collect())
    }

    async fn revoke_token(&self, id: TokenId, since: Timestamp) -> Result<Revoked, StoreError> {
        let mut contents = self.contents();
        let Some(token) = contents.tokens.get_mut(&id) else { return Ok(Revoked::default()) };
        token.revoked = true;
        match token.record {
            ActiveToken { kind: TokenKind::Refresh, session_id, .. } => {
                Ok(contents.revoke_sessions(since, |session| session.session_id == session_id))
            }
            ActiveToken { kind: TokenKind::Access, expires_at, .. } if expires_at > since => {
                Ok(Revoked { access_tokens: vec![(id, expires_at)], ..Revoked::default() })
            }
            _ => Ok(Revoked::default()),
        }
    }

    async fn revoke_session(&self, session: SessionId, since: Timestamp) -> Result<Revoked, StoreError> {
        Ok(self.contents().revoke_sessions(since, |stored| stored.session_id == session))
    }

    async fn revoke_for_reuse(
        &self,
        session: SessionId,
        current: TokenId,
        since: Timestamp,
    ) -> Result<Option<Revoked>, StoreError> {
        let mut contents = self.contents();
        let is_current = contents.sessions.get(&session).is_some_and(|stored| stored.current.refresh_id == current);
        Ok(is_current.then(|| contents.revoke_sessions(since, |stored| stored.session_id == session)))
    }

    async fn revoke_user(
        &self,
        user: Subject,
        except: Option<SessionId>,
        since: Timestamp,
    ) -> Result<Revoked, StoreError> {
        let mut contents = self.contents();
        contents.fences.entry(user.clone()).or_default().epoch += 1;
        Ok(contents.revoke_sessions(since, |session| session.user_id == user && Some(session.session_id) != except))
    }

    async fn set_user_disabled(&self, user: Subject, disabled: bool, since: Timestamp) -> Result<Revoked, StoreError> {
        let mut contents = self.contents();
        let fence = contents.fences.entry(user.clone()).or_default();
        fence.disabled = disabled;
        if !disabled {
            return Ok(Revoked::default());
        }
        fence.epoch += 1;
        Ok(contents.revoke_sessions(since, |session| session.user_id == user))
    }

    async fn sessions(&self, user: Subject, now: Timestamp) -> Result<Vec<Session>, StoreError> {
        let contents = self.contents();
        let live = |session: &&Session| session.user_id == user && session.is_live(now);
        let mut sessions: Vec<Session> = contents.sessions.values().filter(live).cloned().collect();
        sessions.sort_by_key(|session| std::cmp::Reverse((session.created_at, session.session_id)));
        Ok(sessions)
    }

    async fn sessions_of_client(
        &self,
        client_id: String,
        after: Option<SessionId>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<SessionId>, StoreError> {
        let contents = self.contents();
        let is_wanted = |session: &&Session| {
            Some(session.session_id) > after && session.client_id() == client_id && session.is_live(now)
        };
        let mut ids: Vec<SessionId> =
            contents.sessions.values().filter(is_wanted).map(|session| session.session_id).collect();
        ids.sort();
        ids.truncate(limit);
        Ok(ids)
    }

    async fn purge_expired(&self, before: Timestamp) -> Result<Purged, StoreError> {
        let mut contents = self.contents();
        let stored = (contents.tokens.len(), contents.sessions.len());
        let keys = contents.keys();
        contents.tokens.retain(|_, token| token.record.expires_at >= before);
        // A session stays while it has tokens, so that revoking it or its user finds them all.
        let kept: HashSet<SessionId> = contents.tokens.values().map(|token| token.record.session_id).collect();
        contents.sessions.retain(|id, session| session.expires_at() >= before || kept.contains(id));
        contents.reserved.retain(|_, expires_at| *expires_at >= before);
        contents.one_time.retain(|_, record| record.expires_at >= before);
        contents.denials.retain(|_, denial| denial.expires_at >= before);
        Ok(Purged {
            tokens: (stored.0 - contents.tokens.len()) as u64,
            sessions: (stored.1 - contents.sessions.len()) as u64,
            keys: (keys - contents.keys()) as u64,
        })
    }

    /// Nothing waits, so the bound is zero.
    fn answers_within(&self) -> Option<Duration> {
        Some(Duration::ZERO)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
