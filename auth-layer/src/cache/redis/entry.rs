//! Encodes a token's status as a Redis value.

use chrono::DateTime;
use uuid::Uuid;

use super::connection::ServerId;
use crate::{
    id::Subject,
    store::{ActiveToken, TokenKind},
};

/// The value under a token's key.
///
/// - Tombstone: the one byte `x`.
/// - Active: the byte `1`, the version, then kind (`a`, `r` or `s`), user, session, expiry in
///   milliseconds since 1970, and the server that took it. Numbers are big-endian.
/// - Active, for a user that is not a UUID: the byte `2`, then the same without the user, then the
///   user's text to the end. Older nodes do not understand this form, and ask the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RedisEntry {
    /// Active, as the store of record had it when the entry was made.
    Active { token: ActiveToken, taken_by: ServerId },
    /// Revoked.
    Dead,
}

const DEAD: u8 = b'x';
const ACTIVE: u8 = b'1';
const ACTIVE_TEXT: u8 = b'2';
const ACTIVE_LEN: usize = 1 + 1 + 16 + 16 + 8 + 8;

impl RedisEntry {
    pub(super) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Dead => vec![DEAD],
            Self::Active { token, taken_by } => {
                let mut value = Vec::with_capacity(ACTIVE_LEN);
                let user = token.user_id.as_uuid();
                value.push(if user.is_some() { ACTIVE } else { ACTIVE_TEXT });
                value.push(letter(token.kind));
                if let Some(user) = user {
                    value.extend_from_slice(user.as_bytes());
                }
                value.extend_from_slice(token.session_id.as_bytes());
                value.extend_from_slice(&token.expires_at.timestamp_millis().to_be_bytes());
                value.extend_from_slice(&taken_by.0.to_be_bytes());
                if user.is_none() {
                    value.extend_from_slice(token.user_id.to_text().as_bytes());
                }
                value
            }
        }
    }

    /// Returns `None` if the value is not understood.
    pub(super) fn decode(value: &[u8]) -> Option<Self> {
        if value == [DEAD] {
            return Some(Self::Dead);
        }
        let (&[form, kind], mut rest) = value.split_first_chunk()?;
        let mut user = None;
        if form == ACTIVE {
            let (uuid, behind) = rest.split_first_chunk()?;
            user = Some(Subject::from(Uuid::from_bytes(*uuid)));
            rest = behind;
        }
        let (session, rest) = rest.split_first_chunk()?;
        let (expires_at, rest) = rest.split_first_chunk()?;
        let (taken_by, rest) = rest.split_first_chunk()?;
        let user_id = match (form, user) {
            (ACTIVE, Some(user)) if rest.is_empty() => user,
            (ACTIVE_TEXT, None) => {
                // The text of a UUID is invalid here: it would have been written as a UUID.
                std::str::from_utf8(rest).ok()?.parse().ok().filter(|user: &Subject| user.as_uuid().is_none())?
            }
            _ => return None,
        };
        let token = ActiveToken {
            user_id,
            session_id: Uuid::from_bytes(*session).into(),
            kind: [TokenKind::Access, TokenKind::Refresh, TokenKind::SingleUse]
                .into_iter()
                .find(|&known| letter(known) == kind)?,
            expires_at: DateTime::from_timestamp_millis(i64::from_be_bytes(*expires_at))?,
        };
        Some(Self::Active { token, taken_by: ServerId(u64::from_be_bytes(*taken_by)) })
    }
}

const fn letter(kind: TokenKind) -> u8 {
    match kind {
        TokenKind::Access => b'a',
        TokenKind::Refresh => b'r',
        TokenKind::SingleUse => b's',
    }
}

#[cfg(test)]
mod tests {
    use chrono::SubsecRound;

    use super::*;
    use crate::id::SessionId;

    fn active(user_id: Subject, kind: TokenKind) -> RedisEntry {
        let token = ActiveToken {
            user_id,
            session_id: SessionId::generate(),
            kind,
            expires_at: chrono::Utc::now().trunc_subsecs(3),
        };
        RedisEntry::Active { token, taken_by: ServerId(7) }
    }

    #[test]
    fn redis_entry_round_trips() {
        assert_eq!(RedisEntry::decode(&RedisEntry::Dead.encode()), Some(RedisEntry::Dead));
        for user in [Subject::generate(), Subject::from(7_u64), "\u{1f980}".repeat(255).parse().unwrap()] {
            for kind in [TokenKind::Access, TokenKind::Refresh, TokenKind::SingleUse] {
                let entry = active(user.clone(), kind);
                assert_eq!(RedisEntry::decode(&entry.encode()), Some(entry));
            }
        }
    }

    /// Older nodes, for which a user is always a UUID, read and write the first of the two.
    #[test]
    fn redis_entry_of_a_uuid_and_of_a_text_has_these_bytes() {
        let token = |user_id| ActiveToken {
            user_id,
            session_id: Uuid::from_bytes([2; 16]).into(),
            kind: TokenKind::Access,
            expires_at: DateTime::from_timestamp_millis(0x0102_0304_0506).unwrap(),
        };
        let tail = [&[2; 16][..], &[0, 0, 1, 2, 3, 4, 5, 6], &[0, 0, 0, 0, 0, 0, 0, 7]].concat();
        for (user, expected) in [
            (Uuid::from_bytes([1; 16]).into(), [&b"1a"[..], &[1; 16], &tail].concat()),
            ("a|b".parse().unwrap(), [&b"2a"[..], &tail, b"a|b"].concat()),
        ] {
            let entry = RedisEntry::Active { token: token(user), taken_by: ServerId(7) };
            assert_eq!(entry.encode(), expected);
        }
    }

    #[test]
    fn redis_entry_with_a_text_that_is_no_user_is_refused() {
        let whole = active("a".parse().unwrap(), TokenKind::Access).encode();
        let with = |user: &[u8]| [&whole[..whole.len() - 1], user].concat();
        assert!(RedisEntry::decode(&with(b"b")).is_some());
        for user in [&b""[..], b"\xff", Uuid::nil().to_string().as_bytes(), "a".repeat(256).as_bytes()] {
            assert_eq!(RedisEntry::decode(&with(user)), None, "{user:?}");
        }
        for end in 0..whole.len() {
            assert_eq!(RedisEntry::decode(&whole[..end]), None, "cut after {end} bytes");
        }
    }

    #[test]
    fn redis_entry_that_is_cut_or_of_an_unknown_form_is_refused() {
        let whole = active(Subject::generate(), TokenKind::Access).encode();
        for end in 0..whole.len() {
            assert_eq!(RedisEntry::decode(&whole[..end]), None, "cut after {end} bytes");
        }
        let changed = |at: usize, byte: u8| {
            let mut value = whole.clone();
            value[at] = byte;
            value
        };
        let far_future: Vec<u8> = [&whole[..34], &i64::MAX.to_be_bytes(), &whole[42..]].concat();
        for value in [changed(0, b'3'), changed(0, DEAD), changed(1, b'?'), [&whole[..], b"0"].concat(), far_future] {
            assert_eq!(RedisEntry::decode(&value), None, "{value:?}");
        }
        assert_eq!(RedisEntry::decode(b"xx"), None);
    }
}
