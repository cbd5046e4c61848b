//! Metadata of the server (RFC 8414) and of its resource (RFC 9728).

use serde::Serialize;

use super::{MetadataService, server::AuthorizationServer};
use crate::claims::Scope;

/// The metadata of an authorization server (RFC 8414 §2). Serialises as the document.
///
/// Paths are below the issuer.
///
/// ```
/// use auth_layer::oauth::{AuthorizationServer, ServerMetadata};
///
/// let server = AuthorizationServer::new("https://auth.example")?;
/// let metadata = ServerMetadata::new(&server)
///     .authorization_endpoint("/oauth/authorize")
///     .token_endpoint("/oauth/token")
///     .grant_type("authorization_code")
///     .grant_type("refresh_token");
/// assert_eq!(metadata.path(), "/.well-known/oauth-authorization-server");
///
/// let document = serde_json::to_value(&metadata)?;
/// assert_eq!(document["token_endpoint"], "https://auth.example/oauth/token");
/// assert_eq!(document["code_challenge_methods_supported"][0], "S256");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Serialize)]
#[must_use]
pub struct ServerMetadata {
    issuer: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorization_endpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_endpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revocation_endpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    introspection_endpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwks_uri: Option<String>,
    //= RFC 8414 §3.2
    #[serde(skip_serializing_if = "Vec::is_empty")]
    scopes_supported: Vec<String>,
    response_types_supported: [&'static str; 1],
    response_modes_supported: [&'static str; 1],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    grant_types_supported: Vec<&'static str>,
    token_endpoint_auth_methods_supported: [&'static str; 3],
    #[serde(skip_serializing_if = "Option::is_none")]
    revocation_endpoint_auth_methods_supported: Option<[&'static str; 3]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    introspection_endpoint_auth_methods_supported: Option<[&'static str; 1]>,
    code_challenge_methods_supported: [&'static str; 1],
    authorization_response_iss_parameter_supported: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dpop_signing_alg_values_supported: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    protected_resources: Vec<String>,
}

impl ServerMetadata {
    /// Creates the metadata of this server, with no endpoint.
    pub fn new(server: &AuthorizationServer) -> Self {
        Self {
            //= RFC 8414 §2
            issuer: server.issuer().to_owned(),
            authorization_endpoint: None,
            token_endpoint: None,
            revocation_endpoint: None,
            introspection_endpoint: None,
            jwks_uri: None,
            scopes_supported: Vec::new(),
            response_types_supported: ["code"],
            response_modes_supported: ["query"],
            grant_types_supported: Vec::new(),
            token_endpoint_auth_methods_supported: ["client_secret_basic", "client_secret_post", "none"],
            revocation_endpoint_auth_methods_supported: None,
            introspection_endpoint_auth_methods_supported: None,
            //= RFC 9700 §2.1.1
            code_challenge_methods_supported: ["S256"],
            //= RFC 9207 §2.3
            authorization_response_iss_parameter_supported: true,
            dpop_signing_alg_values_supported: Vec::new(),
            protected_resources: Vec::new(),
        }
    }

    /// Sets the path of the authorization endpoint.
    pub fn authorization_endpoint(mut self, path: &str) -> Self {
        self.authorization_endpoint = Some(self.url(path));
        self
    }

    /// Sets the path of the token endpoint.
    pub fn token_endpoint(mut self, path: &str) -> Self {
        self.token_endpoint = Some(self.url(path));
        self
    }

    /// Sets the path of the revocation endpoint (RFC 7009).
    pub fn revocation_endpoint(mut self, path: &str) -> Self {
        self.revocation_endpoint = Some(self.url(path));
        self.revocation_endpoint_auth_methods_supported = Some(self.token_endpoint_auth_methods_supported);
        self
    }

    /// Sets the path of the introspection endpoint (RFC 7662), for clients that use HTTP Basic.
    pub fn introspection_endpoint(mut self, path: &str) -> Self {
        self.introspection_endpoint = Some(self.url(path));
        self.introspection_endpoint_auth_methods_supported = Some(["client_secret_basic"]);
        self
    }

    /// Sets the path of the public keys.
    pub fn jwks(mut self, path: &str) -> Self {
        self.jwks_uri = Some(self.url(path));
        self
    }

    /// Adds a grant type.
    pub fn grant_type(mut self, grant_type: &'static str) -> Self {
        self.grant_types_supported.push(grant_type);
        self
    }

    /// Sets the scopes that clients may ask for.
    pub fn scopes(mut self, scope: &Scope) -> Self {
        self.scopes_supported = scope.iter().map(str::to_owned).collect();
        self
    }

    /// Sets the algorithms of `DPoP` proofs (RFC 9449 §5.1).
    pub fn dpop(mut self, algorithms: &[&'static str]) -> Self {
        self.dpop_signing_alg_values_supported = algorithms.to_vec();
        self
    }

    /// Adds a resource that takes the server's tokens (RFC 9728 §4).
    pub fn protected_resource(mut self, resource: impl Into<String>) -> Self {
        self.protected_resources.push(resource.into());
        self
    }

    /// Returns the path at which the document is served (RFC 8414 §3.1).
    pub fn path(&self) -> String {
        //= RFC 8414 §3.1
        AuthorizationServer::well_known_path(&self.issuer, "oauth-authorization-server")
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.issuer.strip_suffix('/').unwrap_or(&self.issuer))
    }
}

/// The metadata of a protected resource (RFC 9728 §2). Serialises as the document.
///
/// ```
/// use auth_layer::oauth::{AuthorizationServer, ProtectedResourceMetadata};
///
/// let server = AuthorizationServer::new("https://auth.example")?;
/// let metadata = ProtectedResourceMetadata::new("https://api.example/v1", &server);
/// assert_eq!(metadata.path(), "/.well-known/oauth-protected-resource/v1");
///
/// let document = serde_json::to_value(&metadata)?;
/// assert_eq!(document["authorization_servers"][0], "https://auth.example");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Serialize)]
#[must_use]
pub struct ProtectedResourceMetadata {
    resource: String,
    authorization_servers: Vec<String>,
    //= RFC 9728 §3.2
    #[serde(skip_serializing_if = "Vec::is_empty")]
    scopes_supported: Vec<String>,
    bearer_methods_supported: [&'static str; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_name: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dpop_signing_alg_values_supported: Vec<&'static str>,
    dpop_bound_access_tokens_required: bool,
}

impl ProtectedResourceMetadata {
    /// Creates the metadata of the resource with this URL, which takes the server's tokens in the
    /// `Authorization` header.
    pub fn new(resource: impl Into<String>, server: &AuthorizationServer) -> Self {
        Self::of_servers(resource, [server.issuer()])
    }

    /// Creates the metadata of the resource with this URL, which takes the tokens of several servers
    /// in the `Authorization` header. They are named by their issuers.
    ///
    /// ```
    /// # use auth_layer::Trust;
    /// use auth_layer::oauth::ProtectedResourceMetadata;
    ///
    /// fn metadata(trust: &Trust) -> ProtectedResourceMetadata {
    ///     ProtectedResourceMetadata::of_servers("https://api.example", trust.issuers())
    /// }
    /// ```
    pub fn of_servers(resource: impl Into<String>, issuers: impl IntoIterator<Item: Into<String>>) -> Self {
        Self {
            resource: resource.into(),
            authorization_servers: issuers.into_iter().map(Into::into).collect(),
            scopes_supported: Vec::new(),
            bearer_methods_supported: ["header"],
            resource_name: None,
            dpop_signing_alg_values_supported: Vec::new(),
            dpop_bound_access_tokens_required: false,
        }
    }

    /// Sets the name to show to users.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.resource_name = Some(name.into());
        self
    }

    /// Sets the scopes that the resource knows.
    pub fn scopes(mut self, scope: &Scope) -> Self {
        self.scopes_supported = scope.iter().map(str::to_owned).collect();
        self
    }

    /// Sets the algorithms of `DPoP` proofs, and whether each token must be bound to a key (RFC
    /// 9449).
    pub fn dpop(mut self, algorithms: &[&'static str], is_required: bool) -> Self {
        self.dpop_signing_alg_values_supported = algorithms.to_vec();
        self.dpop_bound_access_tokens_required = is_required;
        self
    }

    /// Returns the path at which the document is served (RFC 9728 §3.1).
    pub fn path(&self) -> String {
        //= RFC 9728 §3.1
        AuthorizationServer::well_known_path(&self.resource, "oauth-protected-resource")
    }

    /// Returns a service that serves the document, for the route at [`path`](Self::path).
    ///
    /// It answers GET and HEAD. The route must be outside the layer: clients read the document
    /// before they have a token.
    ///
    /// ```
    /// # use auth_layer::{AuthLayer, Claims, Trust};
    /// use auth_layer::{
    ///     oauth::ProtectedResourceMetadata,
    ///     rejection::{InvalidResourceMetadata, ResourceMetadata},
    /// };
    /// use axum::{Router, routing::get};
    ///
    /// fn app(trust: &Trust) -> Result<Router, InvalidResourceMetadata> {
    ///     let document =
    ///         ProtectedResourceMetadata::of_servers("https://api.example", trust.issuers());
    ///     // Challenges name the document (RFC 9728 §5.1).
    ///     let url = ResourceMetadata::new(&format!("https://api.example{}", document.path()))?;
    ///     let layer = AuthLayer::builder(trust).resource_metadata(url).build();
    ///     Ok(Router::new()
    ///         .route("/me", get(async |claims: Claims| claims.sub.to_string()))
    ///         .layer(layer)
    ///         .route_service(&document.path(), document.service()))
    /// }
    /// ```
    pub fn service(&self) -> MetadataService {
        MetadataService::of(self)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{json, to_value};

    use super::*;

    #[test]
    fn oauth_server_metadata_has_what_is_set_alone() {
        let server = AuthorizationServer::new("https://auth.example").unwrap();
        let bare = json!({
            "issuer": "https://auth.example",
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": true,
        });
        assert_eq!(to_value(ServerMetadata::new(&server)).unwrap(), bare);

        let metadata = ServerMetadata::new(&server)
            .authorization_endpoint("/oauth/authorize")
            .token_endpoint("/oauth/token")
            .revocation_endpoint("/oauth/revoke")
            .introspection_endpoint("/oauth/introspect")
            .jwks("/.well-known/jwks.json")
            .grant_type("authorization_code")
            .grant_type("client_credentials")
            .scopes(&"profile admin".parse().unwrap())
            .dpop(&["ES256", "EdDSA"])
            .protected_resource("https://auth.example");
        let mut full = bare;
        full.as_object_mut().unwrap().extend(
            json!({
                "authorization_endpoint": "https://auth.example/oauth/authorize",
                "token_endpoint": "https://auth.example/oauth/token",
                "revocation_endpoint": "https://auth.example/oauth/revoke",
                "revocation_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
                "introspection_endpoint": "https://auth.example/oauth/introspect",
                "introspection_endpoint_auth_methods_supported": ["client_secret_basic"],
                "jwks_uri": "https://auth.example/.well-known/jwks.json",
                "grant_types_supported": ["authorization_code", "client_credentials"],
                "scopes_supported": ["profile", "admin"],
                "dpop_signing_alg_values_supported": ["ES256", "EdDSA"],
                "protected_resources": ["https://auth.example"],
            })
            .as_object()
            .unwrap()
            .clone(),
        );
        assert_eq!(to_value(metadata).unwrap(), full);
    }

    #[test]
    fn oauth_metadata_path_follows_the_url() {
        for (issuer, suffix) in [
            ("https://auth.example", ""),
            ("https://auth.example/", ""),
            ("https://auth.example/tenant", "/tenant"),
            ("https://auth.example/tenant/", "/tenant"),
        ] {
            let server = AuthorizationServer::new(issuer).unwrap();
            let metadata = ServerMetadata::new(&server).token_endpoint("/token");
            assert_eq!(metadata.path(), format!("/.well-known/oauth-authorization-server{suffix}"));
            assert_eq!(metadata.token_endpoint.unwrap(), format!("https://auth.example{suffix}/token"));
            let resource = ProtectedResourceMetadata::new(issuer, &server);
            assert_eq!(resource.path(), format!("/.well-known/oauth-protected-resource{suffix}"));
        }
    }

    #[test]
    fn oauth_resource_metadata_names_the_server() {
        let server = AuthorizationServer::new("http://127.0.0.1:3000").unwrap();
        let metadata = ProtectedResourceMetadata::new("http://127.0.0.1:3000", &server);
        let bare = json!({
            "resource": "http://127.0.0.1:3000",
            "authorization_servers": ["http://127.0.0.1:3000"],
            "bearer_methods_supported": ["header"],
            "dpop_bound_access_tokens_required": false,
        });
        assert_eq!(to_value(&metadata).unwrap(), bare);
        let metadata = metadata.named("Demo").scopes(&"profile".parse().unwrap()).dpop(&["ES256"], true);
        let full = json!({
            "resource": "http://127.0.0.1:3000",
            "authorization_servers": ["http://127.0.0.1:3000"],
            "scopes_supported": ["profile"],
            "bearer_methods_supported": ["header"],
            "resource_name": "Demo",
            "dpop_signing_alg_values_supported": ["ES256"],
            "dpop_bound_access_tokens_required": true,
        });
        assert_eq!(to_value(metadata).unwrap(), full);
    }
}
