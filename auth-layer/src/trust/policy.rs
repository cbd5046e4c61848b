use std::{fmt, sync::Arc, time::Duration};

use serde::de::DeserializeOwned;

use super::{Demand, RequestHead};
use crate::{
    claims::Scope,
    kind::TokenKind,
    layer_context::{Realm, ResourceMetadata},
};

/// How requests are authenticated: which tokens are accepted, what they must meet, what is exempt.
///
/// Cloning a policy copies a pointer. A policy keeps no verdicts, so layers with different policies
/// share the in-process cache.
///
/// ```
/// use auth_layer::trust::Policy;
///
/// let policy = Policy::builder().scope("orders:read").build();
/// ```
#[derive(Clone, Debug)]
pub struct Policy(Arc<Rules>);

pub(super) struct Rules {
    pub(super) kind: TokenKind,
    pub(super) demand: Demand,
    /// Whether the demand asks for more than the check itself.
    pub(super) demands_more: bool,
    pub(super) optional: bool,
    pub(super) preflight: bool,
    pub(super) exceptions: Vec<Exception>,
    pub(super) realm: Realm,
    pub(super) resource_metadata: Option<ResourceMetadata>,
}

type Exception = Box<dyn Fn(&RequestHead<'_>) -> bool + Send + Sync>;

/// Configures a [`Policy`], or a layer with one.
///
/// Made by [`Policy::builder`] and [`AuthLayer::builder`](crate::AuthLayer::builder), with the same
/// methods.
#[must_use]
pub struct PolicyBuilder<For = ()> {
    pub(crate) for_whom: For,
    rules: Rules,
}

impl Policy {
    /// Begins a policy that accepts every good access token.
    pub fn builder() -> PolicyBuilder {
        PolicyBuilder::new(())
    }

    pub(super) fn rules(&self) -> &Rules {
        &self.0
    }
}

impl Rules {
    /// Whether a request passes unchecked.
    pub(super) fn exempts(&self, head: &RequestHead<'_>) -> bool {
        (self.preflight && head.is_preflight()) || self.exceptions.iter().any(|exempts| exempts(head))
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self::builder().build()
    }
}

impl PolicyBuilder {
    /// Builds the policy.
    #[must_use]
    pub fn build(self) -> Policy {
        self.policy()
    }
}

impl<For> PolicyBuilder<For> {
    pub(crate) fn new(for_whom: For) -> Self {
        let rules = Rules {
            kind: TokenKind::Access,
            demand: Demand::new(),
            demands_more: false,
            optional: false,
            preflight: false,
            exceptions: Vec::new(),
            realm: Realm::default(),
            resource_metadata: None,
        };
        Self { for_whom, rules }
    }

    pub(crate) fn policy(self) -> Policy {
        let demands_more = !self.rules.demand.is_empty();
        Policy(Arc::new(Rules { demands_more, ..self.rules }))
    }

    /// Replaces the whole demand.
    pub fn demand(mut self, demand: Demand) -> Self {
        self.rules.demand = demand;
        self
    }

    fn demanding(mut self, more: impl FnOnce(Demand) -> Demand) -> Self {
        self.rules.demand = more(self.rules.demand);
        self
    }

    /// Adds a scope, see [`Demand::scope`].
    ///
    /// # Panics
    ///
    /// Panics if the text is not a scope.
    #[track_caller]
    pub fn scope(mut self, scope: &str) -> Self {
        self.rules.demand = self.rules.demand.scope(scope);
        self
    }

    /// Adds a scope, see [`Demand::covering`].
    pub fn covering(self, scope: &Scope) -> Self {
        self.demanding(|demand| demand.covering(scope))
    }

    /// Adds a role, see [`Demand::role`].
    pub fn role(self, role: impl Into<Arc<str>>) -> Self {
        self.demanding(|demand| demand.role(role))
    }

    /// Adds an audience, see [`Demand::audience`].
    pub fn audience(self, audience: impl Into<String>) -> Self {
        self.demanding(|demand| demand.audience(audience))
    }

    /// Sets the longest age of the sign-in, see [`Demand::max_age`].
    pub fn max_age(self, age: Duration) -> Self {
        self.demanding(|demand| demand.max_age(age))
    }

    /// Adds an authentication context class, see [`Demand::acr`].
    pub fn acr(self, value: impl Into<String>) -> Self {
        self.demanding(|demand| demand.acr(value))
    }

    /// Sets the type of the custom claims, see [`Demand::custom_claims`].
    pub fn custom_claims<T: DeserializeOwned + Send + Sync + 'static>(self) -> Self {
        self.demanding(Demand::custom_claims::<T>)
    }

    /// Accepts single-use tokens instead of access tokens.
    ///
    /// The layer checks a token and leaves it unspent. The handler spends it, see
    /// [`SingleUse`](super::SingleUse).
    pub fn single_use(mut self) -> Self {
        self.rules.kind = TokenKind::SingleUse;
        self
    }

    /// Lets requests without credentials pass, with no claims. Default: false.
    ///
    /// Bad credentials are still refused.
    ///
    /// ```
    /// # use auth_layer::{AuthLayer, Authority, Claims};
    /// # use axum::{Router, routing::get};
    /// # fn app(authority: Authority) -> Router {
    /// async fn greet(claims: Option<Claims>) -> String {
    ///     claims.map_or("hello, guest".into(), |claims| format!("hello, {}", claims.sub))
    /// }
    ///
    /// let layer = AuthLayer::builder(authority).optional(true).build();
    /// Router::new().route("/", get(greet)).layer(layer)
    /// # }
    /// ```
    pub fn optional(mut self, optional: bool) -> Self {
        self.rules.optional = optional;
        self
    }

    /// Exempts requests for which `exempts` returns true. They pass unchecked, with no claims.
    ///
    /// After several calls, any one is enough.
    ///
    /// ```
    /// # use auth_layer::trust::Policy;
    /// let policy = Policy::builder().except(|head| head.uri.path() == "/healthz").build();
    /// ```
    pub fn except(mut self, exempts: impl Fn(&RequestHead<'_>) -> bool + Send + Sync + 'static) -> Self {
        self.rules.exceptions.push(Box::new(exempts));
        self
    }

    /// Lets CORS preflight requests pass, which never carry credentials (Fetch §4.8).
    ///
    /// Needed only if the layer that answers them is inside this one. Default: a preflight is
    /// refused like any request without credentials.
    pub fn preflight(mut self) -> Self {
        self.rules.preflight = true;
        self
    }

    /// Sets the realm that challenges name (RFC 9110 §11.5). Default: `api`.
    pub fn realm(mut self, realm: Realm) -> Self {
        self.rules.realm = realm;
        self
    }

    /// Sets the `resource_metadata` that challenges name (RFC 9728 §5.1). Default: none.
    pub fn resource_metadata(mut self, url: ResourceMetadata) -> Self {
        self.rules.resource_metadata = Some(url);
        self
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules")
            .field("kind", &self.kind)
            .field("demand", &self.demand)
            .field("optional", &self.optional)
            .field("realm", &self.realm)
            .finish_non_exhaustive()
    }
}

impl<For> fmt::Debug for PolicyBuilder<For> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicyBuilder").field("rules", &self.rules).finish_non_exhaustive()
    }
}
