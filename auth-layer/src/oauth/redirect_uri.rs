//! Redirect URIs (RFC 6749 §3.1.2, RFC 8252 §7, RFC 9700 §2.1).

use std::{borrow::Cow, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use url::{Host, Position, Url};

/// The longest redirect URI, in bytes.
const LONGEST: usize = 2_048;

/// The loopback hosts whose port is free (RFC 8252 §7.3).
const LOOPBACK: [&str; 2] = ["http://127.0.0.1", "http://[::1]"];

/// The parameters that a response adds. A registered query must not have them.
const RESPONSE_PARAMETERS: [&str; 6] = ["code", "state", "iss", "error", "error_description", "error_uri"];

/// A redirect URI that a client has registered.
///
/// It is an absolute URI in normal form, without fragment and user information. Its scheme is
///
/// - `https`,
/// - `http`, on `127.0.0.1`, `[::1]` or `localhost` alone, or
/// - a private-use scheme with a dot, such as `com.example.app` (RFC 8252 §7.1).
///
/// ```
/// use auth_layer::oauth::RedirectUri;
///
/// let uri: RedirectUri = "https://app.example/callback".parse()?;
/// assert!(uri.matches("https://app.example/callback"));
/// assert!(!uri.matches("https://app.example/callback/../other"));
///
/// // The port of a loopback address is free.
/// let uri: RedirectUri = "http://127.0.0.1/callback".parse()?;
/// assert!(uri.matches("http://127.0.0.1:51004/callback"));
///
/// assert!("javascript:alert(1)".parse::<RedirectUri>().is_err());
/// # Ok::<(), auth_layer::oauth::RedirectUriError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RedirectUri(String);

/// Why a text is not a [`RedirectUri`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RedirectUriError {
    /// The URI is too long.
    #[error("a redirect URI has at most 2048 characters")]
    TooLong,
    /// A character is not allowed in a URI (RFC 3986 §2).
    #[error("a redirect URI has only the characters of RFC 3986; encode others with %")]
    Character,
    /// The text is not an absolute URI.
    #[error("a redirect URI is absolute, such as https://app.example/callback")]
    NotAbsolute,
    /// The URI has a fragment.
    #[error("a redirect URI has no fragment")]
    Fragment,
    /// The URI has a user name or a password.
    #[error("a redirect URI has no user information")]
    UserInformation,
    /// The scheme is not allowed.
    #[error("a redirect URI has the scheme https, http on a loopback address, or a private-use scheme with a dot")]
    Scheme,
    /// The host is neither an IP address nor a name of letters, digits, `-`, `_` and `.`.
    #[error("the host of a redirect URI is a DNS name or an IP address")]
    Host,
    /// Parsers could read the URI in different ways.
    #[error("the redirect URI is not in normal form; write it as {0}")]
    NotNormal(String),
    /// The query has a parameter that the response adds.
    #[error("the query of a redirect URI has no parameter `{0}`: the response adds it")]
    Parameter(&'static str),
}

impl RedirectUri {
    /// Returns the text, as it was registered.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a client that registered this URI may send `sent`.
    ///
    /// The texts must be equal. Only the port of `127.0.0.1` and `[::1]` is free.
    pub fn matches(&self, sent: &str) -> bool {
        //= RFC 9700 §2.1
        if sent == self.0 {
            return true;
        }
        //= RFC 8252 §7.3
        LOOPBACK.into_iter().any(|origin| match (self.0.strip_prefix(origin), sent.strip_prefix(origin)) {
            (Some(registered), Some(sent)) => match (without_port(registered), without_port(sent)) {
                (Some(registered), Some(sent)) => registered == sent,
                _ => false,
            },
            _ => false,
        })
    }
}

/// Removes a port from what follows a host. Returns `None` if something else follows there.
fn without_port(text: &str) -> Option<&str> {
    let Some(after) = text.strip_prefix(':') else {
        return (text.is_empty() || text.starts_with(['/', '?'])).then_some(text);
    };
    let end = after.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(after.len());
    let (port, rest) = after.split_at(end);
    let is_port = !port.starts_with('0') && port.parse::<u16>().is_ok();
    (is_port && (rest.is_empty() || rest.starts_with(['/', '?']))).then_some(rest)
}

impl FromStr for RedirectUri {
    type Err = RedirectUriError;

    fn from_str(text: &str) -> Result<Self, RedirectUriError> {
        if text.len() > LONGEST {
            return Err(RedirectUriError::TooLong);
        }
        // RFC 3986 §2: everything printable but these. Browsers read `\` as `/`.
        if !text.bytes().all(|byte| byte.is_ascii_graphic() && !br#""<>\^`{|}"#.contains(&byte)) {
            return Err(RedirectUriError::Character);
        }
        //= RFC 6749 §3.1.2
        let url = Url::parse(text).map_err(|_| RedirectUriError::NotAbsolute)?;
        //= RFC 6749 §3.1.2
        if text.contains('#') {
            return Err(RedirectUriError::Fragment);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(RedirectUriError::UserInformation);
        }
        check_scheme(&url)?;
        check_host(&url)?;
        // A text that the parser changes, another parser may read as another address.
        if url.as_str() != text && without_empty_path(&url).as_deref() != Some(text) {
            return Err(RedirectUriError::NotNormal(url.into()));
        }
        //= RFC 6749 §3.1
        let clash = |name: &&str| url.query_pairs().any(|(known, _)| known == *name);
        match RESPONSE_PARAMETERS.into_iter().find(clash) {
            Some(name) => Err(RedirectUriError::Parameter(name)),
            None => Ok(Self(text.to_owned())),
        }
    }
}

fn check_scheme(url: &Url) -> Result<(), RedirectUriError> {
    let is_good = match url.scheme() {
        "https" => true,
        //= RFC 9700 §2.6
        "http" => match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.octets() == [127, 0, 0, 1],
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        },
        // A domain name in reverse: `javascript`, `data` and their like have no dot.
        //= RFC 8252 §8.4
        scheme => scheme.contains('.') && scheme.split('.').all(|label| !label.is_empty()),
    };
    if is_good { Ok(()) } else { Err(RedirectUriError::Scheme) }
}

/// Checks that the host needs no quoting, here and in a `Content-Security-Policy`.
fn check_host(url: &Url) -> Result<(), RedirectUriError> {
    let is_label = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    match url.host() {
        Some(Host::Domain(name)) if name.is_empty() || !name.bytes().all(is_label) => Err(RedirectUriError::Host),
        _ => Ok(()),
    }
}

/// Returns the URL without the `/` that its parser adds to an empty path.
fn without_empty_path(url: &Url) -> Option<String> {
    (url.path() == "/").then(|| [&url[..Position::BeforePath], &url[Position::AfterPath..]].concat())
}

/// Returns the source for `form-action` that admits a redirect to this URI, which has matched a
/// registered one.
pub(super) fn csp_source(uri: &str) -> String {
    let Ok(url) = Url::parse(uri) else { return "'none'".to_owned() };
    match (url.scheme(), url.host()) {
        // A source cannot name an IPv6 address (Content Security Policy 3 §2.3.1).
        (scheme @ ("http" | "https"), Some(Host::Domain(_) | Host::Ipv4(_))) => {
            format!("{scheme}://{}", &url[Position::BeforeHost..Position::AfterPort])
        }
        (scheme, _) => format!("{scheme}:"),
    }
}

impl fmt::Debug for RedirectUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for RedirectUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for RedirectUri {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for RedirectUri {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
