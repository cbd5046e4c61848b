//! Authenticates requests with JWTs that can be revoked, for tower services.
//!
//! A plain JWT cannot be revoked: after logout or theft it stays valid until it expires. Here every
//! token has an id (`jti`) and a record. Each request checks the record, through caches that make
//! the check cheap.
//!
//! - [`Authority`] issues tokens and knows which are good: sign in, check, refresh, revoke, clean
//!   up.
//! - [`Trust`] checks tokens. An authority has a trust in its own tokens; a service that only
//!   checks tokens needs a trust alone.
//! - [`AuthLayer`] is the tower layer: it asks a trust on every request and puts [`Claims`] into
//!   the request's extensions. A [`Demand`] says what else a route needs: scope, roles, a recent
//!   sign-in.
//! - [`store`] has the trait for the store of records, its laws, and the backends: in memory,
//!   embedded (one file, no server) and MongoDB.
//! - [`cache`] has the shared cache that saves store reads: Redis.
//! - [`dpop`] checks proofs of possession (RFC 9449) and makes nonces for them.
//! - [`keys`] has the keyring: one key that signs, any number that verify, each with one algorithm.
//! - [`oauth`] has the rules of an OAuth 2.0 server: clients, redirect URIs, PKCE, requests, errors
//!   and metadata.
//!
//! A request with a good token passes. Once the session is revoked, it does not:
//!
//! ```
//! use auth_layer::{
//!     AuthLayer, Authority, Claims, Grant, UserId,
//!     keys::{Keyring, SigningKey},
//!     store::MemoryStore,
//! };
//! use axum::{Router, body::Body, http::Request, routing::get};
//! use tower::ServiceExt;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let keys = Keyring::new(SigningKey::generate()?);
//! let authority = Authority::builder("https://auth.example", MemoryStore::new())
//!     .audience("api")
//!     .keys(keys)
//!     .build()?;
//!
//! let app = Router::new()
//!     .route("/me", get(async |claims: Claims| claims.sub.to_string()))
//!     .layer(AuthLayer::new(authority.clone()));
//!
//! let sign_in = authority.begin_sign_in(UserId::generate()).await?;
//! let pair = authority.sign_in(sign_in, Grant::new("web")).await?;
//! let request = || {
//!     let credentials = format!("Bearer {}", pair.access_token);
//!     Request::get("/me").header("authorization", credentials).body(Body::empty())
//! };
//! assert_eq!(app.clone().oneshot(request()?).await?.status(), 200);
//!
//! authority.revoke_session(pair.session_id).await?;
//! assert_eq!(app.oneshot(request()?).await?.status(), 401);
//! # Ok(())
//! # }
//! ```
//!
//! The guide in `docs/guide` has a first service in five minutes, which store to choose, the bounds
//! of a revocation, and how to migrate from other crates.
//!
//! # Tasks
//!
//! | to | see the example of |
//! | --- | --- |
//! | sign users in | [`begin_sign_in`](Authority::begin_sign_in) |
//! | refresh, also with new claims | [`refresh`](Authority::refresh), [`refresh_with`] |
//! | sign out, end sessions, disable users | [`sign_out`](Authority::sign_out), [`revoke_user`] |
//! | put claims of your own into tokens | [`Grant::custom`], [`Claims::custom`] |
//! | demand scopes, roles, a recent sign-in | [`Demand`], [`AuthLayer`] |
//! | guard some routes | [`guard`], [`GuardLayer`] |
//! | let strangers in as well | [`optional`](trust::PolicyBuilder::optional) |
//! | exempt a path or CORS preflights | [`except`](trust::PolicyBuilder::except), [`preflight`] |
//! | place `CorsLayer` | [`middleware`] |
//! | end WebSockets, event streams and bodies with their session | [`stream`] |
//! | let a token open one request | [`SingleUse`], [`issue_single_use`] |
//! | rotate keys | [`set_keys`](Authority::set_keys) |
//! | run a fleet on MongoDB and Redis | [`Authority::builder`], [`cache::Cached`] |
//! | keep tokens in a store of your own | [`store`]; `examples/sqlite_store.rs` is one |
//!
//! [`refresh_with`]: Authority::refresh_with
//! [`revoke_user`]: Authority::revoke_user
//! [`preflight`]: trust::PolicyBuilder::preflight
//! [`issue_single_use`]: Authority::issue_single_use
//!
//! The folder `examples` has whole services, from `quickstart` to `fleet` (MongoDB and Redis) and `mcp`
//! (an MCP server).
//!
//! # Features
//!
//! | feature | gives |
//! | --- | --- |
//! | `axum` (default) | [`AuthLayer`] for axum's routes, [`Claims`] as an extractor |
//! | `embedded` (default) | the embedded store |
//! | `mongodb` | the MongoDB store |
//! | `redis` | the Redis cache |
//! | `tonic` | [`AuthLayer`] for tonic's server; behind axum, tonic works without it |
//! | `ws` | axum's WebSockets that end with their session |
//! | `discovery` | keys of other issuers, fetched by HTTP |
//! | `metrics` | counters and histograms for the [`metrics`](https://docs.rs/metrics) facade |
//! | `conformance` | the test suite for stores |
//!
//! Each feature only adds, and each builds alone.
//!
//! [`telemetry`] has the metrics, and `docs/metrics.md` lists them.

pub mod authority;
mod background;
pub mod cache;
pub mod claims;
pub mod clock;
mod credentials;
pub mod dpop;
#[cfg(feature = "axum")]
pub mod extract;
mod fault;
#[cfg(feature = "tonic")]
pub mod grpc;
pub mod guard;
mod hash;
pub mod id;
mod json;
#[cfg(feature = "discovery")]
mod jwks;
mod jwt;
pub mod keys;
mod kind;
mod layer_context;
mod local;
pub mod middleware;
pub mod oauth;
pub mod oidc;
pub mod rejection;
pub mod store;
pub mod stream;
pub mod telemetry;
mod tier;
pub mod trust;
mod watch;

/// Compiles the example of the crate's README.
#[cfg(all(doctest, feature = "axum", feature = "embedded"))]
#[doc = include_str!("../README.md")]
mod crate_readme {}

pub use authority::{Authority, Grant, GrantFault, IssuedPair, IssuedToken, RefreshError, SignIn, SignInError};
pub use claims::{ClaimSet, Claims, CustomClaims, Scope};
pub use credentials::CredentialsError;
pub use fault::TokenFault;
pub use guard::GuardLayer;
pub use id::{SessionId, Subject, TokenId, UserId};
pub use middleware::AuthLayer;
pub use rejection::Rejection;
pub use trust::{AuthError, Demand, Denied, Policy, SingleUse, Trust};

/// Compiles the examples of the README and of the guide.
#[cfg(all(
    doctest,
    feature = "axum",
    feature = "discovery",
    feature = "embedded",
    feature = "mongodb",
    feature = "redis",
    feature = "tonic",
    feature = "ws"
))]
mod documents {
    #[doc = include_str!("../../README.md")]
    mod readme {}
    #[doc = include_str!("../../docs/guide/src/cookies.md")]
    mod cookies {}
    #[doc = include_str!("../../docs/guide/src/cors.md")]
    mod cors {}
    #[doc = include_str!("../../docs/guide/src/first-service.md")]
    mod first_service {}
    #[doc = include_str!("../../docs/guide/src/issuers.md")]
    mod issuers {}
    #[doc = include_str!("../../docs/guide/src/keys.md")]
    mod keys {}
    #[doc = include_str!("../../docs/guide/src/migrating/axum-login.md")]
    mod migrating_from_axum_login {}
    #[doc = include_str!("../../docs/guide/src/migrating/fastapi.md")]
    mod migrating_from_fastapi {}
    #[doc = include_str!("../../docs/guide/src/migrating/jsonwebtoken.md")]
    mod migrating_from_jsonwebtoken {}
    #[doc = include_str!("../../docs/guide/src/migrating/jwt-authorizer.md")]
    mod migrating_from_jwt_authorizer {}
    #[doc = include_str!("../../docs/guide/src/single-use.md")]
    mod single_use {}
    #[doc = include_str!("../../docs/guide/src/stores.md")]
    mod stores {}
    #[doc = include_str!("../../docs/guide/src/streams.md")]
    mod streams {}
    #[doc = include_str!("../../docs/guide/src/tuning.md")]
    mod tuning {}
}
