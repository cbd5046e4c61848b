//! Encodes records as bytes.
//!
//! A value is a version byte and then the fields in order.
//!
//! - Identifiers are their sixteen bytes, times are microseconds since 1970, whole numbers are
//!   big-endian.
//! - Texts and bytes have their length in front. An optional field has a byte in front that says
//!   whether it is present.
//! - A value of another version, of the wrong length or with anything out of range is not
//!   understood as a whole.
//!
//! Tokens and sessions are written in version 2. A user is a UUID or another text, behind a byte
//! that says which. A payload is a list of names and texts. Version 1 is still read: there each
//! user was a UUID, and client, user agent, scope, custom claims, key and signatures were fields.
//!
//! One-time records are in version 2, too: a table of its own says which session one was redeemed
//! for. In version 1 that was a field. A program that knows version 1 alone redeems none of version 2.
//!
//! Fences, reservations and denials have not changed since version 1.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::DateTime;
use uuid::Uuid;

use crate::{
    clock::Timestamp,
    id::{Id, SessionId, Subject, TokenId, UserId},
    store::{Denial, OneTimeRecord, Pair, Payload, Retired, Session, TokenKind, TokenRecord, UserFence, member},
};

/// The version of fences, reservations and denials, and the first one of all others.
const VERSION_1: u8 = 1;

/// The version in which tokens, sessions and one-time records are written.
const VERSION: u8 = 2;

/// The memory for a value that is being encoded, without growing: a session takes less, unless
/// its claims are long.
const USUAL_BYTES: usize = 1024;

/// The byte in front of a user.
const UUID: u8 = 0;
const TEXT: u8 = 1;

/// The byte in front of a session's previous refresh token.
///
/// Values from before [`NOT_DELIVERED`] existed count as delivered.
const NO_PREVIOUS: u8 = 0;
const DELIVERED: u8 = 1;
const NOT_DELIVERED: u8 = 2;

/// A token as it is stored. Its id is the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredToken {
    pub(super) record: TokenRecord,
    pub(super) revoked: bool,
}

impl StoredToken {
    pub(super) fn decode(id: TokenId, value: &[u8]) -> Option<Self> {
        let mut from = Decoder::new(value, &[VERSION_1, VERSION])?;
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
            user_id: from.subject()?,
            session_id: from.id()?,
            issued_at: from.time()?,
            expires_at: from.time()?,
            jwt_token: from.option(Decoder::text)?,
        };
        from.end(Self { record, revoked })
    }
}

/// A session as it is stored. Its id is the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredSession {
    pub(super) session: Session,
    /// When the session and all its tokens have expired. Never moves back.
    pub(super) kept_until: Timestamp,
}

impl StoredSession {
    pub(super) fn decode(id: SessionId, value: &[u8]) -> Option<Self> {
        let mut from = Decoder::new(value, &[VERSION_1, VERSION])?;
        let kept_until = from.time()?;
        let session = Session {
            session_id: id,
            user_id: from.subject()?,
            payload: match from.version {
                VERSION_1 => Payload::of_session(from.text()?, from.option(Decoder::text)?),
                _ => from.payload()?,
            },
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

pub(super) fn encode_token(record: &TokenRecord, revoked: bool) -> Vec<u8> {
    let mut to = Encoder::new(VERSION);
    to.byte(match record.kind {
        TokenKind::Access => 0,
        TokenKind::Refresh => 1,
        TokenKind::SingleUse => 2,
    });
    to.flag(revoked);
    to.subject(&record.user_id);
    to.id(record.session_id);
    to.time(record.issued_at);
    to.time(record.expires_at);
    to.option(record.jwt_token.as_ref(), |to, token| to.bytes(token.as_bytes()));
    to.0
}

pub(super) fn encode_session(session: &Session, kept_until: Timestamp) -> Vec<u8> {
    let mut to = Encoder::new(VERSION);
    to.time(kept_until);
    to.subject(&session.user_id);
    to.payload(&session.payload);
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

pub(super) fn encode_fence(fence: UserFence) -> Vec<u8> {
    let mut to = Encoder::new(VERSION_1);
    to.flag(fence.disabled);
    to.0.extend(fence.epoch.to_be_bytes());
    to.0
}

pub(super) fn decode_fence(value: &[u8]) -> Option<UserFence> {
    let mut from = Decoder::new(value, &[VERSION_1])?;
    let fence = UserFence { disabled: from.flag()?, epoch: u64::from_be_bytes(from.array()?) };
    from.end(fence)
}

/// Encodes when a reservation expires.
pub(super) fn encode_reservation(expires_at: Timestamp) -> Vec<u8> {
    let mut to = Encoder::new(VERSION_1);
    to.time(expires_at);
    to.0
}

pub(super) fn decode_reservation(value: &[u8]) -> Option<Timestamp> {
    let mut from = Decoder::new(value, &[VERSION_1])?;
    let expires_at = from.time()?;
    from.end(expires_at)
}

/// Encodes a one-time record, without the session that it was redeemed for.
pub(super) fn encode_one_time(payload: &Payload, expires_at: Timestamp) -> Vec<u8> {
    let mut to = Encoder::new(VERSION);
    to.time(expires_at);
    to.payload(payload);
    to.0
}

/// Decodes a one-time record. It names the session that it was redeemed for only in version 1.
pub(super) fn decode_one_time(value: &[u8]) -> Option<OneTimeRecord> {
    let mut from = Decoder::new(value, &[VERSION_1, VERSION])?;
    let record = OneTimeRecord {
        expires_at: from.time()?,
        payload: from.payload()?,
        redeemed_by: match from.version {
            VERSION_1 => from.option(Decoder::id)?,
            _ => None,
        },
    };
    from.end(record)
}

pub(super) fn encode_denial(denial: Denial) -> Vec<u8> {
    let mut to = Encoder::new(VERSION_1);
    to.time(denial.denied_at);
    to.time(denial.expires_at);
    to.0
}

pub(super) fn decode_denial(value: &[u8]) -> Option<Denial> {
    let mut from = Decoder::new(value, &[VERSION_1])?;
    let denial = Denial { denied_at: from.time()?, expires_at: from.time()? };
    from.end(denial)
}

struct Encoder(Vec<u8>);

impl Encoder {
    fn new(version: u8) -> Self {
        let mut bytes = Vec::with_capacity(USUAL_BYTES);
        bytes.push(version);
        Self(bytes)
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

    fn subject(&mut self, subject: &Subject) {
        match subject.id() {
            Some(user) => {
                self.byte(UUID);
                self.id(user);
            }
            None => {
                self.byte(TEXT);
                self.text(&subject.to_text());
            }
        }
    }

    fn time(&mut self, time: Timestamp) {
        self.0.extend(time.timestamp_micros().to_be_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend((bytes.len() as u64).to_be_bytes());
        self.0.extend(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn payload(&mut self, payload: &Payload) {
        self.0.extend((payload.iter().len() as u64).to_be_bytes());
        for (name, text) in payload {
            self.text(name);
            self.text(text);
        }
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
        self.payload(&pair.payload);
    }
}

struct Decoder<'a> {
    version: u8,
    rest: &'a [u8],
}

impl<'a> Decoder<'a> {
    fn new(value: &'a [u8], versions: &[u8]) -> Option<Self> {
        let (&version, rest) = value.split_first()?;
        versions.contains(&version).then_some(Self { version, rest })
    }

    /// Returns `read` if no bytes are left.
    fn end<T>(self, read: T) -> Option<T> {
        self.rest.is_empty().then_some(read)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
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

    fn subject(&mut self) -> Option<Subject> {
        let kind = if self.version == VERSION_1 { UUID } else { self.byte()? };
        match kind {
            UUID => self.id().map(|user: UserId| user.into()),
            // The text of a UUID is invalid here: it would have been written as a UUID.
            TEXT => self.text()?.parse().ok().filter(|subject: &Subject| subject.as_uuid().is_none()),
            _ => None,
        }
    }

    fn time(&mut self) -> Option<Timestamp> {
        DateTime::from_timestamp_micros(i64::from_be_bytes(self.array()?))
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(u64::from_be_bytes(self.array()?)).ok()?;
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    fn text(&mut self) -> Option<String> {
        std::str::from_utf8(self.bytes()?).ok().map(str::to_owned)
    }

    /// Reads a payload. Names come in order, each once.
    fn payload(&mut self) -> Option<Payload> {
        let members = u64::from_be_bytes(self.array()?);
        let mut read: Vec<(String, String)> = Vec::new();
        for _ in 0..members {
            let (name, text) = (self.text()?, self.text()?);
            if read.last().is_some_and(|(before, _)| *before >= name) {
                return None;
            }
            read.push((name, text));
        }
        Some(read.into_iter().collect())
    }

    /// The outer `None` is a value that cannot be understood, the inner one an absent field.
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
            payload: match self.version {
                VERSION_1 => self.pair_fields()?,
                _ => self.payload()?,
            },
        })
    }

    /// Reads the fields that version 1 had instead of a pair's payload.
    fn pair_fields(&mut self) -> Option<Payload> {
        let mut payload = Payload::of_pair(&self.text()?.parse().ok()?, self.text()?).signed_with(&self.text()?);
        let sealed = self.option(|from| from.bytes().map(|sealed| URL_SAFE_NO_PAD.encode(sealed)))?;
        payload.set(member::SEALED_SIGNATURES, sealed);
        Some(payload)
    }
}
