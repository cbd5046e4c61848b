//! The operations for other services and for those who run this one.

use http::StatusCode;
use serde_json::json;

use super::{
    DOCUMENTS, HEALTH,
    endpoint::{Endpoint, Method, endpoints},
    operation::Operation,
    schemas::{Description, JsonWebKeySet, ResourceMetadata, ServerMetadata},
};
use crate::{
    oauth,
    routes::health::{AliveResponse, ReadyResponse},
};

endpoints! {
    SERVICE_ENDPOINTS;

    KEYS = Get oauth::JWKS => keys;
    SERVER_METADATA = Get "/.well-known/oauth-authorization-server" => server_metadata;
    RESOURCE_METADATA = Get "/.well-known/oauth-protected-resource" => resource_metadata;
    DESCRIPTION = Get "/openapi.json" => description;
    ALIVE = Get "/healthz" => alive;
    READY = Get "/readyz" => ready;
}

fn keys() -> Operation {
    Operation::new(DOCUMENTS, "Returns the public keys (RFC 7517)")
        .detail("A new key is here before it signs. `Cache-Control` says how long the document may be kept.")
        .answers::<JsonWebKeySet>(
            StatusCode::OK,
            "The keys",
            json!({
                "keys": [
                    { "kty": "OKP", "crv": "Ed25519", "x": "11qY…", "use": "sig", "alg": "EdDSA", "kid": "kPrK…" },
                ],
            }),
        )
}

fn server_metadata() -> Operation {
    Operation::new(DOCUMENTS, "Returns the metadata of the authorization server (RFC 8414)")
        .detail("For an issuer with a path, the document is also at the path that the RFC gives.")
        .answers::<ServerMetadata>(
            StatusCode::OK,
            "The metadata",
            json!({
                "issuer": "https://auth.example",
                "authorization_endpoint": "https://auth.example/oauth/authorize",
                "token_endpoint": "https://auth.example/oauth/token",
                "revocation_endpoint": "https://auth.example/oauth/revoke",
                "introspection_endpoint": "https://auth.example/oauth/introspect",
                "jwks_uri": "https://auth.example/.well-known/jwks.json",
                "scopes_supported": ["admin", "profile"],
                "response_types_supported": ["code"],
                "response_modes_supported": ["query"],
                "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
                "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
                "revocation_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
                "introspection_endpoint_auth_methods_supported": ["client_secret_basic"],
                "code_challenge_methods_supported": ["S256"],
                "authorization_response_iss_parameter_supported": true,
                "protected_resources": ["https://auth.example"],
            }),
        )
}

fn resource_metadata() -> Operation {
    Operation::new(DOCUMENTS, "Returns the metadata of the protected resource (RFC 9728)")
        .detail("For an issuer with a path, the document is also at the path that the RFC gives.")
        .answers::<ResourceMetadata>(
            StatusCode::OK,
            "The metadata",
            json!({
                "resource": "https://auth.example",
                "authorization_servers": ["https://auth.example"],
                "scopes_supported": ["admin", "profile"],
                "bearer_methods_supported": ["header"],
                "resource_name": "demo-app",
                "dpop_bound_access_tokens_required": false,
            }),
        )
}

fn description() -> Operation {
    Operation::new(DOCUMENTS, "Returns this description")
        .header("If-None-Match", "The `ETag` of the version that the client has")
        .answers::<Description>(StatusCode::OK, "The description", json!({ "openapi": "3.1.0" }))
        .with_header("ETag", "Names the version of the document")
        .answers_empty(StatusCode::NOT_MODIFIED, "The client has this version: its `If-None-Match` names it")
}

fn alive() -> Operation {
    Operation::new(HEALTH, "Answers while the process runs").answers::<AliveResponse>(
        StatusCode::OK,
        "The process runs",
        json!({ "status": "ok" }),
    )
}

fn ready() -> Operation {
    Operation::new(HEALTH, "Says whether the node can serve")
        .detail("Without its shared cache the node is `degraded` and serves. A result is kept for a second.")
        .answers::<ReadyResponse>(StatusCode::OK, "The node can serve", json!({ "status": "ok", "store": "up" }))
        .answers::<ReadyResponse>(
            StatusCode::SERVICE_UNAVAILABLE,
            "The store cannot be read",
            json!({
                "status": "unavailable",
                "store": "down",
                "error": "temporarily_unavailable",
                "error_description": "The store is unavailable; retry after the time in Retry-After",
            }),
        )
        .with_header("Retry-After", "The seconds to wait before another try")
}
