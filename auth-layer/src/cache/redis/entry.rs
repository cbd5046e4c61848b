//! How a token's status is written.

use chrono::DateTime;
use uuid::Uuid;

use super::line::ServerId;
use crate::store::{ActiveToken, TokenKind};

/// What stands under a token's key.
///
/// A tombstone is the one byte `x`. An active entry is the byte `1`, the version of the form, and then: kind (`a`, `r` or
/// `s`), user, session, expiry in milliseconds since 1970 and the server that took it, numbers with the highest byte first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// Active, as the store of record had it when the entry was made.
    Active { token: ActiveToken, taken_by: ServerId },
    /// Revoked.
    Dead,
}

const DEAD: u8 = b'x';
const ACTIVE: u8 = b'1';
const ACTIVE_LEN: usize = 1 + 1 + 16 + 16 + 8 + 8;

impl Entry {
    pub(super) fn encode(self) -> Vec<u8> {
        match self {
            Self::Dead => vec![DEAD],
            Self::Active { token, taken_by } => {
                let mut value = Vec::with_capacity(ACTIVE_LEN);
                value.push(ACTIVE);
                value.push(letter(token.kind));
                value.extend_from_slice(token.user_id.as_bytes());
                value.extend_from_slice(token.session_id.as_bytes());
                value.extend_from_slice(&token.expires_at.timestamp_millis().to_be_bytes());
                value.extend_from_slice(&taken_by.0.to_be_bytes());
                value
            }
        }
    }

    /// None where the value is not understood.
    pub(super) fn decode(value: &[u8]) -> Option<Self> {
        if value == [DEAD] {
            return Some(Self::Dead);
        }
        let (&[ACTIVE, kind], rest) = value.split_first_chunk()? else { return None };
        let (user, rest) = rest.split_first_chunk()?;
        let (session, rest) = rest.split_first_chunk()?;
        let (expires_at, rest) = rest.split_first_chunk()?;
        let token = ActiveToken {
            user_id: Uuid::from_bytes(*user).into(),
            session_id: Uuid::from_bytes(*session).into(),
            kind: [TokenKind::Access, TokenKind::Refresh, TokenKind::SingleUse]
                .into_iter()
                .find(|&known| letter(known) == kind)?,
            expires_at: DateTime::from_timestamp_millis(i64::from_be_bytes(*expires_at))?,
        };
        Some(Self::Active { token, taken_by: ServerId(u64::from_be_bytes(rest.try_into().ok()?)) })
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
    use crate::id::{SessionId, UserId};

    fn active(kind: TokenKind) -> Entry {
        let token = ActiveToken {
            user_id: UserId::generate(),
            session_id: SessionId::generate(),
            kind,
            expires_at: chrono::Utc::now().trunc_subsecs(3),
        };
        Entry::Active { token, taken_by: ServerId(7) }
    }

    #[test]
    fn what_is_written_is_read() {
        for entry in [Entry::Dead, active(TokenKind::Access), active(TokenKind::Refresh), active(TokenKind::SingleUse)]
        {
            assert_eq!(Entry::decode(&entry.encode()), Some(entry));
        }
    }

    #[test]
    fn nothing_but_a_whole_entry_of_a_known_form_is_understood() {
        let whole = active(TokenKind::Access).encode();
        for end in 0..whole.len() {
            assert_eq!(Entry::decode(&whole[..end]), None, "cut after {end} bytes");
        }
        let changed = |at: usize, byte: u8| {
            let mut value = whole.clone();
            value[at] = byte;
            value
        };
        let far_future: Vec<u8> = [&whole[..34], &i64::MAX.to_be_bytes(), &whole[42..]].concat();
        for value in [changed(0, b'2'), changed(0, DEAD), changed(1, b'?'), [&whole[..], b"0"].concat(), far_future] {
            assert_eq!(Entry::decode(&value), None, "{value:?}");
        }
        assert_eq!(Entry::decode(b"xx"), None);
    }
}
