//! Claims in tonic's services.
//!
//! ```
//! # use auth_layer::{Demand, grpc};
//! # use tonic::{Request, Response, Status};
//! # struct Empty;
//! async fn who_am_i(request: Request<Empty>) -> Result<Response<String>, Status> {
//!     let claims = grpc::claims(&request)?;
//!     grpc::demand(&request, &Demand::new().scope("profile"))?;
//!     Ok(Response::new(claims.sub.to_string()))
//! }
//! ```

use futures_core::Stream;
use tonic::{Request, Status};

use crate::{
    claims::Claims,
    layer_context::MissingLayer,
    rejection::Rejection,
    stream::{Revoked, StreamEnd, TryUntilRevoked},
    trust::{Demand, SingleUse},
};

/// Returns the claims of the request's token.
///
/// # Errors
///
/// `UNAUTHENTICATED` without credentials, `INTERNAL` without a layer in front.
pub fn claims<T>(request: &Request<T>) -> Result<Claims, Status> {
    optional_claims(request)?.ok_or_else(|| Rejection::missing_credentials().into())
}

/// Returns the claims of the request's token; `None` without credentials behind an optional layer.
///
/// # Errors
///
/// `INTERNAL` without a layer in front.
///
/// ```
/// # use auth_layer::grpc;
/// # use tonic::{Request, Status};
/// fn greeting<T>(request: &Request<T>) -> Result<String, Status> {
///     let claims = grpc::optional_claims(request)?;
///     Ok(claims.map_or("hello, guest".into(), |claims| format!("hello, {}", claims.sub)))
/// }
/// ```
pub fn optional_claims<T>(request: &Request<T>) -> Result<Option<Claims>, Status> {
    Ok(Claims::from_extensions(request.extensions())?)
}

/// Fails unless the request's claims meet a demand, and returns them.
///
/// # Errors
///
/// As [`claims`], and `PERMISSION_DENIED` or `UNAUTHENTICATED` if the demand is not met.
pub fn demand<T>(request: &Request<T>, demand: &Demand) -> Result<Claims, Status> {
    let claims = claims(request)?;
    demand.check(&claims).map_err(Rejection::from)?;
    Ok(claims)
}

/// Uses up the request's single-use token and returns its claims.
///
/// Call it last: until then nothing is used up.
///
/// # Errors
///
/// - `UNAUTHENTICATED` without credentials, or if the token was used before.
/// - `UNAVAILABLE` if that cannot be learnt.
/// - `INTERNAL` without a layer for single-use tokens in front.
///
/// ```
/// # use auth_layer::{AuthLayer, Authority, grpc};
/// # use tonic::{Request, Response, Status, service::{LayerExt, Routes}};
/// # struct Order;
/// // In a method of the service:
/// async fn order(request: Request<Order>) -> Result<Response<String>, Status> {
///     let claims = grpc::spend(&request).await?;
///     Ok(Response::new(format!("{} gets it", claims.sub)))
/// }
///
/// // This service takes single-use tokens, the other one on the server takes access tokens.
/// fn routes(authority: &Authority) -> Routes {
///     # let (_, orders) = tonic_health::server::health_reporter();
///     # let (_, others) = tonic_health::server::health_reporter();
///     let once = AuthLayer::builder(authority).single_use().build();
///     let others = AuthLayer::new(authority).named_layer(others);
///     Routes::new(once.named_layer(orders)).add_service(others)
/// }
/// ```
pub fn spend<T>(request: &Request<T>) -> impl Future<Output = Result<Claims, Status>> + Send + use<T> {
    // Taken here, so that the future does not borrow the request.
    let token = SingleUse::from_extensions(request.extensions());
    async move {
        let token = token?.ok_or_else(|| Status::from(Rejection::missing_credentials()))?;
        Ok(token.spend().await.map_err(Rejection::from)?)
    }
}

/// Ends a stream of messages with its session, received or sent ones.
///
/// The last item is then the status with which a layer refuses: `UNAUTHENTICATED`, or `UNAVAILABLE`
/// if the state is unknown.
///
/// ```
/// # use auth_layer::{Trust, grpc};
/// # use tonic::{Request, Response, Status};
/// # struct Empty;
/// use auth_layer::stream::TryUntilRevoked;
/// use tokio_stream::{Iter, iter};
///
/// type Numbers = Iter<std::vec::IntoIter<Result<u64, Status>>>;
///
/// // In a method of the service:
/// async fn numbers(
///     trust: &Trust,
///     request: Request<Empty>,
/// ) -> Result<Response<TryUntilRevoked<Numbers, Status>>, Status> {
///     let claims = grpc::claims(&request)?;
///     let numbers = iter(vec![Ok(1), Ok(2)]);
///     Ok(Response::new(grpc::until_revoked(numbers, trust.revoked(&claims))))
/// }
/// ```
pub fn until_revoked<S, T>(stream: S, revoked: Revoked) -> TryUntilRevoked<S, Status>
where
    S: Stream<Item = Result<T, Status>>,
{
    TryUntilRevoked::new(stream, revoked)
}

impl From<StreamEnd> for Status {
    fn from(end: StreamEnd) -> Self {
        Rejection::from(end).into()
    }
}

impl From<MissingLayer> for Status {
    fn from(_: MissingLayer) -> Self {
        Self::internal("Something went wrong here")
    }
}
