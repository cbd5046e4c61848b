//! The scenarios: a handful of calls beside each other, and what may go wrong meanwhile.

use crate::{
    process::{Cause, IssueAt, Process},
    state::{Age, Documents, FIRST_SESSION, PAIR_OF_SIGN_IN, Record, Session},
};

/// What may go wrong.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct May {
    pub(crate) restart_redis: bool,
    pub(crate) cut_off_redis: bool,
    pub(crate) lose_store: bool,
    pub(crate) fail_over: bool,
}

/// What runs beside each other, and in which surroundings.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) documents: Documents,
    pub(crate) age: Age,
    pub(crate) processes: Vec<Process>,
    /// How many faults there are at most, of those that there may be.
    pub(crate) faults: u8,
    pub(crate) may: May,
    /// Processes die.
    pub(crate) crashes: bool,
    /// The nodes have caches of their own.
    pub(crate) local_cache: bool,
    /// The grace window closes some time. Otherwise it is longer than all that happens.
    pub(crate) grace_ends: bool,
    /// The tokens of pair 0 expire.
    pub(crate) ages: bool,
    /// What must happen on some path.
    pub(crate) sometimes: &'static [&'static str],
    /// The least number of states, so that a scenario that shrinks unnoticed is noticed.
    pub(crate) at_least: usize,
    /// At how many points processes must have died.
    pub(crate) crash_points: u32,
}

impl Scenario {
    fn of(processes: impl IntoIterator<Item = Process>) -> Self {
        Self {
            documents: one_session(),
            age: Age::Fresh,
            processes: processes.into_iter().collect(),
            faults: 0,
            may: May::default(),
            crashes: false,
            local_cache: false,
            grace_ends: false,
            ages: false,
            sometimes: &[],
            at_least: 0,
            crash_points: 0,
        }
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
        faults: 2,
        may: May { restart_redis: true, cut_off_redis: true, ..May::default() },
        sometimes: &[
            "a token is accepted",
            "a token is refused",
            "a revocation succeeds",
            "a call is unavailable",
            "tombstones are written late",
        ],
        ..Scenario::of([
            Process::check(0, 0),
            Process::check(1, 0),
            Process::check(0, 0),
            Process::revoke(1, Cause::Session, 1),
        ])
    }
}

/// The same with caches in the nodes.
pub(crate) fn local_caches() -> Scenario {
    Scenario {
        local_cache: true,
        faults: 1,
        may: May { cut_off_redis: true, ..May::default() },
        sometimes: &["a token is accepted", "a token is refused", "a revocation succeeds"],
        ..Scenario::of([
            Process::check(0, 0),
            Process::check(1, 0),
            Process::check(0, 0),
            Process::check(1, 0),
            Process::revoke(1, Cause::Session, 0),
        ])
    }
}

/// Both caches and the store go away.
pub(crate) fn outage() -> Scenario {
    Scenario {
        faults: 2,
        may: May { cut_off_redis: true, lose_store: true, ..May::default() },
        sometimes: &["a token is accepted", "a revocation succeeds", "a call is unavailable"],
        ..Scenario::of([
            Process::check(0, 0),
            Process::check(1, 0),
            Process::refresh(0, 0, 1),
            Process::revoke(0, Cause::Session, 1),
        ])
    }
}

/// Two refreshes with one token and one with its child, while the session is revoked and processes die.
pub(crate) fn refresh_and_revoke() -> Scenario {
    Scenario {
        crashes: true,
        grace_ends: true,
        sometimes: &[
            "a pair is handed out and later revoked",
            "two calls get the same pair",
            "a reuse is punished",
            "a revocation succeeds",
        ],
        crash_points: 8,
        ..Scenario::of([
            Process::refresh(0, 0, 1),
            Process::refresh(1, 0, 2),
            Process::check(1, 1),
            Process::revoke(1, Cause::Session, 0),
        ])
    }
}

/// The same token twice and then its child, with failovers of MongoDB.
pub(crate) fn refresh_and_fail_over() -> Scenario {
    Scenario {
        faults: 1,
        may: May { fail_over: true, ..May::default() },
        sometimes: &["two calls get the same pair", "a call is unavailable"],
        ..Scenario::of([
            Process::refresh(0, 0, 1),
            Process::refresh(1, 0, 2),
            Process::refresh(0, 0, 3),
            Process::refresh(1, 1, 4),
        ])
    }
}

/// A sign-in and a refresh while all that the user has is revoked, and processes die.
pub(crate) fn sign_in_and_revoke_all() -> Scenario {
    Scenario {
        crashes: true,
        sometimes: &[
            "a pair is handed out and later revoked",
            "a token is accepted",
            "a token is refused",
            "a revocation succeeds",
        ],
        crash_points: 15,
        ..Scenario::of([
            Process::sign_in(),
            Process::refresh(0, 0, 1),
            Process::revoke(1, Cause::User, 0),
            Process::check(0, PAIR_OF_SIGN_IN),
            Process::check(1, 1),
        ])
    }
}

/// A sign-in while two revocations of all run, the second of which disables the user, and MongoDB fails over.
pub(crate) fn sign_in_and_fail_over() -> Scenario {
    Scenario {
        faults: 1,
        may: May { fail_over: true, ..May::default() },
        sometimes: &["a revocation succeeds", "a token is refused", "a call is unavailable"],
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
        crashes: true,
        sometimes: &["a token is accepted", "a token is refused", "a revocation succeeds"],
        crash_points: 10,
        ..Scenario::of([
            Process::sign_in(),
            Process::revoke(1, Cause::Disable, 0),
            Process::revoke(0, Cause::User, 0),
            Process::check(0, PAIR_OF_SIGN_IN),
        ])
    }
}

/// A single-use token is issued and used up by two calls while its session is revoked, and MongoDB fails over.
pub(crate) fn consume() -> Scenario {
    Scenario {
        faults: 2,
        may: May { fail_over: true, ..May::default() },
        crashes: true,
        sometimes: &["a token is accepted", "a token is refused", "a revocation succeeds", "a call is unavailable"],
        crash_points: 6,
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
        ages: true,
        sometimes: &["a token is accepted", "a token is refused", "a revocation succeeds"],
        ..Scenario::of([
            Process::check(0, 0),
            Process::check(1, 0),
            Process::refresh(0, 0, 1),
            Process::revoke(1, Cause::Session, 0),
        ])
    }
}

/// Much at once; for a machine that has the time.
pub(crate) fn everything() -> Scenario {
    let mut documents = one_session();
    documents.single_use = Record::Active;
    Scenario {
        documents,
        faults: 2,
        may: May { restart_redis: true, cut_off_redis: true, lose_store: false, fail_over: true },
        crashes: true,
        grace_ends: true,
        sometimes: &["a token is accepted", "a token is refused", "a revocation succeeds", "a reuse is punished"],
        ..Scenario::of([
            Process::check(0, 0),
            Process::check(1, 1),
            Process::refresh(0, 0, 1),
            Process::refresh(1, 0, 2),
            Process::revoke(1, Cause::User, 1),
        ])
    }
}
