//! The gRPC services: [`demo.v1.Identity`](pb), health and server reflection.
//!
//! They share the port, the router and the middleware with HTTP. Each method has a route of its own,
//! so that the log names it and unknown methods reach the fallback.

mod health;
mod identity;
mod message;

use auth_layer::AuthLayer;
use axum::{Router, middleware::from_fn, routing::post_service};
use tonic_health::pb::{HealthCheckRequest, health_server::HealthServer};
use tonic_reflection::{pb as reflection, server::Builder};

use self::{
    health::HealthService,
    identity::IdentityService,
    message::{grpc_only, one_message},
    pb::{WhoAmIRequest, identity_server::IdentityServer},
};
use crate::{app::BODY_LIMIT, readiness::Readiness, state::AppState};

/// The messages, server and client of `proto/demo/v1/identity.proto`.
///
/// They are committed, so that a build needs no `protoc`. A test generates them again and compares;
/// with `BLESS=1` it writes them.
pub mod pb {
    #![allow(clippy::pedantic, missing_docs, unreachable_pub, unused_qualifications, reason = "generated")]

    include!("generated/demo.v1.rs");

    /// The encoded descriptors of the file, for server reflection.
    pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("generated/demo.v1.fds");
}

/// The descriptors of every service on this port.
pub(crate) const DESCRIPTORS: [&[u8]; 4] = [
    pb::FILE_DESCRIPTOR_SET,
    tonic_health::pb::FILE_DESCRIPTOR_SET,
    reflection::v1::FILE_DESCRIPTOR_SET,
    reflection::v1alpha::FILE_DESCRIPTOR_SET,
];

const WHO_AM_I: &str = "/demo.v1.Identity/WhoAmI";
const CHECK: &str = "/grpc.health.v1.Health/Check";
const WATCH: &str = "/grpc.health.v1.Health/Watch";
const REFLECTION_V1: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
const REFLECTION_V1_ALPHA: &str = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";

/// The paths of all methods on this port.
pub(crate) const METHODS: [&str; 5] = [WHO_AM_I, CHECK, WATCH, REFLECTION_V1, REFLECTION_V1_ALPHA];

/// Returns the routes of the services. Health and reflection are outside the guard.
pub(crate) fn routes(auth: AuthLayer, readiness: Readiness) -> Router<AppState> {
    let identity = Router::new()
        .route(WHO_AM_I, post_service(IdentityServer::new(IdentityService)))
        .route_layer(from_fn(one_message::<WhoAmIRequest>));
    let health = HealthServer::new(HealthService::new(readiness));
    let health = Router::new()
        .route(CHECK, post_service(health.clone()))
        .route(WATCH, post_service(health))
        .route_layer(from_fn(one_message::<HealthCheckRequest>));
    identity
        .route_layer(from_fn(grpc_only))
        .route_layer(auth)
        .merge(health.merge(reflection_routes()).route_layer(from_fn(grpc_only)))
}

/// Returns the routes of server reflection. Newer clients ask for v1, and fall back on v1alpha.
fn reflection_routes() -> Router<AppState> {
    const VALID: &str = "the descriptors are constants, which the tests read";

    let builder = || {
        let builder = Builder::configure().include_reflection_service(false);
        DESCRIPTORS.into_iter().fold(builder, Builder::register_encoded_file_descriptor_set)
    };
    let v1 = builder().build_v1().expect(VALID).max_decoding_message_size(BODY_LIMIT);
    let v1alpha = builder().build_v1alpha().expect(VALID).max_decoding_message_size(BODY_LIMIT);
    Router::new().route(REFLECTION_V1, post_service(v1)).route(REFLECTION_V1_ALPHA, post_service(v1alpha))
}

#[cfg(test)]
mod tests;
