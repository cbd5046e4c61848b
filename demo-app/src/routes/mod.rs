//! The HTTP handlers, by topic.

pub(crate) mod account;
pub(crate) mod admin;
pub(crate) mod credentials;
pub(crate) mod events;
pub(crate) mod health;
pub(crate) mod oauth;
pub(crate) mod proof;
mod renewal;
pub(crate) mod session;
pub(crate) mod signed_in;
pub(crate) mod single_use;
pub(crate) mod transport;

use http::{HeaderName, header};

/// The headers that forbid caching (RFC 6749 §5.1).
const NO_STORE: [(HeaderName, &str); 2] = [(header::CACHE_CONTROL, "no-store"), (header::PRAGMA, "no-cache")];
