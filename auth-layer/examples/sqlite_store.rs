//! A token store in SQLite, as a model for your own:
//! `cargo run -p auth-layer --example sqlite_store`.
//!
//! Each operation is one transaction that excludes other writers (`BEGIN IMMEDIATE`). A record is
//! one JSON text beside columns for lookups. Only the column `revoked` says whether it is revoked.

use std::sync::Arc;

use auth_layer::keys::{Keyring, SigningKey};
use auth_layer::store::{
    ActiveToken, Admission, Consumed, Denial, HashedKey, LocalCache, OneTimeRecord, Payload, Purged, Redeemed, Retired,
    Revoked, Rotated, Rotation, Session, StoreError, StoreErrorKind, TokenKind, TokenRecord, TokenStatus, TokenStore,
    UserFence,
};
use auth_layer::{Authority, Grant, SessionId, Subject, TokenId, clock::Timestamp};
use rusqlite::{Connection, Error, OptionalExtension, Result as Sql, Row, ToSql, Transaction, params, types::Type};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::{sync::Mutex, task::spawn_blocking};

/// Sets `synchronous = FULL`, so that acknowledged writes survive a power loss. The user has a
/// column because older versions of SQLite cut JSON texts off at U+0000.
const SCHEMA: &str = "
PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
CREATE TABLE IF NOT EXISTS sessions (session TEXT PRIMARY KEY, user TEXT NOT NULL, revoked INTEGER NOT NULL,
    record TEXT NOT NULL, expires_at INTEGER AS (record ->> '$.current.refresh_expires_at'));
CREATE TABLE IF NOT EXISTS tokens (token TEXT PRIMARY KEY, user TEXT NOT NULL, revoked INTEGER NOT NULL,
    record TEXT NOT NULL, expires_at INTEGER AS (record ->> 'expires_at'), session TEXT AS (record ->> 'session_id'));
CREATE TABLE IF NOT EXISTS fences (user TEXT PRIMARY KEY, epoch INTEGER NOT NULL, disabled INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS keys (kind TEXT, key BLOB, expires_at INTEGER, record TEXT, PRIMARY KEY (kind, key));
CREATE INDEX IF NOT EXISTS sessions_of_user ON sessions (user);
CREATE INDEX IF NOT EXISTS tokens_of_user ON tokens (user);
CREATE INDEX IF NOT EXISTS tokens_of_session ON tokens (session);
CREATE INDEX IF NOT EXISTS sessions_by_expiry ON sessions (expires_at);
CREATE INDEX IF NOT EXISTS tokens_by_expiry ON tokens (expires_at);
CREATE INDEX IF NOT EXISTS keys_by_expiry ON keys (expires_at);";

/// Stores tokens in a SQLite database.
pub(crate) struct SqliteStore {
    connection: Arc<Mutex<Connection>>,
    local_cache: LocalCache,
}

impl SqliteStore {
    pub(crate) fn open(path: &str) -> Sql<Self> {
        let connection = Connection::open(path)?;
        connection.execute_batch(SCHEMA)?;
        Ok(Self { connection: Arc::new(Mutex::new(connection)), local_cache: LocalCache::new() })
    }

    /// Runs `operation` in a transaction on a blocking thread. It runs to its end even when the
    /// caller is dropped.
    async fn run<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&Transaction<'_>) -> Sql<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let mut connection = Arc::clone(&self.connection).lock_owned().await;
        let task = spawn_blocking(move || {
            // A panic drops the transaction, which rolls it back.
            let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            let answer = operation(&transaction)?;
            transaction.commit().map(|()| answer)
        });
        task.await.map_err(|error| StoreError::unavailable("the operation broke off", error))?.map_err(|error| {
            let corrupt = matches!(error, Error::InvalidColumnType(..));
            let kind = if corrupt { StoreErrorKind::Corrupt } else { StoreErrorKind::Unavailable };
            StoreError::new(kind, "SQLite gave no answer").with_source(error)
        })
    }
}

/// Makes a method of each operation and gives its body the transaction.
macro_rules! operations {
    ($(fn $name:ident($db:ident $(, $argument:ident: $type:ty)*) -> $answer:ty $body:block)+) => {$(
        async fn $name(&self $(, $argument: $type)*) -> Result<$answer, StoreError> {
            self.run(move |$db| $body).await
        }
    )+};
}

impl TokenStore for SqliteStore {
    fn local_cache(&self) -> &LocalCache {
        &self.local_cache
    }
    operations! {
        fn ping(db) -> () { db.query_row("SELECT 1", [], |_| Ok(())) }
        fn token_status(db, id: TokenId) -> TokenStatus { status(db, id) }
        fn user_fence(db, user: Subject) -> UserFence { fence(db, &user) }
        fn session(db, id: SessionId, _now: Timestamp) -> Option<Session> { session(db, id) }
        fn revoke_session(db, id: SessionId, since: Timestamp) -> Revoked { end_session(db, id, since) }
        fn one_time(db, key: HashedKey, now: Timestamp) -> Option<OneTimeRecord> { keyed(db, "one_time", key, now) }
        fn open_session(db, new: Session, tokens: Vec<TokenRecord>, epoch: u64) -> Admission {
            let stands = fence(db, &new.user_id)? == UserFence { epoch, disabled: false };
            match session(db, new.session_id)? {
                // A retry after a lost answer: the stored session stands.
                Some(held) if stands && !held.revoked => Ok(Admission::Admitted),
                None if stands => put(db, &new, &tokens).map(|()| Admission::Admitted),
                _ => Ok(Admission::Fenced),
            }
        }
        fn session_for_refresh(db, id: SessionId, refresh: TokenId, _now: Timestamp) -> Option<(Session, TokenStatus)> {
            session(db, id)?.map(|held| Ok((held, status(db, refresh)?))).transpose()
        }
        fn rotate(db, rotation: Rotation) -> Rotated {
            let held = session(db, rotation.session_id)?.filter(|held| held.is_current(rotation.parent));
            let Some(held) = held else { return Ok(Rotated::Lost) };
            let previous = Some(Retired { refresh_id: rotation.parent, at: rotation.now, delivered: false });
            let held = Session { current: rotation.child, previous, last_used_at: rotation.now, ..held };
            put(db, &held, &rotation.tokens).map(|()| Rotated::Committed)
        }
        fn confirm(db, id: SessionId, current: TokenId) -> Rotated {
            let is_current = session(db, id)?.is_some_and(|held| held.is_current(current));
            Ok(if is_current { Rotated::Committed } else { Rotated::Lost })
        }
        fn note_delivered(db, id: SessionId, current: TokenId, now: Timestamp) -> () {
            let Some(mut held) = session(db, id)? else { return Ok(()) };
            // False for a second note, which must not move the grace window.
            if held.note_delivered(current, now) { put(db, &held, &[]) } else { Ok(()) }
        }
        fn record_token(db, token: TokenRecord) -> Admission {
            let held = session(db, token.session_id)?.filter(|held| !held.revoked);
            held.map_or(Ok(Admission::Fenced), |held| put(db, &held, &[token]).map(|()| Admission::Admitted))
        }
        fn consume(db, id: TokenId, expected: ActiveToken, now: Timestamp) -> Consumed {
            let usable = matches!(status(db, id)?, TokenStatus::Active(token) if expected.is_usable(&token, now));
            let used = usable.then(|| end_tokens(db, "token = ?", params![id.to_string()], now)).transpose()?;
            Ok(used.map_or(Consumed::Refused, |_| Consumed::Accepted))
        }
        fn reserve(db, key: HashedKey, until: Timestamp, now: Timestamp) -> bool {
            // Writes a row if there is none, or if it has expired.
            let reserve = "INSERT INTO keys SELECT 'reserved', ?1, ?2, NULL WHERE ?2 > ?3
                           ON CONFLICT DO UPDATE SET expires_at = ?2 WHERE expires_at <= ?3";
            Ok(db.execute(reserve, params![key.as_bytes(), until.timestamp_millis(), now.timestamp_millis()])? == 1)
        }
        fn put_one_time(db, key: HashedKey, payload: Payload, expires_at: Timestamp) -> () {
            let record = json!(OneTimeRecord { payload, expires_at, redeemed_by: None }).to_string();
            let put = "INSERT OR IGNORE INTO keys VALUES ('one_time', ?, ?, ?)";
            db.execute(put, params![key.as_bytes(), expires_at.timestamp_millis(), record]).map(drop)
        }
        fn redeem(db, key: HashedKey, by: SessionId, now: Timestamp) -> Redeemed {
            let held = keyed::<OneTimeRecord>(db, "one_time", key, now)?;
            let Some(mut held) = held else { return Ok(Redeemed::Unknown) };
            let redeemed = held.redeem(by, now);
            let put = "UPDATE keys SET record = ? WHERE kind = 'one_time' AND key = ?";
            db.execute(put, params![json!(held).to_string(), key.as_bytes()]).map(|_| redeemed)
        }
        fn deny(db, key: HashedKey, new: Denial) -> () {
            let held = keyed::<Denial>(db, "denial", key, Timestamp::MIN_UTC)?;
            let held = held.map_or(new, |held| held.extended_by(new));
            let put = "INSERT OR REPLACE INTO keys VALUES ('denial', ?, ?, ?)";
            let values = params![key.as_bytes(), held.expires_at.timestamp_millis(), json!(held).to_string()];
            db.execute(put, values).map(drop)
        }
        fn denials(db, keys: Vec<HashedKey>, now: Timestamp) -> Vec<Option<Denial>> {
            keys.into_iter().map(|key| keyed(db, "denial", key, now)).collect()
        }
        fn revoke_token(db, id: TokenId, since: Timestamp) -> Revoked {
            match db.query_row("SELECT record FROM tokens WHERE token = ?", [id.to_string()], read).optional()? {
                Some(TokenRecord { kind: TokenKind::Refresh, session_id, .. }) => end_session(db, session_id, since),
                _ => end_tokens(db, "token = ?", params![id.to_string()], since),
            }
        }
        fn revoke_for_reuse(db, id: SessionId, current: TokenId, since: Timestamp) -> Option<Revoked> {
            let held = session(db, id)?.filter(|held| held.current.refresh_id == current);
            held.map(|_| end_session(db, id, since)).transpose()
        }
        fn revoke_user(db, user: Subject, except: Option<SessionId>, since: Timestamp) -> Revoked {
            // One statement, so that two concurrent revocations raise the fence twice.
            let raise = "INSERT INTO fences VALUES (?, 1, FALSE) ON CONFLICT DO UPDATE SET epoch = epoch + 1";
            db.execute(raise, [user.to_text()])?;
            end(db, "user = ? AND session IS NOT ?", params![user.to_text(), except.map(|id| id.to_string())], since)
        }
        fn set_user_disabled(db, user: Subject, disabled: bool, since: Timestamp) -> Revoked {
            let set = "INSERT INTO fences VALUES (?,?2,?2) ON CONFLICT DO UPDATE SET disabled = ?2, epoch = epoch + ?2";
            db.execute(set, params![user.to_text(), disabled])?;
            if disabled { end(db, "user = ?", params![user.to_text()], since) } else { Ok(Revoked::default()) }
        }
        fn sessions(db, user: Subject, now: Timestamp) -> Vec<Session> {
            let live = "SELECT record FROM sessions WHERE user = ? AND NOT revoked AND expires_at > ?
                        ORDER BY record ->> 'created_at' DESC, session DESC";
            db.prepare(live)?.query_map(params![user.to_text(), now.timestamp_millis()], read)?.collect()
        }
        fn sessions_of_client(
            db, client: String, after: Option<SessionId>, limit: usize, now: Timestamp
        ) -> Vec<SessionId> {
            let live = "SELECT record FROM sessions WHERE record ->> '$.payload.client_id' = ? AND session > ?
                        AND NOT revoked AND expires_at > ? ORDER BY session LIMIT ?";
            let (after, limit) = (after.map(|id| id.to_string()).unwrap_or_default(), i64::try_from(limit));
            let values = params![client, after, now.timestamp_millis(), limit.unwrap_or(i64::MAX)];
            db.prepare(live)?.query_map(values, |row| Ok(read::<Session>(row)?.session_id))?.collect()
        }
        fn purge_expired(db, before: Timestamp) -> Purged {
            let due = |table| format!("DELETE FROM {table} WHERE expires_at < {}", before.timestamp_millis());
            let [tokens, sessions, keys] = ["tokens", "sessions", "keys"].map(|table| db.execute(&due(table), []));
            Ok(Purged { tokens: tokens? as u64, sessions: sessions? as u64, keys: keys? as u64 })
        }
    }
}

fn fence(db: &Transaction<'_>, user: &Subject) -> Sql<UserFence> {
    let fence = "SELECT epoch, disabled FROM fences WHERE user = ?";
    let read = |row: &Row<'_>| Ok(UserFence { epoch: row.get::<_, i64>(0)?.cast_unsigned(), disabled: row.get(1)? });
    Ok(db.query_row(fence, [user.to_text()], read).optional()?.unwrap_or_default())
}

/// Reads a record. The parser's error may quote it and is dropped.
fn read<T: DeserializeOwned>(row: &Row<'_>) -> Sql<T> {
    let text: String = row.get("record")?;
    serde_json::from_str(&text).map_err(|_| Error::InvalidColumnType(0, "record".to_owned(), Type::Text))
}

fn session(db: &Transaction<'_>, id: SessionId) -> Sql<Option<Session>> {
    let read = |row: &Row<'_>| Ok(Session { revoked: row.get("revoked")?, ..read(row)? });
    db.query_row("SELECT * FROM sessions WHERE session = ?", [id.to_string()], read).optional()
}

fn status(db: &Transaction<'_>, id: TokenId) -> Sql<TokenStatus> {
    let row = db.query_row("SELECT * FROM tokens WHERE token = ?", [id.to_string()], |row| {
        let token = ActiveToken::from(&read::<TokenRecord>(row)?);
        Ok(if row.get("revoked")? { TokenStatus::Revoked } else { TokenStatus::Active(token) })
    });
    Ok(row.optional()?.unwrap_or(TokenStatus::Unknown))
}

/// Reads what has a key, unless it has expired at `now`.
fn keyed<T: DeserializeOwned>(db: &Transaction<'_>, kind: &str, key: HashedKey, now: Timestamp) -> Sql<Option<T>> {
    let live = "SELECT record FROM keys WHERE kind = ? AND key = ? AND expires_at > ?";
    db.query_row(live, params![kind, key.as_bytes(), now.timestamp_millis()], read).optional()
}

/// Writes a session and records its tokens. An existing token record stays: it may be revoked.
fn put(db: &Transaction<'_>, session: &Session, tokens: &[TokenRecord]) -> Sql<()> {
    let (id, user, record) = (session.session_id.to_string(), session.user_id.to_text(), json!(session).to_string());
    db.execute("REPLACE INTO sessions VALUES (?, ?, ?, ?)", params![id, user, session.revoked, record])?;
    tokens.iter().try_for_each(|token| {
        let values = params![token.token_id.to_string(), user, json!(token).to_string()];
        db.execute("INSERT OR IGNORE INTO tokens VALUES (?, ?, FALSE, ?)", values).map(drop)
    })
}

/// Revokes the matching tokens and lists the access tokens that expire after `since`.
fn end_tokens(db: &Transaction<'_>, which: &str, values: &[&dyn ToSql], since: Timestamp) -> Sql<Revoked> {
    let end = format!("UPDATE tokens SET revoked = TRUE WHERE {which} RETURNING record");
    let ended = db.prepare(&end)?.query_map(values, read::<TokenRecord>)?.collect::<Sql<Vec<_>>>()?;
    let access = ended.into_iter().filter(|token| token.kind == TokenKind::Access && token.expires_at > since);
    let access_tokens = access.map(|token| (token.token_id, token.expires_at)).collect();
    Ok(Revoked { access_tokens, ..Revoked::default() })
}

/// Revokes the matching sessions and tokens, even tokens whose session was purged.
fn end(db: &Transaction<'_>, which: &str, values: &[&dyn ToSql], since: Timestamp) -> Sql<Revoked> {
    let sessions = db.execute(&format!("UPDATE sessions SET revoked = TRUE WHERE NOT revoked AND {which}"), values)?;
    Ok(Revoked { sessions: sessions as u64, ..end_tokens(db, which, values, since)? })
}

fn end_session(db: &Transaction<'_>, id: SessionId, since: Timestamp) -> Sql<Revoked> {
    end(db, "session = ?", params![id.to_string()], since)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = SqliteStore::open(&std::env::args().nth(1).unwrap_or(":memory:".to_owned()))?;
    let keys = Keyring::new(SigningKey::generate()?);
    let authority = Authority::builder("https://auth.example", store).audience("api").keys(keys).build()?;
    let pair = authority.sign_in(authority.begin_sign_in(42_u64).await?, Grant::new("web")).await?;
    assert_eq!(authority.verify(&pair.access_token).await?.sub, "42");
    authority.revoke_session(pair.session_id).await?;
    assert!(authority.verify(&pair.access_token).await.is_err());
    Ok(())
}
