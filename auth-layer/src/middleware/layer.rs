use std::{fmt, sync::Arc};

use tower_layer::Layer;

use super::{AuthService, Shared, outage::Outage};
use crate::{
    authority::Authority,
    claims::{CustomClaims, NoCustomClaims},
    rejection::Realm,
    store::TokenKind,
};

/// Lets only those requests pass whose bearer token an [`Authority`] says is good, and puts its
/// [`Claims`](crate::Claims) into their extensions.
///
/// One layer serves axum (`Router::layer`), tonic (`Server::builder().layer`) and any other tower stack: gRPC requests are
/// told by their content type and refused in gRPC's terms.
pub struct AuthLayer<C = NoCustomClaims> {
    shared: Arc<Shared<C>>,
}

/// Sets an [`AuthLayer`] up. Made by [`AuthLayer::builder`].
#[must_use]
pub struct AuthLayerBuilder<C> {
    authority: Authority<C>,
    realm: Realm,
    kind: TokenKind,
    optional: bool,
}

impl<C: CustomClaims> AuthLayer<C> {
    /// A layer that asks for an access token on every request, in the realm `api`.
    pub fn new(authority: Authority<C>) -> Self {
        Self::builder(authority).build()
    }

    /// Begins a layer that is to differ from [`new`](Self::new)'s.
    pub fn builder(authority: Authority<C>) -> AuthLayerBuilder<C> {
        AuthLayerBuilder { authority, realm: Realm::default(), kind: TokenKind::Access, optional: false }
    }
}

impl<C: CustomClaims> AuthLayerBuilder<C> {
    /// The realm that challenges name (RFC 9110 §11.5).
    pub fn realm(mut self, realm: Realm) -> Self {
        self.realm = realm;
        self
    }

    /// Whether requests with no credentials pass, with no claims. Bad credentials are refused all the same.
    pub fn optional(mut self, optional: bool) -> Self {
        self.optional = optional;
        self
    }

    /// Whether single-use tokens are asked for in place of access tokens. The layer uses each up: of all requests with one
    /// token, on any number of nodes, one passes.
    pub fn single_use(mut self, single_use: bool) -> Self {
        self.kind = if single_use { TokenKind::SingleUse } else { TokenKind::Access };
        self
    }

    /// The layer.
    #[must_use]
    pub fn build(self) -> AuthLayer<C> {
        let Self { authority, realm, kind, optional } = self;
        AuthLayer { shared: Arc::new(Shared { authority, realm, kind, optional, outage: Outage::new() }) }
    }
}

impl<S, C> Layer<S> for AuthLayer<C> {
    type Service = AuthService<S, C>;

    fn layer(&self, inner: S) -> AuthService<S, C> {
        AuthService::new(inner, Arc::clone(&self.shared))
    }
}

impl<C> Clone for AuthLayer<C> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<C> fmt::Debug for AuthLayer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthLayer")
            .field("realm", &self.shared.realm)
            .field("kind", &self.shared.kind)
            .field("optional", &self.shared.optional)
            .finish_non_exhaustive()
    }
}

impl<C> fmt::Debug for AuthLayerBuilder<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthLayerBuilder")
            .field("realm", &self.realm)
            .field("kind", &self.kind)
            .field("optional", &self.optional)
            .finish_non_exhaustive()
    }
}
