use std::fmt;

use http::Extensions;

use super::{AuthError, Trust};
use crate::{
    claims::Claims,
    layer_context::{LayerContext, MissingLayer},
};

/// A single-use token that was checked and is not spent yet.
///
/// A layer with [`single_use`](super::PolicyBuilder::single_use) puts it into the request's
/// extensions instead of [`Claims`]. Only [`spend`](Self::spend) returns the claims. So a request
/// that reaches no handler (404, 405, a refused body) uses nothing up, and a handler that forgets
/// to spend has no claims.
///
/// In axum, the extractor [`Spend`](crate::extract::Spend) reads the body first and then spends the
/// token. For tonic there is [`grpc::spend`](crate::grpc::spend).
///
/// ```
/// # use auth_layer::{AuthLayer, Authority, Claims, extract::Spend};
/// # use axum::{Router, routing::{get, post}};
/// async fn order(Spend(claims, item): Spend<String>) -> String {
///     format!("{} gets {item}", claims.sub)
/// }
///
/// fn app(authority: &Authority) -> Router {
///     let once = AuthLayer::builder(authority).single_use().build();
///     let me = get(async |claims: Claims| claims.sub.to_string());
///     Router::new()
///         .route("/me", me.layer(AuthLayer::new(authority)))
///         .route("/orders", post(order).layer(once))
/// }
/// ```
#[derive(Clone)]
#[must_use = "the token is not used up until it is spent"]
pub struct SingleUse {
    trust: Trust,
    claims: Claims,
}

impl SingleUse {
    pub(super) fn new(trust: Trust, claims: Claims) -> Self {
        Self { trust, claims }
    }

    /// Returns the token that a layer left in a request's extensions.
    ///
    /// `None` if the layer let the request pass without credentials.
    ///
    /// # Errors
    ///
    /// [`MissingLayer`] if no layer for single-use tokens is in front.
    pub fn from_extensions(extensions: &Extensions) -> Result<Option<Self>, MissingLayer> {
        MissingLayer::find_extension(extensions)
    }

    /// Uses up the token and returns its claims.
    ///
    /// Among any number of calls with one token, on any number of nodes, one succeeds. A token
    /// whose answer is lost on the way is used up all the same.
    ///
    /// # Errors
    ///
    /// [`AuthError::InvalidToken`] if the token was used before, or its session was revoked since;
    /// [`AuthError::Unavailable`] if that cannot be learnt.
    pub async fn spend(self) -> Result<Claims, AuthError> {
        self.trust.consume(&self.claims).await?;
        Ok(self.claims)
    }

    /// Replaces the layer that let the token in.
    pub(super) fn with_layer(self, layer: &LayerContext) -> Self {
        Self { claims: self.claims.with_layer(layer), ..self }
    }

    /// Returns the layer that let the token in.
    #[cfg(feature = "axum")]
    pub(crate) fn layer(&self) -> &LayerContext {
        self.claims.layer()
    }
}

impl fmt::Debug for SingleUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SingleUse").field("claims", &self.claims).finish_non_exhaustive()
    }
}
