//! The state: the documents, Redis, the nodes, the processes, and what has happened so far.
//!
//! There are one user, two sessions, two nodes and six pairs. Pairs 0 to 4 belong to session 0,
//! which is open from the start with pair 0. Pair 5 is the first of session 1, which a sign-in
//! opens. A process issues tokens under numbers that are fixed beforehand. The identifiers in the
//! code are random, so no two calls share one either.

use std::collections::BTreeMap;

use crate::{laws::Law, process::Process, set::Set};

/// The number of pairs.
pub(crate) const PAIRS: usize = 6;
/// The number of sessions.
pub(crate) const SESSIONS: usize = 2;
/// The number of nodes.
pub(crate) const NODES: usize = 2;

/// The only single-use token belongs to this session, as do the pairs below [`PAIR_OF_SIGN_IN`].
pub(crate) const FIRST_SESSION: u8 = 0;
/// The session that a sign-in opens.
pub(crate) const NEW_SESSION: u8 = 1;
/// The pair that a sign-in issues.
pub(crate) const PAIR_OF_SIGN_IN: u8 = 5;
/// Stands for the single-use token where a pair number is expected.
pub(crate) const SINGLE_USE: u8 = 7;

/// Returns the session that a pair belongs to.
pub(crate) const fn session_of(pair: u8) -> u8 {
    if pair == PAIR_OF_SIGN_IN { NEW_SESSION } else { FIRST_SESSION }
}

/// Stands for the access token of pair 0 where a session number is expected. It can be revoked
/// alone.
pub(crate) const LONE_TOKEN: u8 = 2;

/// Returns the numbers under which the access token of a pair can be revoked.
pub(crate) const fn covering(pair: u8) -> Set {
    let session = Set::of(session_of(pair));
    if pair == 0 { session.union(Set::of(LONE_TOKEN)) } else { session }
}

/// Returns the access tokens that these numbers cover, by the number of their pair.
pub(crate) fn pairs_of(covers: Set) -> impl Iterator<Item = u8> {
    (0..=PAIR_OF_SIGN_IN).filter(move |&pair| covering(pair).intersects(covers))
}

/// A token's document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Record {
    #[default]
    Absent,
    Active,
    Revoked,
}

impl Record {
    /// Inserts it, unless it is there.
    pub(crate) fn insert(&mut self) {
        if *self == Self::Absent {
            *self = Self::Active;
        }
    }

    /// Marks it as revoked, if it is active.
    pub(crate) fn revoke(&mut self) {
        if *self == Self::Active {
            *self = Self::Revoked;
        }
    }
}

/// A session's document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Session {
    pub(crate) epoch: u8,
    pub(crate) revoked: bool,
    pub(crate) pending: bool,
    pub(crate) current: u8,
    pub(crate) previous: Option<Retired>,
}

/// The pair whose refresh token was rotated last. The window is a bit, not a time. It may close at
/// any moment, which covers every length of the window and every difference of the clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Retired {
    pub(crate) pair: u8,
    pub(crate) in_grace: bool,
    /// Whether the pair that replaced it is marked as delivered.
    pub(crate) delivered: bool,
}

/// The three collections, as far as the protocol looks at them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Documents {
    pub(crate) epoch: u8,
    pub(crate) disabled: bool,
    /// The user's password has changed, so the one that a sign-in presents is wrong.
    pub(crate) new_password: bool,
    pub(crate) sessions: [Option<Session>; SESSIONS],
    pub(crate) access: [Record; PAIRS],
    pub(crate) refresh: [Record; PAIRS],
    pub(crate) single_use: Record,
    /// The time until which tokens of the one subject of another issuer are denied. Zero: they are
    /// not.
    pub(crate) denied: u8,
}

impl Documents {
    /// Returns the document of this session.
    pub(crate) fn session(&mut self, session: u8) -> &mut Option<Session> {
        &mut self.sessions[usize::from(session)]
    }

    /// Inserts the records of a pair.
    pub(crate) fn insert_pair(&mut self, pair: u8) {
        self.access[usize::from(pair)].insert();
        self.refresh[usize::from(pair)].insert();
    }

    /// Removes the records of a pair.
    pub(crate) fn remove_pair(&mut self, pair: u8) {
        self.access[usize::from(pair)] = Record::Absent;
        self.refresh[usize::from(pair)] = Record::Absent;
    }
}

/// MongoDB: what the primary holds, what a majority holds of that, and what a deposed primary may
/// still answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Mongo {
    /// Reads with concern `local` see these documents, and writes are applied to them.
    pub(crate) primary: Documents,
    /// These documents survive the loss of the primary. They may be any prefix of the primary's
    /// log, since the majority may catch up after each write.
    pub(crate) majority: Documents,
    /// The answers of a primary that was cut off and does not know that it was deposed.
    pub(crate) deposed: Option<Documents>,
    pub(crate) down: bool,
}

impl Mongo {
    /// Returns what a node's reads see. A deposed primary answers node 1 only.
    pub(crate) fn read_on(&self, node: u8) -> Documents {
        self.deposed.filter(|_| node == 1).unwrap_or(self.primary)
    }

    /// Returns whether a deposed primary answers this node.
    pub(crate) fn is_deposed_for(&self, node: u8) -> bool {
        node == 1 && self.deposed.is_some()
    }
}

/// What Redis holds under a token's key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum RedisEntry {
    #[default]
    Absent,
    /// Active, taken by the server process with this number.
    Active(u8),
    Tombstone,
}

/// What Redis holds under the key of the denied subject. Each entry names the server process that
/// took it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum DenialEntry {
    #[default]
    Absent,
    /// What the store had: the time until which tokens are denied, or zero.
    Known { denied: u8, taken_by: u8 },
}

impl DenialEntry {
    /// Returns the time until which tokens are denied, whoever took the entry.
    pub(crate) fn denied(self) -> u8 {
        match self {
            Self::Absent => 0,
            Self::Known { denied, .. } => denied,
        }
    }
}

/// Redis. A connection lives exactly as long as the server it was made to, so the number of the
/// server stands for the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Redis {
    /// The number of this server, counted over restarts and promotions. Each has another process or
    /// another replication history.
    pub(crate) run: u8,
    pub(crate) entries: [RedisEntry; PAIRS],
    pub(crate) denial: DenialEntry,
}

/// An entry in a node's own cache: whether its date is later than the return of the revocation that
/// it outlived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LocalEntry {
    pub(crate) after_revocation: bool,
}

/// A node of the service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Node {
    /// The node cannot reach Redis.
    pub(crate) cut_off: bool,
    /// The node does not ask Redis for now.
    pub(crate) breaker_open: bool,
    /// The access tokens whose tombstones are still to be written.
    pub(crate) pending: Set,
    /// The denial that Redis is still to be told. Zero: there is none.
    pub(crate) pending_denial: u8,
    pub(crate) local: [Option<LocalEntry>; PAIRS],
}

/// The age of the tokens of pair 0. Clocks differ by no more than the margins, so only three ages
/// matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Age {
    /// No clock has passed `exp`.
    #[default]
    Fresh,
    /// `exp` has passed. A node may still accept the token, within its leeway and by its clock.
    Leeway,
    /// No node accepts the token.
    Over,
}

/// What has happened, as far as the laws need it. The protocol never reads it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct History {
    /// What each node has returned success for: the revoked sessions, or [`LONE_TOKEN`].
    pub(crate) acknowledged: [Set; NODES],
    /// Those in `acknowledged` that a revocation of all covered.
    pub(crate) acknowledged_by_revoke_all: Set,
    /// A lease has passed since a revocation returned success.
    pub(crate) lease_over: bool,
    /// The sessions whose sign-in has begun.
    pub(crate) begun: Set,
    /// Those in `begun` that the last revocation of all covers.
    pub(crate) fenced: Set,
    /// The pairs that were delivered.
    pub(crate) delivered: Set,
    /// The pair that was delivered for each refresh token.
    pub(crate) child: [Option<u8>; PAIRS],
    /// The refresh tokens that a commit retired, except commits that were lost.
    pub(crate) retired: Set,
    /// Those in `retired` whose window has closed, and was not started again by a delivery mark.
    pub(crate) closed: Set,
    /// Those in `retired` whose window has closed after their child was delivered.
    pub(crate) closed_after_delivery: Set,
    /// The sessions, or [`LONE_TOKEN`], that a call was to end: a revocation, or a reuse of a
    /// refresh token.
    pub(crate) to_end: Set,
    /// The latest time until which a call has begun to deny tokens.
    pub(crate) to_deny: u8,
    /// The latest time until which a call has returned that tokens are denied.
    pub(crate) denied: u8,
    /// The single-use token was accepted.
    pub(crate) used: bool,
    pub(crate) purged: bool,
    /// The laws that were broken on the way to this state.
    pub(crate) broken: Set,
}

impl History {
    /// Records that this law was broken.
    pub(crate) fn record_broken(&mut self, law: Law) {
        self.broken.insert(law as u8);
    }

    /// Returns what any node has returned success for.
    pub(crate) fn acknowledged_anywhere(&self) -> Set {
        self.acknowledged.into_iter().fold(Set::EMPTY, Set::union)
    }

    /// Returns whether this refresh token may count as reuse: its child was delivered, and the
    /// window has closed or the child was used.
    pub(crate) fn may_be_reuse(&self, refresh: u8) -> bool {
        self.closed_after_delivery.contains(refresh)
            || self.child[usize::from(refresh)].is_some_and(|child| self.retired.contains(child))
    }

    /// Returns whether this refresh token must count as reuse, given what a majority holds. Until a
    /// majority holds the use of the child or the delivery mark, both may be lost. Until then the
    /// token gets its child, however late.
    pub(crate) fn must_be_reuse(&self, refresh: u8, held: &Documents) -> bool {
        let Some(child) = self.child[usize::from(refresh)] else { return false };
        held.sessions[usize::from(session_of(refresh))].is_some_and(|session| {
            if session.current == child {
                self.closed.contains(refresh) && session.previous.is_some_and(|previous| previous.delivered)
            } else {
                self.retired.contains(child)
            }
        })
    }

    /// Closes all windows, whenever they started.
    pub(crate) fn close_windows(&mut self) {
        self.closed = self.closed.union(self.retired);
        let with_child = self.retired.iter().filter(|&refresh| self.child[usize::from(refresh)].is_some()).collect();
        self.closed_after_delivery = self.closed_after_delivery.union(with_child);
    }

    /// Forgets the commits that were lost with the primary, given what is left.
    pub(crate) fn forget_lost_commits(&mut self, left: &Documents) {
        for session in left.sessions.iter().flatten() {
            self.retired.remove(session.current);
        }
    }
}

/// The whole state of the model.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) mongo: Mongo,
    pub(crate) redis: Redis,
    pub(crate) nodes: [Node; NODES],
    pub(crate) age: Age,
    pub(crate) processes: Vec<Process>,
    /// The processes whose last write is applied and not acknowledged, by number, each as it was
    /// before that write.
    pub(crate) writers: BTreeMap<u8, Process>,
    /// The number of faults that may still happen.
    pub(crate) faults: u8,
    pub(crate) history: History,
}

impl State {
    /// Returns the node with this number.
    pub(crate) fn node(&mut self, node: u8) -> &mut Node {
        &mut self.nodes[usize::from(node)]
    }

    /// Returns what Redis holds under the key of this pair's access token.
    pub(crate) fn entry(&mut self, pair: u8) -> &mut RedisEntry {
        &mut self.redis.entries[usize::from(pair)]
    }
}
