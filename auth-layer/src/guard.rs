//! Guards: they demand more of some routes than the layer around all routes does.
//!
//! ```
//! # use auth_layer::{AuthLayer, Authority, Claims, Demand, GuardLayer};
//! # use axum::{Router, routing::{delete, get}};
//! # fn app(authority: Authority) -> Router {
//! let admin = Router::new()
//!     .route("/users/{name}", delete(async || "deleted"))
//!     .route_layer(GuardLayer::new(Demand::new().scope("admin")));
//! Router::new()
//!     .route("/me", get(async |claims: Claims| claims.sub.to_string()))
//!     .merge(admin)
//!     .route_layer(AuthLayer::new(authority))
//! # }
//! ```
//!
//! A guard refuses as its layer does: with the same realm, and over gRPC with gRPC statuses.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    claims::Claims,
    credentials::uses_dpop,
    layer_context::Anonymous,
    middleware::{EarlyResponse, RefusalBody},
    rejection::{Rejection, RejectionKind},
    trust::{AuthError, Demand},
};

/// Refuses requests whose claims do not meet a [`Demand`]. Place it inside an
/// [`AuthLayer`](crate::AuthLayer).
///
/// ```
/// # use axum::{Router, routing::get};
/// use auth_layer::{Demand, GuardLayer};
///
/// # fn routes() -> Router {
/// // Around one route.
/// let clerks = GuardLayer::new(Demand::new().role("clerk"));
/// Router::new().route("/orders", get(async || "orders").route_layer(clerks))
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct GuardLayer(Arc<Demand>);

impl GuardLayer {
    /// Creates a guard with this demand.
    pub fn new(demand: Demand) -> Self {
        Self(Arc::new(demand))
    }
}

impl<S> Layer<S> for GuardLayer {
    type Service = GuardService<S>;

    fn layer(&self, inner: S) -> GuardService<S> {
        GuardService { inner, demand: Arc::clone(&self.0) }
    }
}

/// The service that [`GuardLayer`] makes.
#[derive(Clone)]
pub struct GuardService<S> {
    inner: S,
    demand: Arc<Demand>,
}

impl<S, ReqB, ResB> Service<Request<ReqB>> for GuardService<S>
where
    S: Service<Request<ReqB>, Response = Response<ResB>>,
    ReqB: Body,
    ResB: RefusalBody,
{
    type Response = Response<ResB>;
    type Error = S::Error;
    type Future = GuardFuture<S::Future, ReqB>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqB>) -> Self::Future {
        let state = match self.check(&request) {
            Ok(()) => GuardState::Inner { future: self.inner.call(request) },
            Err(rejection) => {
                let response = rejection.into_response_to(&request);
                GuardState::Refused { refusal: EarlyResponse::new(request, response) }
            }
        };
        GuardFuture { state }
    }
}

impl<S> GuardService<S> {
    fn check<B>(&self, request: &Request<B>) -> Result<(), Rejection> {
        let uses_dpop = uses_dpop(request.headers());
        match Claims::from_extensions(request.extensions()) {
            Ok(Some(claims)) => self.demand.check(&claims).map_err(|error| {
                if let AuthError::Denied(denied) = &error {
                    tracing::debug!(%denied, "a good token is not enough");
                }
                Rejection::from(error).for_layer(claims.layer(), uses_dpop)
            }),
            Ok(None) => {
                let rejection = Rejection::missing_credentials();
                Err(match request.extensions().get::<Anonymous>() {
                    Some(Anonymous(layer)) => rejection.for_layer(layer, uses_dpop),
                    None => rejection,
                })
            }
            Err(_) => Err(RejectionKind::Internal.into()),
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for GuardService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardService").field("inner", &self.inner).field("demand", &self.demand).finish()
    }
}

#[cfg(feature = "tonic")]
impl<S: tonic::server::NamedService> tonic::server::NamedService for GuardService<S> {
    const NAME: &'static str = S::NAME;
}

pin_project! {
    /// The response future of [`GuardService`].
    pub struct GuardFuture<F, ReqB> {
        #[pin]
        state: GuardState<F, ReqB>,
    }
}

pin_project! {
    #[project = GuardStateProjection]
    enum GuardState<F, ReqB> {
        Inner { #[pin] future: F },
        Refused { #[pin] refusal: EarlyResponse<ReqB> },
    }
}

impl<F, ReqB, ResB, E> Future for GuardFuture<F, ReqB>
where
    F: Future<Output = Result<Response<ResB>, E>>,
    ReqB: Body,
    ResB: RefusalBody,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            GuardStateProjection::Inner { future } => future.poll(cx),
            GuardStateProjection::Refused { refusal } => {
                refusal.poll(cx).map(|response| Ok(response.map(ResB::refusal)))
            }
        }
    }
}

impl<F, ReqB> fmt::Debug for GuardFuture<F, ReqB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardFuture").finish_non_exhaustive()
    }
}
