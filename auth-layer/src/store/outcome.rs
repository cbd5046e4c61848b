//! What operations are given and what they answer.

use std::time::Duration;

use uuid::Uuid;

use super::{Pair, TokenRecord};
#[cfg(doc)]
use super::{Session, TokenStore};
use crate::{
    clock::Timestamp,
    id::{SessionId, Subject, TokenId},
};

/// What a sign-in must pass: read before the credentials are checked, presented when the session is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserFence {
    /// How often all of the user's sessions were revoked.
    pub epoch: u64,
    /// Whether the user is refused sign-in.
    pub disabled: bool,
}

/// Whether something was let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Admission {
    /// It was recorded.
    Admitted,
    /// A revocation came first: nothing that anyone holds was recorded.
    Fenced,
}

/// A request to replace a session's pair.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// The session.
    pub session_id: SessionId,
    /// The refresh token that was presented; it must be the session's current one.
    pub parent: TokenId,
    /// What replaces the session's pair as a whole. [`Session::payload`] stays as it is.
    pub child: Pair,
    /// The records of the child's tokens.
    pub tokens: Vec<TokenRecord>,
    /// The time now: when the parent is retired, and when the session was last used.
    pub now: Timestamp,
}

/// How a rotation, or the confirmation of one, ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Rotated {
    /// The child is the session's current pair.
    Committed,
    /// The session has moved on, is revoked or is gone; look at it again.
    Lost,
}

/// How the use of a single-use token ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Consumed {
    /// This call used it up.
    Accepted,
    /// It is unknown, of another kind, not what it says, revoked, expired or was used before.
    Refused,
}

/// What a revocation covered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Revoked {
    /// The access tokens that it covers and that may still be accepted, with their expiry: what a cache may hold as active. It
    /// names those that an earlier call revoked, too, so that a retry repeats all that the first try may have left undone.
    pub access_tokens: Vec<(TokenId, Timestamp)>,
    /// How many sessions this call turned from active to revoked.
    pub sessions: u64,
    /// Set by a store that [revokes in steps](TokenStore::revokes_in_steps): what to
    /// [settle](TokenStore::settle) once the shared cache knows of the tokens.
    pub unsettled: Option<Revocation>,
}

/// A revocation that a store has recorded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Revocation {
    /// Of a token alone.
    Token(TokenId),
    /// Of a session.
    Session(SessionId),
    /// Of all that a user has. A user may be revoked again while this goes on, so each has an
    /// identifier of its own.
    User(Subject, Uuid),
}

/// A revocation that broke off and was taken up again.
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
}
