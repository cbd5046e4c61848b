//! Claims in axum's handlers.
//!
//! | extractor | gives |
//! | --- | --- |
//! | [`Claims`] | the claims; 401 without credentials |
//! | `Option<Claims>` | the claims; `None` without credentials behind an optional layer |
//! | [`Custom<T>`](Custom) | the application's own claims |
//! | [`Guarded<R>`](Guarded) | the claims, if they meet a demand |
//! | [`Spend<T>`](Spend) | a single-use token's claims, spent after the body is read as a `T` |
//! | [`SingleUse`] | a single-use token that the handler spends |
//!
//! Without a layer in front, each answers 500 and logs what is missing. It never lets a request in.

use std::{marker::PhantomData, ops::Deref, sync::Arc};

use axum_core::{
    extract::{FromRequest, FromRequestParts, OptionalFromRequestParts, Request},
    response::{IntoResponse, Response},
};
use http::{StatusCode, request::Parts};
use serde::de::DeserializeOwned;

pub use crate::layer_context::MissingLayer;
use crate::{
    claims::Claims,
    credentials::uses_dpop,
    layer_context::{Anonymous, LayerContext},
    rejection::{Rejection, is_grpc},
    trust::{Demand, SingleUse},
};

/// Why an extractor failed.
///
/// ```
/// # use auth_layer::Claims;
/// use auth_layer::extract::ClaimsRejection;
///
/// // Reads the refusal instead of sending it.
/// async fn greet(claims: Result<Claims, ClaimsRejection>) -> String {
///     match claims {
///         Ok(claims) => format!("hello, {}", claims.sub),
///         Err(ClaimsRejection::Refused(refused)) => refused.rejection().error().to_owned(),
///         Err(_) => "no layer is in front".to_owned(),
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClaimsRejection {
    /// The request is refused, as the layer in front would refuse it.
    Refused(Box<Refused>),
    /// No layer in front of the handler provides this: a mistake in the program, answered 500.
    MissingLayer(MissingLayer),
}

/// A refusal, and whether the request is gRPC's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    rejection: Rejection,
    is_grpc: bool,
}

impl Refused {
    /// Returns the refusal.
    pub fn rejection(&self) -> &Rejection {
        &self.rejection
    }
}

impl IntoResponse for ClaimsRejection {
    fn into_response(self) -> Response {
        match self {
            Self::Refused(refused) if refused.is_grpc => refused.rejection.into_grpc(),
            Self::Refused(refused) => refused.rejection.into_response(),
            Self::MissingLayer(missing) => (StatusCode::INTERNAL_SERVER_ERROR, missing.to_string()).into_response(),
        }
    }
}

impl From<MissingLayer> for ClaimsRejection {
    fn from(missing: MissingLayer) -> Self {
        Self::MissingLayer(missing)
    }
}

/// Builds a refusal in the form that the request needs.
fn refused(parts: &Parts, rejection: impl Into<Rejection>, layer: Option<&LayerContext>) -> ClaimsRejection {
    let rejection = rejection.into();
    let rejection = match layer {
        Some(layer) => rejection.for_layer(layer, uses_dpop(&parts.headers)),
        None => rejection,
    };
    let is_grpc = is_grpc(&parts.method, parts.version, &parts.headers);
    ClaimsRejection::Refused(Box::new(Refused { rejection, is_grpc }))
}

/// Returns the claims of a request, or its refusal.
fn claims(parts: &Parts) -> Result<Claims, ClaimsRejection> {
    Claims::from_extensions(&parts.extensions)?.ok_or_else(|| no_credentials(parts))
}

/// Builds the refusal of a request without credentials that an optional layer let pass.
fn no_credentials(parts: &Parts) -> ClaimsRejection {
    let layer = parts.extensions.get::<Anonymous>().map(|anonymous| &anonymous.0);
    refused(parts, Rejection::missing_credentials(), layer)
}

impl<S: Send + Sync> FromRequestParts<S> for Claims {
    type Rejection = ClaimsRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ClaimsRejection> {
        claims(parts)
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for Claims {
    type Rejection = ClaimsRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, ClaimsRejection> {
        Ok(Self::from_extensions(&parts.extensions)?)
    }
}

/// The application's own claims, read as a `T`.
///
/// Claims that do not read as a `T` are refused as `invalid_token`.
///
/// ```
/// # use auth_layer::extract::Custom;
/// #[derive(serde::Deserialize)]
/// struct Tenant {
///     tenant: u64,
/// }
///
/// async fn handler(Custom(tenant): Custom<Tenant>) -> String {
///     tenant.tenant.to_string()
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Custom<T>(pub Arc<T>);

impl<T> Deref for Custom<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send + Sync + 'static> FromRequestParts<S> for Custom<T> {
    type Rejection = ClaimsRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ClaimsRejection> {
        let claims = claims(parts)?;
        let invalid = |_| refused(parts, Rejection::invalid_token(), Some(claims.layer()));
        claims.custom().map(Self).map_err(invalid)
    }
}

/// Names a demand for [`Guarded`].
pub trait Requirement: Send + Sync + 'static {
    /// Returns the demand.
    fn demand() -> Demand;
}

/// The claims of a token that meets a demand. Other requests are refused.
///
/// ```
/// use auth_layer::{
///     Demand,
///     extract::{Guarded, Requirement},
/// };
///
/// struct Admin;
///
/// impl Requirement for Admin {
///     fn demand() -> Demand {
///         Demand::new().scope("admin")
///     }
/// }
///
/// async fn users(claims: Guarded<Admin>) -> String {
///     format!("{} may see all users", claims.sub)
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Guarded<R> {
    claims: Claims,
    requirement: PhantomData<fn() -> R>,
}

impl<R> Guarded<R> {
    /// Returns the claims.
    pub fn into_claims(self) -> Claims {
        self.claims
    }
}

impl<R> Deref for Guarded<R> {
    type Target = Claims;

    fn deref(&self) -> &Claims {
        &self.claims
    }
}

impl<S: Send + Sync, R: Requirement> FromRequestParts<S> for Guarded<R> {
    type Rejection = ClaimsRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ClaimsRejection> {
        let claims = claims(parts)?;
        match R::demand().check(&claims) {
            Ok(()) => Ok(Self { claims, requirement: PhantomData }),
            Err(error) => Err(refused(parts, error, Some(claims.layer()))),
        }
    }
}

fn single_use(parts: &Parts) -> Result<SingleUse, ClaimsRejection> {
    SingleUse::from_extensions(&parts.extensions)?.ok_or_else(|| no_credentials(parts))
}

/// ```
/// # use auth_layer::{Rejection, SingleUse};
/// async fn confirm(token: SingleUse) -> Result<String, Rejection> {
///     let claims = token.spend().await?;
///     Ok(format!("{} has confirmed", claims.sub))
/// }
/// ```
impl<S: Send + Sync> FromRequestParts<S> for SingleUse {
    type Rejection = ClaimsRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ClaimsRejection> {
        single_use(parts)
    }
}

/// The claims of a single-use token, and the body.
///
/// The token is spent last, so a refused body uses nothing up. A handler that reads no body takes a
/// [`SingleUse`].
///
/// ```
/// # use auth_layer::extract::Spend;
/// # use axum::Json;
/// #[derive(serde::Deserialize)]
/// struct Order {
///     item: String,
/// }
///
/// async fn order(Spend(claims, Json(order)): Spend<Json<Order>>) -> String {
///     format!("{} gets {}", claims.sub, order.item)
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Spend<T>(pub Claims, pub T);

impl<S: Send + Sync, T: FromRequest<S> + Send> FromRequest<S> for Spend<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let (parts, body) = request.into_parts();
        let token = single_use(&parts).map_err(IntoResponse::into_response)?;
        let value = T::from_request(Request::from_parts(parts.clone(), body), state)
            .await
            .map_err(IntoResponse::into_response)?;
        let layer = token.layer().clone();
        match token.spend().await {
            Ok(claims) => Ok(Self(claims, value)),
            Err(error) => Err(refused(&parts, error, Some(&layer)).into_response()),
        }
    }
}
