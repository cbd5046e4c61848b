//! The processes. Each is a call of the library and stands before its next read or write.

use crate::{
    laws::Permission,
    set::Set,
    state::{FIRST_SESSION, LONE_TOKEN, NEW_SESSION, PAIR_OF_SIGN_IN, State},
};

/// A call in progress, or how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Process {
    Check(Check),
    Refresh(Refresh),
    Revoke(Revoke),
    SignIn(SignIn),
    IssueSingleUse(IssueAt),
    Consume(Consume),
    CheckDenied(CheckDenied),
    Deny(Deny),
    Ended(Outcome),
}

/// The answer to the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    /// A token is good, or a single-use token was used up.
    Accepted,
    /// 401.
    Refused,
    /// 401 after the session was ended: the refresh token had been used before.
    RefusedAsReuse,
    /// A pair or a token is delivered.
    Delivered,
    /// 204: a revocation has returned success.
    Revoked,
    /// 503.
    Unavailable,
    /// Nothing: the process died.
    Crashed,
}

/// The check of an access token: `Trust::authenticate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Check {
    pub(crate) node: u8,
    /// The number of the pair.
    pub(crate) token: u8,
    pub(crate) at: CheckAt,
    /// Whether the laws permit acceptance, fixed when the check began.
    pub(crate) permission: Permission,
    /// The node has recorded a revocation of the token since the check began.
    pub(crate) revoked_meanwhile: bool,
}

/// The next step of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum CheckAt {
    /// Before the node's own cache.
    Begin,
    /// Before the `GET`.
    AskRedis,
    /// Before the read of the record. Holds the server process that answered the miss.
    ReadRecord(Option<u8>),
    /// Before the `SET NX`.
    Fill(u8),
    /// Before the entry in the node's own cache, and the answer.
    Conclude,
}

/// `Authority::refresh`, of the refresh token of `parent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Refresh {
    pub(crate) node: u8,
    pub(crate) parent: u8,
    /// The number of the pair that the refresh would issue.
    pub(crate) child: u8,
    pub(crate) at: RefreshAt,
    pub(crate) permission: Permission,
}

/// The next step of a refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum RefreshAt {
    /// Before its first read of the session.
    Begin,
    /// Before another read, after a lost race.
    Again,
    /// Before the child's records are inserted.
    InsertRecords,
    /// Before the conditional write on the session.
    Commit,
    /// Before the child's records are removed, after a lost race.
    RemoveRecords,
    /// Before the session is confirmed to hold this pair, for a retry.
    Confirm(u8),
    /// Before the session is revoked for reuse, if its current pair still is this one.
    RevokeForReuse(u8),
    /// Before this pair is delivered.
    Deliver(u8),
    /// Before this pair is marked as delivered. The caller has the pair, and nobody waits for the
    /// mark.
    MarkDelivered(u8),
}

/// The reason of a revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum RevocationCause {
    /// `Authority::revoke_session` of session 0.
    Session,
    /// `Authority::revoke_session` of session 1. Nobody knows it before its pair is delivered.
    NewSession,
    /// `Authority::revoke_token` of the refresh token of pair 0, which ends its session.
    RefreshToken,
    /// `Authority::revoke_token` of the access token of pair 0, which ends that token alone.
    AccessToken,
    /// `Authority::revoke_user`.
    User,
    /// A change of password from session 0, which spares that session. The new password is written
    /// first.
    Password,
    /// `Authority::set_user_disabled`.
    Disable,
    /// A retired refresh token was presented.
    Reuse,
    /// A refresh token of a revoked session was presented. The node that revoked the session may
    /// have died halfway.
    Finish,
    /// A node finishes a recorded revocation of session 0, whether or not that broke off.
    ResumeSession,
    /// A node finishes a recorded revocation of the user, from the fence that it raised.
    ResumeUser,
}

impl RevocationCause {
    /// Returns what this revocation may end. A session that is opened beside a revocation of all
    /// may come before it or after.
    pub(crate) const fn may_end(self) -> Set {
        match self {
            Self::Session | Self::RefreshToken => Set::of(FIRST_SESSION),
            Self::AccessToken => Set::of(LONE_TOKEN),
            Self::Password | Self::NewSession => Set::of(NEW_SESSION),
            Self::User | Self::Disable => Set::of(FIRST_SESSION).union(Set::of(NEW_SESSION)),
            // The step that decided on these has recorded what they may end.
            Self::Reuse | Self::Finish | Self::ResumeSession | Self::ResumeUser => Set::EMPTY,
        }
    }

    /// Returns the session that is revoked, where it is one session.
    pub(crate) const fn session(self) -> u8 {
        if matches!(self, Self::NewSession) { NEW_SESSION } else { FIRST_SESSION }
    }

    /// Returns the session that goes on while all others end.
    pub(crate) const fn spares(self) -> Set {
        if matches!(self, Self::Password) { Set::of(FIRST_SESSION) } else { Set::EMPTY }
    }

    /// Returns the step that a revocation for this cause begins with.
    pub(crate) const fn first_step(self) -> RevokeAt {
        match self {
            Self::RefreshToken | Self::AccessToken => RevokeAt::Token,
            Self::Password => RevokeAt::Password,
            // These are already committed.
            Self::Reuse | Self::ResumeSession => RevokeAt::Sweep,
            Self::ResumeUser => RevokeAt::MarkSessions,
            Self::Session | Self::NewSession | Self::User | Self::Disable | Self::Finish => RevokeAt::Commit,
        }
    }
}

/// A revocation, from its committing document to the node's own cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Revoke {
    pub(crate) node: u8,
    pub(crate) cause: RevocationCause,
    pub(crate) at: RevokeAt,
    /// What the revocation must end: the sessions that were open, or being opened, when it was
    /// called, or [`LONE_TOKEN`].
    pub(crate) covers: Set,
    /// The sessions whose tokens it sweeps.
    pub(crate) sweeps: Set,
    /// The epoch that it raised the fence to.
    pub(crate) epoch: u8,
    /// The number of times that its caller retries after an error.
    pub(crate) retries: u8,
}

/// The next step of a revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum RevokeAt {
    /// Before the new password.
    Password,
    /// Before the token's own record, if a token is revoked.
    Token,
    /// Before the committing document: the session, or the fence of a user.
    Commit,
    /// Before the user's sessions are marked.
    MarkSessions,
    /// Before the sessions of the user's tokens are listed.
    ListSessions,
    /// Before the sessions of the new epoch are listed.
    SpareNewSessions,
    /// Before the tokens are marked.
    Sweep,
    /// Before the access tokens are listed.
    ListAccessTokens,
    /// Before the tombstones of these tokens.
    PutTombstones(Set),
    /// Before the node's own cache, and the answer.
    Return,
}

/// `Authority::begin_sign_in` and `Authority::sign_in`, of session 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SignIn {
    pub(crate) at: SignInAt,
    /// The epoch that it read.
    pub(crate) epoch: u8,
}

/// The next step of a sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum SignInAt {
    /// Before the fence is read.
    Begin,
    /// Before the password is checked.
    Password,
    /// Before the session is inserted, as pending.
    Session,
    /// Before the tokens' records are inserted.
    Tokens,
    /// Before the conditional write on the fence.
    Fence,
    /// Before the session stops being pending.
    Open,
    /// Before the pair is delivered.
    Deliver,
    /// Before the session is removed.
    Undo,
    /// Before the tokens' records are removed.
    UndoTokens,
}

/// The next step of `Authority::issue_single_use`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum IssueAt {
    /// Before the token's record is inserted.
    InsertRecord,
    /// Before the conditional write on the session.
    Commit,
    /// Before the token is delivered.
    Deliver,
    /// Before the token's record is removed.
    RemoveRecord,
}

/// `Authority::spend`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Consume {
    pub(crate) at: ConsumeAt,
    pub(crate) permission: Permission,
}

/// The next step of the use of a single-use token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ConsumeAt {
    /// Before the conditional write on the token.
    Begin,
    /// Before the write of a call that read first. Not a step of the protocol.
    Set,
    /// Before the answer.
    Answer,
}

/// A check of another issuer's token: `TokenStore::denials`, and what follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CheckDenied {
    pub(crate) node: u8,
    /// When the token was issued.
    pub(crate) issued: u8,
    pub(crate) at: CheckDeniedAt,
    /// The token was denied before the check began.
    pub(crate) is_denied: bool,
}

/// The next step of a check of another issuer's token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum CheckDeniedAt {
    /// Before the `MGET`.
    Begin,
    /// Before the read of the denial. Holds the server process that answered the miss.
    Read(Option<u8>),
    /// Before the `SET NX` of what was read.
    Fill { miss: u8, denied: u8 },
}

/// `TokenStore::deny`: tokens that were issued until a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Deny {
    pub(crate) node: u8,
    pub(crate) until: u8,
    pub(crate) at: DenyAt,
}

/// The next step of a denial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum DenyAt {
    /// Before the write to the denial's document.
    Record,
    /// Before the server is asked that will take the entry.
    AskRedis,
    /// Before the read of the denial. Holds the server process that answered.
    Read(u8),
    /// Before the script that writes the entry.
    Put { miss: u8, denied: u8 },
}

impl Process {
    /// A check on `node` of another issuer's token that was issued at this time.
    pub(crate) const fn check_denied(node: u8, issued: u8) -> Self {
        Self::CheckDenied(CheckDenied { node, issued, at: CheckDeniedAt::Begin, is_denied: false })
    }

    /// A denial on `node` of tokens that were issued until this time.
    pub(crate) const fn deny(node: u8, until: u8) -> Self {
        Self::Deny(Deny { node, until, at: DenyAt::Record })
    }

    /// A check on `node` of the access token of pair `token`.
    pub(crate) const fn check(node: u8, token: u8) -> Self {
        Self::Check(Check {
            node,
            token,
            at: CheckAt::Begin,
            permission: Permission::Allowed,
            revoked_meanwhile: false,
        })
    }

    /// A refresh on `node` with the refresh token of `parent`, which may issue `child`.
    pub(crate) const fn refresh(node: u8, parent: u8, child: u8) -> Self {
        Self::Refresh(Refresh { node, parent, child, at: RefreshAt::Begin, permission: Permission::Allowed })
    }

    /// A revocation on `node`, retried up to `retries` times.
    pub(crate) const fn revoke(node: u8, cause: RevocationCause, retries: u8) -> Self {
        Self::Revoke(Revoke {
            node,
            cause,
            at: cause.first_step(),
            covers: Set::EMPTY,
            sweeps: Set::EMPTY,
            epoch: 0,
            retries,
        })
    }

    /// The rest of a revocation for reuse, after its session is marked.
    pub(crate) const fn reuse_revocation(node: u8) -> Self {
        let session = Set::of(FIRST_SESSION);
        let (cause, at) = (RevocationCause::Reuse, RevokeAt::Sweep);
        Self::Revoke(Revoke { node, cause, at, covers: session, sweeps: session, epoch: 0, retries: 0 })
    }

    /// A sign-in, which opens session 1.
    pub(crate) const fn sign_in() -> Self {
        Self::SignIn(SignIn { at: SignInAt::Begin, epoch: 0 })
    }

    /// A use of the single-use token.
    pub(crate) const fn consume() -> Self {
        Self::Consume(Consume { at: ConsumeAt::Begin, permission: Permission::Allowed })
    }

    /// Returns whether its next write removes records that nobody holds. If that write fails, the
    /// call goes on.
    pub(crate) fn only_cleans_up(self) -> bool {
        match self {
            Self::Refresh(refresh) => refresh.at == RefreshAt::RemoveRecords,
            Self::SignIn(sign_in) => matches!(sign_in.at, SignInAt::Undo | SignInAt::UndoTokens),
            Self::IssueSingleUse(at) => at == IssueAt::RemoveRecord,
            _ => false,
        }
    }

    /// Returns whether the driver may retry its next write.
    pub(crate) fn writes_one_document(self) -> bool {
        !matches!(self, Self::Revoke(Revoke { at: RevokeAt::MarkSessions | RevokeAt::Sweep, .. }))
    }

    /// Returns whether its caller can know the argument of the call.
    ///
    /// In the model a node finishes any revocation that is recorded. In the code it finishes those
    /// that have a mark, which are fewer.
    pub(crate) fn can_begin(self, state: &State) -> bool {
        let recorded = &state.mongo.primary;
        match self {
            Self::Revoke(Revoke { cause: RevocationCause::NewSession, .. }) => {
                state.history.delivered.contains(PAIR_OF_SIGN_IN)
            }
            Self::Revoke(Revoke { cause: RevocationCause::ResumeSession, .. }) => {
                recorded.sessions[usize::from(FIRST_SESSION)].is_some_and(|session| session.revoked)
            }
            Self::Revoke(Revoke { cause: RevocationCause::ResumeUser, .. }) => recorded.epoch > 0,
            _ => true,
        }
    }

    /// Returns whether it has made its first step and not its last.
    pub(crate) fn is_under_way(self) -> bool {
        match self {
            Self::Check(check) => check.at != CheckAt::Begin,
            Self::Refresh(refresh) => refresh.at != RefreshAt::Begin,
            // The refresh commits the revocation for reuse.
            Self::Revoke(revoke) => revoke.cause == RevocationCause::Reuse || revoke.at != revoke.cause.first_step(),
            Self::SignIn(sign_in) => sign_in.at != SignInAt::Begin,
            Self::IssueSingleUse(at) => at != IssueAt::InsertRecord,
            Self::Consume(consume) => consume.at != ConsumeAt::Begin,
            Self::CheckDenied(check) => check.at != CheckDeniedAt::Begin,
            Self::Deny(deny) => deny.at != DenyAt::Record,
            Self::Ended(_) => false,
        }
    }
}
