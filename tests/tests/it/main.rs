//! Integration tests against real servers.
//!
//! [`fleet`] starts nodes for the other modules, and [`ledger`] reads what MongoDB holds.

mod audit;
mod clients;
mod clocks;
mod commands;
mod conformance;
mod denials;
mod deploy;
mod docs;
mod documents;
mod examples;
mod failover;
mod fleet;
mod grpc;
mod harness;
mod issuers;
mod kill_nine;
mod ledger;
mod life;
mod lookups;
mod memory;
mod metrics;
#[expect(dead_code, reason = "other tests use its other kinds of key")]
#[path = "../../../auth-layer/tests/support/minter.rs"]
mod minter;
mod news;
mod oauth;
mod outage;
#[path = "../../../auth-layer/tests/support/prover.rs"]
mod prover;
mod races;
mod redis_cache;
mod rotation;
mod settings;
mod slow;
mod standards;
mod steps;
mod streams;
mod tls;
mod used_once;
mod users;
#[path = "../../../auth-layer/tests/support/vendors.rs"]
mod vendors;
