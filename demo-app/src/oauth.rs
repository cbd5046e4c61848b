//! The OAuth server as the flags describe it: its name, grants and documents.

use std::time::Duration;

use auth_layer::{
    dpop::{ALGORITHMS, InvalidOrigin, Nonces, Origin, ProofPolicy},
    keys::{Algorithm, Keyring},
    oauth::{AuthorizationServer, InvalidIssuer, ProtectedResourceMetadata, ServerMetadata},
    rejection::ResourceMetadata,
};
use axum::body::Bytes;
use http::HeaderValue;
use serde::Serialize;

use crate::{
    config::{Config, DpopMode, Switch},
    routes::oauth::FormCookie,
    users::Role,
};

/// The paths of the endpoints.
pub(crate) const AUTHORIZE: &str = "/oauth/authorize";
pub(crate) const TOKEN: &str = "/oauth/token";
pub(crate) const REVOKE: &str = "/oauth/revoke";
pub(crate) const INTROSPECT: &str = "/oauth/introspect";
pub(crate) const JWKS: &str = "/.well-known/jwks.json";

/// The time after which every node has seen a change of the keys directory.
const KEYS_SEEN_AFTER: Duration = Duration::from_secs(5);

/// The longest time for which documents may be cached.
const LONGEST_MAX_AGE: Duration = Duration::from_hours(1);

/// The OAuth server. Its rules are the library's.
#[derive(Debug)]
pub(crate) struct OAuth {
    pub(crate) server: AuthorizationServer,
    /// The audience of this service's own routes.
    pub(crate) audience: String,
    pub(crate) password_grant: bool,
    /// The cookie of the sign-in page.
    pub(crate) form_cookie: FormCookie,
    /// What proofs of possession must meet; `None` where DPoP is off.
    pub(crate) proofs: Option<ProofPolicy>,
    /// Makes the nonces that `proofs` demand.
    pub(crate) nonces: Option<Nonces>,
    /// The `resource_metadata` of challenges; `None` for an issuer on plain http.
    pub(crate) resource_metadata: Option<ResourceMetadata>,
    pub(crate) server_metadata: JsonDocument,
    pub(crate) resource_document: JsonDocument,
    /// How long clients may cache keys and documents.
    pub(crate) cache_control: HeaderValue,
}

/// A JSON document that does not change.
#[derive(Clone, Debug)]
pub(crate) struct JsonDocument {
    /// The path at which its RFC has it.
    pub(crate) path: String,
    pub(crate) json: Bytes,
}

/// The flags do not make an OAuth server.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OAuthError {
    #[error("`--issuer`: {0}")]
    Issuer(#[from] InvalidIssuer),
    #[error("`--issuer` is {0}")]
    Origin(#[from] InvalidOrigin),
    #[error("`--audience` names an audience twice; name each once")]
    AudienceTwice,
    #[error(
        "`--dpop` needs an `--issuer` without a path, such as https://auth.example: proofs name the path as we see it"
    )]
    DpopWithPath,
    #[error("`--dpop-nonce on` needs `--dpop`; add `--dpop optional` or `--dpop required`")]
    NonceWithoutDpop,
    #[error("a metadata document cannot be written as JSON (a bug; please report it)")]
    Json(#[from] serde_json::Error),
}

/// Checks the flags before any store is opened.
pub(crate) fn check_flags(config: &Config) -> Result<(), OAuthError> {
    server(config).map(drop)?;
    let origin: Origin = config.issuer.parse()?;
    let is_twice =
        |(place, audience): (usize, &String)| config.audience.iter().take(place).any(|before| before == audience);
    if config.audience.iter().enumerate().any(is_twice) {
        return Err(OAuthError::AudienceTwice);
    }
    match config.dpop {
        DpopMode::Off if config.dpop_nonce == Switch::On => Err(OAuthError::NonceWithoutDpop),
        DpopMode::Off => Ok(()),
        _ if has_path(config, &origin) => Err(OAuthError::DpopWithPath),
        _ => Ok(()),
    }
}

/// Returns whether codes and tokens travel unencrypted: the issuer is plain http, off loopback.
pub(crate) fn is_without_tls(config: &Config) -> bool {
    AuthorizationServer::new(&config.issuer).is_err()
}

/// Whether a proxy that strips a path is in front of the service.
fn has_path(config: &Config, origin: &Origin) -> bool {
    config.issuer.trim_end_matches('/') != origin.as_str()
}

fn server(config: &Config) -> Result<AuthorizationServer, InvalidIssuer> {
    let server = AuthorizationServer::new(&config.issuer)
        .or_else(|_| AuthorizationServer::danger_without_tls(&config.issuer))?;
    Ok(config.audience.iter().fold(server, AuthorizationServer::audience))
}

impl OAuth {
    /// Creates the server. The nonces of proofs are derived from these keys.
    pub(crate) fn new(config: &Config, keys: &Keyring) -> Result<Self, OAuthError> {
        check_flags(config)?;
        let server = server(config)?;
        let origin: Origin = config.issuer.parse()?;
        let nonces = (config.dpop_nonce == Switch::On).then(|| Nonces::from(keys));
        let proofs = (config.dpop != DpopMode::Off).then(|| {
            let proofs = ProofPolicy::new(origin.clone()).required(config.dpop == DpopMode::Required);
            nonces.clone().into_iter().fold(proofs, ProofPolicy::nonces)
        });
        let password_grant = config.password_grant == Switch::On;
        let resource = resource_metadata(&server, proofs.as_ref());
        let resource_document = JsonDocument::new(resource.path(), &resource)?;
        let metadata = server_metadata(&server, password_grant, proofs.is_some());
        Ok(Self {
            server_metadata: JsonDocument::new(metadata.path(), &metadata)?,
            resource_metadata: ResourceMetadata::new(&format!("{origin}{}", resource_document.path)).ok(),
            resource_document,
            // The authority has the same audiences, and at least one.
            audience: config.audience.first().cloned().unwrap_or_default(),
            cache_control: cache_control(config.key_publish_delay),
            form_cookie: FormCookie {
                is_https: server.issuer().starts_with("https:"),
                path: if has_path(config, &origin) { "/" } else { AUTHORIZE },
            },
            server,
            password_grant,
            proofs,
            nonces,
        })
    }
}

fn server_metadata(server: &AuthorizationServer, password_grant: bool, dpop: bool) -> ServerMetadata {
    let metadata = ServerMetadata::new(server)
        .authorization_endpoint(AUTHORIZE)
        .token_endpoint(TOKEN)
        .revocation_endpoint(REVOKE)
        .introspection_endpoint(INTROSPECT)
        .jwks(JWKS)
        .grant_type("authorization_code")
        .grant_type("refresh_token")
        .grant_type("client_credentials")
        .scopes(&Role::Admin.scope())
        .protected_resource(server.issuer());
    let metadata = if password_grant { metadata.grant_type("password") } else { metadata };
    if dpop { metadata.dpop(&ALGORITHMS.map(Algorithm::as_str)) } else { metadata }
}

fn resource_metadata(server: &AuthorizationServer, proofs: Option<&ProofPolicy>) -> ProtectedResourceMetadata {
    let metadata =
        ProtectedResourceMetadata::new(server.issuer(), server).named("demo-app").scopes(&Role::Admin.scope());
    match proofs {
        Some(proofs) => metadata.dpop(&ALGORITHMS.map(Algorithm::as_str), proofs.is_required()),
        None => metadata,
    }
}

/// A client that caches the keys for this long has a new key before it signs.
fn cache_control(publish_delay: Duration) -> HeaderValue {
    let max_age = publish_delay.saturating_sub(KEYS_SEEN_AFTER).min(LONGEST_MAX_AGE).as_secs();
    HeaderValue::try_from(format!("public, max-age={max_age}")).unwrap_or(HeaderValue::from_static("no-cache"))
}

impl JsonDocument {
    fn new(path: String, document: &impl Serialize) -> Result<Self, serde_json::Error> {
        Ok(Self { path, json: serde_json::to_vec(document)?.into() })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn config(flags: &[&str]) -> Config {
        Config::parse_from(["demo-app"].iter().chain(flags))
    }

    #[test]
    fn oauth_flags_that_contradict_each_other_are_refused() {
        for (flags, expected) in [
            (&["--audience", "a", "--audience", "b,a"][..], "--audience"),
            (&["--dpop-nonce", "on"], "--dpop-nonce"),
            (&["--dpop", "optional", "--issuer", "https://auth.example/tenant"], "--issuer"),
            (&["--dpop", "required", "--issuer", "https://auth.example/tenant/"], "--issuer"),
        ] {
            let error = check_flags(&config(flags)).unwrap_err().to_string();
            assert!(error.contains(expected), "{flags:?}: {error}");
        }
        for flags in [
            &[][..],
            &["--audience", "a,b", "--issuer", "https://auth.example/tenant"],
            &["--dpop", "required", "--dpop-nonce", "on", "--issuer", "https://auth.example/"],
            &["--dpop", "optional", "--issuer", "http://auth.internal:8080"],
        ] {
            check_flags(&config(flags)).unwrap();
        }
    }

    #[test]
    fn oauth_issuer_on_plain_http_is_told_from_one_on_loopback() {
        for (issuer, is_open) in [
            ("http://auth.internal", true),
            ("https://auth.example", false),
            ("http://127.0.0.1:3000", false),
            ("http://localhost:3000", false),
        ] {
            assert_eq!(is_without_tls(&config(&["--issuer", issuer])), is_open, "{issuer}");
        }
    }

    #[test]
    fn oauth_documents_are_cached_for_less_than_the_publish_delay() {
        for (delay, expected) in [
            (0, "public, max-age=0"),
            (5, "public, max-age=0"),
            (60, "public, max-age=55"),
            (86_400, "public, max-age=3600"),
        ] {
            assert_eq!(cache_control(Duration::from_secs(delay)), expected);
        }
    }
}
