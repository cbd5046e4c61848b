//! The protocol of `ARCHITECTURE.md` as a model, explored to its last state.
//!
//! Tests on real servers show that the laws hold in the races that happened. The model shows it for
//! the races that can happen. A few calls run side by side, and each step of one may come between
//! any two steps of another. After each step servers may restart, fail over or go away, and
//! processes may die. stateright visits every reachable state and checks the laws ([`laws`]) in
//! each.
//!
//! # What is modelled
//!
//! - A process ([`process`]) is one call of the library. It stands before its next read or write.
//!   [`step`] does that one, in the order of `store::mongodb`, `cache::cached`, `cache::redis` and
//!   `authority`. Work between two reads or writes concerns the process alone, so it needs no step.
//! - MongoDB ([`state::Mongo`]) has a primary that applies writes and a majority that follows. A
//!   writer waits for the majority. Reads go to the primary, so they may return writes that are
//!   lost with it. A failover loses unreplicated writes, or keeps them and loses the answers. In
//!   both cases the waiting writer gets an error. A deposed primary may go on answering the reads
//!   of one node. Refreshes survive that
//!   ([`DeposedAnswers`](scenarios::Condition::DeposedAnswers)), and so do revocations;
//!   `ARCHITECTURE.md` states the bound for checks.
//! - Redis ([`state::Redis`]) runs one command after the other. It restarts empty or with an old
//!   snapshot, and nodes lose their connection to it.
//! - A node ([`state::Node`]) has a breaker, the tombstones that it still has to write and, where
//!   switched on, a cache of its own.
//! - The environment ([`environment`]) is everything that happens to them: a few faults, and time.
//!
//! # What is left out, and why that proves no less
//!
//! - **Time** is a choice: a time limit or a lease may end at any moment, except for the two bounds
//!   that laws state. The lease ends at once for all entries that are older than the revocation. A
//!   record is removed only when no node accepts its token. The choices include everything that
//!   clocks can do within their bounds.
//! - **Signatures, claims and garbage** cannot race. A forged token costs the stores the reads of a
//!   check and the fill of an empty cache. Both are steps of a check and are modelled there. No
//!   forged token causes a write to a store of record.
//! - **A call whose caller gave up** goes on, as a process whose answer nobody hears.
//! - **Symmetry** is not used: the nodes of a scenario are not interchangeable.
//! - **One user, two sessions.** Calls of different users share no document, no key and no entry.
//! - **Faults** are limited to one or two, of the kinds that a scenario names. More of the same
//!   kind lead to the same steps.
//!
//! # What is left out, and stays unproved
//!
//! - **A sweep** of many documents (`update_many`) is one step.
//! - **A deposed primary** answers refreshes, and revocations of a session and of all
//!   ([`DeposedAlone`](scenarios::Condition::DeposedAlone)). It answers checks only to break a law
//!   ([`DeposedPrimaryAnswers`](mutation::Mutation::DeposedPrimaryAnswers)). It never answers a
//!   sign-in or the revocation of one token.
//! - **The nodes' own caches** meet a Redis that is cut off. They meet no restart of Redis,
//!   failover, crash, refresh or revoke-all.
//! - **A change of password** meets crashes and no failover.
//! - **Denials** have one key. They meet no deposed primary and no cache in the node. Telling Redis
//!   later is one step.
//! - **Law 6** has a property for purged tokens, which only the scenario of expiry can break. A
//!   token that a fill, a restart or a failover brings back breaks law 1, 4 or 5.
//!
//! # What it demands
//!
//! Three rules came out of the model. The code lacked them until a trace showed how a law breaks:
//!
//! - A revocation puts tombstones for access tokens until no node accepts them, which is later than
//!   their `exp` ([`SkipTokensInLeeway`](mutation::Mutation::SkipTokensInLeeway)).
//! - A pair is returned again only when a majority holds its commit. Otherwise the primary may be
//!   lost, and the pair with it
//!   ([`RepeatUnconfirmedPair`](mutation::Mutation::RepeatUnconfirmedPair)).
//! - A sign-in reads the fence that a majority holds. An epoch that is lost is reached a second
//!   time ([`ReadFenceLocally`](mutation::Mutation::ReadFenceLocally)).
//!
//! # How it can fail
//!
//! Each [`mutation`] takes one rule away, and [`counterexamples`] demands that a law breaks then.
//! So the model can break each law, and each rule has a reason that can be replayed.

mod counterexamples;
mod environment;
mod exhaustive;
mod laws;
mod mutation;
mod process;
mod protocol;
mod scenarios;
mod set;
mod state;
mod step;
