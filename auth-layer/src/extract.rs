//! Handing the claims to axum's handlers.

use axum_core::{
    extract::{FromRequestParts, OptionalFromRequestParts},
    response::{IntoResponse, Response},
};
use http::{StatusCode, request::Parts};

use crate::{
    claims::{Claims, CustomClaims},
    middleware::Anonymous,
    rejection::Rejection,
};

/// Why a handler did not get its [`Claims`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClaimsRejection {
    /// The request has no credentials and the layer lets such requests pass, but this handler needs some.
    Unauthorized(Rejection),
    /// No `AuthLayer` with this type of claims stands in front of the handler: a mistake in the program, answered 500 so that
    /// it never opens a door.
    MissingLayer {
        /// The name of the claims' type.
        claims: &'static str,
    },
}

impl IntoResponse for ClaimsRejection {
    fn into_response(self) -> Response {
        match self {
            Self::Unauthorized(rejection) => rejection.into_response(),
            Self::MissingLayer { claims } => {
                let text = format!(
                    "This route takes `{claims}`, and no `AuthLayer` with that type of claims is in front of it. \
                     Add `.layer(AuthLayer::new(authority))` to its router."
                );
                (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
            }
        }
    }
}

impl<C: CustomClaims> Claims<C> {
    fn of(parts: &Parts) -> Result<Option<Self>, ClaimsRejection> {
        if let Some(claims) = parts.extensions.get::<Self>() {
            return Ok(Some(claims.clone()));
        }
        if parts.extensions.get::<Anonymous>().is_some() {
            return Ok(None);
        }
        tracing::error!(
            claims = std::any::type_name::<Self>(),
            "no AuthLayer is in front of a route that takes claims"
        );
        Err(ClaimsRejection::MissingLayer { claims: std::any::type_name::<Self>() })
    }
}

impl<S: Send + Sync, C: CustomClaims> FromRequestParts<S> for Claims<C> {
    type Rejection = ClaimsRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ClaimsRejection> {
        Self::of(parts)?.ok_or_else(|| {
            let rejection = Rejection::missing_credentials();
            ClaimsRejection::Unauthorized(match parts.extensions.get::<Anonymous>() {
                Some(Anonymous { realm }) => rejection.with_realm(realm.clone()),
                None => rejection,
            })
        })
    }
}

impl<S: Send + Sync, C: CustomClaims> OptionalFromRequestParts<S> for Claims<C> {
    type Rejection = ClaimsRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, ClaimsRejection> {
        Self::of(parts)
    }
}
