//! What is watched and when. Times are those of a clock's `monotonic`, and are passed in.

use std::{
    collections::{BTreeSet, HashMap},
    hash::BuildHasher,
    mem,
    sync::Arc,
    time::Duration,
};

use foldhash::fast::RandomState;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::StreamEnd;
use crate::{
    claims::DenialKeys,
    clock::Timestamp,
    id::{SessionId, TokenId},
};

/// How many questions are in flight at most.
const MAX_IN_FLIGHT: usize = 256;

/// Over how long the ends of streams are spread whose state is unknown.
const SPREAD: Duration = Duration::from_secs(5);

/// The longest pause before a question that failed is asked again.
const RETRY: Duration = Duration::from_secs(1);

/// Over how long the questions are spread when news may have been missed.
const CATCH_UP: Duration = Duration::from_secs(1);

/// How often a failure is logged as a warning.
const WARN_EVERY: Duration = Duration::from_secs(30);

/// What streams share their questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum WatchKey {
    Session(SessionId),
    /// For a token without a session.
    Token(TokenId),
    /// For a token without a record: the tag of its session's denial, or else of its own.
    Denial(Uuid),
}

/// A token that is asked about until it expires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WatchedToken {
    /// By its record.
    Recorded(TokenId),
    /// By what it may be denied by.
    Foreign(Arc<DenialKeys>),
}

/// What a stream depends on.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    pub(crate) token: Option<WatchedToken>,
    /// The session whose record is asked for after the token's expiry. Without one the stream ends
    /// then.
    pub(crate) session: Option<SessionId>,
    /// The user's tag, if the token has a record.
    pub(crate) user: Option<Uuid>,
    /// When checks refuse the token.
    pub(crate) expires_at: Timestamp,
}

impl WatchedToken {
    /// Returns the ids that news of its end may name.
    fn ids(&self) -> impl Iterator<Item = Uuid> {
        let ids = match self {
            Self::Recorded(id) => [Some(Uuid::from(*id)), None, None],
            Self::Foreign(keys) => keys.tags(),
        };
        ids.into_iter().flatten()
    }
}

impl Watched {
    fn key(&self) -> Option<WatchKey> {
        if let Some(session) = self.session {
            return Some(WatchKey::Session(session));
        }
        Some(match self.token.as_ref()? {
            WatchedToken::Recorded(id) => WatchKey::Token(*id),
            WatchedToken::Foreign(keys) => WatchKey::Denial(keys.session.unwrap_or(keys.token).tag()),
        })
    }

    /// Returns the token that is asked about at this time.
    fn live_token(&self, time: Timestamp) -> Option<&WatchedToken> {
        self.token.as_ref().filter(|_| time < self.expires_at)
    }
}

/// The time limits of a stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StreamRules {
    /// The store is asked at least once in this time.
    pub(crate) interval: Duration,
    /// How long a stream goes on while its state is overdue.
    pub(crate) outage_limit: Duration,
}

/// What the store answered.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// The tokens asked for that are revoked, unknown or denied.
    pub(crate) dead_tokens: Vec<WatchedToken>,
    /// The state of the session, if it was asked for.
    pub(crate) session: Option<SessionState>,
}

/// The state of a session in the store.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SessionState {
    /// It lives. News of its end may name one of these tokens, its current pair.
    Live([TokenId; 2]),
    Ended(StreamEnd),
}

/// A question that was asked.
#[derive(Debug)]
pub(super) struct Asked {
    key: WatchKey,
    began: Duration,
    pub(super) time: Timestamp,
    pub(super) tokens: Vec<WatchedToken>,
    pub(super) session: Option<SessionId>,
}

/// A stream that ends.
pub(super) struct Ended {
    pub(super) stream: oneshot::Sender<StreamEnd>,
    pub(super) end: StreamEnd,
}

/// What all streams of one key share.
struct Entry {
    streams: BTreeSet<u64>,
    /// The shortest interval of its streams so far.
    interval: Duration,
    /// When the last question began that was answered; at first, when the entry was made.
    known_at: Duration,
    question: QuestionState,
    session: Option<SessionId>,
    user: Option<Uuid>,
    /// The tokens of its streams, with the number of streams.
    tokens: Vec<(WatchedToken, usize)>,
    /// The current pair of the session, as last read.
    pair: Option<[TokenId; 2]>,
}

/// The next question about an entry.
#[derive(Clone, Copy)]
enum QuestionState {
    Due(Duration),
    /// It is with the store. If news came meanwhile, it may have read too early.
    InFlight {
        asks_again: bool,
    },
}

struct Stream {
    key: WatchKey,
    watched: Watched,
    sender: oneshot::Sender<StreamEnd>,
    outage_limit: Duration,
    /// This stream's part of [`SPREAD`].
    spread: Duration,
    ends_at_expiry: bool,
    /// When it must be looked at.
    timer: Duration,
}

/// All streams. Empty by default.
#[derive(Default)]
pub(super) struct State {
    pub(super) is_scheduled: bool,
    entries: HashMap<WatchKey, Entry, RandomState>,
    streams: HashMap<u64, Stream, RandomState>,
    /// Which entries news of an id are about.
    index: BTreeSet<(Uuid, WatchKey)>,
    questions: BTreeSet<(Duration, WatchKey)>,
    timers: BTreeSet<(Duration, u64)>,
    in_flight: usize,
    next_stream: u64,
    random: Random,
    warned_at: Option<Duration>,
}

/// Spreads what would otherwise come at once. Needs no secrecy.
#[derive(Default)]
struct Random {
    state: RandomState,
    drawn: u64,
}

impl Random {
    /// Returns a random part of a duration.
    fn part_of(&mut self, whole: Duration) -> Duration {
        self.drawn += 1;
        let thousandths = u32::try_from(self.state.hash_one(self.drawn) % 1_000).unwrap_or(0);
        whole / 1_000 * thousandths
    }

    /// Returns a time between 85 and 95 % of an interval. The rest is for the scheduler's delay.
    fn within(&mut self, interval: Duration) -> Duration {
        interval / 20 * 17 + self.part_of(interval / 10)
    }
}

impl Entry {
    fn new(watched: &Watched, now: Duration) -> Self {
        Self {
            streams: BTreeSet::new(),
            interval: Duration::MAX,
            known_at: now,
            question: QuestionState::Due(Duration::ZERO),
            session: watched.session,
            user: watched.user,
            tokens: Vec::new(),
            pair: None,
        }
    }

    /// Returns when its state is overdue: a question that was answered should have begun by then.
    fn overdue_at(&self) -> Duration {
        self.known_at.saturating_add(self.interval)
    }

    /// Returns the ids that news of its end may name.
    fn ids(&self) -> impl Iterator<Item = Uuid> {
        let tokens = self.tokens.iter().flat_map(|(token, _)| token.ids());
        let pair = self.pair.into_iter().flatten().map(Uuid::from);
        tokens.chain(pair).chain(self.session.map(Uuid::from)).chain(self.user)
    }
}

impl Stream {
    /// Returns when it ends, if the store does not answer until then.
    fn limit(&self, entry: &Entry) -> Duration {
        entry.overdue_at().saturating_add(self.outage_limit).saturating_add(self.spread)
    }
}

impl State {
    pub(super) fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.streams.len()
    }

    /// Whether all that streams left has been removed.
    #[cfg(test)]
    pub(super) fn holds_nothing(&self) -> bool {
        let Self { entries, streams, index, questions, timers, .. } = self;
        entries.is_empty() && streams.is_empty() && index.is_empty() && questions.is_empty() && timers.is_empty()
    }

    /// Whether as many questions are in flight as may be.
    fn is_full(&self) -> bool {
        self.in_flight >= MAX_IN_FLIGHT
    }

    /// Adds a stream. `None` if there is nothing to ask about it.
    pub(super) fn add(
        &mut self,
        watched: Watched,
        rules: StreamRules,
        now: Duration,
    ) -> Option<(u64, oneshot::Receiver<StreamEnd>)> {
        let key = watched.key()?;
        let entry = self.entries.entry(key).or_insert_with(|| {
            self.questions.insert((Duration::ZERO, key));
            Entry::new(&watched, now)
        });
        if rules.interval < entry.interval {
            entry.interval = rules.interval;
            bring_forward(&mut self.questions, key, entry, now.saturating_add(rules.interval / 20 * 17));
        }
        let known = entry.tokens.iter_mut().find(|(token, _)| Some(token) == watched.token.as_ref());
        let shares_questions = known.is_some();
        match known {
            Some((_, streams)) => *streams += 1,
            None => {
                entry.tokens.extend(watched.token.clone().map(|token| (token, 1)));
                self.index.extend(entry.ids().map(|id| (id, key)));
            }
        }
        let (sender, receiver) = oneshot::channel();
        let id = self.next_stream;
        self.next_stream += 1;
        let mut stream = Stream {
            key,
            watched,
            sender,
            outage_limit: rules.outage_limit,
            spread: self.random.part_of(SPREAD),
            ends_at_expiry: false,
            timer: Duration::ZERO,
        };
        stream.timer = stream.limit(entry);
        entry.streams.insert(id);
        self.timers.insert((stream.timer, id));
        self.streams.insert(id, stream);
        // What was answered before may say nothing about this one.
        if !shares_questions {
            self.ask_at_once(key);
        }
        Some((id, receiver))
    }

    /// Removes a stream. False if it has ended before.
    pub(super) fn remove(&mut self, id: u64) -> bool {
        self.take(id).is_some()
    }

    fn take(&mut self, id: u64) -> Option<Stream> {
        let stream = self.streams.remove(&id)?;
        self.timers.remove(&(stream.timer, id));
        let key = stream.key;
        let entry = self.entries.get_mut(&key)?;
        entry.streams.remove(&id);
        if entry.streams.is_empty() {
            let entry = self.entries.remove(&key)?;
            for id in entry.ids() {
                self.index.remove(&(id, key));
            }
            if let QuestionState::Due(due) = entry.question {
                self.questions.remove(&(due, key));
            }
        } else if let Some(at) = entry.tokens.iter().position(|(token, _)| Some(token) == stream.watched.token.as_ref())
        {
            entry.tokens[at].1 -= 1;
            if entry.tokens[at].1 == 0 {
                let (token, _) = entry.tokens.swap_remove(at);
                for id in token.ids() {
                    if !entry.ids().any(|other| other == id) {
                        self.index.remove(&(id, key));
                    }
                }
            }
        }
        Some(stream)
    }

    fn end(&mut self, id: u64, end: StreamEnd, ended: &mut Vec<Ended>) {
        ended.extend(self.take(id).map(|stream| Ended { stream: stream.sender, end }));
    }

    pub(super) fn end_all(&mut self, end: StreamEnd) -> Vec<Ended> {
        let mut ended = Vec::new();
        let all: Vec<u64> = self.streams.keys().copied().collect();
        for id in all {
            self.end(id, end, &mut ended);
        }
        ended
    }

    pub(super) fn end_at_expiry(&mut self, id: u64) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.ends_at_expiry = true;
            // The next turn looks at it, and knows the time of day.
            self.timers.remove(&(mem::take(&mut stream.timer), id));
            self.timers.insert((Duration::ZERO, id));
        }
    }

    /// Makes the questions about this id due at once. Returns whether there are any.
    pub(super) fn wake(&mut self, id: Uuid) -> bool {
        let first = (id, WatchKey::Session(Uuid::nil().into()));
        let last = (id, WatchKey::Denial(Uuid::max()));
        let keys: Vec<WatchKey> = self.index.range(first..=last).map(|(_, key)| *key).collect();
        for key in &keys {
            self.ask_at_once(*key);
        }
        !keys.is_empty()
    }

    /// Puts the question about an entry before all others.
    fn ask_at_once(&mut self, key: WatchKey) {
        if let Some(entry) = self.entries.get_mut(&key) {
            bring_forward(&mut self.questions, key, entry, Duration::ZERO);
        }
    }

    /// Makes all questions due soon.
    pub(super) fn wake_all(&mut self, now: Duration) {
        for (key, entry) in &mut self.entries {
            let soon = now.saturating_add(self.random.part_of(CATCH_UP));
            bring_forward(&mut self.questions, *key, entry, soon);
        }
    }

    /// Returns what to ask now, the streams whose time has come, and how long nothing more is due.
    pub(super) fn turn(&mut self, now: Duration, time: Timestamp) -> (Vec<Asked>, Vec<Ended>, Duration) {
        let (mut asked, mut ended) = (Vec::new(), Vec::new());
        while !self.is_full()
            && let Some(&(due, key)) = self.questions.first()
            && due <= now
        {
            self.questions.pop_first();
            asked.extend(self.ask(key, now, time, &mut ended));
        }
        while let Some(&(timer, id)) = self.timers.first()
            && timer <= now
        {
            self.timers.pop_first();
            self.look_at(id, now, time, &mut ended);
        }
        let question = self.questions.first().filter(|_| !self.is_full()).map(|(due, _)| *due);
        let next = question.into_iter().chain(self.timers.first().map(|(timer, _)| *timer)).min();
        (asked, ended, next.map_or(Duration::MAX, |next| next.saturating_sub(now)))
    }

    /// Begins the question about an entry.
    fn ask(&mut self, key: WatchKey, now: Duration, time: Timestamp, ended: &mut Vec<Ended>) -> Option<Asked> {
        let entry = self.entries.get_mut(&key)?;
        let mut tokens = Vec::new();
        let mut outlive_token = Vec::new();
        for (id, stream) in entry.streams.iter().filter_map(|id| Some((*id, self.streams.get(id)?))) {
            match stream.watched.live_token(time) {
                Some(token) if tokens.contains(token) => {}
                Some(token) => tokens.push(token.clone()),
                None => outlive_token.push(id),
            }
        }
        let session = entry.session.filter(|_| !outlive_token.is_empty());
        if session.is_none() {
            // Nothing but their tokens kept these streams open.
            for id in outlive_token {
                self.end(id, StreamEnd::Expired, ended);
            }
        }
        if tokens.is_empty() && session.is_none() {
            return None;
        }
        let entry = self.entries.get_mut(&key)?;
        entry.question = QuestionState::InFlight { asks_again: false };
        self.in_flight += 1;
        Some(Asked { key, began: now, time, tokens, session })
    }

    /// Ends a stream whose time has come, or sets its timer again.
    fn look_at(&mut self, id: u64, now: Duration, time: Timestamp, ended: &mut Vec<Ended>) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let Some(entry) = self.entries.get(&stream.key) else { return };
        let (limit, expires_at) = (stream.limit(entry), stream.watched.expires_at);
        // An error means that it is in the past.
        let left = stream.ends_at_expiry.then(|| (expires_at - time).to_std().unwrap_or_default());
        if left == Some(Duration::ZERO) {
            self.end(id, StreamEnd::Expired, ended);
        } else if limit <= now {
            self.end(id, StreamEnd::Unavailable, ended);
        } else {
            stream.timer = left.map_or(limit, |left| limit.min(now.saturating_add(left)));
            self.timers.insert((stream.timer, id));
        }
    }

    /// Applies an answer, or notes that there is none. Returns the streams that end, and whether
    /// there is something to ask now.
    pub(super) fn conclude(&mut self, asked: &Asked, answer: Option<Answer>, now: Duration) -> (Vec<Ended>, bool) {
        let was_full = self.is_full();
        self.in_flight -= 1;
        let mut ended = Vec::new();
        if let Some(answer) = &answer {
            self.end_by(asked, answer, &mut ended);
        }
        let key = asked.key;
        let Some(entry) = self.entries.get_mut(&key) else { return (ended, was_full) };
        let due = match (entry.question, &answer) {
            // The streams were dropped while this was in flight, and the entry is a new one.
            (QuestionState::Due(_), _) => return (ended, was_full),
            (QuestionState::InFlight { .. }, None) => now.saturating_add(self.random.within(entry.interval.min(RETRY))),
            (QuestionState::InFlight { asks_again: true }, Some(_)) => Duration::ZERO,
            (QuestionState::InFlight { asks_again: false }, Some(_)) => {
                asked.began.saturating_add(self.random.within(entry.interval))
            }
        };
        entry.question = QuestionState::Due(due);
        self.questions.insert((due, key));
        if let Some(answer) = answer {
            entry.known_at = entry.known_at.max(asked.began);
            if let Some(SessionState::Live(pair)) = answer.session {
                self.set_pair(key, pair);
            }
        }
        (ended, was_full || due.is_zero())
    }

    /// Ends the streams that an answer ends.
    fn end_by(&mut self, asked: &Asked, answer: &Answer, ended: &mut Vec<Ended>) {
        let Some(entry) = self.entries.get(&asked.key) else { return };
        let session_end = match answer.session {
            Some(SessionState::Ended(end)) => Some(end),
            Some(SessionState::Live(_)) | None => None,
        };
        if session_end.is_none() && answer.dead_tokens.is_empty() {
            return;
        }
        let ends: Vec<(u64, StreamEnd)> = entry
            .streams
            .iter()
            .filter_map(|id| {
                let end = match self.streams.get(id)?.watched.live_token(asked.time) {
                    Some(token) if answer.dead_tokens.contains(token) => StreamEnd::Revoked,
                    // A session that has expired has no live tokens, unless clocks disagree.
                    Some(_) => session_end.filter(|end| *end == StreamEnd::Revoked)?,
                    None => session_end?,
                };
                Some((*id, end))
            })
            .collect();
        for (id, end) in ends {
            self.end(id, end, ended);
        }
    }

    /// Notes the current pair of a session, which news may name.
    fn set_pair(&mut self, key: WatchKey, pair: [TokenId; 2]) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        let old = entry.pair.replace(pair);
        if old == Some(pair) {
            return;
        }
        for id in old.into_iter().flatten().map(Uuid::from) {
            if !entry.ids().any(|other| other == id) {
                self.index.remove(&(id, key));
            }
        }
        self.index.extend(pair.map(|id| (id.into(), key)));
    }

    /// Whether a failure may be logged as a warning now.
    pub(super) fn may_warn(&mut self, now: Duration) -> bool {
        let may = self.warned_at.is_none_or(|at| now.saturating_sub(at) >= WARN_EVERY);
        if may {
            self.warned_at = Some(now);
        }
        may
    }
}

/// Makes a question due no later than `due`. If it is in flight, another follows it.
fn bring_forward(questions: &mut BTreeSet<(Duration, WatchKey)>, key: WatchKey, entry: &mut Entry, due: Duration) {
    match &mut entry.question {
        QuestionState::Due(at) if *at <= due => {}
        QuestionState::Due(at) => {
            questions.remove(&(*at, key));
            questions.insert((due, key));
            *at = due;
        }
        QuestionState::InFlight { asks_again } => *asks_again = true,
    }
}
