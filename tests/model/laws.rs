//! The laws, as properties of every state.
//!
//! A step that breaks a law records that in the state it leads to ([`History::record_broken`]), and
//! the property finds it there. The start of a call fixes what the laws permit. A call that began
//! before a revocation returned may be answered as if it had ended then, however late it ends.

use stateright::Property;

use crate::{
    process::{Check, CheckAt, CheckDenied, CheckDeniedAt, Outcome, Process, Refresh, RefreshAt},
    protocol::Protocol,
    set::Set,
    state::{Age, History, NODES, PAIRS, Record, RedisEntry, Session, State, covering, session_of},
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
    DeniedIsDenied,
}

impl Law {
    /// Returns the name of its property.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::NoAcceptAfterRevoke => "1 no accept after revoke",
            Self::OneChild => "2 one child",
            Self::TheftEndsTheSession => "3 theft ends the session, and nothing else does",
            Self::RevokeAllIsAFence => "4 revoke-all is a fence",
            Self::UsedOnce => "5 used once",
            Self::NoRevival => "6 no revival",
            Self::FailClosed => "7 fail closed, say why",
            Self::DeniedIsDenied => "10 denied is denied",
        }
    }
}

/// Whether the laws permit the success of a call, fixed when the call begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Permission {
    /// No law forbids it.
    Allowed,
    /// Only the node's own cache may still accept, until the lease is over.
    OnlyFromLocalCache(Law),
    /// This law forbids it.
    Forbidden(Law),
}

impl Permission {
    /// Returns the permission for a call on `node` with a token of `pair`.
    pub(crate) fn at_start(history: &History, node: u8, pair: u8, local_cache: bool) -> Self {
        Self::given(history, node, pair, Set::of(session_of(pair)), local_cache)
    }

    /// Returns the permission for a check of the access token, which may have been revoked alone.
    pub(crate) fn of_check(history: &History, node: u8, pair: u8, local_cache: bool) -> Self {
        Self::given(history, node, pair, covering(pair), local_cache)
    }

    /// Returns the permission for a call whose token these numbers cover.
    fn given(history: &History, node: u8, pair: u8, covering: Set, local_cache: bool) -> Self {
        if history.purged && pair == 0 {
            return Self::Forbidden(Law::NoRevival);
        }
        let fenced = history.acknowledged_by_revoke_all.intersects(covering);
        let law = if fenced { Law::RevokeAllIsAFence } else { Law::NoAcceptAfterRevoke };
        if !history.acknowledged_anywhere().intersects(covering) {
            Self::Allowed
        } else if local_cache && !history.lease_over && !history.acknowledged[usize::from(node)].intersects(covering) {
            Self::OnlyFromLocalCache(law)
        } else {
            Self::Forbidden(law)
        }
    }

    /// Returns the law that a success breaks.
    pub(crate) fn broken_by(self, from_local_cache: bool) -> Option<Law> {
        match self {
            Self::Allowed => None,
            Self::OnlyFromLocalCache(law) => (!from_local_cache).then_some(law),
            Self::Forbidden(law) => Some(law),
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
    if is_expired || state.mongo.is_deposed_for(node) {
        return None;
    }
    let session = state.mongo.primary.sessions[usize::from(session_of(parent))];
    let lives = session.is_some_and(|session| !session.revoked);
    if lives && state.history.must_be_reuse(parent, &state.mongo.majority) {
        Some(Law::TheftEndsTheSession)
    } else {
        (!state.history.to_end.contains(session_of(parent))).then_some(Law::FailClosed)
    }
}

/// Returns whether the refusal of an access token breaks law 7: no call was to end the token, or
/// none has yet.
pub(crate) fn is_refused_wrongly(state: &State, pair: u8) -> bool {
    let is_expired = state.age == Age::Over && pair == 0;
    let is_active = state.mongo.primary.access[usize::from(pair)] == Record::Active;
    is_active || !is_expired && !state.history.to_end.intersects(covering(pair))
}

/// Returns one property for each law, and two that the argument for the laws rests on.
pub(crate) fn always() -> Vec<Property<Protocol>> {
    fn keeps<const LAW: u8>(_: &Protocol, state: &State) -> bool {
        !state.history.broken.contains(LAW)
    }
    fn ends_no_session_unasked(state: &State) -> bool {
        let ended = |session: &Option<Session>| session.is_some_and(|session| session.revoked);
        let mut sessions = state.mongo.primary.sessions.iter().zip(0..);
        sessions.all(|(session, number)| !ended(session) || state.history.to_end.contains(number))
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
        Property::always(Law::DeniedIsDenied.name(), keeps::<{ Law::DeniedIsDenied as u8 }>),
        Property::always("a denial is permanent", |_, state: &State| {
            state.mongo.majority.denied >= state.history.denied
        }),
        Property::always("a revocation is permanent", |_, state: &State| {
            let acknowledged = state.history.acknowledged_anywhere();
            state.mongo.majority.sessions.iter().zip(0..).all(|(session, number)| {
                !acknowledged.contains(number) || session.is_none_or(|session| session.revoked || session.pending)
            })
        }),
        // Tokens that nobody holds are left out: a child may be recorded between the sweep and the
        // list.
        Property::always("a tombstone implies a revoked record", |_, state: &State| {
            state.history.delivered.iter().map(usize::from).take_while(|&pair| pair < PAIRS).all(|pair| {
                state.redis.entries[pair] != RedisEntry::Tombstone
                    || state.mongo.majority.access[pair] != Record::Active
            })
        }),
    ]
}

/// Returns whether a process ended with this outcome.
pub(crate) fn ended(state: &State, outcome: Outcome) -> bool {
    state.processes.contains(&Process::Ended(outcome))
}

/// Returns the property that something happens on some path. Otherwise the scenario proves nothing.
pub(crate) fn sometimes(name: &'static str) -> Property<Protocol> {
    let condition: fn(&Protocol, &State) -> bool = match name {
        "a token is accepted" => |_, state| ended(state, Outcome::Accepted),
        "a token is refused" => |_, state| ended(state, Outcome::Refused),
        "a call is unavailable" => |_, state| ended(state, Outcome::Unavailable),
        "a revocation succeeds" => |_, state| ended(state, Outcome::Revoked),
        "a revocation is finished by another node" => {
            |_, state| ended(state, Outcome::Crashed) && ended(state, Outcome::Revoked)
        }
        "a reuse revokes its session" => |_, state| ended(state, Outcome::RefusedAsReuse),
        "a pair is delivered and later revoked" => {
            |_, state| ended(state, Outcome::Delivered) && ended(state, Outcome::Revoked)
        }
        "a fill comes after the revocation was recorded" => |_, state| {
            state.processes.iter().any(|process| match process {
                Process::Check(Check { at: CheckAt::Fill(_), token, .. }) => {
                    state.mongo.primary.access[usize::from(*token)] == Record::Revoked
                }
                _ => false,
            })
        },
        "a fill comes after the denial was recorded" => |_, state| {
            state.processes.iter().any(|process| match process {
                Process::CheckDenied(CheckDenied { at: CheckDeniedAt::Fill { denied, .. }, .. }) => {
                    *denied < state.mongo.primary.denied
                }
                _ => false,
            })
        },
        "a denial reaches Redis late" => |_, state| {
            ended(state, Outcome::Unavailable)
                && state.redis.denial.denied() > 0
                && state.nodes.iter().all(|node| node.pending_denial == 0)
        },
        "a refresh is committed while a revocation is under way" => |_, state| {
            let committed =
                |process: &Process| matches!(process, Process::Refresh(Refresh { at: RefreshAt::Deliver(_), .. }));
            let revoking = |process: &Process| matches!(process, Process::Revoke(_)) && process.is_under_way();
            state.processes.iter().any(committed) && state.processes.iter().any(revoking)
        },
        "two calls get the same pair" => |_, state| {
            state.processes.iter().filter(|process| **process == Process::Ended(Outcome::Delivered)).count() > 1
        },
        "tombstones are written late" => |_, state| {
            ended(state, Outcome::Unavailable)
                && state.redis.entries.contains(&RedisEntry::Tombstone)
                && (0..NODES).all(|node| state.nodes[node].pending.is_empty())
        },
        other => unreachable!("no such condition: {other}"),
    };
    Property::sometimes(name, condition)
}
