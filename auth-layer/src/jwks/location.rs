//! Where an issuer publishes its keys, and which URLs are taken.

use std::fmt;

use url::{Host, Position, Url};

use crate::json::{Datum, Fields, fields};

/// How much of an issuer's answer an error shows.
const SHOWN: usize = 200;

/// Where an issuer publishes its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    /// The URL of the JWK set.
    KeySet(Url),
    /// The metadata of the issuer has the URL.
    Issuer(IssuerUrl),
}

/// The name of an issuer that is a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IssuerUrl {
    /// The name as it is in tokens. The URL may differ from it by a slash.
    name: String,
    url: Url,
}

/// A URL from which no keys are fetched. Says what is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct UnusableUrl(&'static str);

/// Why an issuer's metadata cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum MetadataFault {
    #[error("it is not a JSON object with `issuer` and `jwks_uri`")]
    Form,
    #[error("its `issuer` is {0:?}, and must be the issuer's name to the letter")]
    OtherIssuer(String),
    #[error("its `jwks_uri`: {0}")]
    KeySet(UnusableUrl),
}

impl Location {
    /// Takes the URL of a JWK set.
    pub(crate) fn key_set(url: &str) -> Result<Self, UnusableUrl> {
        check(url).map(Self::KeySet)
    }

    /// Takes the name of an issuer, whose metadata has the URL of its JWK set.
    pub(crate) fn issuer(name: &str) -> Result<Self, UnusableUrl> {
        let url = check(name)?;
        if url.query().is_some() {
            return Err(UnusableUrl("the URL of an issuer has no query"));
        }
        Ok(Self::Issuer(IssuerUrl { name: name.to_owned(), url }))
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // A query may have a secret.
            Self::KeySet(url) => f.write_str(&url[..Position::AfterPath]),
            Self::Issuer(issuer) => f.write_str(&issuer.name),
        }
    }
}

impl IssuerUrl {
    /// Returns where OpenID Connect Discovery 1.0 §4 puts the metadata: below the issuer.
    pub(super) fn openid_metadata(&self) -> Url {
        self.with_path(|path| format!("{path}/.well-known/openid-configuration"))
    }

    /// Returns where RFC 8414 puts the metadata: between host and path.
    pub(super) fn oauth_metadata(&self) -> Url {
        //= RFC 8414 §3.1
        self.with_path(|path| format!("/.well-known/oauth-authorization-server{path}"))
    }

    fn with_path(&self, change: impl FnOnce(&str) -> String) -> Url {
        let path = self.url.path();
        let path = change(path.strip_suffix('/').unwrap_or(path));
        let mut url = self.url.clone();
        url.set_path(&path);
        url
    }

    /// Reads the URL of the JWK set from the metadata.
    pub(super) fn read_metadata(&self, body: &[u8]) -> Result<Url, MetadataFault> {
        let Some(Fields { values: [Some(Datum::Text(issuer)), Some(Datum::Text(key_set))], .. }) =
            fields(body, &["issuer", "jwks_uri"])
        else {
            return Err(MetadataFault::Form);
        };
        // Also OpenID Connect Discovery 1.0 §4.3.
        //= RFC 8414 §3.3
        if issuer != self.name {
            return Err(MetadataFault::OtherIssuer(issuer.chars().take(SHOWN).collect()));
        }
        let url = check(&key_set).map_err(MetadataFault::KeySet)?;
        // An issuer elsewhere must not send us to services on this machine.
        if url.scheme() == "http" && self.url.scheme() == "https" {
            return Err(MetadataFault::KeySet(PLAIN));
        }
        Ok(url)
    }
}

const PLAIN: UnusableUrl = UnusableUrl("the URL begins with https://, or with http:// on a loopback host");

fn check(url: &str) -> Result<Url, UnusableUrl> {
    let url = Url::parse(url).map_err(|_| PLAIN)?;
    let is_safe = match (url.scheme(), url.host()) {
        ("https", Some(_)) => true,
        ("http", Some(Host::Domain(name))) => name == "localhost",
        ("http", Some(Host::Ipv4(address))) => address.is_loopback(),
        ("http", Some(Host::Ipv6(address))) => address.is_loopback(),
        _ => false,
    };
    if !is_safe {
        Err(PLAIN)
    } else if !url.username().is_empty() || url.password().is_some() {
        Err(UnusableUrl("the URL has no user information"))
    } else if url.fragment().is_some() {
        Err(UnusableUrl("the URL has no fragment"))
    } else {
        Ok(url)
    }
}
