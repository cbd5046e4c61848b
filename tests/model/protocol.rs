//! The model: the possible steps, and who takes them.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use stateright::{Model, Property};

use crate::{
    environment::{self, Event},
    laws::{always, broken_by_refusal, sometimes},
    mutation::Mutation,
    process::{Outcome, Process},
    scenarios::{Condition, Scenario},
    state::{Age, History, Mongo, NODES, Node, Record, Redis, SINGLE_USE, State},
    step,
};

/// A scenario under the protocol, or under the protocol without one rule.
#[derive(Debug)]
pub(crate) struct Protocol {
    pub(crate) scenario: Scenario,
    /// The rule that is left out.
    pub(crate) mutation: Option<Mutation>,
    /// The points at which a process has died, as numbered by [`crash_point`].
    crashes: AtomicU64,
}

/// One atomic step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// The process with this number does its next read or write.
    Step(u8),
    /// The process with this number dies.
    Crash(u8),
    /// Something happens in the environment.
    Environment(Event),
}

impl Protocol {
    /// Creates the model of a scenario.
    pub(crate) fn new(scenario: Scenario, mutation: Option<Mutation>) -> Self {
        Self { scenario, mutation, crashes: AtomicU64::new(0) }
    }

    /// Returns whether this mutation is in force.
    pub(crate) fn has_mutation(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    /// Returns the points at which processes have died, one bit each.
    pub(crate) fn crash_points(&self) -> u64 {
        self.crashes.load(Ordering::Relaxed)
    }
}

/// Numbers the place of a process before its next read or write. Every step of every operation has
/// its own number.
pub(crate) const fn crash_point(process: Process) -> u32 {
    use crate::process::{ConsumeAt, DenyAt, IssueAt, RefreshAt, RevocationCause, RevokeAt, SignInAt};
    match process {
        Process::Check(_) | Process::CheckDenied(_) | Process::Ended(_) => 0,
        Process::Refresh(refresh) => match refresh.at {
            RefreshAt::Begin | RefreshAt::Again => 1,
            RefreshAt::InsertRecords => 2,
            RefreshAt::Commit => 3,
            RefreshAt::RemoveRecords => 4,
            RefreshAt::Confirm(_) => 5,
            RefreshAt::Deliver(_) => 6,
            RefreshAt::MarkDelivered(_) => 7,
            RefreshAt::RevokeForReuse(_) => 8,
        },
        Process::Revoke(revoke) => {
            let at = match revoke.at {
                RevokeAt::Password => 0,
                RevokeAt::Token => 1,
                RevokeAt::Commit => 2,
                RevokeAt::MarkSessions => 3,
                RevokeAt::ListSessions => 4,
                RevokeAt::SpareNewSessions => 5,
                RevokeAt::Sweep => 6,
                RevokeAt::ListAccessTokens => 7,
                RevokeAt::PutTombstones(_) => 8,
                RevokeAt::Return => 9,
            };
            // Different writes revoke a session, a user, and a session for reuse.
            at + match revoke.cause {
                RevocationCause::Session
                | RevocationCause::NewSession
                | RevocationCause::RefreshToken
                | RevocationCause::AccessToken
                | RevocationCause::Finish
                | RevocationCause::ResumeSession => 10,
                RevocationCause::User
                | RevocationCause::Password
                | RevocationCause::Disable
                | RevocationCause::ResumeUser => 20,
                RevocationCause::Reuse => 30,
            }
        }
        Process::SignIn(sign_in) => match sign_in.at {
            SignInAt::Begin => 40,
            SignInAt::Password => 41,
            SignInAt::Session => 42,
            SignInAt::Tokens => 43,
            SignInAt::Fence => 44,
            SignInAt::Open => 45,
            SignInAt::Deliver => 46,
            SignInAt::Undo => 47,
            SignInAt::UndoTokens => 48,
        },
        Process::IssueSingleUse(at) => match at {
            IssueAt::InsertRecord => 49,
            IssueAt::Commit => 50,
            IssueAt::Deliver => 51,
            IssueAt::RemoveRecord => 52,
        },
        Process::Consume(consume) => match consume.at {
            ConsumeAt::Begin => 53,
            ConsumeAt::Set => 54,
            ConsumeAt::Answer => 55,
        },
        Process::Deny(deny) => match deny.at {
            DenyAt::Record => 56,
            DenyAt::AskRedis => 57,
            DenyAt::Read(_) => 58,
            DenyAt::Put { .. } => 59,
        },
    }
}

/// Returns the points between two steps of one operation, where a process may die with its work
/// half done.
pub(crate) fn points_between_steps() -> u64 {
    let refresh = 1..=8;
    let sessions = [12, 16, 17, 18, 19];
    let users = 22..=29;
    let reuses = 36..=39;
    let sign_in = 41..=48;
    let issue = 50..=52;
    let consume = [55];
    let deny = 57..=59;
    let points =
        refresh.chain(sessions).chain(users).chain(reuses).chain(sign_in).chain(issue).chain(consume).chain(deny);
    points.fold(0, |set, point: u32| set | 1 << point)
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let documents = self.scenario.documents;
        let begun = documents.sessions.iter().zip(0..).filter(|(session, _)| session.is_some());
        let begun = begun.map(|(_, number)| number).collect();
        let single_use = (documents.single_use == Record::Active).then_some(SINGLE_USE);
        let delivered = [0].into_iter().chain(single_use).collect();
        let history = History { begun, delivered, ..History::default() };
        vec![State {
            mongo: Mongo { primary: documents, majority: documents, ..Mongo::default() },
            redis: Redis::default(),
            nodes: [Node::default(); NODES],
            age: Age::Fresh,
            processes: self.scenario.processes.clone(),
            writers: BTreeMap::new(),
            faults: self.scenario.faults,
            history,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (process, number) in state.processes.iter().zip(0..) {
            if matches!(process, Process::Ended(_)) {
                continue;
            }
            if !state.writers.contains_key(&number) && process.can_begin(state) {
                actions.push(Action::Step(number));
            }
            let is_check = matches!(process, Process::Check(_) | Process::CheckDenied(_));
            if self.scenario.has(Condition::Crashes) && process.is_under_way() && !is_check {
                actions.push(Action::Crash(number));
            }
        }
        environment::possible_events(self, state, |event| actions.push(Action::Environment(event)));
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Step(number) => step::step(self, &mut state, number),
            Action::Crash(number) => {
                let process = &mut state.processes[usize::from(number)];
                self.crashes.fetch_or(1_u64 << crash_point(*process), Ordering::Relaxed);
                *process = Process::Ended(Outcome::Crashed);
                state.writers.remove(&number);
            }
            Action::Environment(event) => environment::apply(&mut state, event),
        }
        for (before, after) in last.processes.iter().zip(&state.processes) {
            if let (Process::Refresh(refresh), Process::Ended(Outcome::Refused)) = (before, after)
                && let Some(law) = broken_by_refusal(last, *refresh)
            {
                state.history.record_broken(law);
            }
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = always();
        if self.mutation.is_none() {
            properties.extend(self.scenario.sometimes.iter().map(|&name| sometimes(name)));
        }
        properties
    }
}
