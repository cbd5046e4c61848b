//! What the values of flags may be. No error repeats a value: it may be a secret.

use std::{net::SocketAddr, num::NonZero, ops::RangeInclusive, time::Duration};

use secrecy::SecretString;

use super::Client;

const DAY: Duration = Duration::from_hours(24);

/// As `humantime` counts it.
const TEN_YEARS: Duration = Duration::from_hours(10 * 8_766);

/// `15m`, `30d`, `500ms`, `0`, within limits; `limits` says which.
fn duration(text: &str, allowed: RangeInclusive<Duration>, limits: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if allowed.contains(&duration) { Ok(duration) } else { Err(limits.to_owned()) }
}

/// A duration of whole seconds: tokens count in seconds.
pub(super) fn lifetime(text: &str) -> Result<Duration, String> {
    let lifetime = duration(text, Duration::from_secs(1)..=TEN_YEARS, "a lifetime is 1s to 10years")?;
    if lifetime.subsec_nanos() != 0 {
        return Err("a lifetime is a whole number of seconds".into());
    }
    Ok(lifetime)
}

/// Redis counts in milliseconds. By hand in MongoDB a revocation takes effect after this time.
pub(super) fn redis_ttl(text: &str) -> Result<Duration, String> {
    duration(text, Duration::from_millis(1)..=DAY, "it is 1ms to 1day; for none leave --redis-url out")
}

pub(super) fn publish_delay(text: &str) -> Result<Duration, String> {
    duration(text, Duration::ZERO..=30 * DAY, "it is 30days at most")
}

/// So long a stolen token that was used already gets an answer.
pub(super) fn grace(text: &str) -> Result<Duration, String> {
    duration(text, Duration::ZERO..=DAY, "it is 1day at most, and 0 for never")
}

/// So long a node that is cut off from its stores may accept a revoked token.
pub(super) fn lease(text: &str) -> Result<Duration, String> {
    duration(text, Duration::ZERO..=Duration::from_hours(1), "it is 1h at most, and 0 for none")
}

pub(super) fn sessions(text: &str) -> Result<NonZero<usize>, &'static str> {
    text.parse().map_err(|_| "it is a number of sessions, 1 at least")
}

/// Any text but none.
pub(super) fn text(text: &str) -> Result<String, &'static str> {
    if text.trim().is_empty() { Err("it is empty") } else { Ok(text.to_owned()) }
}

pub(super) fn secret(value: &str) -> Result<SecretString, &'static str> {
    text(value).map(SecretString::from)
}

/// What a database of MongoDB may be called.
pub(super) fn database(name: &str) -> Result<String, &'static str> {
    text(name)?;
    if name.len() > 63 {
        return Err("a database's name has 63 bytes at most");
    }
    if name.contains(['/', '\\', '.', ' ', '"', '$', '*', '<', '>', ':', '|', '?', '\0']) {
        return Err("a database's name holds no space, no dot and none of / \\ \" $ * < > : | ?");
    }
    if ["admin", "config", "local"].contains(&name) {
        return Err("admin, config and local are MongoDB's own databases");
    }
    Ok(name.to_owned())
}

/// `HOST:PORT`; whether there is such a host is seen when it is listened on.
pub(super) fn listen(text: &str) -> Result<String, &'static str> {
    const FORM: &str = "an address is written HOST:PORT, for instance 127.0.0.1:3000, localhost:3000 or [::1]:3000";
    let is_name = |host: &str| !host.is_empty() && !host.contains(['[', ']', ':', '/', '@']);
    let is_named = text.rsplit_once(':').is_some_and(|(host, port)| is_name(host) && port.parse::<u16>().is_ok());
    if is_named || text.parse::<SocketAddr>().is_ok() { Ok(text.to_owned()) } else { Err(FORM) }
}

pub(super) fn client(text: &str) -> Result<Client, &'static str> {
    match text.split_once(':') {
        Some((id, secret)) if !id.is_empty() && !secret.is_empty() => {
            Ok(Client { id: id.to_owned(), secret: secret.to_owned().into() })
        }
        _ => Err("a client is written id:secret, and neither holds a comma"),
    }
}
