//! How records are written as bytes.
//!
//! A value is a version byte and then the fields in order: identifiers as their sixteen bytes, times as microseconds since 1970,
//! texts and bytes with their length in front, whatever may be absent behind a byte that says so. Whole numbers are big-endian.
//! A value with another version, an end too early or too late, or anything out of range is not understood, rather than half
//! understood.

use chrono::DateTime;
use uuid::Uuid;

use crate::{
    clock::Timestamp,
    id::{Id, SessionId, TokenId},
    store::{Pair, Retired, Session, TokenKind, TokenRecord, UserFence},
};

/// The version that is written, and the only one there has been.
const VERSION: u8 = 1;

/// What stands before a session's previous refresh token. Where nothing was noted of its child's delivery (before there was a
/// third value), that counts as delivered.
const NO_PREVIOUS: u8 = 0;
const DELIVERED: u8 = 1;
const NOT_DELIVERED: u8 = 2;

/// A token as it is stored; its id is the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredToken {
    pub(super) record: TokenRecord,
    pub(super) revoked: bool,
}

impl StoredToken {
    pub(super) fn encode(&self) -> Vec<u8> {
        let Self { record, revoked } = self;
        let mut to = Encoder::new();
        to.byte(match record.kind {
            TokenKind::Access => 0,
            TokenKind::Refresh => 1,
            TokenKind::SingleUse => 2,
        });
        to.flag(*revoked);
        to.id(record.user_id);
        to.id(record.session_id);
        to.time(record.issued_at);
        to.time(record.expires_at);
        to.option(record.jwt_token.as_ref(), |to, token| to.bytes(token.as_bytes()));
        to.0
    }

    pub(super) fn decode(id: TokenId, value: &[u8]) -> Option<Self> {
        let mut from = Decoder::new(value)?;
        let kind = match from.byte()? {
            0 => TokenKind::Access,
            1 => TokenKind::Refresh,
            2 => TokenKind::SingleUse,
            _ => return None,
        };
        let revoked = from.flag()?;
        let record = TokenRecord {
            token_id: id,
            kind,
            user_id: from.id()?,
            session_id: from.id()?,
            issued_at: from.time()?,
            expires_at: from.time()?,
            jwt_token: from.option(Decoder::text)?,
        };
        from.end(Self { record, revoked })
    }
}

/// A session as it is stored; its id is the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredSession {
    pub(super) session: Session,
    /// When the session and every token of it has expired. It never moves back.
    pub(super) kept_until: Timestamp,
}

impl StoredSession {
    pub(super) fn encode(&self) -> Vec<u8> {
        let Self { session, kept_until } = self;
        let mut to = Encoder::new();
        to.time(*kept_until);
        to.id(session.user_id);
        to.bytes(session.client_id.as_bytes());
        to.option(session.user_agent.as_ref(), |to, agent| to.bytes(agent.as_bytes()));
        to.time(session.created_at);
        to.time(session.last_used_at);
        to.time(session.ends_at);
        to.flag(session.revoked);
        to.pair(&session.current);
        to.byte(match session.previous {
            None => NO_PREVIOUS,
            Some(Retired { delivered: true, .. }) => DELIVERED,
            Some(Retired { delivered: false, .. }) => NOT_DELIVERED,
        });
        if let Some(retired) = session.previous {
            to.id(retired.refresh_id);
            to.time(retired.at);
        }
        to.0
    }

    pub(super) fn decode(id: SessionId, value: &[u8]) -> Option<Self> {
        let mut from = Decoder::new(value)?;
        let kept_until = from.time()?;
        let session = Session {
            session_id: id,
            user_id: from.id()?,
            client_id: from.text()?,
            user_agent: from.option(Decoder::text)?,
            created_at: from.time()?,
            last_used_at: from.time()?,
            ends_at: from.time()?,
            revoked: from.flag()?,
            current: from.pair()?,
            previous: match from.byte()? {
                NO_PREVIOUS => None,
                delivered @ (DELIVERED | NOT_DELIVERED) => {
                    Some(Retired { refresh_id: from.id()?, at: from.time()?, delivered: delivered == DELIVERED })
                }
                _ => return None,
            },
        };
        from.end(Self { session, kept_until })
    }
}

pub(super) fn encode_fence(fence: UserFence) -> Vec<u8> {
    let mut to = Encoder::new();
    to.flag(fence.disabled);
    to.0.extend(fence.epoch.to_be_bytes());
    to.0
}

pub(super) fn decode_fence(value: &[u8]) -> Option<UserFence> {
    let mut from = Decoder::new(value)?;
    let fence = UserFence { disabled: from.flag()?, epoch: u64::from_be_bytes(from.array()?) };
    from.end(fence)
}

struct Encoder(Vec<u8>);

impl Encoder {
    fn new() -> Self {
        Self(vec![VERSION])
    }

    fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    fn flag(&mut self, flag: bool) {
        self.byte(u8::from(flag));
    }

    fn id<K>(&mut self, id: Id<K>) {
        self.0.extend(id.as_bytes());
    }

    fn time(&mut self, time: Timestamp) {
        self.0.extend(time.timestamp_micros().to_be_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend((bytes.len() as u64).to_be_bytes());
        self.0.extend(bytes);
    }

    fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.flag(value.is_some());
        if let Some(value) = value {
            write(self, value);
        }
    }

    fn pair(&mut self, pair: &Pair) {
        self.id(pair.access_id);
        self.id(pair.refresh_id);
        self.time(pair.issued_at);
        self.time(pair.access_expires_at);
        self.time(pair.refresh_expires_at);
        self.bytes(pair.scope.to_string().as_bytes());
        self.bytes(pair.custom.as_bytes());
        self.bytes(pair.kid.as_bytes());
        self.option(pair.sealed_signatures.as_ref(), |to, sealed| to.bytes(sealed));
    }
}

struct Decoder<'a>(&'a [u8]);

impl<'a> Decoder<'a> {
    fn new(value: &'a [u8]) -> Option<Self> {
        let mut from = Self(value);
        (from.byte()? == VERSION).then_some(from)
    }

    /// What was read, if it was all there is.
    fn end<T>(self, read: T) -> Option<T> {
        self.0.is_empty().then_some(read)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    fn flag(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn id<K>(&mut self) -> Option<Id<K>> {
        self.array().map(|bytes| Id::from_uuid(Uuid::from_bytes(bytes)))
    }

    fn time(&mut self) -> Option<Timestamp> {
        DateTime::from_timestamp_micros(i64::from_be_bytes(self.array()?))
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(u64::from_be_bytes(self.array()?)).ok()?;
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn text(&mut self) -> Option<String> {
        std::str::from_utf8(self.bytes()?).ok().map(str::to_owned)
    }

    /// The outer `None` is a value that cannot be understood, the inner one a field that is absent.
    #[expect(clippy::option_option, reason = "the two levels say different things")]
    fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        if self.flag()? { read(self).map(Some) } else { Some(None) }
    }

    fn pair(&mut self) -> Option<Pair> {
        Some(Pair {
            access_id: self.id()?,
            refresh_id: self.id()?,
            issued_at: self.time()?,
            access_expires_at: self.time()?,
            refresh_expires_at: self.time()?,
            scope: self.text()?.parse().ok()?,
            custom: self.text()?,
            kid: self.text()?,
            sealed_signatures: self.option(|from| from.bytes().map(<[u8]>::to_vec))?,
        })
    }
}
