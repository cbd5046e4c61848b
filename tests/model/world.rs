//! Events outside the processes: servers restart and fail over, connections break, time passes.

use crate::{
    broken::Broken,
    process::{CheckAt, Process},
    protocol::Protocol,
    scenarios::With,
    set::Set,
    state::{Age, Entry, NODES, PAIR_OF_SIGN_IN, PAIRS, State, pairs_of},
    step,
};

/// An event. The scenario limits the number of faults, and not the passing of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum World {
    /// Redis restarts and has forgotten everything.
    RedisRestarts,
    /// Redis restarts from an old snapshot, or a replica takes over. It lacks the tombstone of pair
    /// 0 and has the active entry of the process before.
    RedisRestored,
    /// A replica takes over that lacks the tombstone. Then the former primary comes back with the
    /// replica's data and under its own name. In the protocol that is a restart, so only a broken
    /// protocol sees this event.
    RedisFailedBack,
    /// A node can no longer reach Redis.
    CutOff(u8),
    /// A node can reach Redis again.
    Reconnect(u8),
    /// The pause of the node's breaker is over.
    Retry(u8),
    /// The node writes the tombstones that it could not write before.
    WritePending(u8),
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
    FailOverKeeping,
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
pub(crate) fn events(protocol: &Protocol, state: &State, mut can: impl FnMut(World)) {
    let scenario = &protocol.scenario;
    if state.faults > 0 {
        faults(protocol, state, &mut can);
    }
    for node in 0..2 {
        let is = &state.nodes[usize::from(node)];
        if is.cut_off {
            can(World::Reconnect(node));
        }
        if is.breaker_open {
            can(World::Retry(node));
        }
        if !is.cut_off && !is.pending.is_empty() {
            can(World::WritePending(node));
        }
    }
    for pair in 0..=PAIR_OF_SIGN_IN {
        match state.redis.entries[usize::from(pair)] {
            Entry::Active(_) => can(World::EntryEnds(pair)),
            Entry::Tombstone if protocol.is_without(Broken::EvictTombstones) => can(World::TombstoneEvicted(pair)),
            Entry::Tombstone | Entry::Absent => {}
        }
    }
    if state.mongo.down {
        can(World::StoreBack);
    }
    if state.mongo.primary != state.mongo.majority || !state.writers.is_empty() {
        can(World::Replicate);
    }
    if state.mongo.deposed.is_some() {
        can(World::StepDown);
    }
    let closes = |session: &crate::state::Session| session.previous.is_some_and(|previous| previous.in_grace);
    if scenario.has(With::GraceEnds) && state.mongo.primary.sessions.iter().flatten().any(closes) {
        can(World::GraceEnds);
    }
    if scenario.has(With::Expiry) && state.age < Age::Over {
        can(World::Age);
    }
    let removable = if protocol.is_without(Broken::PurgeWithoutMargin) { Age::Leeway } else { Age::Over };
    if scenario.has(With::Expiry) && state.age >= removable && !state.history.purged {
        can(World::Purge);
    }
    if scenario.has(With::LocalCaches) && !state.history.lease_over && !state.history.told_anywhere().is_empty() {
        can(World::LeaseEnds);
    }
}

fn faults(protocol: &Protocol, state: &State, can: &mut impl FnMut(World)) {
    let scenario = &protocol.scenario;
    if scenario.has(With::RedisRestarts) {
        can(World::RedisRestarts);
        can(World::RedisRestored);
        if protocol.is_without(Broken::IdentifyByProcess) {
            can(World::RedisFailedBack);
        }
    }
    if scenario.has(With::RedisCutOff) {
        for node in (0..2).filter(|&node| !state.nodes[usize::from(node)].cut_off) {
            can(World::CutOff(node));
        }
    }
    if scenario.has(With::StoreGone) && !state.mongo.down {
        can(World::StoreGone);
    }
    // Without unacknowledged writes a failover changes nothing.
    if scenario.has(With::Failovers) && !state.writers.is_empty() {
        can(World::FailOver);
        can(World::FailOverRetrying);
        can(World::FailOverKeeping);
    }
    let can_be_asked = [With::DeposedAnswers, With::DeposedAlone].into_iter().any(|with| scenario.has(with));
    if (protocol.is_without(Broken::DeposedPrimaryAnswers) || can_be_asked) && state.mongo.deposed.is_none() {
        can(World::Depose);
    }
}

/// Applies the event to the state.
pub(crate) fn happen(state: &mut State, event: World) {
    match event {
        World::RedisRestarts => restart_redis(state, [Entry::Absent; PAIRS]),
        World::RedisRestored => {
            let mut entries = state.redis.entries;
            entries[0] = Entry::Active(state.redis.run);
            restart_redis(state, entries);
        }
        World::RedisFailedBack => {
            state.faults -= 1;
            *state.entry(0) = Entry::Active(state.redis.run);
        }
        World::CutOff(node) => {
            state.faults -= 1;
            state.node(node).cut_off = true;
        }
        World::Reconnect(node) => state.node(node).cut_off = false,
        World::Retry(node) => state.node(node).breaker_open = false,
        World::WritePending(node) => {
            let pending = std::mem::take(&mut state.node(node).pending);
            pending.iter().for_each(|pair| *state.entry(pair) = Entry::Tombstone);
        }
        World::EntryEnds(pair) | World::TombstoneEvicted(pair) => *state.entry(pair) = Entry::Absent,
        World::StoreGone => {
            state.faults -= 1;
            state.mongo.down = true;
        }
        World::StoreBack => state.mongo.down = false,
        World::Replicate => {
            state.mongo.majority = state.mongo.primary;
            state.writers.clear();
        }
        World::FailOver | World::FailOverRetrying => {
            state.mongo.primary = state.mongo.majority;
            state.history.forget_what_was_lost(&state.mongo.primary);
            fail_writers(state, event == World::FailOverRetrying);
        }
        World::FailOverKeeping => {
            state.mongo.majority = state.mongo.primary;
            fail_writers(state, false);
        }
        World::Depose => {
            state.faults -= 1;
            state.mongo.deposed = Some(state.mongo.primary);
        }
        World::StepDown => state.mongo.deposed = None,
        World::GraceEnds => {
            state.history.close_windows();
            let mongo = &mut state.mongo;
            for documents in [&mut mongo.primary, &mut mongo.majority].into_iter().chain(&mut mongo.deposed) {
                for previous in documents.sessions.iter_mut().flatten().filter_map(|session| session.previous.as_mut())
                {
                    previous.in_grace = false;
                }
            }
        }
        World::Age => state.age = if state.age == Age::Fresh { Age::Leeway } else { Age::Over },
        World::Purge => purge(state),
        World::LeaseEnds => end_leases(state),
    }
}

fn restart_redis(state: &mut State, entries: [Entry; PAIRS]) {
    state.faults -= 1;
    state.redis.run += 1;
    state.redis.entries = entries;
}

/// Ends the waiting writers with an error. The driver retries, once, a write of one document or an
/// insert.
fn fail_writers(state: &mut State, retry: bool) {
    state.faults -= 1;
    for (number, before) in std::mem::take(&mut state.writers) {
        if before.only_tidies() {
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
pub(crate) fn forget(state: &mut State, node: u8, sessions: Set) {
    for pair in pairs_of(sessions) {
        state.node(node).local[usize::from(pair)] = None;
        for process in &mut state.processes {
            if let Process::Check(check) = process
                && (check.node, check.token) == (node, pair)
                && check.at != CheckAt::Begin
            {
                check.noted = true;
            }
        }
    }
}
