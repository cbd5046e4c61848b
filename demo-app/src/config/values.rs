//! Parses and checks the values of flags. No error repeats a value, which may be a secret.

use std::{
    net::{IpAddr, SocketAddr},
    num::NonZero,
    ops::RangeInclusive,
    time::Duration,
};

use auth_layer::{dpop::Origin, oauth::AuthorizationServer};
use http::Uri;
use ipnet::{IpNet, Ipv4Net};
use secrecy::SecretString;

use super::Client;
use crate::clients::check_client_id;

const DAY: Duration = Duration::from_hours(24);

/// Ten years as `humantime` counts them.
const TEN_YEARS: Duration = Duration::from_hours(10 * 8_766);

/// Parses `15m`, `30d`, `500ms` or `0` and checks the limits; `limits` is the error text.
fn duration(text: &str, allowed: RangeInclusive<Duration>, limits: &str) -> Result<Duration, String> {
    let duration =
        humantime::parse_duration(text).map_err(|error| format!("{error}; use for instance 15m, 30d or 500ms"))?;
    if allowed.contains(&duration) { Ok(duration) } else { Err(limits.to_owned()) }
}

/// Parses a lifetime in whole seconds, the unit of a token's times.
pub(super) fn lifetime(text: &str) -> Result<Duration, String> {
    let lifetime = duration(text, Duration::from_secs(1)..=TEN_YEARS, "use 1s to 10years, for instance 15m")?;
    if lifetime.subsec_nanos() != 0 {
        return Err("use whole seconds, for instance 90s".into());
    }
    Ok(lifetime)
}

/// Parses the Redis TTL; Redis counts in milliseconds. A revocation by hand in MongoDB takes effect
/// after this time.
pub(super) fn redis_ttl(text: &str) -> Result<Duration, String> {
    duration(text, Duration::from_millis(1)..=DAY, "use 1ms to 1day; to run without Redis, omit --redis-url")
}

pub(super) fn publish_delay(text: &str) -> Result<Duration, String> {
    duration(text, Duration::ZERO..=30 * DAY, "use 0 to 30days")
}

/// Parses the grace window. A stolen refresh token that was already used gets an answer within it.
pub(super) fn grace(text: &str) -> Result<Duration, String> {
    duration(text, Duration::ZERO..=DAY, "use 0 (off) to 1day")
}

/// Parses the lease. A node that is cut off from its stores may accept a revoked token within it.
pub(super) fn lease(text: &str) -> Result<Duration, String> {
    duration(text, Duration::ZERO..=Duration::from_hours(1), "use 0 (off) to 1h")
}

pub(super) fn sessions(text: &str) -> Result<NonZero<usize>, &'static str> {
    text.parse().map_err(|_| "use a whole number, at least 1")
}

/// Parses a number of MiB and returns it in bytes.
pub(super) fn mebibytes(text: &str) -> Result<usize, &'static str> {
    let mebibytes: Option<NonZero<usize>> = text.parse().ok();
    mebibytes.and_then(|count| count.get().checked_mul(1 << 20)).ok_or("use a whole number of MiB, at least 1")
}

/// Accepts any text that is not blank.
pub(super) fn text(text: &str) -> Result<String, &'static str> {
    if text.trim().is_empty() {
        Err("must not be empty; give a value or omit the setting")
    } else {
        Ok(text.to_owned())
    }
}

/// Accepts the URL of an issuer. Plain http is for networks that nobody else reads.
pub(super) fn issuer(url: &str) -> Result<String, &'static str> {
    text(url)?;
    match AuthorizationServer::danger_without_tls(url) {
        Ok(_) => Ok(url.to_owned()),
        Err(_) => {
            Err("use an https URL in lower case, such as https://auth.example, without user name, query and fragment")
        }
    }
}

/// Accepts an origin as browsers write it, in normal form afterwards (RFC 6454 §6.2).
pub(super) fn origin(text: &str) -> Result<Origin, &'static str> {
    if text.contains('*') {
        return Err("name each origin; any page could otherwise use the tokens that it has");
    }
    let is_bare = text.split_once("://").is_some_and(|(_, rest)| !rest.contains(['/', '?', '#']));
    let origin = text.parse().ok().filter(|_| is_bare);
    origin.ok_or("use scheme, host and port alone, for instance https://app.example or http://127.0.0.1:5173")
}

pub(super) fn secret(value: &str) -> Result<SecretString, &'static str> {
    text(value).map(SecretString::from)
}

/// Accepts the names that MongoDB allows for a database.
pub(super) fn database(name: &str) -> Result<String, &'static str> {
    text(name)?;
    if name.len() > 63 {
        return Err("use a name of at most 63 bytes");
    }
    if name.contains(['/', '\\', '.', ' ', '"', '$', '*', '<', '>', ':', '|', '?', '\0']) {
        return Err("must not contain a space, a dot or any of / \\ \" $ * < > : | ?");
    }
    if ["admin", "config", "local"].contains(&name) {
        return Err("admin, config and local belong to MongoDB; use another name");
    }
    Ok(name.to_owned())
}

/// Accepts `HOST:PORT`. The host is looked up later, when the server binds.
pub(super) fn listen(text: &str) -> Result<String, &'static str> {
    const FORM: &str = "use HOST:PORT, for instance 127.0.0.1:3000, localhost:3000 or [::1]:3000";
    let is_name = |host: &str| !host.is_empty() && !host.contains(['[', ']', ':', '/', '@']);
    let is_named = text.rsplit_once(':').is_some_and(|(host, port)| is_name(host) && port.parse::<u16>().is_ok());
    if is_named || text.parse::<SocketAddr>().is_ok() { Ok(text.to_owned()) } else { Err(FORM) }
}

/// Accepts a network or one address. IPv4 in the form of IPv6 becomes plain, as addresses do.
pub(super) fn network(text: &str) -> Result<IpNet, &'static str> {
    let network = text.parse().or_else(|_| text.parse().map(|address: IpAddr| IpNet::from(address)));
    let network: IpNet = network.map_err(|_| "use a network or an address, for instance 10.0.0.0/8 or ::1")?;
    let network = match network {
        IpNet::V6(v6) => match (v6.addr().to_ipv4_mapped(), v6.prefix_len().checked_sub(96)) {
            (Some(v4), Some(length)) => Ipv4Net::new(v4, length).map_or(network, IpNet::V4),
            _ => network,
        },
        IpNet::V4(_) => network,
    };
    match network.prefix_len() {
        0 => Err("trusts everybody; name the proxies"),
        _ => Ok(network.trunc()),
    }
}

/// Accepts the base URL of a collector. Credentials are for `OTEL_EXPORTER_OTLP_HEADERS`: a URL is
/// shown.
pub(super) fn endpoint(url: &str) -> Result<String, &'static str> {
    let parsed: Option<Uri> = url.parse().ok();
    let is_plain = parsed.is_some_and(|parsed| {
        matches!(parsed.scheme_str(), Some("http" | "https"))
            && parsed.authority().is_some_and(|authority| !authority.as_str().contains('@'))
            && parsed.query().is_none()
    });
    if is_plain && !url.contains('#') {
        Ok(url.to_owned())
    } else {
        Err("use an http or https URL without user name, query and fragment, such as http://127.0.0.1:4318")
    }
}

pub(super) fn client(text: &str) -> Result<Client, &'static str> {
    match text.split_once(':') {
        Some((id, secret)) if !id.is_empty() && !secret.is_empty() => {
            check_client_id(id)?;
            Ok(Client { id: id.to_owned(), secret: secret.to_owned().into() })
        }
        _ => Err("use id:secret, without commas in either; separate clients by commas"),
    }
}
