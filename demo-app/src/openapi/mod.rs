//! Describes the API, in the form of OpenAPI 3.1.
//!
//! The router takes a described route as an [`Endpoint`], which has the description. Schemas come from
//! the types of the bodies, and error responses from the errors. One test finds routes without a
//! description. Another runs Schemathesis, which compares the description with a running node.

mod account;
mod endpoint;
mod errors;
mod oauth;
mod operation;
mod schemas;
mod security;
mod service;
mod session;

use std::sync::LazyLock;

use utoipa::openapi::{
    ComponentsBuilder, ExternalDocs, Info, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, PathsBuilder, Server,
    path::PathItem, tag::TagBuilder,
};

pub(crate) use self::{account::*, endpoint::Endpoint, oauth::*, schemas::TokenClaims, service::*, session::*};

/// The groups of operations, each with what it is for.
const TAGS: [(&str, &str); 6] = [
    (ACCOUNTS, "Register, change the password, see who is signed in."),
    (SESSIONS, "Sign in, get new tokens, sign out."),
    (SINGLE_USE, "Tokens that open one request."),
    (OAUTH, "The authorization server, for other applications."),
    (DOCUMENTS, "Keys, metadata, this description. They need no token."),
    (HEALTH, "For those who run the service. They need no token."),
];

const ACCOUNTS: &str = "Accounts";
const SESSIONS: &str = "Sessions";
const SINGLE_USE: &str = "Single use";
const OAUTH: &str = "OAuth 2.0";
const DOCUMENTS: &str = "Documents";
const HEALTH: &str = "Health";

const ABOUT: &str = "\
A sign-in service whose tokens can be revoked.

- Access tokens go into `Authorization: Bearer …`, or come in a cookie.
- Each error has a JSON body with `error`, a code for programs, and `error_description`.
- If a token's state is unknown, the answer is 503 with `Retry-After`, never 401.
- Each response has `X-Request-Id`, which the log names too.
- The gRPC services are not described here. They have server reflection.";

/// The endpoints, by topic.
fn endpoints() -> impl Iterator<Item = &'static Endpoint> {
    [ACCOUNT_ENDPOINTS, SESSION_ENDPOINTS, OAUTH_ENDPOINTS, SERVICE_ENDPOINTS].into_iter().flatten()
}

/// Describes the API at this URL, which may be relative to the description's own.
fn document(server: &str) -> OpenApi {
    let mut schemas = schemas::Schemas::default();
    let paths = endpoints().fold(PathsBuilder::new(), |paths, endpoint| {
        let (operation, mut named) = (endpoint.describe)().build(endpoint);
        schemas.0.append(&mut named.0);
        paths.path(endpoint.path, PathItem::new(endpoint.method.into(), operation))
    });
    let below = |path: &str| format!("{}{path}", server.trim_end_matches('/'));
    let components = ComponentsBuilder::new().schemas_from_iter(schemas.0);
    let components = security::schemes(below)
        .into_iter()
        .fold(components, |components, (name, scheme)| components.security_scheme(name, scheme));
    let license = LicenseBuilder::new().name("MIT or Apache-2.0").identifier(Some("MIT OR Apache-2.0"));
    let info = InfoBuilder::from(Info::new("auth-layer: demo-app", env!("CARGO_PKG_VERSION")))
        .description(Some(ABOUT))
        .license(Some(license.build()));
    let tags = TAGS.map(|(name, description)| TagBuilder::new().name(name).description(Some(description)).build());
    OpenApiBuilder::new()
        .info(info)
        .servers(Some([Server::new(server)]))
        .paths(paths)
        .components(Some(components.build()))
        .tags(Some(tags))
        .external_docs(Some(ExternalDocs::new(below("/docs"))))
        .build()
}

/// Returns the description as JSON, for a client that gets it from the service itself.
///
/// The server's URL is relative to the description's own: a proxy may strip a path.
pub(crate) fn served() -> &'static str {
    static JSON: LazyLock<String> = LazyLock::new(|| document(".").to_json().unwrap_or_default());
    &JSON
}

/// Returns the description of the service at this URL, as JSON for people.
pub(crate) fn printed(issuer: &str) -> String {
    document(issuer).to_pretty_json().unwrap_or_default() + "\n"
}
