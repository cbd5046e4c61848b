//! Handing the claims to tonic's services.
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

use tonic::{Request, Status};

use crate::{
    claims::Claims,
    layer_context::MissingLayer,
    rejection::Rejection,
    trust::{Demand, SingleUse},
};

/// The claims of the request's token.
///
/// # Errors
///
/// `UNAUTHENTICATED` without credentials, `INTERNAL` where no layer is in front.
pub fn claims<T>(request: &Request<T>) -> Result<Claims, Status> {
    optional_claims(request)?.ok_or_else(|| Rejection::missing_credentials().into())
}

/// The claims of the request's token; none without credentials, where the layer is optional.
///
/// # Errors
///
/// `INTERNAL` where no layer is in front.
pub fn optional_claims<T>(request: &Request<T>) -> Result<Option<Claims>, Status> {
    Ok(Claims::from_extensions(request.extensions())?)
}

/// Fails unless the request's claims meet a demand. Returns them.
///
/// # Errors
///
/// As [`claims`], and `PERMISSION_DENIED` or `UNAUTHENTICATED` as the demand says.
pub fn demand<T>(request: &Request<T>, demand: &Demand) -> Result<Claims, Status> {
    let claims = claims(request)?;
    demand.check(&claims).map_err(Rejection::from)?;
    Ok(claims)
}

/// Uses up the request's single-use token and returns its claims. Call this last: until then nothing is used up.
///
/// # Errors
///
/// `UNAUTHENTICATED` without credentials or if the token was used before, `UNAVAILABLE` if that cannot be learnt, `INTERNAL`
/// where no layer for single-use tokens is in front.
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
///     # let ((_, orders), (_, others)) = (tonic_health::server::health_reporter(), tonic_health::server::health_reporter());
///     let once = AuthLayer::builder(authority).single_use().build();
///     Routes::new(once.named_layer(orders)).add_service(AuthLayer::new(authority).named_layer(others))
/// }
/// ```
pub fn spend<T>(request: &Request<T>) -> impl Future<Output = Result<Claims, Status>> + Send + use<T> {
    // Taken out here, so that the request is not held while the store is asked.
    let token = SingleUse::from_extensions(request.extensions());
    async move {
        let token = token?.ok_or_else(|| Status::from(Rejection::missing_credentials()))?;
        Ok(token.spend().await.map_err(Rejection::from)?)
    }
}

impl From<MissingLayer> for Status {
    fn from(_: MissingLayer) -> Self {
        Self::internal("Something went wrong here")
    }
}
