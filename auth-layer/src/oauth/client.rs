//! OAuth clients (RFC 6749 §2).

use serde::{Deserialize, Serialize};

use super::{
    client_authentication::ClientAuthentication,
    redirect_uri::RedirectUri,
    secret::SecretHash,
    token_error::{TokenError, TokenErrorKind},
    token_request::GrantRequest,
};
use crate::claims::Scope;

/// An OAuth client, as it is registered.
///
/// ```
/// use auth_layer::oauth::{Client, ClientAuthentication, ClientKind, Secret};
///
/// let spa = Client::public("spa")?
///     .named("The shop")
///     .redirect_uri("https://shop.example/callback".parse()?)
///     .scope("profile orders".parse()?);
/// assert_eq!(spa.kind(), ClientKind::Public);
///
/// let secret = Secret::generate()?;
/// let job = Client::confidential("nightly-job", secret.hash())?;
/// let sent = ClientAuthentication::Basic { client_id: "nightly-job".to_owned(), secret };
/// assert!(job.authenticate(&sent).is_ok() && spa.authenticate(&sent).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[must_use]
pub struct Client {
    #[serde(rename = "client_id")]
    id: ClientId,
    #[serde(rename = "client_name", default)]
    name: Option<String>,
    #[serde(default)]
    redirect_uris: Vec<RedirectUri>,
    #[serde(default)]
    scope: Scope,
    /// A confidential client has one.
    #[serde(default)]
    secret_hash: Option<SecretHash>,
}

/// The identifier of a client, checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct ClientId(String);

/// Whether a client can keep a secret (RFC 6749 §2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientKind {
    /// A client that cannot keep a secret: an application in a browser or on a device.
    Public,
    /// A client that authenticates with a secret.
    Confidential,
}

/// The text is not an identifier of a client: 1 to 255 characters of printable ASCII (RFC 6749
/// Appendix A.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a client id is 1 to 255 characters of printable ASCII")]
pub struct InvalidClientId;

/// The requested scope is more than the client may have: `invalid_scope`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the scope is unknown or more than the client may have")]
pub struct ScopeNotAllowed;

impl Client {
    /// Creates a public client, with no redirect URI and an empty scope.
    ///
    /// # Errors
    ///
    /// [`InvalidClientId`] unless `id` is 1 to 255 characters of printable ASCII.
    pub fn public(id: impl Into<String>) -> Result<Self, InvalidClientId> {
        let id = ClientId::try_from(id.into())?;
        Ok(Self { id, name: None, redirect_uris: Vec::new(), scope: Scope::empty(), secret_hash: None })
    }

    /// Creates a confidential client whose secret has this hash.
    ///
    /// # Errors
    ///
    /// [`InvalidClientId`] unless `id` is 1 to 255 characters of printable ASCII.
    pub fn confidential(id: impl Into<String>, secret_hash: SecretHash) -> Result<Self, InvalidClientId> {
        Ok(Self { secret_hash: Some(secret_hash), ..Self::public(id)? })
    }

    /// Sets the name to show to users. Default: the id.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Adds a redirect URI.
    pub fn redirect_uri(mut self, uri: RedirectUri) -> Self {
        self.redirect_uris.push(uri);
        self
    }

    /// Sets the most that the client may ask for, and what it gets if it names no scope. Default:
    /// an empty scope.
    pub fn scope(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }

    /// Returns the identifier.
    pub fn id(&self) -> &str {
        &self.id.0
    }

    /// Returns the name to show to users.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.id.0)
    }

    /// Returns whether it is public or confidential.
    pub fn kind(&self) -> ClientKind {
        if self.secret_hash.is_some() { ClientKind::Confidential } else { ClientKind::Public }
    }

    /// Returns the redirect URIs.
    pub fn redirect_uris(&self) -> &[RedirectUri] {
        &self.redirect_uris
    }

    /// Returns the scope to grant: what was requested, or the client's own scope.
    ///
    /// # Errors
    ///
    /// [`ScopeNotAllowed`] if the request is more than the client may have.
    pub fn scope_for(&self, requested: Option<&Scope>) -> Result<Scope, ScopeNotAllowed> {
        //= RFC 6749 §3.3
        match requested {
            None => Ok(self.scope.clone()),
            Some(requested) if self.scope.covers(requested) => Ok(requested.clone()),
            Some(_) => Err(ScopeNotAllowed),
        }
    }

    /// Checks that the sender of a request is this client.
    ///
    /// # Errors
    ///
    /// `invalid_client` for another client's id, a wrong secret, a confidential client without
    /// secret, or a public client with one.
    pub fn authenticate(&self, sent: &ClientAuthentication) -> Result<(), TokenError> {
        let is_right = match (&self.secret_hash, sent.secret()) {
            //= RFC 6749 §3.2.1
            (Some(hash), Some(secret)) => hash.verify(secret),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        if is_right && sent.client_id() == Some(self.id()) { Ok(()) } else { Err(TokenErrorKind::InvalidClient.into()) }
    }

    /// Checks that a client of this kind may use the grant.
    ///
    /// # Errors
    ///
    /// `unauthorized_client` for client credentials of a public client.
    pub fn check_grant(&self, grant: &GrantRequest) -> Result<(), TokenError> {
        //= RFC 6749 §4.4
        match (grant, self.kind()) {
            (GrantRequest::ClientCredentials { .. }, ClientKind::Public) => {
                Err(TokenErrorKind::UnauthorizedClient.into())
            }
            _ => Ok(()),
        }
    }
}

impl TryFrom<String> for ClientId {
    type Error = InvalidClientId;

    fn try_from(id: String) -> Result<Self, InvalidClientId> {
        let is_good = (1..=255).contains(&id.len()) && id.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if is_good { Ok(Self(id)) } else { Err(InvalidClientId) }
    }
}

impl From<ClientId> for String {
    fn from(id: ClientId) -> Self {
        id.0
    }
}

impl From<ScopeNotAllowed> for TokenError {
    fn from(_: ScopeNotAllowed) -> Self {
        TokenErrorKind::InvalidScope.into()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::secret::Secret, *};

    fn basic(client_id: &str, secret: &str) -> ClientAuthentication {
        ClientAuthentication::Basic { client_id: client_id.to_owned(), secret: secret.into() }
    }

    fn post(client_id: &str, secret: &str) -> ClientAuthentication {
        ClientAuthentication::Post { client_id: client_id.to_owned(), secret: secret.into() }
    }

    fn named(client_id: &str) -> ClientAuthentication {
        ClientAuthentication::Public { client_id: client_id.to_owned() }
    }

    fn kind(result: Result<(), TokenError>) -> Result<(), TokenErrorKind> {
        result.map_err(|error| error.kind())
    }

    #[test]
    fn oauth_client_authenticates_with_its_own_secret_alone() {
        let client = Client::confidential("job", Secret::from("s3cret").hash()).unwrap();
        for good in [basic("job", "s3cret"), post("job", "s3cret")] {
            assert_eq!(kind(client.authenticate(&good)), Ok(()));
        }
        for bad in [
            basic("job", "S3cret"),
            basic("job", "s3cret "),
            post("job", "s3cre"),
            basic("other", "s3cret"),
            basic("JOB", "s3cret"),
            named("job"),
            ClientAuthentication::None,
        ] {
            assert_eq!(kind(client.authenticate(&bad)), Err(TokenErrorKind::InvalidClient), "{bad:?}");
        }
    }

    #[test]
    fn oauth_client_without_secret_only_names_itself() {
        let client = Client::public("spa").unwrap();
        assert_eq!(kind(client.authenticate(&named("spa"))), Ok(()));
        for bad in [named("other"), basic("spa", "secret"), post("spa", "secret"), ClientAuthentication::None] {
            assert_eq!(kind(client.authenticate(&bad)), Err(TokenErrorKind::InvalidClient), "{bad:?}");
        }
    }

    #[test]
    fn oauth_client_credentials_are_for_confidential_clients() {
        let grant = GrantRequest::ClientCredentials { scope: None };
        let confidential = Client::confidential("job", Secret::from("s").hash()).unwrap();
        assert_eq!(kind(confidential.check_grant(&grant)), Ok(()));
        let public = Client::public("spa").unwrap();
        assert_eq!(kind(public.check_grant(&grant)), Err(TokenErrorKind::UnauthorizedClient));
        let refresh = GrantRequest::RefreshToken { refresh_token: "r".into(), scope: None };
        assert_eq!(kind(public.check_grant(&refresh)), Ok(()));
    }

    #[test]
    fn oauth_client_gets_its_scope_or_less() {
        let client = Client::public("spa").unwrap().scope("profile orders".parse().unwrap());
        let scope = |text: &str| text.parse::<Scope>().unwrap();
        assert_eq!(client.scope_for(None), Ok(scope("profile orders")));
        assert_eq!(client.scope_for(Some(&scope("orders"))), Ok(scope("orders")));
        assert_eq!(client.scope_for(Some(&scope("orders admin"))), Err(ScopeNotAllowed));
        assert_eq!(client.scope_for(Some(&scope("Orders"))), Err(ScopeNotAllowed));
    }

    #[test]
    fn oauth_client_id_is_printable_ascii() {
        for id in ["a", "a b:c%/~", &"a".repeat(255)] {
            assert_eq!(Client::public(id).unwrap().id(), id);
        }
        for id in ["", "é", "a\nb", "a\u{7f}", &"a".repeat(256)] {
            assert_eq!(Client::public(id), Err(InvalidClientId), "{id:?}");
        }
    }

    #[test]
    fn oauth_client_is_stored_as_json_and_checked_when_it_is_read() {
        let client = Client::confidential("job", Secret::from("secret").hash())
            .unwrap()
            .named("Nightly job")
            .redirect_uri("https://job.example/cb".parse().unwrap())
            .scope("profile".parse().unwrap());
        let json = serde_json::to_value(&client).unwrap();
        let expected = serde_json::json!({
            "client_id": "job",
            "client_name": "Nightly job",
            "redirect_uris": ["https://job.example/cb"],
            "scope": "profile",
            "secret_hash": "K7gNU3sdo-OL0wNhqoVWhr3g6s1xYv72ol_pe_Unols",
        });
        assert_eq!(json, expected);
        assert_eq!(serde_json::from_value::<Client>(json).unwrap(), client);
        for (member, bad) in [("client_id", ""), ("scope", "a  b"), ("secret_hash", "secret")] {
            let mut json = expected.clone();
            json[member] = bad.into();
            assert!(serde_json::from_value::<Client>(json).is_err(), "{member}");
        }
        let mut json = expected;
        json["redirect_uris"] = serde_json::json!(["javascript:alert(1)"]);
        assert!(serde_json::from_value::<Client>(json).is_err());
    }
}
