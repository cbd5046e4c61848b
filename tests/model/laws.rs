//! The laws, as properties of every state.
//!
//! A step that breaks a law records that in the state it leads to
//! ([`History::breach`](crate::state::History::breach)), and the property finds it there. The start
//! of a call fixes what a law forbids. A call that began before a revocation returned may be
//! answered as if it had ended then, however late it ends.

use stateright::Property;

use crate::{
    process::{Check, CheckAt, Outcome, Process, Refresh, RefreshAt},
    protocol::Protocol,
    set::Set,
    state::{Age, Entry, History, NODES, PAIRS, Record, Session, State, covering, session_of},
};

/// The laws that the protocol keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum Law {
    NoAcceptAfterRevoke,
    OneChild,
    TheftEndsTheSession,
    RevokeAllIsAFence,
    UsedOnce,
    NoRevival,
    FailClosed,
}

impl Law {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::NoAcceptAfterRevoke => "1 no accept after revoke",
            Self::OneChild => "2 one child",
            Self::TheftEndsTheSession => "3 theft ends the session, and nothing else does",
            Self::RevokeAllIsAFence => "4 revoke-all is a fence",
            Self::UsedOnce => "5 used once",
            Self::NoRevival => "6 no revival",
            Self::FailClosed => "7 fail closed, say why",
        }
    }
}

/// Whether a law forbids the success of a call, fixed when the call begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Bar {
    None,
    /// Only the node's own cache may still accept, until the lease is over.
    UnlessCached(Law),
    Barred(Law),
}

impl Bar {
    /// The bar for a call on `node` with a token of `pair`.
    pub(crate) fn at_start(history: &History, node: u8, pair: u8, local_cache: bool) -> Self {
        Self::by(history, node, pair, Set::of(session_of(pair)), local_cache)
    }

    /// The bar for a check of the access token, which may have been revoked alone.
    pub(crate) fn of_check(history: &History, node: u8, pair: u8, local_cache: bool) -> Self {
        Self::by(history, node, pair, covering(pair), local_cache)
    }

    fn by(history: &History, node: u8, pair: u8, covering: Set, local_cache: bool) -> Self {
        if history.purged && pair == 0 {
            return Self::Barred(Law::NoRevival);
        }
        let fenced = history.told_by_all.meets(covering);
        let law = if fenced { Law::RevokeAllIsAFence } else { Law::NoAcceptAfterRevoke };
        if !history.told_anywhere().meets(covering) {
            Self::None
        } else if local_cache && !history.lease_over && !history.told[usize::from(node)].meets(covering) {
            Self::UnlessCached(law)
        } else {
            Self::Barred(law)
        }
    }

    /// Returns the law that a success breaks.
    pub(crate) fn broken_by(self, from_local_cache: bool) -> Option<Law> {
        match self {
            Self::None => None,
            Self::UnlessCached(law) => (!from_local_cache).then_some(law),
            Self::Barred(law) => Some(law),
        }
    }
}

/// Returns the law that the refusal of a refresh breaks, in the state in which it was decided. A
/// refusal is right if the session has ended or is to end, or if the token has expired. A reuse
/// must end the session and not only be refused. A deposed primary may not know the token, so its
/// refusals break no law.
pub(crate) fn broken_by_refusal(state: &State, refresh: Refresh) -> Option<Law> {
    let Refresh { node, parent, .. } = refresh;
    let is_expired = state.age == Age::Over && parent == 0;
    if is_expired || state.mongo.is_behind(node) {
        return None;
    }
    let session = state.mongo.primary.sessions[usize::from(session_of(parent))];
    let lives = session.is_some_and(|session| !session.revoked);
    if lives && state.history.is_reuse(parent, &state.mongo.majority) {
        Some(Law::TheftEndsTheSession)
    } else {
        (!state.history.doomed.has(session_of(parent))).then_some(Law::FailClosed)
    }
}

/// Returns whether the refusal of an access token breaks law 7: no call was to end the token, or
/// none has yet.
pub(crate) fn is_refused_wrongly(state: &State, pair: u8) -> bool {
    let is_expired = state.age == Age::Over && pair == 0;
    let is_active = state.mongo.primary.access[usize::from(pair)] == Record::Active;
    is_active || !is_expired && !state.history.doomed.meets(covering(pair))
}

/// Returns one property for each law, and two that the argument for the laws rests on.
pub(crate) fn always() -> Vec<Property<Protocol>> {
    fn keeps<const LAW: u8>(_: &Protocol, state: &State) -> bool {
        !state.history.broken.has(LAW)
    }
    fn ends_no_session_unasked(state: &State) -> bool {
        let ended = |session: &Option<Session>| session.is_some_and(|session| session.revoked);
        let mut sessions = state.mongo.primary.sessions.iter().zip(0..);
        sessions.all(|(session, number)| !ended(session) || state.history.doomed.has(number))
    }
    vec![
        Property::always(Law::NoAcceptAfterRevoke.name(), keeps::<{ Law::NoAcceptAfterRevoke as u8 }>),
        Property::always(Law::OneChild.name(), keeps::<{ Law::OneChild as u8 }>),
        Property::always(Law::TheftEndsTheSession.name(), |protocol, state| {
            keeps::<{ Law::TheftEndsTheSession as u8 }>(protocol, state) && ends_no_session_unasked(state)
        }),
        Property::always(Law::RevokeAllIsAFence.name(), keeps::<{ Law::RevokeAllIsAFence as u8 }>),
        Property::always(Law::UsedOnce.name(), keeps::<{ Law::UsedOnce as u8 }>),
        Property::always(Law::NoRevival.name(), keeps::<{ Law::NoRevival as u8 }>),
        Property::always(Law::FailClosed.name(), keeps::<{ Law::FailClosed as u8 }>),
        Property::always("what was revoked is revoked for good", |_, state: &State| {
            let told = state.history.told_anywhere();
            state.mongo.majority.sessions.iter().zip(0..).all(|(session, number)| {
                !told.has(number) || session.is_none_or(|session| session.revoked || session.pending)
            })
        }),
        // Tokens that nobody holds are left out: a child may be recorded between the sweep and the
        // list.
        Property::always("a tombstone stands for a revoked record", |_, state: &State| {
            state.history.handed.iter().map(usize::from).take_while(|&pair| pair < PAIRS).all(|pair| {
                state.redis.entries[pair] != Entry::Tombstone || state.mongo.majority.access[pair] != Record::Active
            })
        }),
    ]
}

/// Returns whether a process ended with this outcome.
pub(crate) fn ended(state: &State, outcome: Outcome) -> bool {
    state.processes.contains(&Process::Ended(outcome))
}

/// Something that must happen, or the scenario proves nothing.
pub(crate) fn sometimes(name: &'static str) -> Property<Protocol> {
    let condition: fn(&Protocol, &State) -> bool = match name {
        "a token is accepted" => |_, state| ended(state, Outcome::Accepted),
        "a token is refused" => |_, state| ended(state, Outcome::Refused),
        "a call is unavailable" => |_, state| ended(state, Outcome::Unavailable),
        "a revocation succeeds" => |_, state| ended(state, Outcome::Revoked),
        "a revocation is finished by another node" => {
            |_, state| ended(state, Outcome::Crashed) && ended(state, Outcome::Revoked)
        }
        "a reuse is punished" => |_, state| ended(state, Outcome::RefusedAsReuse),
        "a pair is handed out and later revoked" => {
            |_, state| ended(state, Outcome::Handed) && ended(state, Outcome::Revoked)
        }
        "a fill comes after the revocation was recorded" => |_, state| {
            state.processes.iter().any(|process| match process {
                Process::Check(Check { at: CheckAt::Fill(_), token, .. }) => {
                    state.mongo.primary.access[usize::from(*token)] == Record::Revoked
                }
                _ => false,
            })
        },
        "a refresh is committed while a revocation is under way" => |_, state| {
            let committed =
                |process: &Process| matches!(process, Process::Refresh(Refresh { at: RefreshAt::HandOut(_), .. }));
            let revoking = |process: &Process| matches!(process, Process::Revoke(_)) && process.is_under_way();
            state.processes.iter().any(committed) && state.processes.iter().any(revoking)
        },
        "two calls get the same pair" => {
            |_, state| state.processes.iter().filter(|process| **process == Process::Ended(Outcome::Handed)).count() > 1
        }
        "tombstones are written late" => |_, state| {
            ended(state, Outcome::Unavailable)
                && state.redis.entries.contains(&Entry::Tombstone)
                && (0..NODES).all(|node| state.nodes[node].pending.is_empty())
        },
        other => unreachable!("no such condition: {other}"),
    };
    Property::sometimes(name, condition)
}
