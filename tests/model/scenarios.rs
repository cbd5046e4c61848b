//! The scenarios: a few calls side by side, and what may go wrong meanwhile.

use crate::{
    process::{IssueAt, Process, RevocationCause},
    state::{Documents, FIRST_SESSION, PAIR_OF_SIGN_IN, Session},
};

/// What the surroundings of a scenario have or do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
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
    PasswordChange,
    /// Processes die.
    Crashes,
    /// The nodes have caches of their own.
    LocalCaches,
    /// The grace window may close. Otherwise it outlasts everything that happens.
    GraceEnds,
    /// The tokens of pair 0 expire.
    Expiry,
    /// The clock of node 1 is ahead: every denial is over there.
    ClockAhead,
    /// Nodes finish revocations that others began. There is one revocation of all, and no failover.
    Resumes,
}

/// The calls that run side by side, and their surroundings.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    /// The documents at the start.
    pub(crate) documents: Documents,
    /// The calls.
    pub(crate) processes: Vec<Process>,
    /// What the surroundings have or do.
    pub(crate) conditions: &'static [Condition],
    /// The greatest number of faults.
    pub(crate) faults: u8,
    /// What must happen on some path.
    pub(crate) sometimes: &'static [&'static str],
    /// The least number of states. Fails a scenario that shrank unnoticed.
    pub(crate) min_states: usize,
    /// The number of points at which processes must have died, counted by
    /// [`crash_point`](crate::protocol::crash_point).
    pub(crate) crash_points: u32,
}

impl Scenario {
    /// Returns a scenario of these calls in which nothing goes wrong.
    fn of(processes: impl IntoIterator<Item = Process>) -> Self {
        Self {
            documents: one_session(),
            processes: processes.into_iter().collect(),
            conditions: &[],
            faults: 0,
            sometimes: &[],
            min_states: 0,
            crash_points: 0,
        }
    }

    /// Returns whether this holds in the scenario.
    pub(crate) fn has(&self, condition: Condition) -> bool {
        self.conditions.contains(&condition)
    }
}

/// Returns the documents of session 0 with pair 0.
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
        conditions: &[Condition::RedisRestarts, Condition::RedisCutOff],
        faults: 2,
        sometimes: &[
            "a token is accepted",
            "a token is refused",
            "a revocation succeeds",
            "a call is unavailable",
            "tombstones are written late",
            "a fill comes after the revocation was recorded",
        ],
        min_states: 400_000,
        ..Scenario::of([
            Process::check(0, 0),
            Process::check(1, 0),
            Process::check(0, 0),
            Process::revoke(1, RevocationCause::Session, 1),
        ])
    }
}

/// Checks on both nodes while a session is revoked, with caches in the nodes.
pub(crate) fn local_caches() -> Scenario {
    Scenario {
        conditions: &[Condition::RedisCutOff, Condition::LocalCaches],
        faults: 1,
        sometimes: &["a token is accepted", "a token is refused", "a revocation succeeds"],
        min_states: 280_000,
        ..Scenario::of([
            Process::check(0, 0),
            Process::check(1, 0),
            Process::check(0, 0),
            Process::check(1, 0),
            Process::revoke(1, RevocationCause::Session, 0),
        ])
    }
}

/// Both caches and the store are away.
pub(crate) fn outage() -> Scenario {
    Scenario {
        conditions: &[Condition::RedisCutOff, Condition::StoreGone],
        faults: 2,
        sometimes: &["a token is accepted", "a revocation succeeds", "a call is unavailable"],
        min_states: 77_000,
        ..Scenario::of([
            Process::check(1, 0),
            Process::refresh(0, 0, 1),
            Process::revoke(0, RevocationCause::Session, 1),
        ])
    }
}

/// The node that revokes everything dies halfway, and another finishes beside a sign-in.
pub(crate) fn resumed_revoke_all() -> Scenario {
    Scenario {
        conditions: &[Condition::Crashes, Condition::RedisCutOff, Condition::Resumes],
        faults: 1,
        sometimes: &[
            "a revocation is finished by another node",
            "a pair is delivered and later revoked",
            "a token is accepted",
            "a token is refused",
        ],
        crash_points: 14,
        min_states: 600_000,
        ..Scenario::of([
            Process::revoke(0, RevocationCause::User, 0),
            Process::revoke(1, RevocationCause::ResumeUser, 0),
            Process::sign_in(),
            Process::check(1, 0),
            Process::check(0, PAIR_OF_SIGN_IN),
        ])
    }
}

/// The node that ends a session dies halfway, and another finishes beside a refresh.
pub(crate) fn resumed_revoke_session() -> Scenario {
    Scenario {
        conditions: &[Condition::Crashes, Condition::RedisCutOff, Condition::Resumes],
        faults: 1,
        sometimes: &["a revocation is finished by another node", "a token is accepted", "a token is refused"],
        crash_points: 10,
        min_states: 250_000,
        ..Scenario::of([
            Process::revoke(0, RevocationCause::Session, 0),
            Process::revoke(1, RevocationCause::ResumeSession, 0),
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
        conditions: &[Condition::Crashes, Condition::GraceEnds],
        sometimes: &[
            "a pair is delivered and later revoked",
            "two calls get the same pair",
            "a reuse revokes its session",
            "a revocation succeeds",
            "a refresh is committed while a revocation is under way",
        ],
        crash_points: 16,
        min_states: 18_000,
        ..Scenario::of([
            Process::refresh(0, 0, 1),
            Process::refresh(1, 0, 2),
            Process::check(1, 1),
            Process::revoke(1, RevocationCause::Session, 0),
        ])
    }
}

/// A refresh and a refresh of its child while the first refresh token is revoked as in RFC 7009,
/// and processes die.
pub(crate) fn refresh_and_revoke_token() -> Scenario {
    Scenario {
        conditions: &[Condition::Crashes, Condition::RedisCutOff],
        faults: 1,
        sometimes: &[
            "a pair is delivered and later revoked",
            "a revocation succeeds",
            "a refresh is committed while a revocation is under way",
        ],
        min_states: 55_000,
        crash_points: 11,
        ..Scenario::of([
            Process::refresh(0, 0, 1),
            Process::refresh(1, 1, 2),
            Process::check(1, 1),
            Process::revoke(0, RevocationCause::RefreshToken, 1),
        ])
    }
}

/// A refresh and its retry while the refresh token is revoked and processes die. A process may die
/// between the revocation of the record and of the session.
pub(crate) fn retry_and_revoke_token() -> Scenario {
    Scenario {
        conditions: &[Condition::Crashes, Condition::GraceEnds],
        sometimes: &["two calls get the same pair", "a reuse revokes its session", "a revocation succeeds"],
        min_states: 10_000,
        crash_points: 17,
        ..Scenario::of([
            Process::refresh(0, 0, 1),
            Process::refresh(1, 0, 2),
            Process::revoke(0, RevocationCause::RefreshToken, 0),
        ])
    }
}

/// A refresh, and then two with its child, while processes die and the window closes.
pub(crate) fn retry_after_the_window() -> Scenario {
    Scenario {
        conditions: &[Condition::Crashes, Condition::GraceEnds],
        sometimes: &["two calls get the same pair", "a reuse revokes its session"],
        min_states: 1_100,
        crash_points: 12,
        ..Scenario::of([Process::refresh(0, 0, 1), Process::refresh(1, 1, 2), Process::refresh(0, 1, 3)])
    }
}

/// Two refreshes with one token and one with its child, with failovers of MongoDB.
pub(crate) fn refresh_and_fail_over() -> Scenario {
    Scenario {
        conditions: &[Condition::Failovers, Condition::GraceEnds],
        faults: 1,
        sometimes: &["two calls get the same pair", "a call is unavailable"],
        min_states: 450_000,
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
        conditions: &[Condition::DeposedAnswers, Condition::GraceEnds],
        faults: 1,
        sometimes: &["two calls get the same pair", "a token is refused", "a reuse revokes its session"],
        min_states: 135_000,
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
        conditions: &[Condition::DeposedAlone],
        faults: 1,
        sometimes: &[
            "a pair is delivered and later revoked",
            "a token is accepted",
            "a token is refused",
            "a revocation succeeds",
            "a call is unavailable",
        ],
        min_states: 59_000,
        ..Scenario::of([
            Process::sign_in(),
            Process::check(0, PAIR_OF_SIGN_IN),
            Process::check(0, PAIR_OF_SIGN_IN),
            Process::revoke(1, RevocationCause::NewSession, 2),
            Process::revoke(1, RevocationCause::User, 0),
        ])
    }
}

/// A sign-in and a refresh while all sessions of the user are revoked and processes die.
pub(crate) fn sign_in_and_revoke_all() -> Scenario {
    Scenario {
        conditions: &[Condition::Crashes],
        sometimes: &[
            "a pair is delivered and later revoked",
            "a token is accepted",
            "a token is refused",
            "a revocation succeeds",
        ],
        crash_points: 24,
        min_states: 27_000,
        ..Scenario::of([
            Process::sign_in(),
            Process::refresh(0, 0, 1),
            Process::revoke(1, RevocationCause::User, 0),
            Process::check(0, PAIR_OF_SIGN_IN),
            Process::check(1, 1),
        ])
    }
}

/// A sign-in while two revocations of all run and MongoDB fails over. The second revocation
/// disables the user.
pub(crate) fn sign_in_and_fail_over() -> Scenario {
    Scenario {
        conditions: &[Condition::Failovers],
        faults: 1,
        sometimes: &["a revocation succeeds", "a token is refused", "a call is unavailable"],
        min_states: 160_000,
        ..Scenario::of([
            Process::sign_in(),
            Process::revoke(1, RevocationCause::User, 0),
            Process::revoke(0, RevocationCause::User, 0),
            Process::check(0, PAIR_OF_SIGN_IN),
        ])
    }
}

/// A user is disabled while a sign-in runs.
pub(crate) fn sign_in_and_disable() -> Scenario {
    Scenario {
        conditions: &[Condition::Crashes],
        sometimes: &["a token is accepted", "a token is refused", "a revocation succeeds"],
        crash_points: 14,
        min_states: 14_000,
        ..Scenario::of([
            Process::sign_in(),
            Process::revoke(1, RevocationCause::Disable, 0),
            Process::revoke(0, RevocationCause::User, 0),
            Process::check(0, PAIR_OF_SIGN_IN),
        ])
    }
}

/// A sign-in, and a refresh of the session that changes the password meanwhile, while processes
/// die.
pub(crate) fn password_change() -> Scenario {
    Scenario {
        conditions: &[Condition::PasswordChange, Condition::Crashes],
        sometimes: &[
            "a pair is delivered and later revoked",
            "a token is accepted",
            "a token is refused",
            "a revocation succeeds",
        ],
        crash_points: 20,
        min_states: 12_900,
        ..Scenario::of([
            Process::sign_in(),
            Process::refresh(0, 0, 1),
            Process::revoke(1, RevocationCause::Password, 0),
            Process::check(0, PAIR_OF_SIGN_IN),
            Process::check(1, 1),
        ])
    }
}

/// Checks and a refresh while one access token is revoked, and Redis fails.
pub(crate) fn revoke_access_token() -> Scenario {
    Scenario {
        conditions: &[Condition::RedisRestarts, Condition::RedisCutOff],
        faults: 1,
        sometimes: &[
            "a token is accepted",
            "a token is refused",
            "a revocation succeeds",
            "a fill comes after the revocation was recorded",
        ],
        min_states: 115_000,
        ..Scenario::of([
            Process::check(0, 0),
            Process::check(1, 0),
            Process::refresh(0, 0, 1),
            Process::check(1, 1),
            Process::revoke(1, RevocationCause::AccessToken, 1),
        ])
    }
}

/// A single-use token is issued and used by two calls while its session is revoked and MongoDB
/// fails over.
pub(crate) fn consume() -> Scenario {
    Scenario {
        conditions: &[Condition::Failovers, Condition::Crashes],
        faults: 2,
        sometimes: &["a token is accepted", "a token is refused", "a revocation succeeds", "a call is unavailable"],
        crash_points: 8,
        min_states: 2_800,
        ..Scenario::of([
            Process::IssueSingleUse(IssueAt::InsertRecord),
            Process::consume(),
            Process::consume(),
            Process::revoke(1, RevocationCause::Session, 0),
        ])
    }
}

/// Two denials of one subject beside checks of its tokens, and Redis fails.
pub(crate) fn deny_and_check() -> Scenario {
    Scenario {
        conditions: &[Condition::RedisRestarts, Condition::RedisCutOff],
        faults: 2,
        sometimes: &[
            "a token is accepted",
            "a token is refused",
            "a revocation succeeds",
            "a call is unavailable",
            "a fill comes after the denial was recorded",
            "a denial reaches Redis late",
        ],
        min_states: 430_000,
        ..Scenario::of([
            Process::deny(0, 1),
            Process::deny(1, 2),
            Process::check_denied(0, 2),
            Process::check_denied(1, 2),
        ])
    }
}

/// Two denials and a check while processes die, and MongoDB fails over or is away.
pub(crate) fn deny_and_fail_over() -> Scenario {
    Scenario {
        conditions: &[Condition::Failovers, Condition::StoreGone, Condition::Crashes],
        faults: 2,
        sometimes: &["a token is accepted", "a token is refused", "a revocation succeeds", "a call is unavailable"],
        min_states: 65_000,
        crash_points: 3,
        ..Scenario::of([
            Process::deny(0, 1),
            Process::deny(1, 2),
            Process::check_denied(0, 1),
            Process::check_denied(1, 2),
        ])
    }
}

/// A denial that is over by the clock of one node, which checks a token that was never denied.
pub(crate) fn deny_with_a_clock_ahead() -> Scenario {
    Scenario {
        conditions: &[Condition::ClockAhead, Condition::RedisRestarts],
        faults: 1,
        sometimes: &["a token is accepted", "a token is refused", "a revocation succeeds"],
        min_states: 26_000,
        ..Scenario::of([
            Process::deny(0, 1),
            Process::check_denied(1, 2),
            Process::check_denied(0, 1),
            Process::check_denied(0, 2),
        ])
    }
}

/// The tokens expire and are removed while they are checked, refreshed and revoked.
pub(crate) fn expiry() -> Scenario {
    Scenario {
        conditions: &[Condition::Expiry],
        sometimes: &["a token is accepted", "a token is refused", "a revocation succeeds"],
        min_states: 40_000,
        ..Scenario::of([
            Process::check(0, 0),
            Process::check(1, 0),
            Process::refresh(0, 0, 1),
            Process::revoke(1, RevocationCause::Session, 0),
        ])
    }
}

/// Many calls at once, for a machine that has the time. No other scenario is part of it: each has a
/// call or a fault that is missing here.
pub(crate) fn everything() -> Scenario {
    Scenario {
        conditions: &[Condition::RedisRestarts, Condition::Failovers, Condition::Crashes, Condition::GraceEnds],
        faults: 2,
        sometimes: &[
            "a token is accepted",
            "a token is refused",
            "a revocation succeeds",
            "a reuse revokes its session",
        ],
        min_states: 3_600_000,
        crash_points: 23,
        ..Scenario::of([
            Process::check(1, 1),
            Process::refresh(0, 0, 1),
            Process::refresh(1, 0, 2),
            Process::revoke(1, RevocationCause::User, 1),
        ])
    }
}
