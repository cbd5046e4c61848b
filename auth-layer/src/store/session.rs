//! A session: one login and the chain of pairs that descends from it.

use std::{fmt, time::Duration};

use crate::{
    claims::Scope,
    clock::{Timestamp, later},
    id::{SessionId, TokenId, UserId},
};

/// One login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its identifier, the `sid` of its tokens.
    pub session_id: SessionId,
    /// Whose it is.
    pub user_id: UserId,
    /// The OAuth client it was opened through.
    pub client_id: String,
    /// The `User-Agent` it was opened with, as the application chose to record it.
    pub user_agent: Option<String>,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When its newest pair was issued.
    pub last_used_at: Timestamp,
    /// When it ends at the latest, however often it is refreshed.
    pub ends_at: Timestamp,
    /// Flips once, never back.
    pub revoked: bool,
    /// The newest pair.
    pub current: Pair,
    /// The refresh token that `current` replaced; none before the first refresh.
    pub previous: Option<Retired>,
}

/// An access token and the refresh token issued with it: what is needed to sign the two again, byte for byte, and nothing
/// that opens a door.
#[derive(Clone, PartialEq, Eq)]
pub struct Pair {
    /// The access token's `jti`.
    pub access_id: TokenId,
    /// The refresh token's `jti`.
    pub refresh_id: TokenId,
    /// `iat` of both.
    pub issued_at: Timestamp,
    /// `exp` of the access token.
    pub access_expires_at: Timestamp,
    /// `exp` of the refresh token. The session is idle beyond it.
    pub refresh_expires_at: Timestamp,
    /// `scope` of both.
    pub scope: Scope,
    /// The custom claims of the access token: the text of a JSON object, `{}` where there are none.
    pub custom: String,
    /// `kid` of the key that signed both.
    pub kid: String,
    /// Where that key's algorithm signs differently each time (ES256, PS256): both signatures, sealed under a secret
    /// derived from the signing key. None for the algorithms that always sign alike.
    pub sealed_signatures: Option<Vec<u8>>,
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair")
            .field("access_id", &self.access_id)
            .field("refresh_id", &self.refresh_id)
            .field("issued_at", &self.issued_at)
            .field("access_expires_at", &self.access_expires_at)
            .field("refresh_expires_at", &self.refresh_expires_at)
            .field("scope", &self.scope)
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

/// A refresh token that a rotation retired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retired {
    /// Its `jti`.
    pub refresh_id: TokenId,
    /// When it was retired; once its pair is known to have been handed out, when that first was.
    pub at: Timestamp,
    /// Whether the pair that replaced it is known to have been handed out. A rotation leaves this false; it becomes true by
    /// [`note_delivered`](super::TokenStore::note_delivered).
    pub delivered: bool,
}

impl Retired {
    /// Whether it is answered once more. Where there is no window it never is, whatever the clocks say: `now` may have been read
    /// before the rotation that retired it, or a clock may have been turned back.
    ///
    /// The window is for answers that were lost on their way, and begins with the first of them. Where none was given, its caller was
    /// told of a failure or of nothing, and may need longer than the window to come back: a failover alone may take longer.
    fn repeats(&self, grace: Duration, now: Timestamp) -> bool {
        !grace.is_zero() && (!self.delivered || now < later(self.at, grace))
    }
}

/// What to do with a refresh token that names a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// It is the current one: rotate.
    Rotate,
    /// Its child has not been used, and it was retired a moment ago, or longer ago and its child was never handed out: answer with
    /// the current pair once more.
    Repeat,
    /// It was retired and comes again: somebody holds a copy (RFC 9700 §4.14.2).
    Reuse,
    /// The session is revoked.
    Revoked,
}

impl Session {
    /// Judges a refresh token whose signature has been verified and which names this session.
    ///
    /// No list of retired tokens is needed: whatever was validly signed for this session and is neither the current refresh
    /// token nor the one before is a retired one. That the child is unused need not be asked either: its use would have
    /// made it the previous one.
    pub fn judge(&self, refresh: TokenId, grace: Duration, now: Timestamp) -> Verdict {
        if self.revoked {
            Verdict::Revoked
        } else if refresh == self.current.refresh_id {
            Verdict::Rotate
        } else if self.previous.is_some_and(|previous| previous.refresh_id == refresh && previous.repeats(grace, now)) {
            Verdict::Repeat
        } else {
            Verdict::Reuse
        }
    }

    /// Notes that the pair with this refresh token was handed out. False where that is not the current pair, replaced none, or is
    /// noted already.
    pub(crate) fn note_delivered(&mut self, refresh: TokenId, now: Timestamp) -> bool {
        match &mut self.previous {
            Some(previous) if self.current.refresh_id == refresh && !previous.delivered => {
                *previous = Retired { delivered: true, at: now.max(previous.at), ..*previous };
                true
            }
            _ => false,
        }
    }

    /// Whether it lives and this is its current refresh token.
    pub(crate) fn is_current(&self, refresh: TokenId) -> bool {
        !self.revoked && self.current.refresh_id == refresh
    }

    /// When the newest refresh token expires: the session is over then, unless it is refreshed.
    pub fn expires_at(&self) -> Timestamp {
        self.current.refresh_expires_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::earlier;

    const SECOND: Duration = Duration::from_secs(1);

    fn now() -> Timestamp {
        Timestamp::UNIX_EPOCH
    }

    /// A session whose pair replaced another just now.
    fn session() -> Session {
        Session {
            session_id: SessionId::generate(),
            user_id: UserId::generate(),
            client_id: "client".to_owned(),
            user_agent: None,
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
                scope: Scope::empty(),
                custom: "{}".to_owned(),
                kid: "kid".to_owned(),
                sealed_signatures: None,
            },
            previous: Some(Retired { refresh_id: TokenId::generate(), at: now(), delivered: true }),
        }
    }

    #[test]
    fn where_there_is_no_window_nothing_is_repeated_however_the_clocks_stand() {
        let session = session();
        let retired = session.previous.unwrap().refresh_id;
        for now in [earlier(now(), SECOND), now(), later(now(), SECOND)] {
            assert_eq!(session.judge(retired, Duration::ZERO, now), Verdict::Reuse, "at {now}");
        }
        assert_eq!(session.judge(retired, SECOND, earlier(now(), SECOND)), Verdict::Repeat);
    }

    /// After an outage that was longer than the window, two retries at once are no more than one.
    #[test]
    fn the_window_begins_with_the_first_answer() {
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
    fn the_window_closes_on_what_was_handed_out_and_on_nothing_else() {
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
