//! The scenarios: a few calls side by side, and what may go wrong meanwhile.

use crate::{
    process::{Cause, IssueAt, Process},
    state::{Documents, FIRST_SESSION, PAIR_OF_SIGN_IN, Session},
};

/// What the surroundings of a scenario have or do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum With {
    /// A fault: Redis restarts, empty or from a snapshot.
    RedisRestarts,
    /// A fault: a node cannot reach Redis for a while.
    RedisCutOff,
    /// A fault: no node can reach MongoDB for a while.
    StoreGone,
    /// A fault: the primary is lost.
    Failovers,
    /// A fault: the primary is replaced, and answers the reads of node 1 until it notices.
    DeposedAnswers,
    /// A fault: the primary is replaced, and node 1 reaches no other member, so its writes go
    /// there, too.
    DeposedAlone,
    /// The user's password is changed, so sign-ins check it.
    ChangeOfPassword,
    /// Processes die.
    Crashes,
    /// The nodes have caches of their own.
    LocalCaches,
    /// The grace window may close. Otherwise it outlasts everything that happens.
    GraceEnds,
    /// The tokens of pair 0 expire.
    Expiry,
    /// Nodes finish revocations that others began. There is one revocation of all, and no failover.
    Resumes,
}

/// The calls that run side by side, and their surroundings.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) documents: Documents,
    pub(crate) processes: Vec<Process>,
    pub(crate) with: &'static [With],
    /// The greatest number of faults.
    pub(crate) faults: u8,
    /// What must happen on some path.
    pub(crate) sometimes: &'static [&'static str],
    /// The least number of states. Fails a scenario that shrank unnoticed.
    pub(crate) at_least: usize,
    /// The number of points at which processes must have died, counted by
    /// [`crash_point`](crate::protocol::crash_point).
    pub(crate) crash_points: u32,
}

impl Scenario {
    fn of(processes: impl IntoIterator<Item = Process>) -> Self {
        Self {
            documents: one_session(),
            processes: processes.into_iter().collect(),
            with: &[],
            faults: 0,
            sometimes: &[],
            at_least: 0,
            crash_points: 0,
        }
    }

    pub(crate) fn has(&self, with: With) -> bool {
        self.with.contains(&with)
    }
}

/// Session 0 with pair 0.
fn one_session() -> Documents {
    let mut documents = Documents::default();
    let session = Session { epoch: 0, revoked: false, pending: false, current: 0, previous: None };
    *documents.session(FIRST_SESSION) = Some(session);
    documents.insert_pair(0);
    documents
}

/// Checks on both nodes while a session is revoked, and Redis fails.
pub(crate) fn check_and_revoke() -> Scenario {
    Scenario {
        with: &[With::RedisRestarts, With::RedisCutOff],
        faults: 2,
        sometimes: &[
            "a token is accepted",
            "a token is refused",
            "a revocation succeeds",
            "a call is unavailable",
            "tombstones are written late",
            "a fill comes after the revocation was recorded",
        ],
        at_least: 400_000,
        ..Scenario::of([
            Process::check(0, 0),
            Process::check(1, 0),
            Process::check(0, 0),
            Process::revoke(1, Cause::Session, 1),
        ])
    }
}

/// Checks on both nodes while a session is revoked, with caches in the nodes.
pub(crate) fn local_caches() -> Scenario {
    Scenario {
        with: &[With::RedisCutOff, With::LocalCaches],
        faults: 1,
        sometimes: &["a token is accepted", "a token is refused", "a revocation succeeds"],
        at_least: 280_000,
        ..Scenario::of([
            Process::check(0, 0),
            Process::check(1, 0),
            Process::check(0, 0),
            Process::check(1, 0),
            Process::revoke(1, Cause::Session, 0),
        ])
    }
}

/// Both caches and the store are away.
pub(crate) fn outage() -> Scenario {
    Scenario {
        with: &[With::RedisCutOff, With::StoreGone],
        faults: 2,
        sometimes: &["a token is accepted", "a revocation succeeds", "a call is unavailable"],
        at_least: 77_000,
        ..Scenario::of([Process::check(1, 0), Process::refresh(0, 0, 1), Process::revoke(0, Cause::Session, 1)])
    }
}

/// The node that revokes everything dies halfway, and another finishes beside a sign-in.
pub(crate) fn resumed_revoke_all() -> Scenario {
    Scenario {
        with: &[With::Crashes, With::RedisCutOff, With::Resumes],
        faults: 1,
        sometimes: &[
            "a revocation is finished by another node",
            "a pair is handed out and later revoked",
            "a token is accepted",
            "a token is refused",
        ],
        crash_points: 14,
        at_least: 600_000,
        ..Scenario::of([
            Process::revoke(0, Cause::User, 0),
            Process::revoke(1, Cause::ResumeUser, 0),
            Process::sign_in(),
            Process::check(1, 0),
            Process::check(0, PAIR_OF_SIGN_IN),
        ])
    }
}

/// The node that ends a session dies halfway, and another finishes beside a refresh.
pub(crate) fn resumed_session() -> Scenario {
    Scenario {
        with: &[With::Crashes, With::RedisCutOff, With::Resumes],
        faults: 1,
        sometimes: &["a revocation is finished by another node", "a token is accepted", "a token is refused"],
        crash_points: 10,
        at_least: 250_000,
        ..Scenario::of([
            Process::revoke(0, Cause::Session, 0),
            Process::revoke(1, Cause::ResumeSession, 0),
            Process::refresh(1, 0, 1),
            Process::check(1, 0),
            Process::check(0, 1),
        ])
    }
}

/// Two refreshes with one token and one with its child, while the session is revoked and processes
/// die.
pub(crate) fn refresh_and_revoke() -> Scenario {
    Scenario {
        with: &[With::Crashes, With::GraceEnds],
        sometimes: &[
            "a pair is handed out and later revoked",
            "two calls get the same pair",
            "a reuse is punished",
            "a revocation succeeds",
            "a refresh is committed while a revocation is under way",
        ],
        crash_points: 16,
        at_least: 18_000,
        ..Scenario::of([
            Process::refresh(0, 0, 1),
            Process::refresh(1, 0, 2),
            Process::check(1, 1),
            Process::revoke(1, Cause::Session, 0),
        ])
    }
}

/// A refresh and a refresh of its child while the first refresh token is revoked as in RFC 7009,
/// and processes die.
pub(crate) fn refresh_and_revoke_token() -> Scenario {
    Scenario {
        with: &[With::Crashes, With::RedisCutOff],
        faults: 1,
        sometimes: &[
            "a pair is handed out and later revoked",
            "a revocation succeeds",
            "a refresh is committed while a revocation is under way",
        ],
        at_least: 55_000,
        crash_points: 11,
        ..Scenario::of([
            Process::refresh(0, 0, 1),
            Process::refresh(1, 1, 2),
            Process::check(1, 1),
            Process::revoke(0, Cause::RefreshToken, 1),
        ])
    }
}

/// A refresh and its retry while the refresh token is revoked and processes die. A process may die
/// between the revocation of the record and of the session.
pub(crate) fn retry_and_revoke_token() -> Scenario {
    Scenario {
        with: &[With::Crashes, With::GraceEnds],
        sometimes: &["two calls get the same pair", "a reuse is punished", "a revocation succeeds"],
        at_least: 10_000,
        crash_points: 17,
        ..Scenario::of([
            Process::refresh(0, 0, 1),
            Process::refresh(1, 0, 2),
            Process::revoke(0, Cause::RefreshToken, 0),
        ])
    }
}

/// A refresh, and then two with its child, while processes die and the window closes.
pub(crate) fn retry_after_the_window() -> Scenario {
    Scenario {
        with: &[With::Crashes, With::GraceEnds],
        sometimes: &["two calls get the same pair", "a reuse is punished"],
        at_least: 1_100,
        crash_points: 12,
        ..Scenario::of([Process::refresh(0, 0, 1), Process::refresh(1, 1, 2), Process::refresh(0, 1, 3)])
    }
}

/// Two refreshes with one token and one with its child, with failovers of MongoDB.
pub(crate) fn refresh_and_fail_over() -> Scenario {
    Scenario {
        with: &[With::Failovers, With::GraceEnds],
        faults: 1,
        sometimes: &["two calls get the same pair", "a call is unavailable"],
        at_least: 450_000,
        ..Scenario::of([
            Process::refresh(0, 0, 1),
            Process::refresh(1, 0, 2),
            Process::refresh(0, 0, 3),
            Process::refresh(1, 1, 4),
        ])
    }
}

/// A refresh, its retry and a refresh of its child, while one node reads from a deposed primary.
pub(crate) fn refresh_beside_a_deposed_primary() -> Scenario {
    Scenario {
        with: &[With::DeposedAnswers, With::GraceEnds],
        faults: 1,
        sometimes: &["two calls get the same pair", "a token is refused", "a reuse is punished"],
        at_least: 135_000,
        ..Scenario::of([
            Process::refresh(0, 0, 1),
            Process::refresh(1, 0, 2),
            Process::refresh(1, 1, 3),
            Process::refresh(0, 1, 4),
        ])
    }
}

/// A session is opened through one node and revoked through another, which reaches only a deposed
/// primary.
pub(crate) fn revoke_at_a_deposed_primary() -> Scenario {
    Scenario {
        with: &[With::DeposedAlone],
        faults: 1,
        sometimes: &[
            "a pair is handed out and later revoked",
            "a token is accepted",
            "a token is refused",
            "a revocation succeeds",
            "a call is unavailable",
        ],
        at_least: 59_000,
        ..Scenario::of([
            Process::sign_in(),
            Process::check(0, PAIR_OF_SIGN_IN),
            Process::check(0, PAIR_OF_SIGN_IN),
            Process::revoke(1, Cause::NewSession, 2),
            Process::revoke(1, Cause::User, 0),
        ])
    }
}

/// A sign-in and a refresh while all sessions of the user are revoked and processes die.
pub(crate) fn sign_in_and_revoke_all() -> Scenario {
    Scenario {
        with: &[With::Crashes],
        sometimes: &[
            "a pair is handed out and later revoked",
            "a token is accepted",
            "a token is refused",
            "a revocation succeeds",
        ],
        crash_points: 24,
        at_least: 27_000,
        ..Scenario::of([
            Process::sign_in(),
            Process::refresh(0, 0, 1),
            Process::revoke(1, Cause::User, 0),
            Process::check(0, PAIR_OF_SIGN_IN),
            Process::check(1, 1),
        ])
    }
}

/// A sign-in while two revocations of all run and MongoDB fails over. The second revocation
/// disables the user.
pub(crate) fn sign_in_and_fail_over() -> Scenario {
    Scenario {
        with: &[With::Failovers],
        faults: 1,
        sometimes: &["a revocation succeeds", "a token is refused", "a call is unavailable"],
        at_least: 160_000,
        ..Scenario::of([
            Process::sign_in(),
            Process::revoke(1, Cause::User, 0),
            Process::revoke(0, Cause::User, 0),
            Process::check(0, PAIR_OF_SIGN_IN),
        ])
    }
}

/// A user is disabled while a sign-in runs.
pub(crate) fn sign_in_and_disable() -> Scenario {
    Scenario {
        with: &[With::Crashes],
        sometimes: &["a token is accepted", "a token is refused", "a revocation succeeds"],
        crash_points: 14,
        at_least: 14_000,
        ..Scenario::of([
            Process::sign_in(),
            Process::revoke(1, Cause::Disable, 0),
            Process::revoke(0, Cause::User, 0),
            Process::check(0, PAIR_OF_SIGN_IN),
        ])
    }
}

/// A sign-in, and a refresh of the session that changes the password meanwhile, while processes
/// die.
pub(crate) fn change_of_password() -> Scenario {
    Scenario {
        with: &[With::ChangeOfPassword, With::Crashes],
        sometimes: &[
            "a pair is handed out and later revoked",
            "a token is accepted",
            "a token is refused",
            "a revocation succeeds",
        ],
        crash_points: 20,
        at_least: 12_900,
        ..Scenario::of([
            Process::sign_in(),
            Process::refresh(0, 0, 1),
            Process::revoke(1, Cause::Password, 0),
            Process::check(0, PAIR_OF_SIGN_IN),
            Process::check(1, 1),
        ])
    }
}

/// Checks and a refresh while one access token is revoked, and Redis fails.
pub(crate) fn revoke_access_token() -> Scenario {
    Scenario {
        with: &[With::RedisRestarts, With::RedisCutOff],
        faults: 1,
        sometimes: &[
            "a token is accepted",
            "a token is refused",
            "a revocation succeeds",
            "a fill comes after the revocation was recorded",
        ],
        at_least: 115_000,
        ..Scenario::of([
            Process::check(0, 0),
            Process::check(1, 0),
            Process::refresh(0, 0, 1),
            Process::check(1, 1),
            Process::revoke(1, Cause::AccessToken, 1),
        ])
    }
}

/// A single-use token is issued and used by two calls while its session is revoked and MongoDB
/// fails over.
pub(crate) fn consume() -> Scenario {
    Scenario {
        with: &[With::Failovers, With::Crashes],
        faults: 2,
        sometimes: &["a token is accepted", "a token is refused", "a revocation succeeds", "a call is unavailable"],
        crash_points: 8,
        at_least: 2_800,
        ..Scenario::of([
            Process::IssueSingleUse(IssueAt::Record),
            Process::consume(),
            Process::consume(),
            Process::revoke(1, Cause::Session, 0),
        ])
    }
}

/// The tokens expire and are removed while they are checked, refreshed and revoked.
pub(crate) fn expiry() -> Scenario {
    Scenario {
        with: &[With::Expiry],
        sometimes: &["a token is accepted", "a token is refused", "a revocation succeeds"],
        at_least: 40_000,
        ..Scenario::of([
            Process::check(0, 0),
            Process::check(1, 0),
            Process::refresh(0, 0, 1),
            Process::revoke(1, Cause::Session, 0),
        ])
    }
}

/// Many calls at once, for a machine that has the time. No other scenario is part of it: each has a
/// call or a fault that is missing here.
pub(crate) fn everything() -> Scenario {
    Scenario {
        with: &[With::RedisRestarts, With::Failovers, With::Crashes, With::GraceEnds],
        faults: 2,
        sometimes: &["a token is accepted", "a token is refused", "a revocation succeeds", "a reuse is punished"],
        at_least: 3_600_000,
        crash_points: 23,
        ..Scenario::of([
            Process::check(1, 1),
            Process::refresh(0, 0, 1),
            Process::refresh(1, 0, 2),
            Process::revoke(1, Cause::User, 1),
        ])
    }
}
