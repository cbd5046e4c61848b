//! The server's own name and the resources that it issues tokens for.

use url::{Host, Url};

/// The name of an authorization server, and the audiences of its tokens.
///
/// ```
/// use auth_layer::oauth::AuthorizationServer;
///
/// let server = AuthorizationServer::new("https://auth.example")?;
/// let server = server.audience("api").audience("orders");
/// // The server's own URL stands for the default audience.
/// assert_eq!(server.audiences_for(&["https://auth.example/"])?, ["api"]);
/// assert!(server.audiences_for(&["payroll"]).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct AuthorizationServer {
    issuer: String,
    audiences: Vec<String>,
}

/// The text is not the URL of an issuer (RFC 8414 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an issuer is an https URL (http on a loopback address) in normal form, without user information, query and fragment"
)]
pub struct InvalidIssuer;

/// A requested resource is none of the server's: `invalid_target` (RFC 8707 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the resource is unknown")]
pub struct UnknownResource;

impl AuthorizationServer {
    /// Creates a server with this issuer, which is the same as the tokens' `iss`.
    ///
    /// # Errors
    ///
    /// [`InvalidIssuer`] unless it is an `https` URL without query and fragment, or `http` on a
    /// loopback address.
    pub fn new(issuer: impl Into<String>) -> Result<Self, InvalidIssuer> {
        //= RFC 8414 §2
        Self::with(issuer.into(), |url| {
            url.scheme() == "https"
                || match url.host() {
                    Some(Host::Domain(name)) => name == "localhost",
                    Some(Host::Ipv4(address)) => address.is_loopback(),
                    Some(Host::Ipv6(address)) => address.is_loopback(),
                    None => false,
                }
        })
    }

    /// Creates a server whose issuer may be an `http` URL of any host, for tests inside a network.
    ///
    /// Anyone on the way can read codes and tokens (RFC 9700 §2.6).
    ///
    /// # Errors
    ///
    /// [`InvalidIssuer`] unless it is an `https` or `http` URL without query and fragment.
    pub fn danger_without_tls(issuer: impl Into<String>) -> Result<Self, InvalidIssuer> {
        Self::with(issuer.into(), |_| true)
    }

    fn with(issuer: String, is_secure: impl Fn(&Url) -> bool) -> Result<Self, InvalidIssuer> {
        let url = Url::parse(&issuer).map_err(|_| InvalidIssuer)?;
        let is_http = matches!(url.scheme(), "http" | "https");
        let is_bare = url.username().is_empty() && url.password().is_none() && !issuer.contains(['?', '#']);
        // Clients compare the issuer as text.
        let is_normal = url.as_str() == issuer || url.as_str().strip_suffix('/') == Some(issuer.as_str());
        if is_http && is_bare && is_normal && is_secure(&url) {
            Ok(Self { issuer, audiences: Vec::new() })
        } else {
            Err(InvalidIssuer)
        }
    }

    /// Adds an audience that clients may name as `resource` (RFC 8707). The first is the default.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audiences.push(audience.into());
        self
    }

    /// Returns the issuer.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Returns the audiences that these resources stand for, each once. Without resources there are
    /// none, and the token gets the default.
    ///
    /// # Errors
    ///
    /// [`UnknownResource`] if a resource is neither an audience nor the issuer.
    pub fn audiences_for(&self, resources: &[impl AsRef<str>]) -> Result<Vec<String>, UnknownResource> {
        let mut audiences = Vec::new();
        for resource in resources {
            //= RFC 8707 §2
            let audience = self.audience_of(resource.as_ref()).ok_or(UnknownResource)?;
            if !audiences.contains(audience) {
                audiences.push(audience.clone());
            }
        }
        Ok(audiences)
    }

    fn audience_of(&self, resource: &str) -> Option<&String> {
        if let Some(audience) = self.audiences.iter().find(|audience| *audience == resource) {
            return Some(audience);
        }
        // An empty path and `/` are the same (RFC 3986 §6.2.3), and many clients send the latter.
        if without_slash(resource) == without_slash(&self.issuer) { self.audiences.first() } else { None }
    }

    /// Returns the path at which the metadata `kind` is served (RFC 8414 §3.1, RFC 9728 §3.1).
    pub(super) fn well_known_path(url: &str, kind: &str) -> String {
        let path = Url::parse(url).map(|url| url.path().to_owned()).unwrap_or_default();
        format!("/.well-known/{kind}{}", without_slash(&path))
    }
}

fn without_slash(text: &str) -> &str {
    text.strip_suffix('/').unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oauth_issuer_is_an_https_url_or_on_loopback() {
        for issuer in [
            "https://auth.example",
            "https://auth.example/",
            "https://auth.example:8443/tenant",
            "http://127.0.0.1:3000",
            "http://[::1]:3000",
            "http://localhost:3000",
        ] {
            assert_eq!(AuthorizationServer::new(issuer).map(|server| server.issuer), Ok(issuer.to_owned()));
        }
        for issuer in [
            "",
            "auth",
            "auth.example",
            "http://auth.example",
            "https://auth.example?a=b",
            "https://auth.example/?",
            "https://auth.example#a",
            "https://user@auth.example",
            "https://AUTH.example",
            "https://auth.example:443",
            "ftp://auth.example",
            "javascript:alert(1)",
        ] {
            assert_eq!(AuthorizationServer::new(issuer), Err(InvalidIssuer), "{issuer}");
        }
        assert!(AuthorizationServer::danger_without_tls("http://auth.example").is_ok());
        assert_eq!(AuthorizationServer::danger_without_tls("ftp://auth.example"), Err(InvalidIssuer));
    }

    #[test]
    fn oauth_resource_is_an_audience_or_the_issuer() {
        let server = AuthorizationServer::new("https://auth.example").unwrap();
        assert_eq!(server.audiences_for(&["https://auth.example"]), Err(UnknownResource));
        let server = server.audience("api").audience("https://orders.example/v1");
        let audiences = |resources: &[&str]| server.audiences_for(resources);
        assert_eq!(audiences(&[]), Ok(vec![]));
        assert_eq!(audiences(&["https://auth.example", "api", "https://auth.example/"]), Ok(vec!["api".to_owned()]));
        let both = vec!["https://orders.example/v1".to_owned(), "api".to_owned()];
        assert_eq!(audiences(&["https://orders.example/v1", "api"]), Ok(both));
        for other in [
            "",
            "API",
            "/",
            "https://auth.example//",
            "https://auth.example#",
            "https://auth.example/api",
            "https://orders.example/v1/",
        ] {
            assert_eq!(audiences(&[other]), Err(UnknownResource), "{other}");
            assert_eq!(audiences(&["api", other]), Err(UnknownResource), "{other}");
        }
    }
}
