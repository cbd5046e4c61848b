use std::{fmt, sync::Arc};

use tower_layer::Layer;

use super::{AuthService, Shared, outage::Outage};
use crate::trust::{Policy, PolicyBuilder, Trust};

/// Checks the bearer token of each request with a [`Trust`] and adds its [`Claims`](crate::Claims).
///
/// Requests without a good token are refused. One layer serves axum (`Router::layer`), tonic
/// (`Server::builder().layer`) and any other tower stack. gRPC requests are recognised by method,
/// HTTP version and content type, and get gRPC statuses.
///
/// ```
/// # use auth_layer::{AuthLayer, Authority, Claims};
/// # use axum::{Router, routing::{get, post}};
/// # fn app(authority: Authority) -> Router {
/// use std::time::Duration;
///
/// let writing = AuthLayer::builder(&authority)
///     .scope("orders:write")
///     .max_age(Duration::from_mins(5))
///     .build();
/// Router::new()
///     .route("/orders", post(async |claims: Claims| format!("{} has ordered", claims.sub)))
///     .route_layer(writing)
/// # }
/// ```
#[derive(Clone)]
pub struct AuthLayer {
    shared: Arc<Shared>,
}

/// Configures an [`AuthLayer`]. Made by [`AuthLayer::builder`].
pub type AuthLayerBuilder = PolicyBuilder<Trust>;

impl AuthLayer {
    /// Creates a layer that requires an access token on every request, in the realm `api`.
    ///
    /// ```
    /// # use auth_layer::{AuthLayer, Authority, Claims};
    /// # use axum::{Router, routing::get};
    /// # fn app(authority: &Authority) -> Router {
    /// Router::new()
    ///     .route("/me", get(async |claims: Claims| claims.sub.to_string()))
    ///     .layer(AuthLayer::new(authority))
    /// # }
    /// ```
    pub fn new(trust: impl Into<Trust>) -> Self {
        Self::builder(trust).build()
    }

    /// Begins a layer that demands more or less than [`new`](Self::new).
    pub fn builder(trust: impl Into<Trust>) -> AuthLayerBuilder {
        PolicyBuilder::new(trust.into())
    }

    /// Creates a layer with an existing policy.
    ///
    /// ```
    /// # use auth_layer::{AuthLayer, Authority, trust::Policy};
    /// # fn layers(orders: &Authority, billing: &Authority) -> [AuthLayer; 2] {
    /// let policy = Policy::builder().scope("profile").build();
    /// [orders, billing].map(|authority| AuthLayer::with_policy(authority, policy.clone()))
    /// # }
    /// ```
    pub fn with_policy(trust: impl Into<Trust>, policy: Policy) -> Self {
        let trust = trust.into();
        trust.warn_of_unknown_issuers(&policy);
        let context = trust.context(&policy);
        Self { shared: Arc::new(Shared { trust, policy, context, outage: Outage::new() }) }
    }
}

impl AuthLayerBuilder {
    /// Builds the layer.
    #[must_use]
    pub fn build(self) -> AuthLayer {
        let trust = self.target.clone();
        AuthLayer::with_policy(trust, self.policy())
    }
}

impl<S> Layer<S> for AuthLayer {
    type Service = AuthService<S>;

    fn layer(&self, inner: S) -> AuthService<S> {
        AuthService::new(inner, Arc::clone(&self.shared))
    }
}

impl fmt::Debug for AuthLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthLayer").field("policy", &self.shared.policy).finish_non_exhaustive()
    }
}
