//! Arguments and results of store operations.

use std::time::Duration;

use uuid::Uuid;

use super::{Pair, TokenRecord};
#[cfg(doc)]
use super::{Session, TokenStore};
use crate::{
    clock::Timestamp,
    id::{SessionId, Subject, TokenId},
};

/// A user's fence, which a sign-in must pass.
///
/// It is read before the credentials are checked, and compared when the session is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserFence {
    /// How often all of the user's sessions were revoked.
    pub epoch: u64,
    /// Whether sign-in is refused for this user.
    pub disabled: bool,
}

/// The result of recording a session or a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Admission {
    /// It was recorded.
    Admitted,
    /// A revocation came first. Nothing was recorded that anyone holds.
    Fenced,
}

/// A request to replace a session's pair.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// The session.
    pub session_id: SessionId,
    /// The refresh token that was presented. It must be the session's current one.
    pub parent: TokenId,
    /// The pair that replaces the session's pair as a whole. [`Session::payload`] stays as it is.
    pub child: Pair,
    /// The records of the child's tokens.
    pub tokens: Vec<TokenRecord>,
    /// The current time: when the parent is retired, and when the session was last used.
    pub now: Timestamp,
}

/// The result of a rotation, or of the confirmation of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Rotated {
    /// The child is the session's current pair.
    Committed,
    /// The session was refreshed, revoked or removed meanwhile. Look at it again.
    Lost,
}

/// The result of using a single-use token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Consumed {
    /// This call used it up.
    Accepted,
    /// It is unknown, of another kind, not what it claims to be, revoked, expired or already used.
    Refused,
}

/// What a revocation covered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Revoked {
    /// The access tokens covered that may still be accepted, with their expiry. A cache may hold
    /// these as active.
    ///
    /// Includes those that an earlier call revoked, so that a retry repeats what the first call may
    /// have left undone.
    pub access_tokens: Vec<(TokenId, Timestamp)>,
    /// How many sessions this call turned from active to revoked.
    pub sessions: u64,
    /// The revocation to [settle](TokenStore::settle) once the shared cache knows of the tokens.
    ///
    /// Set by a store that [revokes in steps](TokenStore::revokes_in_steps).
    pub unsettled: Option<Revocation>,
}

/// A revocation that a store has recorded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Revocation {
    /// Of one token.
    Token(TokenId),
    /// Of a session.
    Session(SessionId),
    /// Of all sessions of a user. Each has its own identifier, because the user may be revoked
    /// again while this one runs.
    User(Subject, Uuid),
}

impl Revocation {
    /// Returns the id that news of it name: the token's, the session's, or the user's tag.
    pub(crate) fn news_id(&self) -> Uuid {
        match self {
            Self::Token(id) => (*id).into(),
            Self::Session(id) => (*id).into(),
            Self::User(user, _) => user.tag(),
        }
    }
}

/// A revocation that broke off and was resumed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resumed {
    /// What it covers.
    pub revoked: Revoked,
    /// How long ago it was recorded.
    pub age: Duration,
}

/// What a purge removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Token records.
    pub tokens: u64,
    /// Sessions.
    pub sessions: u64,
    /// Reservations and one-time records.
    pub keys: u64,
}
