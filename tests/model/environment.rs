//! The environment of the processes and its events: servers restart and fail over, connections
//! break, time passes.

use crate::{
    mutation::Mutation,
    process::{CheckAt, CheckDenied, CheckDeniedAt, Deny, DenyAt, Process},
    protocol::Protocol,
    scenarios::Condition,
    set::Set,
    state::{Age, DenialEntry, NODES, PAIR_OF_SIGN_IN, PAIRS, Redis, RedisEntry, State, pairs_of},
    step,
};

/// An event. The scenario limits the number of faults, and not the passing of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Redis restarts and has forgotten everything.
    RedisRestarts,
    /// Redis restarts from an old snapshot, or a replica takes over. It lacks the tombstone of pair
    /// 0 and has the active entry of the process before. It has the subject as not denied.
    RedisRestored,
    /// A replica takes over that lacks the tombstone. Then the former primary comes back with the
    /// replica's data and under its own name. In the protocol that is a restart, so only a mutation
    /// sees this event.
    RedisFailedBack,
    /// A node can no longer reach Redis.
    CutOff(u8),
    /// A node can reach Redis again.
    Reconnect(u8),
    /// The pause of the node's breaker is over.
    Retry(u8),
    /// The node writes the tombstones that it could not write before.
    WritePending(u8),
    /// The node tells Redis of the denial that it could not tell before: it asks the server, reads
    /// the store and writes the entry.
    TellDenial(u8),
    /// The entry of a denial ends, or is evicted.
    DenialEnds,
    /// An active entry expires, or is evicted.
    EntryEnds(u8),
    /// A tombstone is evicted.
    TombstoneEvicted(u8),
    /// `MongoDB` cannot be reached.
    StoreGone,
    /// MongoDB can be reached again.
    StoreBack,
    /// A majority catches up with the primary, and every writer gets its answer.
    Replicate,
    /// The primary is lost with its unreplicated writes. Waiting writers get an error.
    FailOver,
    /// The primary is lost with its unreplicated writes, and the driver retries the writes that it
    /// may retry.
    FailOverRetrying,
    /// The primary is lost. Its writes were replicated, and only the answers are lost.
    FailOverKeepingWrites,
    /// The primary is replaced, and goes on answering reads.
    Depose,
    /// The deposed primary notices and steps down.
    StepDown,
    /// The grace window of the session's last rotation closes.
    GraceEnds,
    /// The tokens of pair 0 grow older.
    Age,
    /// The records of pair 0 are removed, and its session if it ends with that pair.
    Purge,
    /// A lease has passed since the first revocation returned success.
    LeaseEnds,
}

/// Calls `can` with each event that is possible in this state.
pub(crate) fn possible_events(protocol: &Protocol, state: &State, mut can: impl FnMut(Event)) {
    let scenario = &protocol.scenario;
    if state.faults > 0 {
        possible_faults(protocol, state, &mut can);
    }
    for node in 0..2 {
        let is = &state.nodes[usize::from(node)];
        if is.cut_off {
            can(Event::Reconnect(node));
        }
        if is.breaker_open {
            can(Event::Retry(node));
        }
        if !is.cut_off && !is.pending.is_empty() {
            can(Event::WritePending(node));
        }
        if !is.cut_off && !state.mongo.down && is.pending_denial > 0 {
            can(Event::TellDenial(node));
        }
    }
    let is_needed = may_hide_a_denial(state) && !protocol.has_mutation(Mutation::EndDenialEntriesEarly);
    if state.redis.denial != DenialEntry::Absent && !is_needed {
        can(Event::DenialEnds);
    }
    for pair in 0..=PAIR_OF_SIGN_IN {
        match state.redis.entries[usize::from(pair)] {
            RedisEntry::Active(_) => can(Event::EntryEnds(pair)),
            RedisEntry::Tombstone if protocol.has_mutation(Mutation::EvictTombstones) => {
                can(Event::TombstoneEvicted(pair));
            }
            RedisEntry::Tombstone | RedisEntry::Absent => {}
        }
    }
    if state.mongo.down {
        can(Event::StoreBack);
    }
    if state.mongo.primary != state.mongo.majority || !state.writers.is_empty() {
        can(Event::Replicate);
    }
    if state.mongo.deposed.is_some() {
        can(Event::StepDown);
    }
    let closes = |session: &crate::state::Session| session.previous.is_some_and(|previous| previous.in_grace);
    if scenario.has(Condition::GraceEnds) && state.mongo.primary.sessions.iter().flatten().any(closes) {
        can(Event::GraceEnds);
    }
    if scenario.has(Condition::Expiry) && state.age < Age::Over {
        can(Event::Age);
    }
    let removable = if protocol.has_mutation(Mutation::PurgeWithoutMargin) { Age::Leeway } else { Age::Over };
    if scenario.has(Condition::Expiry) && state.age >= removable && !state.history.purged {
        can(Event::Purge);
    }
    if scenario.has(Condition::LocalCaches)
        && !state.history.lease_over
        && !state.history.acknowledged_anywhere().is_empty()
    {
        can(Event::LeaseEnds);
    }
}

/// Returns whether a write is under way that was read before the entry of a denial. The entry lives
/// longer than such a write may take.
fn may_hide_a_denial(state: &State) -> bool {
    let held = state.redis.denial.denied();
    state.processes.iter().any(|process| match *process {
        Process::CheckDenied(CheckDenied { at: CheckDeniedAt::Fill { denied, .. }, .. })
        | Process::Deny(Deny { at: DenyAt::Put { denied, .. }, .. }) => denied < held,
        _ => false,
    })
}

/// Calls `can` with each fault that is possible in this state.
fn possible_faults(protocol: &Protocol, state: &State, can: &mut impl FnMut(Event)) {
    let scenario = &protocol.scenario;
    if scenario.has(Condition::RedisRestarts) {
        can(Event::RedisRestarts);
        can(Event::RedisRestored);
        if protocol.has_mutation(Mutation::IdentifyByProcess) {
            can(Event::RedisFailedBack);
        }
    }
    if scenario.has(Condition::RedisCutOff) {
        for node in (0..2).filter(|&node| !state.nodes[usize::from(node)].cut_off) {
            can(Event::CutOff(node));
        }
    }
    if scenario.has(Condition::StoreGone) && !state.mongo.down {
        can(Event::StoreGone);
    }
    // Without unacknowledged writes a failover changes nothing.
    if scenario.has(Condition::Failovers) && !state.writers.is_empty() {
        can(Event::FailOver);
        can(Event::FailOverRetrying);
        can(Event::FailOverKeepingWrites);
    }
    let may_be_deposed =
        [Condition::DeposedAnswers, Condition::DeposedAlone].into_iter().any(|condition| scenario.has(condition));
    if (protocol.has_mutation(Mutation::DeposedPrimaryAnswers) || may_be_deposed) && state.mongo.deposed.is_none() {
        can(Event::Depose);
    }
}

/// Applies the event to the state.
pub(crate) fn apply(state: &mut State, event: Event) {
    match event {
        Event::RedisRestarts => restart_redis(state, [RedisEntry::Absent; PAIRS], DenialEntry::Absent),
        Event::RedisRestored => {
            let mut entries = state.redis.entries;
            entries[0] = RedisEntry::Active(state.redis.run);
            let denial = match state.redis.denial {
                DenialEntry::Absent => DenialEntry::Absent,
                DenialEntry::Known { taken_by, .. } => DenialEntry::Known { denied: 0, taken_by },
            };
            restart_redis(state, entries, denial);
        }
        Event::RedisFailedBack => {
            state.faults -= 1;
            *state.entry(0) = RedisEntry::Active(state.redis.run);
        }
        Event::CutOff(node) => {
            state.faults -= 1;
            state.node(node).cut_off = true;
        }
        Event::Reconnect(node) => state.node(node).cut_off = false,
        Event::Retry(node) => state.node(node).breaker_open = false,
        Event::WritePending(node) => {
            let pending = std::mem::take(&mut state.node(node).pending);
            pending.iter().for_each(|pair| *state.entry(pair) = RedisEntry::Tombstone);
        }
        Event::TellDenial(node) => {
            let pending = std::mem::take(&mut state.node(node).pending_denial);
            let read = state.mongo.read_on(node).denied;
            let denied = pending.max(read).max(state.redis.denial.denied());
            state.redis.denial = DenialEntry::Known { denied, taken_by: state.redis.run };
        }
        Event::DenialEnds => state.redis.denial = DenialEntry::Absent,
        Event::EntryEnds(pair) | Event::TombstoneEvicted(pair) => *state.entry(pair) = RedisEntry::Absent,
        Event::StoreGone => {
            state.faults -= 1;
            state.mongo.down = true;
        }
        Event::StoreBack => state.mongo.down = false,
        Event::Replicate => {
            state.mongo.majority = state.mongo.primary;
            state.writers.clear();
        }
        Event::FailOver | Event::FailOverRetrying => {
            state.mongo.primary = state.mongo.majority;
            state.history.forget_lost_commits(&state.mongo.primary);
            fail_writers(state, event == Event::FailOverRetrying);
        }
        Event::FailOverKeepingWrites => {
            state.mongo.majority = state.mongo.primary;
            fail_writers(state, false);
        }
        Event::Depose => {
            state.faults -= 1;
            state.mongo.deposed = Some(state.mongo.primary);
        }
        Event::StepDown => state.mongo.deposed = None,
        Event::GraceEnds => {
            state.history.close_windows();
            let mongo = &mut state.mongo;
            for documents in [&mut mongo.primary, &mut mongo.majority].into_iter().chain(&mut mongo.deposed) {
                for previous in documents.sessions.iter_mut().flatten().filter_map(|session| session.previous.as_mut())
                {
                    previous.in_grace = false;
                }
            }
        }
        Event::Age => state.age = if state.age == Age::Fresh { Age::Leeway } else { Age::Over },
        Event::Purge => purge(state),
        Event::LeaseEnds => end_leases(state),
    }
}

/// Replaces Redis by a server with these entries.
fn restart_redis(state: &mut State, entries: [RedisEntry; PAIRS], denial: DenialEntry) {
    state.faults -= 1;
    state.redis = Redis { run: state.redis.run + 1, entries, denial };
}

/// Ends the waiting writers with an error. The driver retries, once, a write of one document or an
/// insert.
fn fail_writers(state: &mut State, retry: bool) {
    state.faults -= 1;
    for (number, before) in std::mem::take(&mut state.writers) {
        if before.only_cleans_up() {
            continue;
        }
        if retry && before.writes_one_document() {
            state.processes[usize::from(number)] = before;
        } else {
            step::fail(state, number);
        }
    }
}

/// Removes records that expired long enough ago. The session goes with its newest refresh token.
fn purge(state: &mut State) {
    state.history.purged = true;
    for documents in [&mut state.mongo.primary, &mut state.mongo.majority] {
        documents.remove_pair(0);
        if documents.sessions[0].is_some_and(|session| session.current == 0) {
            documents.sessions[0] = None;
        }
    }
}

/// Ends the lease of entries dated before the revocation returned. Entries of checks that began
/// before it are past their lease when they come.
fn end_leases(state: &mut State) {
    state.history.lease_over = true;
    for node in 0..NODES {
        for entry in &mut state.nodes[node].local {
            *entry = entry.filter(|entry| entry.after_revocation);
        }
    }
}

/// Drops these sessions from a node's own cache when a revocation ends there, with success or not.
pub(crate) fn drop_local_entries(state: &mut State, node: u8, sessions: Set) {
    for pair in pairs_of(sessions) {
        state.node(node).local[usize::from(pair)] = None;
        for process in &mut state.processes {
            if let Process::Check(check) = process
                && (check.node, check.token) == (node, pair)
                && check.at != CheckAt::Begin
            {
                check.revoked_meanwhile = true;
            }
        }
    }
}
