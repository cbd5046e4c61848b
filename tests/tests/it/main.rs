//! Integration tests against real servers.

mod harness;
mod redis_cache;
