//! The tower layer.
//!
//! # Why it is built this way
//!
//! A request is answered without a boxed future if its token is cached or refused at sight. The
//! response future is an enum: the inner future itself, or the finished refusal. Only a request to
//! the store is boxed, once.
//!
//! tower requires that a service is called on the clone that was polled ready. If the store must be
//! asked, the inner service is called later. So the future takes the ready service along and leaves
//! an unready clone in its place.
//!
//! # Where to put it
//!
//! With axum's [`Router::layer`] it also runs for requests that match no route. Use
//! `Router::route_layer` to answer 404 for unknown paths without credentials. Put it inside layers
//! that log, trace or limit, so that they see refusals. It does not read the body of a request that it
//! lets in. That of a refused one is [read and dropped](UnreadBody), to keep the connection.
//!
//! **`CorsLayer` goes outside**, also when the layer wraps the whole router. A browser sends a
//! preflight without credentials, so the layer would refuse it. In axum, the layer added last is
//! the outermost:
//!
//! ```
//! # use auth_layer::{AuthLayer, Authority, Claims};
//! # use axum::{Router, routing::get};
//! # use http::{HeaderValue, header::AUTHORIZATION};
//! use tower_http::cors::CorsLayer;
//!
//! # fn app(authority: Authority) -> Router {
//! let cors = CorsLayer::new()
//!     .allow_origin(HeaderValue::from_static("https://page.example"))
//!     .allow_headers([AUTHORIZATION]);
//! Router::new()
//!     .route("/me", get(async |claims: Claims| claims.sub.to_string()))
//!     .layer(AuthLayer::new(authority))
//!     .layer(cors)
//! # }
//! ```
//!
//! If every route needs a token, wrap the whole router. That saves what axum does for a layer
//! inside a router: a copy of the routes' service and a boxed future per request.
//!
//! ```
//! # use auth_layer::{AuthLayer, Authority, Claims};
//! use axum::{Router, ServiceExt, extract::Request, routing::get};
//! use tower::Layer;
//!
//! # use tokio::net::TcpListener;
//! # async fn serve(authority: Authority, listener: TcpListener) -> std::io::Result<()> {
//! let me = get(async |claims: Claims| claims.sub.to_string());
//! let app: Router = Router::new().route("/me", me).with_state(());
//! let app = AuthLayer::new(authority).layer(app);
//! axum::serve(listener, ServiceExt::<Request>::into_make_service(app)).await
//! # }
//! ```
//!
//! [`Router::layer`]: https://docs.rs/axum/0.8/axum/struct.Router.html#method.layer

mod body;
mod future;
mod layer;
mod outage;
mod service;
mod unread;

pub use body::{AuthBody, RefusalBody};
pub use future::ResponseFuture;
pub use layer::{AuthLayer, AuthLayerBuilder};
pub use service::AuthService;
pub(crate) use unread::EarlyResponse;
pub use unread::UnreadBody;

use self::outage::Outage;
use crate::{
    layer_context::LayerContext,
    trust::{Policy, Trust},
};

/// What the services of one layer share.
struct Shared {
    trust: Trust,
    policy: Policy,
    context: LayerContext,
    outage: Outage,
}
