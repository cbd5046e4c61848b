//! A session: one login and the chain of pairs that descends from it.

use std::time::Duration;

use chrono::serde::ts_milliseconds;
use serde::{Deserialize, Serialize};

use super::Payload;
use crate::{
    clock::{Timestamp, later},
    id::{SessionId, Subject, TokenId},
};

/// One login, with its newest pair of tokens.
///
/// ```
/// # use auth_layer::store::Session;
/// // A store keeps it as JSON, with `revoked` in a column of its own.
/// fn restore(record: &str, revoked: bool) -> serde_json::Result<Session> {
///     Ok(Session { revoked, ..serde_json::from_str(record)? })
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Its identifier, the `sid` of its tokens.
    pub session_id: SessionId,
    /// The user who signed in.
    pub user_id: Subject,
    /// When it was opened.
    #[serde(with = "ts_milliseconds")]
    pub created_at: Timestamp,
    /// When its newest pair was issued.
    #[serde(with = "ts_milliseconds")]
    pub last_used_at: Timestamp,
    /// When it ends at the latest, however often it is refreshed.
    #[serde(with = "ts_milliseconds")]
    pub ends_at: Timestamp,
    /// Whether it is revoked. Flips once, never back.
    pub revoked: bool,
    /// The newest pair.
    pub current: Pair,
    /// The refresh token that `current` replaced. `None` before the first refresh.
    pub previous: Option<Retired>,
    /// What else is kept: the client and the user agent of the sign-in. No operation changes it.
    pub payload: Payload,
}

/// An access token and the refresh token issued with it.
///
/// Holds what is needed to sign both again, byte for byte, but no usable token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    /// The access token's `jti`.
    pub access_id: TokenId,
    /// The refresh token's `jti`.
    pub refresh_id: TokenId,
    /// `iat` of both.
    #[serde(with = "ts_milliseconds")]
    pub issued_at: Timestamp,
    /// `exp` of the access token.
    #[serde(with = "ts_milliseconds")]
    pub access_expires_at: Timestamp,
    /// `exp` of the refresh token. The session is over after it unless it is refreshed.
    #[serde(with = "ts_milliseconds")]
    pub refresh_expires_at: Timestamp,
    /// What else is kept: scope, custom claims, and what is needed to sign both tokens again.
    pub payload: Payload,
}

/// A refresh token that a rotation retired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retired {
    /// Its `jti`.
    pub refresh_id: TokenId,
    /// When it was retired. Once the new pair is recorded as delivered, the time of its first
    /// delivery.
    #[serde(with = "ts_milliseconds")]
    pub at: Timestamp,
    /// Whether the pair that replaced it is recorded as delivered. False after a rotation, set by
    /// [`note_delivered`](super::TokenStore::note_delivered).
    pub delivered: bool,
}

impl Retired {
    /// Returns whether the token gets the current pair again.
    ///
    /// Never with a window of zero, even if the clocks disagree: `now` may have been read before
    /// the rotation, or a clock may have been set back. The window is for answers lost on the
    /// network, so it starts at the first delivery. If there was none, the client saw a failure,
    /// and a failover alone may outlast the window.
    fn may_repeat(&self, grace: Duration, now: Timestamp) -> bool {
        !grace.is_zero() && (!self.delivered || now < later(self.at, grace))
    }
}

/// What to do with a refresh token that names a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// It is the current one: rotate.
    Rotate,
    /// Inside the grace window, or the replacement was never delivered: return the same pair.
    Repeat,
    /// A retired token was presented again: somebody holds a copy (RFC 9700 §4.14.2).
    Reuse,
    /// The session is revoked.
    Revoked,
}

impl Session {
    /// Judges a refresh token that names this session and whose signature has been verified.
    ///
    /// No list of retired tokens is needed. A token signed for this session that is neither current
    /// nor previous is a retired one. Whether the child was used need not be asked: its use would
    /// have made it the previous one.
    pub fn judge(&self, refresh: TokenId, grace: Duration, now: Timestamp) -> Verdict {
        if self.revoked {
            Verdict::Revoked
        } else if refresh == self.current.refresh_id {
            Verdict::Rotate
        } else if self
            .previous
            .is_some_and(|previous| previous.refresh_id == refresh && previous.may_repeat(grace, now))
        {
            Verdict::Repeat
        } else {
            Verdict::Reuse
        }
    }

    /// Applies [`TokenStore::note_delivered`](super::TokenStore::note_delivered) to a session that
    /// was read for it.
    ///
    /// Returns false and changes nothing when `refresh` is not the current refresh token, when its
    /// pair replaced none, or when its delivery is already recorded. Nothing needs to be written
    /// then.
    pub fn note_delivered(&mut self, refresh: TokenId, now: Timestamp) -> bool {
        match &mut self.previous {
            Some(previous) if self.current.refresh_id == refresh && !previous.delivered => {
                *previous = Retired { delivered: true, at: now.max(previous.at), ..*previous };
                true
            }
            _ => false,
        }
    }

    /// Returns whether the session is not revoked and `refresh` is its current refresh token. A
    /// store asks this before it rotates or confirms.
    pub fn is_current(&self, refresh: TokenId) -> bool {
        !self.revoked && self.current.refresh_id == refresh
    }

    /// Returns whether the session is neither revoked nor expired at `now`. A store lists such
    /// sessions.
    pub fn is_live(&self, now: Timestamp) -> bool {
        !self.revoked && self.expires_at() > now
    }

    /// Returns when the newest refresh token expires. The session is then over, unless it is
    /// refreshed.
    pub fn expires_at(&self) -> Timestamp {
        self.current.refresh_expires_at
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::clock::{earlier, whole_millis};

    const SECOND: Duration = Duration::from_secs(1);

    fn now() -> Timestamp {
        Timestamp::UNIX_EPOCH
    }

    /// Returns a session whose pair replaced another just now.
    fn session() -> Session {
        Session {
            session_id: SessionId::generate(),
            user_id: Subject::generate(),
            created_at: now(),
            last_used_at: now(),
            ends_at: later(now(), 1_000 * SECOND),
            revoked: false,
            current: Pair {
                access_id: TokenId::generate(),
                refresh_id: TokenId::generate(),
                issued_at: now(),
                access_expires_at: later(now(), 10 * SECOND),
                refresh_expires_at: later(now(), 100 * SECOND),
                payload: Payload::new(),
            },
            previous: Some(Retired { refresh_id: TokenId::generate(), at: now(), delivered: true }),
            payload: Payload::new(),
        }
    }

    #[test]
    fn session_json_has_stable_names_and_round_trips() {
        let id = |last: u8| format!("0190a000-0000-7000-8000-0000000000{last:02x}");
        let payload: Payload = [("later", "\"\u{0}é"), ("scope", "")].into_iter().collect();
        let session = Session {
            session_id: id(1).parse().unwrap(),
            user_id: "auth0|é".parse().unwrap(),
            created_at: later(now(), SECOND),
            last_used_at: later(now(), Duration::from_micros(2_999)),
            current: Pair {
                access_id: id(2).parse().unwrap(),
                refresh_id: id(3).parse().unwrap(),
                payload: payload.clone(),
                ..session().current
            },
            previous: Some(Retired { refresh_id: id(4).parse().unwrap(), at: earlier(now(), SECOND), delivered: true }),
            payload,
            ..session()
        };
        let json = json!({
            "session_id": id(1),
            "user_id": "auth0|é",
            "created_at": 1_000,
            "last_used_at": 2,
            "ends_at": 1_000_000,
            "revoked": false,
            "current": {
                "access_id": id(2),
                "refresh_id": id(3),
                "issued_at": 0,
                "access_expires_at": 10_000,
                "refresh_expires_at": 100_000,
                "payload": { "later": "\"\u{0}é", "scope": "" },
            },
            "previous": { "refresh_id": id(4), "at": -1_000, "delivered": true },
            "payload": { "later": "\"\u{0}é", "scope": "" },
        });
        let text = serde_json::to_string(&session).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), json);
        let kept = Session { last_used_at: whole_millis(session.last_used_at), ..session };
        assert_eq!(serde_json::from_str::<Session>(&text).unwrap(), kept);
        // Unknown members from a later version are ignored.
        let later = text.replacen('{', r#"{"later":[],"#, 1);
        assert_eq!(serde_json::from_str::<Session>(&later).unwrap(), kept);

        let first = Session { previous: None, ..kept };
        let text = serde_json::to_string(&first).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["previous"], Value::Null);
        assert_eq!(serde_json::from_str::<Session>(&text).unwrap(), first);
    }

    #[test]
    fn refresh_without_a_window_is_never_repeated() {
        let session = session();
        let retired = session.previous.unwrap().refresh_id;
        for now in [earlier(now(), SECOND), now(), later(now(), SECOND)] {
            assert_eq!(session.judge(retired, Duration::ZERO, now), Verdict::Reuse, "at {now}");
        }
        assert_eq!(session.judge(retired, SECOND, earlier(now(), SECOND)), Verdict::Repeat);
    }

    /// After an outage longer than the window, two retries at the same time count as one.
    #[test]
    fn refresh_window_starts_at_the_first_delivery() {
        let mut session = session();
        let Retired { refresh_id: retired, at, .. } = session.previous.unwrap();
        session.previous = session.previous.map(|previous| Retired { delivered: false, ..previous });
        let answered = later(at, 90 * SECOND);
        assert!(session.note_delivered(session.current.refresh_id, answered));
        assert_eq!(session.judge(retired, 2 * SECOND, later(answered, SECOND)), Verdict::Repeat);
        assert_eq!(session.judge(retired, 2 * SECOND, later(answered, 2 * SECOND)), Verdict::Reuse);
        assert!(!session.note_delivered(session.current.refresh_id, later(answered, SECOND)), "once");
        assert_eq!(session.previous.unwrap().at, answered);
    }

    #[test]
    fn refresh_window_closes_only_after_a_delivery() {
        let mut session = session();
        let retired = session.previous.unwrap().refresh_id;
        assert_eq!(session.judge(retired, SECOND, later(now(), SECOND)), Verdict::Reuse);
        session.previous = session.previous.map(|previous| Retired { delivered: false, ..previous });
        assert_eq!(session.judge(retired, SECOND, later(now(), 90 * SECOND)), Verdict::Repeat);
        assert_eq!(
            session.judge(retired, Duration::ZERO, now()),
            Verdict::Reuse,
            "without a window there is no repeat"
        );
        assert_eq!(session.judge(TokenId::generate(), SECOND, now()), Verdict::Reuse, "one that was retired before");
    }
}
