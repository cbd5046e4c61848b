//! Files of the version before users could be text: its values, byte for byte, in its tables.

use chrono::TimeDelta;
use redb::{Database, TableDefinition};
use uuid::Uuid;

use super::{
    super::{
        codec::{StoredSession, StoredToken, decode_fence},
        file::CommitMode,
    },
    EmbeddedStore, login, now,
};
use crate::{
    id::{Id, SessionId, Subject},
    store::{
        Admission, HashedKey, Pair, Payload, Purged, Redeemed, Retired, Rotated, Rotation, Session, TokenKind,
        TokenRecord, TokenStatus, TokenStore, UserFence,
    },
};

const ACCESS: &str = "\
    010000010101010101010101010101010101010202020202020202020202020202020200066517289a6078000665172c\
    2de778010000000000000005612e622e63";
const REFRESH: &str = "\
    010100010101010101010101010101010101010202020202020202020202020202020200066517289a607800066517ff\
    2e047800";
const SESSION: &str = "\
    0100066517ff2e047801010101010101010101010101010101000000000000000377656201000000000000000762726f\
    7773657200066517289a607800066517289a60780006652b4671c0780003030303030303030303030303030303040404\
    0404040404040404040404040400066517289a6078000665172c2de77800066517ff2e0478000000000000000c70726f\
    66696c65206d61696c000000000000000c7b2274656e616e74223a377d00000000000000036b69640100000000000000\
    0300ff07010505050505050505050505050505050500066517289a6078";
const FENCE: &str = "\
    01000000000000000003";
const ACCESS_DUE: &str = "\
    800665172c2de7780003030303030303030303030303030303";
const REFRESH_DUE: &str = "\
    80066517ff2e04780004040404040404040404040404040404";
const SESSION_DUE: &str = "\
    80066517ff2e04780102020202020202020202020202020202";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|digit| !digit.is_ascii_whitespace()).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// Returns an identifier as it is in these values.
fn id<K>(number: u8) -> Id<K> {
    Id::from_uuid(Uuid::from_bytes([number; 16]))
}

fn user() -> Subject {
    Uuid::from_bytes([1; 16]).into()
}

fn session() -> Session {
    Session {
        session_id: id(2),
        user_id: user(),
        created_at: now(),
        last_used_at: now(),
        ends_at: now() + TimeDelta::days(1),
        revoked: false,
        current: Pair {
            access_id: id(3),
            refresh_id: id(4),
            issued_at: now(),
            access_expires_at: now() + TimeDelta::minutes(1),
            refresh_expires_at: now() + TimeDelta::hours(1),
            payload: payload(&[
                ("custom", r#"{"tenant":7}"#),
                ("kid", "kid"),
                ("scope", "profile mail"),
                ("sealed_signatures", "AP8H"),
            ]),
        },
        previous: Some(Retired { refresh_id: id(5), at: now(), delivered: true }),
        payload: payload(&[("client_id", "web"), ("user_agent", "browser")]),
    }
}

fn payload(members: &[(&str, &str)]) -> Payload {
    members.iter().copied().collect()
}

fn tokens() -> [TokenRecord; 2] {
    let session = session();
    let record = |token_id, kind, expires_at| TokenRecord {
        token_id,
        user_id: user(),
        session_id: session.session_id,
        kind,
        issued_at: now(),
        expires_at,
        jwt_token: None,
    };
    let access = record(id(3), TokenKind::Access, session.current.access_expires_at);
    let refresh = record(id(4), TokenKind::Refresh, session.current.refresh_expires_at);
    [TokenRecord { jwt_token: Some("a.b.c".to_owned()), ..access }, refresh]
}

#[test]
fn embedded_values_of_version_1_are_read() {
    for (value, record) in [ACCESS, REFRESH].into_iter().zip(tokens()) {
        let value = bytes(value);
        assert_eq!(StoredToken::decode(record.token_id, &value), Some(StoredToken { record, revoked: false }));
        assert!((0..value.len()).all(|length| StoredToken::decode(id(3), &value[..length]).is_none()));
    }
    let (session, value) = (session(), bytes(SESSION));
    let kept_until = session.expires_at();
    assert_eq!(StoredSession::decode(id(2), &value), Some(StoredSession { session, kept_until }));
    assert!((0..value.len()).all(|length| StoredSession::decode(id(2), &value[..length]).is_none()));
    assert_eq!(decode_fence(&bytes(FENCE)), Some(UserFence { epoch: 3, disabled: false }));
}

/// Creates a file with this one session, as that version did.
fn make_file(path: &std::path::Path) {
    type Key<const N: usize> = &'static [u8; N];
    const TOKENS: TableDefinition<'_, Key<16>, &[u8]> = TableDefinition::new("tokens");
    const SESSIONS: TableDefinition<'_, Key<16>, &[u8]> = TableDefinition::new("sessions");
    const SESSION_TOKENS: TableDefinition<'_, Key<32>, ()> = TableDefinition::new("session_tokens");
    const USER_SESSIONS: TableDefinition<'_, Key<32>, ()> = TableDefinition::new("user_sessions");
    const FENCES: TableDefinition<'_, Key<16>, &[u8]> = TableDefinition::new("fences");
    const EXPIRY: TableDefinition<'_, Key<25>, Key<16>> = TableDefinition::new("expiry");
    let both = |owner: u8, member: u8| {
        let mut key = [owner; 32];
        key[16..].fill(member);
        key
    };
    let database = Database::create(path).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let mut tokens = transaction.open_table(TOKENS).unwrap();
        tokens.insert(&[3; 16], bytes(ACCESS).as_slice()).unwrap();
        tokens.insert(&[4; 16], bytes(REFRESH).as_slice()).unwrap();
        transaction.open_table(SESSIONS).unwrap().insert(&[2; 16], bytes(SESSION).as_slice()).unwrap();
        let mut session_tokens = transaction.open_table(SESSION_TOKENS).unwrap();
        session_tokens.insert(&both(2, 3), ()).unwrap();
        session_tokens.insert(&both(2, 4), ()).unwrap();
        transaction.open_table(USER_SESSIONS).unwrap().insert(&both(1, 2), ()).unwrap();
        transaction.open_table(FENCES).unwrap().insert(&[1; 16], bytes(FENCE).as_slice()).unwrap();
        let mut expiry = transaction.open_table(EXPIRY).unwrap();
        for (due, owner) in [(ACCESS_DUE, [2; 16]), (REFRESH_DUE, [2; 16]), (SESSION_DUE, [1; 16])] {
            let due: [u8; 25] = bytes(due).try_into().unwrap();
            expiry.insert(&due, &owner).unwrap();
        }
    }
    transaction.commit().unwrap();
}

#[tokio::test]
async fn embedded_file_of_version_1_is_read_and_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokens.redb");
    make_file(&path);
    let store = EmbeddedStore::open(&path).unwrap();
    // Nothing was written yet.
    let text: Subject = "auth0|7".parse().unwrap();
    assert_eq!(store.user_fence(text.clone()).await.unwrap(), UserFence::default());
    assert_eq!(store.sessions(text.clone(), now()).await.unwrap(), []);
    let key = HashedKey::of("test", "version 1");
    assert_eq!(store.one_time(key, now()).await.unwrap(), None);

    let (session, [access, refresh]) = (session(), tokens());
    assert_eq!(store.sessions(user(), now()).await.unwrap(), std::slice::from_ref(&session));
    assert_eq!(store.token_status(access.token_id).await.unwrap(), TokenStatus::Active((&access).into()));
    let found = store.session_for_refresh(session.session_id, refresh.token_id, now()).await.unwrap();
    assert_eq!(found, Some((session.clone(), TokenStatus::Active((&refresh).into()))));
    assert_eq!(store.user_fence(user()).await.unwrap(), UserFence { epoch: 3, disabled: false });

    let (other, records) = login(user());
    assert_eq!(store.open_session(other, records, 3).await.unwrap(), Admission::Admitted);
    let (third, records) = login(text.clone());
    assert_eq!(store.open_session(third, records, 0).await.unwrap(), Admission::Admitted);
    let (child, _) = login(user());
    let child = Pair { payload: session.current.payload.clone(), ..child.current };
    let rotation = Rotation {
        session_id: session.session_id,
        parent: refresh.token_id,
        child: child.clone(),
        tokens: Vec::new(),
        now: now(),
    };
    assert_eq!(store.rotate(rotation).await.unwrap(), Rotated::Committed);
    let until = now() + TimeDelta::minutes(1);
    store.put_one_time(key, payload(&[("scope", "mail")]), until).await.unwrap();
    assert!(matches!(store.redeem(key, session.session_id, now()).await.unwrap(), Redeemed::First(_)));
    assert!(store.reserve(key, until, now()).await.unwrap());
    drop(store);

    let store = EmbeddedStore::open(&path).unwrap();
    let stored = store.session(session.session_id, now()).await.unwrap().unwrap();
    assert_eq!((stored.current, stored.payload), (child, session.payload));
    let again = store.redeem(key, SessionId::generate(), now()).await.unwrap();
    assert_eq!(again, Redeemed::Again(session.session_id));
    assert!(!store.reserve(key, until, now()).await.unwrap(), "a restart frees no key");
    assert_eq!(store.sessions(text, now()).await.unwrap().len(), 1);
    let revoked = store.revoke_user(user(), None, now()).await.unwrap();
    assert_eq!(revoked.sessions, 2);
    assert!(revoked.access_tokens.contains(&(access.token_id, access.expires_at)), "{revoked:?}");
    let purged = store.purge_expired(now() + TimeDelta::days(1)).await.unwrap();
    assert_eq!(purged, Purged { tokens: 6, sessions: 3, keys: 2 });
}

/// Writes a one-time record of an hour, as that version did.
fn put_one_time(store: &EmbeddedStore, key: HashedKey, redeemed_by: Option<SessionId>) {
    let mut value = vec![1];
    value.extend((now() + TimeDelta::hours(1)).timestamp_micros().to_be_bytes());
    value.extend(1_u64.to_be_bytes());
    for text in ["scope", "mail"] {
        value.extend((text.len() as u64).to_be_bytes());
        value.extend(text.as_bytes());
    }
    value.push(u8::from(redeemed_by.is_some()));
    value.extend(redeemed_by.iter().flat_map(|by| *by.as_bytes()));
    let written = store.file.write(CommitMode::Durable, |tables| {
        tables.keys()?.one_time.insert(key.as_bytes(), value.as_slice())?;
        Ok(())
    });
    written.unwrap();
}

#[tokio::test]
async fn embedded_one_time_record_of_version_1_is_redeemed_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(dir.path().join("tokens.redb")).unwrap();
    let [fresh, redeemed] = ["fresh", "redeemed"].map(|name| HashedKey::of("test", name));
    put_one_time(&store, fresh, None);
    put_one_time(&store, redeemed, Some(id(9)));

    let record = store.one_time(redeemed, now()).await.unwrap().unwrap();
    assert_eq!((record.payload, record.redeemed_by), (payload(&[("scope", "mail")]), Some(id(9))));
    assert_eq!(store.redeem(redeemed, id(8), now()).await.unwrap(), Redeemed::Again(id(9)));
    assert_eq!(store.redeem(fresh, id(7), now()).await.unwrap(), Redeemed::First(payload(&[("scope", "mail")])));
    assert_eq!(store.redeem(fresh, id(8), now()).await.unwrap(), Redeemed::Again(id(7)));
    assert_eq!(store.one_time(fresh, now()).await.unwrap().unwrap().redeemed_by, Some(id(7)));
}
