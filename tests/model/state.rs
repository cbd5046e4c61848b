//! What there is: the documents, Redis, the nodes, the processes, and what has happened so far.
//!
//! One user, two sessions, two nodes and six pairs are all there can be. Pairs 0 to 4 belong to session 0, which is open
//! from the start with pair 0; pair 5 is the first of session 1, which a sign-in opens. Whatever a process issues has a
//! number of its own that is fixed beforehand: identifiers are random in the code, so that no two calls share one.

use std::collections::BTreeMap;

use crate::{laws::Law, process::Process, set::Set};

pub(crate) const PAIRS: usize = 6;
pub(crate) const SESSIONS: usize = 2;
pub(crate) const NODES: usize = 2;

/// The one single-use token belongs to this session, as do the pairs below [`PAIR_OF_SIGN_IN`].
pub(crate) const FIRST_SESSION: u8 = 0;
pub(crate) const NEW_SESSION: u8 = 1;
pub(crate) const PAIR_OF_SIGN_IN: u8 = 5;
/// Stands for the single-use token where pairs are meant by number.
pub(crate) const SINGLE_USE: u8 = 7;

pub(crate) const fn session_of(pair: u8) -> u8 {
    if pair == PAIR_OF_SIGN_IN { NEW_SESSION } else { FIRST_SESSION }
}

/// Where sessions are meant by number, this is the access token of pair 0, which can be revoked alone.
pub(crate) const LONE_TOKEN: u8 = 2;

/// The numbers under which the access token of a pair can be revoked.
pub(crate) const fn covering(pair: u8) -> Set {
    let session = Set::of(session_of(pair));
    if pair == 0 { session.or(Set::of(LONE_TOKEN)) } else { session }
}

/// The access tokens, by the number of their pair, that are covered by these.
pub(crate) fn pairs_of(covers: Set) -> impl Iterator<Item = u8> {
    (0..=PAIR_OF_SIGN_IN).filter(move |&pair| covering(pair).meets(covers))
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
    pub(crate) fn insert(&mut self) {
        if *self == Self::Absent {
            *self = Self::Active;
        }
    }

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

/// The pair whose refresh token was rotated last. The window is a bit instead of a time: that it closes at any moment
/// covers every length it may have and every difference of the clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Retired {
    pub(crate) pair: u8,
    pub(crate) in_grace: bool,
    /// Whether it is noted that the pair that replaced it was handed out.
    pub(crate) delivered: bool,
}

/// The three collections, as far as the protocol looks at them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Documents {
    pub(crate) epoch: u8,
    pub(crate) disabled: bool,
    /// The user's password is no longer the one that a sign-in comes with.
    pub(crate) new_password: bool,
    pub(crate) sessions: [Option<Session>; SESSIONS],
    pub(crate) access: [Record; PAIRS],
    pub(crate) refresh: [Record; PAIRS],
    pub(crate) single_use: Record,
}

impl Documents {
    pub(crate) fn session(&mut self, session: u8) -> &mut Option<Session> {
        &mut self.sessions[usize::from(session)]
    }

    pub(crate) fn insert_pair(&mut self, pair: u8) {
        self.access[usize::from(pair)].insert();
        self.refresh[usize::from(pair)].insert();
    }

    pub(crate) fn remove_pair(&mut self, pair: u8) {
        self.access[usize::from(pair)] = Record::Absent;
        self.refresh[usize::from(pair)] = Record::Absent;
    }
}

/// `MongoDB`: what the primary holds, how much of it a majority holds, and what a deposed primary may still say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Mongo {
    /// What reads with concern `local` see, and what writes are applied to.
    pub(crate) primary: Documents,
    /// What survives the loss of the primary. Any prefix of the primary's log, since it may catch up after each write.
    pub(crate) majority: Documents,
    /// What a cut-off primary answers with, which takes itself for one still.
    pub(crate) deposed: Option<Documents>,
    pub(crate) down: bool,
}

impl Mongo {
    /// What a node's reads see. While a deposed primary answers, it is the one that node 1 can reach.
    pub(crate) fn read_on(&self, node: u8) -> Documents {
        self.deposed.filter(|_| node == 1).unwrap_or(self.primary)
    }

    /// Whether it is a deposed primary that answers.
    pub(crate) fn is_behind(&self, node: u8) -> bool {
        node == 1 && self.deposed.is_some()
    }
}

/// What Redis holds under a token's key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Entry {
    #[default]
    Absent,
    /// With the server process that took it.
    Active(u8),
    Tombstone,
}

/// Redis. A connection is not modelled as such: it is good exactly as long as the server it was made to, so that the number of
/// that stands for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Redis {
    /// Which server this is, counted over restarts and promotions: each has another process or another history.
    pub(crate) run: u8,
    pub(crate) entries: [Entry; PAIRS],
}

/// Of an entry in a node's own cache: whether its date is later than the return of the revocation that it outlived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Local {
    pub(crate) after_revocation: bool,
}

/// A node of the service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Node {
    /// It cannot reach Redis.
    pub(crate) cut_off: bool,
    /// It leaves Redis in peace.
    pub(crate) breaker_open: bool,
    /// The access tokens whose tombstones are still to be written.
    pub(crate) pending: Set,
    pub(crate) local: [Option<Local>; PAIRS],
}

/// How old the tokens of pair 0 are. Clocks differ by no more than the margins allow for, so that three ages are all that
/// matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Age {
    /// No clock has passed `exp`.
    #[default]
    Fresh,
    /// `exp` has passed. A node may still accept it, by its leeway and by its clock.
    Leeway,
    /// No node accepts it.
    Over,
}

/// What has happened, as far as the laws speak of it. Nothing here is seen by the protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct History {
    /// What each node has returned success for to a revocation of: sessions, or [`LONE_TOKEN`].
    pub(crate) told: [Set; NODES],
    /// Those among them that a revocation of all covered.
    pub(crate) told_by_all: Set,
    /// A lease has passed since.
    pub(crate) lease_over: bool,
    /// The sessions whose sign-in has begun.
    pub(crate) begun: Set,
    /// Those among them that the last revocation of all covers.
    pub(crate) fenced: Set,
    /// The pairs that somebody was handed.
    pub(crate) handed: Set,
    /// The pair that was handed out for each refresh token.
    pub(crate) child: [Option<u8>; PAIRS],
    /// The refresh tokens that a commit retired, unless it was lost.
    pub(crate) retired: Set,
    /// Those among them whose window has closed, and has not begun anew with a note since.
    pub(crate) closed: Set,
    /// Those among them whose window has closed after somebody was handed their child.
    pub(crate) closed_on_a_child: Set,
    /// The same of whatever a call was to end: one that revokes, or the reuse of a refresh token.
    pub(crate) doomed: Set,
    /// The single-use token was accepted.
    pub(crate) used: bool,
    pub(crate) purged: bool,
    /// The laws that were broken on the way here.
    pub(crate) broken: Set,
}

impl History {
    pub(crate) fn breach(&mut self, law: Law) {
        self.broken.add(law as u8);
    }

    pub(crate) fn told_anywhere(&self) -> Set {
        self.told.into_iter().fold(Set::EMPTY, Set::or)
    }

    /// Whether it may be punished when this refresh token is presented: somebody has its child, and the window has closed or the
    /// child was used.
    pub(crate) fn is_retired_for_good(&self, refresh: u8) -> bool {
        self.closed_on_a_child.has(refresh)
            || self.child[usize::from(refresh)].is_some_and(|child| self.retired.has(child))
    }

    /// Whether it must be, where this is what a majority holds: before that holds the use of the child or the note that it was
    /// handed out, both may be lost, and the token gets its child however late.
    pub(crate) fn is_reuse(&self, refresh: u8, held: &Documents) -> bool {
        let Some(child) = self.child[usize::from(refresh)] else { return false };
        held.sessions[usize::from(session_of(refresh))].is_some_and(|session| {
            if session.current == child {
                self.closed.has(refresh) && session.previous.is_some_and(|previous| previous.delivered)
            } else {
                self.retired.has(child)
            }
        })
    }

    /// The grace window is over, whenever it began.
    pub(crate) fn close_windows(&mut self) {
        self.closed = self.closed.or(self.retired);
        let with_child = self.retired.iter().filter(|&refresh| self.child[usize::from(refresh)].is_some()).collect();
        self.closed_on_a_child = self.closed_on_a_child.or(with_child);
    }

    /// The primary was lost, and this is what is left.
    pub(crate) fn forget_what_was_lost(&mut self, left: &Documents) {
        for session in left.sessions.iter().flatten() {
            self.retired.remove(session.current);
        }
    }
}

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) mongo: Mongo,
    pub(crate) redis: Redis,
    pub(crate) nodes: [Node; NODES],
    pub(crate) age: Age,
    pub(crate) processes: Vec<Process>,
    /// The processes whose last write is applied and not acknowledged, by number, each as it was before.
    pub(crate) writers: BTreeMap<u8, Process>,
    /// How many more faults there may be.
    pub(crate) faults: u8,
    pub(crate) history: History,
}

impl State {
    pub(crate) fn node(&mut self, node: u8) -> &mut Node {
        &mut self.nodes[usize::from(node)]
    }

    pub(crate) fn entry(&mut self, pair: u8) -> &mut Entry {
        &mut self.redis.entries[usize::from(pair)]
    }
}
