//! The tower layer.
//!
//! # Why it is built as it is
//!
//! A request whose token the in-process cache knows, or whose token is refused at sight, is answered without a boxed future:
//! the response future is an enum that is the inner future itself or the finished refusal. Only a question to a store is
//! boxed, once.
//!
//! A service must be called on the clone that was polled ready. Where the answer is at hand that is the one we hold; where a
//! store must be asked the inner service is called later, so the ready one is taken along and a clone, not yet ready, left
//! in its place.
//!
//! # Where to put it
//!
//! With axum's [`Router::layer`] it also runs for requests that match no route; use
//! `Router::route_layer` to answer 404 for unknown paths without credentials. Put it inside layers
//! that log, trace or limit, so that refusals pass through them. It does not read the request's
//! body.
//!
//! **`CorsLayer` goes outside**, also where the layer stands around the whole router. A browser
//! sends a preflight without credentials, so the layer would refuse it. In axum the layer that is
//! added last is the outermost:
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
//! Where every route needs a token it may stand around the whole router, which spares a request what axum does for a layer inside
//! one, a copy of the routes' service and a boxed future:
//!
//! ```
//! # use auth_layer::{AuthLayer, Authority, Claims};
//! use axum::{Router, ServiceExt, extract::Request, routing::get};
//! use tower::Layer;
//!
//! # async fn serve(authority: Authority, listener: tokio::net::TcpListener) -> std::io::Result<()> {
//! let app: Router = Router::new().route("/me", get(async |claims: Claims| claims.sub.to_string())).with_state(());
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

pub use body::{AuthBody, RefusalBody};
pub use future::ResponseFuture;
pub use layer::{AuthLayer, AuthLayerBuilder};
pub use service::AuthService;

use self::outage::Outage;
use crate::{
    layer_context::LayerContext,
    trust::{Policy, Trust},
};

/// What one layer's services share.
struct Shared {
    trust: Trust,
    policy: Policy,
    context: LayerContext,
    outage: Outage,
}
