//! Integration tests against real servers.

mod books;
mod clocks;
mod conformance;
mod documents;
mod failover;
mod fleet;
mod grpc;
mod harness;
mod kill_nine;
mod life;
mod lookups;
mod memory;
mod outage;
mod push;
mod races;
mod redis_cache;
mod settings;
mod slow;
mod steps;
mod users;
