//! Target URIs (RFC 9110 §7.1), compared after normalisation (RFC 3986 §6.2.2, §6.2.3).

use std::{fmt, net::Ipv6Addr, str::FromStr, sync::Arc};

/// Scheme, host and port of a server (RFC 9110 §4.3.1). Cloning it copies a pointer.
///
/// It is read from any `http` or `https` URI, such as an issuer. Path, query and fragment are
/// dropped.
///
/// ```
/// use auth_layer::dpop::Origin;
///
/// let origin: Origin = "HTTPS://Auth.Example:443/tenant".parse()?;
/// assert_eq!(origin.as_str(), "https://auth.example");
/// assert!("ftp://auth.example".parse::<Origin>().is_err());
/// # Ok::<(), auth_layer::dpop::InvalidOrigin>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(Arc<str>);

/// The text is not an absolute `http` or `https` URI with a host and without user information.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an http or https URI with a host and without user information")]
pub struct InvalidOrigin;

impl Origin {
    /// Returns the text in its normal form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `uri` is that of `path` at this origin. The query and fragment of `uri` do not
    /// count.
    //= RFC 9449 §4.3
    pub(super) fn has(&self, path: &str, uri: &str) -> bool {
        let Some((origin, found)) = split(uri) else { return false };
        origin == *self.as_str() && normal_path(found).is_some_and(|found| normal_path(path) == Some(found))
    }
}

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(uri: &str) -> Result<Self, InvalidOrigin> {
        split(uri).map(|(origin, _)| Self(origin.into())).ok_or(InvalidOrigin)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Splits an absolute URI into its normalised origin and its path as it stands.
fn split(uri: &str) -> Option<(String, &str)> {
    let uri = uri.split(['?', '#']).next()?;
    let (scheme, rest) = uri.split_once("://")?;
    let (scheme, default_port) = match scheme {
        https if https.eq_ignore_ascii_case("https") => ("https", 443),
        http if http.eq_ignore_ascii_case("http") => ("http", 80),
        _ => return None,
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    // User information has an `@`, which no host has (RFC 9110 §4.2.4).
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            (format!("[{}]", address.parse::<Ipv6Addr>().ok()?), port)
        }
        None => {
            let (name, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
            (normal_host(name)?, port)
        }
    };
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => default_port,
        Some("") => default_port,
        // `parse` alone would take a sign.
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse::<u16>().ok()?,
        _ => return None,
    };
    let port = if port == default_port { String::new() } else { format!(":{port}") };
    Some((format!("{scheme}://{host}{port}"), path))
}

/// Normalises a registered name or IPv4 address (RFC 3986 §3.2.2).
fn normal_host(name: &str) -> Option<String> {
    let is_sub_delim = |byte| b"!$&'()*+,;=".contains(&byte);
    let is_allowed = |byte| is_unreserved(byte) || is_sub_delim(byte);
    let host = normal_escapes(name, |byte| is_allowed(byte).then(|| byte.to_ascii_lowercase()))?;
    (!host.is_empty()).then_some(host)
}

/// Normalises an absolute path (RFC 3986 §3.3). An empty one is `/`.
fn normal_path(path: &str) -> Option<String> {
    if path.is_empty() {
        return Some("/".to_owned());
    }
    // Clients also send characters in paths that RFC 3986 would have them encode.
    let is_allowed = |byte: u8| byte.is_ascii_graphic() && !b"?#".contains(&byte);
    let path = normal_escapes(path, |byte| is_allowed(byte).then_some(byte))?;
    Some(without_dot_segments(path.strip_prefix('/')?))
}

/// Decodes the percent-encoded characters that need no encoding, and writes the others in capitals
/// (RFC 3986 §6.2.2.1, §6.2.2.2).
///
/// `normal` gives the normal form of any other character; `None` if it must not be there.
fn normal_escapes(text: &str, normal: impl Fn(u8) -> Option<u8>) -> Option<String> {
    let mut result = String::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            result.push(normal(byte)?.into());
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        let byte = u8::try_from(digit()? * 16 + digit()?).ok()?;
        if is_unreserved(byte) {
            result.push(normal(byte)?.into());
        } else {
            result.push('%');
            result.extend([byte >> 4, byte & 15].map(|digit| char::from(b"0123456789ABCDEF"[usize::from(digit)])));
        }
    }
    Some(result)
}

/// RFC 3986 §2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// Resolves `.` and `..` in a path whose leading slash is left out (RFC 3986 §5.2.4).
fn without_dot_segments(path: &str) -> String {
    let mut normal = String::with_capacity(path.len() + 1);
    let mut segments = path.split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_dots = matches!(segment, "." | "..");
        if segment == ".." {
            normal.truncate(normal.rfind('/').unwrap_or(0));
        }
        if !is_dots {
            normal.push('/');
            normal.push_str(segment);
        } else if segments.peek().is_none() {
            normal.push('/');
        }
    }
    normal
}
