//! The tables of the file, and how their rows are read.
//!
//! | table | key | value |
//! | --- | --- | --- |
//! | `tokens` | token | the token's record |
//! | `sessions` | session | the session |
//! | `session_tokens` | session, token | |
//! | `user_sessions` | user, session | |
//! | `fences` | user | the user's fence, once there is one |
//! | `text_user_sessions` | user, session | |
//! | `text_fences` | user | the user's fence, once there is one |
//! | `expiry` | time, kind of row, id | the session of the token, or the user of the session |
//! | `reserved_keys` | key | when the reservation expires |
//! | `one_time_records` | key | the one-time record |
//! | `redemptions` | as in `key_expiry` | the session that a one-time record was redeemed for |
//! | `key_expiry` | time, kind of row, key | |
//! | `denials` | key | the denial |
//! | `denial_expiry` | time, 0, key | |
//!
//! A user that is a UUID is in `user_sessions` and `fences`, any other in the two tables whose
//! names begin with `text_`. An older file gets these two with its first write. The last six
//! tables are made when they are first written.
//!
//! `session_tokens` lacks the session's newest refresh token, which the session names.
//!
//! `expiry` makes a purge cost what it removes. The rows that are due come first, and each names
//! the owner under which its record is indexed. The row of a session whose user is text has no
//! owner: the user is in the session's record. An access token that lives as long as its session, as
//! those of clients do, has no row: it is removed with its session. `key_expiry` does the same for
//! what has a key. Denials have a table of their own for it: an older version refuses a kind of row
//! that it does not know.
//!
//! Hashed keys are in no order, so each change of a row in `one_time_records` writes a page of its
//! own. Codes that are exchanged together expire together, so their `redemptions` share pages.

use std::{borrow::Borrow, ops::Bound};

use redb::{
    Key, ReadOnlyTable, ReadTransaction, ReadableTable, ReadableTableMetadata, Table, TableDefinition, TableError,
    TableHandle, Value, WriteTransaction,
};
use uuid::Uuid;

use super::{
    codec::{StoredSession, StoredToken, decode_denial, decode_fence, decode_one_time, decode_reservation},
    error::EmbeddedError,
};
use crate::{
    clock::Timestamp,
    id::{Id, SessionId, Subject, TokenId, UserId},
    store::{Denial, HashedKey, OneTimeRecord, Session, UserFence},
};

pub(super) type IdKey = &'static [u8; 16];
pub(super) type IndexKey = &'static [u8; 32];
pub(super) type TextIndexKey = (&'static str, IdKey);
pub(super) type ExpiryKey = &'static [u8; 25];
pub(super) type HashKey = &'static [u8; 32];
pub(super) type KeyExpiryKey = &'static [u8; 41];
type Bytes = &'static [u8];

const TOKENS: TableDefinition<'_, IdKey, Bytes> = TableDefinition::new("tokens");
const SESSIONS: TableDefinition<'_, IdKey, Bytes> = TableDefinition::new("sessions");
const SESSION_TOKENS: TableDefinition<'_, IndexKey, ()> = TableDefinition::new("session_tokens");
const USER_SESSIONS: TableDefinition<'_, IndexKey, ()> = TableDefinition::new("user_sessions");
const FENCES: TableDefinition<'_, IdKey, Bytes> = TableDefinition::new("fences");
const TEXT_USER_SESSIONS: TableDefinition<'_, TextIndexKey, ()> = TableDefinition::new("text_user_sessions");
const TEXT_FENCES: TableDefinition<'_, &str, Bytes> = TableDefinition::new("text_fences");
const EXPIRY: TableDefinition<'_, ExpiryKey, IdKey> = TableDefinition::new("expiry");
const RESERVED_KEYS: TableDefinition<'_, HashKey, Bytes> = TableDefinition::new("reserved_keys");
const ONE_TIME_RECORDS: TableDefinition<'_, HashKey, Bytes> = TableDefinition::new("one_time_records");
const REDEMPTIONS: TableDefinition<'_, KeyExpiryKey, IdKey> = TableDefinition::new("redemptions");
const KEY_EXPIRY: TableDefinition<'_, KeyExpiryKey, ()> = TableDefinition::new("key_expiry");
const DENIALS: TableDefinition<'_, HashKey, Bytes> = TableDefinition::new("denials");
const DENIAL_EXPIRY: TableDefinition<'_, KeyExpiryKey, ()> = TableDefinition::new("denial_expiry");

/// The tables that every file has.
const NAMES: [&str; 6] = ["tokens", "sessions", "session_tokens", "user_sessions", "fences", "expiry"];

/// The tables of tokens, sessions and users, in one write transaction, and the others once they are
/// used in it.
pub(super) struct Tables<'t> {
    pub(super) tokens: Table<'t, IdKey, Bytes>,
    pub(super) sessions: Table<'t, IdKey, Bytes>,
    pub(super) session_tokens: Table<'t, IndexKey, ()>,
    pub(super) user_sessions: Table<'t, IndexKey, ()>,
    pub(super) fences: Table<'t, IdKey, Bytes>,
    pub(super) text_user_sessions: Table<'t, TextIndexKey, ()>,
    pub(super) text_fences: Table<'t, &'static str, Bytes>,
    pub(super) expiry: Table<'t, ExpiryKey, IdKey>,
    transaction: &'t WriteTransaction,
    keys: Option<KeyTables<'t>>,
    denials: Option<DenialTables<'t>>,
}

/// The tables of reservations and one-time records, in one write transaction.
pub(super) struct KeyTables<'t> {
    pub(super) reserved: Table<'t, HashKey, Bytes>,
    pub(super) one_time: Table<'t, HashKey, Bytes>,
    pub(super) redemptions: Table<'t, KeyExpiryKey, IdKey>,
    pub(super) expiry: Table<'t, KeyExpiryKey, ()>,
}

/// The tables of denials, in one write transaction.
pub(super) struct DenialTables<'t> {
    pub(super) denials: Table<'t, HashKey, Bytes>,
    pub(super) expiry: Table<'t, KeyExpiryKey, ()>,
}

impl<'t> Tables<'t> {
    /// Opens the tables, and creates missing ones.
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Self, EmbeddedError> {
        Ok(Self {
            tokens: transaction.open_table(TOKENS)?,
            sessions: transaction.open_table(SESSIONS)?,
            session_tokens: transaction.open_table(SESSION_TOKENS)?,
            user_sessions: transaction.open_table(USER_SESSIONS)?,
            fences: transaction.open_table(FENCES)?,
            text_user_sessions: transaction.open_table(TEXT_USER_SESSIONS)?,
            text_fences: transaction.open_table(TEXT_FENCES)?,
            expiry: transaction.open_table(EXPIRY)?,
            transaction,
            keys: None,
            denials: None,
        })
    }

    /// Opens the tables of reservations and one-time records, and creates missing ones.
    ///
    /// Most transactions do without them.
    pub(super) fn keys(&mut self) -> Result<&mut KeyTables<'t>, EmbeddedError> {
        match &mut self.keys {
            Some(keys) => Ok(keys),
            unopened @ None => Ok(unopened.insert(KeyTables {
                reserved: self.transaction.open_table(RESERVED_KEYS)?,
                one_time: self.transaction.open_table(ONE_TIME_RECORDS)?,
                redemptions: self.transaction.open_table(REDEMPTIONS)?,
                expiry: self.transaction.open_table(KEY_EXPIRY)?,
            })),
        }
    }

    /// Opens the tables of denials, and creates missing ones.
    pub(super) fn denials(&mut self) -> Result<&mut DenialTables<'t>, EmbeddedError> {
        match &mut self.denials {
            Some(denials) => Ok(denials),
            unopened @ None => Ok(unopened.insert(DenialTables {
                denials: self.transaction.open_table(DENIALS)?,
                expiry: self.transaction.open_table(DENIAL_EXPIRY)?,
            })),
        }
    }
}

/// The tables in one read transaction, each opened on use.
pub(super) struct Snapshot<'t>(pub(super) &'t ReadTransaction);

impl Snapshot<'_> {
    /// Returns whether all tables of [`NAMES`] exist.
    pub(super) fn is_complete(&self) -> Result<bool, EmbeddedError> {
        Ok(self.tables()? == NAMES.len())
    }

    /// Returns whether any of our tables exists. A file that this store created has some from the
    /// start.
    pub(super) fn is_ours(&self) -> Result<bool, EmbeddedError> {
        Ok(self.tables()? > 0)
    }

    /// Counts our tables.
    fn tables(&self) -> Result<usize, EmbeddedError> {
        Ok(self.0.list_tables()?.filter(|table| NAMES.contains(&table.name())).count())
    }

    /// Returns whether no table of tokens, sessions and users has a row.
    pub(super) fn is_empty(&self) -> Result<bool, EmbeddedError> {
        let of_keys = [
            RESERVED_KEYS.name(),
            ONE_TIME_RECORDS.name(),
            REDEMPTIONS.name(),
            KEY_EXPIRY.name(),
            DENIALS.name(),
            DENIAL_EXPIRY.name(),
        ];
        for table in self.0.list_tables()? {
            if !of_keys.contains(&table.name()) && !self.0.open_untyped_table(table)?.is_empty()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(super) fn session_count(&self) -> Result<u64, EmbeddedError> {
        Ok(self.0.open_table(SESSIONS)?.len()?)
    }

    pub(super) fn token(&self, id: TokenId) -> Result<Option<StoredToken>, EmbeddedError> {
        token(&self.0.open_table(TOKENS)?, id)
    }

    pub(super) fn session(&self, id: SessionId) -> Result<Option<StoredSession>, EmbeddedError> {
        session(&self.0.open_table(SESSIONS)?, id)
    }

    pub(super) fn fence(&self, user: &Subject) -> Result<UserFence, EmbeddedError> {
        match user.id() {
            Some(id) => fence(&self.0.open_table(FENCES)?, id.as_bytes()),
            None => match self.optional_table(TEXT_FENCES)? {
                Some(fences) => fence(&fences, &*user.to_text()),
                None => Ok(UserFence::default()),
            },
        }
    }

    /// Returns the ids of all sessions of a user, in their order.
    pub(super) fn session_ids(&self, user: &Subject) -> Result<Vec<SessionId>, EmbeddedError> {
        match user.id() {
            Some(id) => members(&self.0.open_table(USER_SESSIONS)?, id),
            None => match self.optional_table(TEXT_USER_SESSIONS)? {
                Some(index) => text_members(&index, &user.to_text()),
                None => Ok(Vec::new()),
            },
        }
    }

    /// Returns all sessions of a user, in the order of their ids.
    pub(super) fn sessions(&self, user: &Subject) -> Result<Vec<StoredSession>, EmbeddedError> {
        let table = self.0.open_table(SESSIONS)?;
        let sessions = self.session_ids(user)?.into_iter().map(|id| session(&table, id));
        sessions.filter_map(Result::transpose).collect()
    }

    /// Returns live sessions of an OAuth client after `after`, at most `limit`, in the order of
    /// their ids.
    pub(super) fn sessions_of_client(
        &self,
        client_id: &str,
        after: Option<SessionId>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<SessionId>, EmbeddedError> {
        let table = self.0.open_table(SESSIONS)?;
        let from = after.as_ref().map_or(Bound::Unbounded, |after| Bound::Excluded(after.as_bytes()));
        let mut found = Vec::new();
        for row in table.range::<&[u8; 16]>((from, Bound::Unbounded))? {
            if found.len() >= limit {
                break;
            }
            let (key, value) = row?;
            let id = trailing_id(key.value());
            let stored = StoredSession::decode(id, value.value()).ok_or(EmbeddedError::Value("sessions"))?;
            if stored.session.is_live(now) && stored.session.client_id() == client_id {
                found.push(id);
            }
        }
        Ok(found)
    }

    pub(super) fn one_time(&self, key: HashedKey) -> Result<Option<OneTimeRecord>, EmbeddedError> {
        let Some(records) = self.optional_table(ONE_TIME_RECORDS)? else { return Ok(None) };
        one_time(&records, self.optional_table(REDEMPTIONS)?.as_ref(), key)
    }

    /// Returns the denials of these keys, in their order.
    pub(super) fn denials(&self, keys: &[HashedKey]) -> Result<Vec<Option<Denial>>, EmbeddedError> {
        match self.optional_table(DENIALS)? {
            Some(denials) => keys.iter().map(|key| denial(&denials, *key)).collect(),
            None => Ok(vec![None; keys.len()]),
        }
    }

    /// Opens a table that a file may lack until its first write. `None` if it is missing.
    fn optional_table<K: Key + 'static, V: Value + 'static>(
        &self,
        definition: TableDefinition<'_, K, V>,
    ) -> Result<Option<ReadOnlyTable<K, V>>, EmbeddedError> {
        match self.0.open_table(definition) {
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            opened => Ok(Some(opened?)),
        }
    }
}

pub(super) fn token(
    tokens: &impl ReadableTable<IdKey, Bytes>,
    id: TokenId,
) -> Result<Option<StoredToken>, EmbeddedError> {
    let Some(value) = tokens.get(id.as_bytes())? else { return Ok(None) };
    StoredToken::decode(id, value.value()).map(Some).ok_or(EmbeddedError::Value("tokens"))
}

pub(super) fn session(
    sessions: &impl ReadableTable<IdKey, Bytes>,
    id: SessionId,
) -> Result<Option<StoredSession>, EmbeddedError> {
    let Some(value) = sessions.get(id.as_bytes())? else { return Ok(None) };
    StoredSession::decode(id, value.value()).map(Some).ok_or(EmbeddedError::Value("sessions"))
}

/// Returns when a key's reservation expires.
pub(super) fn reservation(
    reserved: &impl ReadableTable<HashKey, Bytes>,
    key: HashedKey,
) -> Result<Option<Timestamp>, EmbeddedError> {
    let Some(value) = reserved.get(key.as_bytes())? else { return Ok(None) };
    decode_reservation(value.value()).map(Some).ok_or(EmbeddedError::Value("reserved_keys"))
}

/// Reads a one-time record, and which session it was redeemed for. Without a table nothing was.
pub(super) fn one_time(
    records: &impl ReadableTable<HashKey, Bytes>,
    redemptions: Option<&impl ReadableTable<KeyExpiryKey, IdKey>>,
    key: HashedKey,
) -> Result<Option<OneTimeRecord>, EmbeddedError> {
    let Some(value) = records.get(key.as_bytes())? else { return Ok(None) };
    let mut record = decode_one_time(value.value()).ok_or(EmbeddedError::Value("one_time_records"))?;
    if let Some(redemptions) = redemptions
        && let Some(by) = redemptions.get(&KeyExpiryRow::OneTime(key).encode(record.expires_at))?
    {
        record.redeemed_by = Some(SessionId::from_uuid(Uuid::from_bytes(*by.value())));
    }
    Ok(Some(record))
}

pub(super) fn denial(
    denials: &impl ReadableTable<HashKey, Bytes>,
    key: HashedKey,
) -> Result<Option<Denial>, EmbeddedError> {
    let Some(value) = denials.get(key.as_bytes())? else { return Ok(None) };
    decode_denial(value.value()).map(Some).ok_or(EmbeddedError::Value("denials"))
}

/// Reads a user's fence from either table of fences.
pub(super) fn fence<'k, K: Key + 'static>(
    fences: &impl ReadableTable<K, Bytes>,
    user: impl Borrow<K::SelfType<'k>>,
) -> Result<UserFence, EmbeddedError> {
    let Some(value) = fences.get(user)? else { return Ok(UserFence::default()) };
    decode_fence(value.value()).ok_or(EmbeddedError::Value("fences"))
}

/// Lists the members of an owner in an index.
pub(super) fn members<K, M>(
    index: &impl ReadableTable<IndexKey, ()>,
    owner: Id<K>,
) -> Result<Vec<Id<M>>, EmbeddedError> {
    let first = index_key(owner, Id::<M>::from_uuid(Uuid::nil()));
    let last = index_key(owner, Id::<M>::from_uuid(Uuid::max()));
    let mut members = Vec::new();
    for row in index.range::<&[u8; 32]>(&first..=&last)? {
        let (key, ()) = row.map(|(key, value)| (key, value.value()))?;
        members.push(trailing_id(key.value()));
    }
    Ok(members)
}

/// Lists the sessions of a user that is text.
pub(super) fn text_members(
    index: &impl ReadableTable<TextIndexKey, ()>,
    user: &str,
) -> Result<Vec<SessionId>, EmbeddedError> {
    let (first, last) = ([0; 16], [u8::MAX; 16]);
    let mut members = Vec::new();
    for row in index.range((user, &first)..=(user, &last))? {
        let (key, _) = row?;
        members.push(trailing_id(key.value().1));
    }
    Ok(members)
}

pub(super) fn index_key<K, M>(owner: Id<K>, member: Id<M>) -> [u8; 32] {
    let mut key = [0; 32];
    key[..16].copy_from_slice(owner.as_bytes());
    key[16..].copy_from_slice(member.as_bytes());
    key
}

/// Returns the identifier at the end of a key.
fn trailing_id<K>(key: &[u8]) -> Id<K> {
    let bytes = key.last_chunk().copied().unwrap_or_default();
    Id::from_uuid(Uuid::from_bytes(bytes))
}

/// A row of the table `expiry`.
#[derive(Clone, Copy, Debug)]
pub(super) enum ExpiryRow {
    Token(TokenId, SessionId),
    Session(SessionId, UserId),
    /// A session whose user is text. Its record names the user.
    TextSession(SessionId),
}

/// The kinds of row in a key of `expiry`.
const TOKEN: u8 = 0;
const SESSION: u8 = 1;
const TEXT_SESSION: u8 = 2;

impl ExpiryRow {
    pub(super) fn of_session(session: &Session) -> Self {
        match session.user_id.id() {
            Some(user) => Self::Session(session.session_id, user),
            None => Self::TextSession(session.session_id),
        }
    }

    /// Returns the row's key, for the time when it is due, and its value.
    pub(super) fn encode(self, at: Timestamp) -> ([u8; 25], [u8; 16]) {
        let (kind, id, owner) = match self {
            Self::Token(id, session) => (TOKEN, *id.as_bytes(), *session.as_bytes()),
            Self::Session(id, user) => (SESSION, *id.as_bytes(), *user.as_bytes()),
            Self::TextSession(id) => (TEXT_SESSION, *id.as_bytes(), [0; 16]),
        };
        (expiry_key(at, kind, id), owner)
    }

    pub(super) fn decode(key: &[u8; 25], owner: &[u8; 16]) -> Result<Self, EmbeddedError> {
        let owner = Uuid::from_bytes(*owner);
        match key[8] {
            TOKEN => Ok(Self::Token(trailing_id(key), owner.into())),
            SESSION => Ok(Self::Session(trailing_id(key), owner.into())),
            TEXT_SESSION => Ok(Self::TextSession(trailing_id(key))),
            _ => Err(EmbeddedError::Value("expiry")),
        }
    }
}

/// Returns the first key that is due at `at`. All smaller keys are due earlier.
pub(super) fn first_expiry_key(at: Timestamp) -> [u8; 25] {
    expiry_key(at, 0, [0; 16])
}

fn expiry_key(at: Timestamp, kind: u8, id: [u8; 16]) -> [u8; 25] {
    let mut key = [0; 25];
    key[..8].copy_from_slice(&sortable(at));
    key[8] = kind;
    key[9..].copy_from_slice(&id);
    key
}

/// Returns bytes that sort as the moments do.
fn sortable(at: Timestamp) -> [u8; 8] {
    // With the sign bit flipped, the bytes sort as the numbers do.
    (at.timestamp_micros() ^ i64::MIN).to_be_bytes()
}

/// A row of the table `key_expiry`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyExpiryRow {
    Reservation(HashedKey),
    OneTime(HashedKey),
}

/// The kinds of row in a key of `key_expiry`.
const RESERVATION: u8 = 0;
const ONE_TIME: u8 = 1;

impl KeyExpiryRow {
    /// Returns the row's key, for the time when it is due.
    pub(super) fn encode(self, at: Timestamp) -> [u8; 41] {
        match self {
            Self::Reservation(key) => key_expiry_key(at, RESERVATION, *key.as_bytes()),
            Self::OneTime(key) => key_expiry_key(at, ONE_TIME, *key.as_bytes()),
        }
    }

    pub(super) fn decode(row: &[u8; 41]) -> Result<Self, EmbeddedError> {
        let key = HashedKey::from_digest(row.last_chunk().copied().unwrap_or_default());
        match row[8] {
            RESERVATION => Ok(Self::Reservation(key)),
            ONE_TIME => Ok(Self::OneTime(key)),
            _ => Err(EmbeddedError::Value("key_expiry")),
        }
    }
}

/// Returns the row of `denial_expiry` for this denial.
pub(super) fn denial_expiry_key(at: Timestamp, key: HashedKey) -> [u8; 41] {
    key_expiry_key(at, 0, *key.as_bytes())
}

/// Returns the first row of `key_expiry` or `denial_expiry` that is due at `at`. All smaller rows are
/// due earlier.
pub(super) fn first_key_expiry_key(at: Timestamp) -> [u8; 41] {
    key_expiry_key(at, 0, [0; 32])
}

fn key_expiry_key(at: Timestamp, kind: u8, key: [u8; 32]) -> [u8; 41] {
    let mut row = [0; 41];
    row[..8].copy_from_slice(&sortable(at));
    row[8] = kind;
    row[9..].copy_from_slice(&key);
    row
}
