//! The protocol of `ARCHITECTURE.md` as a model, explored to its last state.
//!
//! Tests on real servers show that the laws hold in the races that happened. This shows it for the races that can happen: a
//! few calls run beside each other, each step of one may come between any two steps of another, and after each step servers
//! may restart, fail over or go away and processes may die. stateright visits every state that can be reached
//! so, and the laws ([`laws`]) are looked at in each.
//!
//! # What is modelled
//!
//! - A process ([`process`]) is one call of the library. It stands before its next read or write, and [`step`] does that one,
//!   in the order of `store::mongodb`, `cache::cached`, `cache::redis` and `authority`. What happens between two of them is
//!   nobody's business but the process's own, so that it needs no step.
//! - `MongoDB` ([`state::Mongo`]) has a primary that applies writes and a majority that follows. A writer waits for the majority.
//!   Reads are of the primary, and so of writes that may be lost with it. A failover loses what had not been replicated, or
//!   keeps it and loses the answers; either way who waited gets an error. A primary that was replaced may go on to answer the reads
//!   of one node: no refresh is the worse for that ([`DeposedAnswers`](scenarios::With::DeposedAnswers)), nor a revocation, and what a check is,
//!   the bounds say.
//! - Redis ([`state::Redis`]) runs one command after the other. It restarts empty, or with an old snapshot; nodes lose sight of it.
//! - A node ([`state::Node`]) has its breaker, the tombstones it owes and, where switched on, a cache of its own.
//! - The world ([`world`]) is everything that happens to those: faults, a few, and time.
//!
//! # What is left out, and why that proves no less
//!
//! - **Time** is a choice: what a time limit or a lease ends may end at any moment, but for the two bounds that laws speak
//!   of. The lease is over for all entries that are older than the revocation at once, and a record is removed only when no
//!   node accepts its token. Everything that clocks can do within their bounds is among the choices.
//! - **Signatures, claims and garbage** cannot race. What a forged token costs the stores is the reads of a check, and the fill of a
//!   cache that had nothing: steps of a check, and modelled there. No store of record writes on its word.
//! - **A call that its caller gave up** goes on, as a process whose answer nobody hears.
//! - **The nodes are not interchangeable** in a scenario, so that no symmetry is used.
//! - **One user, two sessions.** Calls of different users share no document, no key and no entry.
//! - **Faults** are limited to one or two: each scenario says of which kind. More of the same kind lead to the same steps.
//!
//! # What is left out, and stays unproved
//!
//! - **A sweep** of many documents (`update_many`) is one step.
//! - **A deposed primary** is asked by refreshes, by revocations of a session and of all ([`DeposedAlone`](scenarios::With::DeposedAlone)), and by
//!   checks where that is to break a law ([`DeposedPrimaryAnswers`](broken::Broken::DeposedPrimaryAnswers)); never by a sign-in, nor by the
//!   revocation of one token.
//! - **The nodes' own caches** meet a Redis that is cut off, and no restart of it, failover, crash, refresh or revoke-all.
//! - **A change of password** meets crashes, and no failover.
//! - **Law 6** has a property for what was purged, which the scenario of expiry alone can break. What a fill, a restart or a failover
//!   brings back breaks law 1, 4 or 5.
//!
//! # What it demands
//!
//! Three rules came out of the model, not into it: the code had not got them, and got them when a trace showed how a law breaks:
//!
//! - A revocation buries access tokens until no node accepts them any more, which is later than their `exp`
//!   ([`PassOverLeeway`](broken::Broken::PassOverLeeway)).
//! - A pair is repeated only once its commit is known to be held by a majority: the primary that says so may be lost, and the
//!   pair with it ([`RepeatUnconfirmed`](broken::Broken::RepeatUnconfirmed)).
//! - The fence of a sign-in is read from what a majority holds: an epoch that is lost is counted up to once more
//!   ([`FenceReadLocally`](broken::Broken::FenceReadLocally)).
//!
//! # How it can fail
//!
//! [`broken`] takes one rule away, and [`counterexamples`] demands that a law is broken then. So the laws are not true for
//! want of something that could break them, and every rule is there for a reason that can be replayed.

mod broken;
mod counterexamples;
mod exhaustive;
mod laws;
mod process;
mod protocol;
mod scenarios;
mod set;
mod state;
mod step;
mod world;
