use std::{fmt, sync::Arc, time::Duration};

use serde::de::DeserializeOwned;

use super::{Demand, RequestHead};
use crate::{
    claims::Scope,
    credentials::CookieName,
    dpop::ProofPolicy,
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
    pub(super) exemptions: Vec<Exemption>,
    /// What proofs must meet; `None` if the scheme `DPoP` is not taken.
    pub(super) proofs: Option<ProofPolicy>,
    /// The cookie that may carry the token.
    pub(super) cookie: Option<CookieName>,
    pub(super) realm: Realm,
    pub(super) resource_metadata: Option<ResourceMetadata>,
}

type Exemption = Box<dyn Fn(&RequestHead<'_>) -> bool + Send + Sync>;

/// Configures a [`Policy`], or a layer with one.
///
/// Made by [`Policy::builder`] and [`AuthLayer::builder`](crate::AuthLayer::builder), with the same
/// methods.
///
/// ```
/// # use auth_layer::{AuthLayer, Authority};
/// # fn layer(authority: &Authority) -> AuthLayer {
/// AuthLayer::builder(authority)
///     .scope("orders:read")
///     .role("clerk")
///     .except(|head| head.uri.path() == "/healthz")
///     .build()
/// # }
/// ```
#[must_use]
pub struct PolicyBuilder<Target = ()> {
    pub(crate) target: Target,
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
        (self.preflight && head.is_preflight()) || self.exemptions.iter().any(|exempts| exempts(head))
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

impl<Target> PolicyBuilder<Target> {
    pub(crate) fn new(target: Target) -> Self {
        let rules = Rules {
            kind: TokenKind::Access,
            demand: Demand::new(),
            demands_more: false,
            optional: false,
            preflight: false,
            exemptions: Vec::new(),
            proofs: None,
            cookie: None,
            realm: Realm::default(),
            resource_metadata: None,
        };
        Self { target, rules }
    }

    pub(crate) fn policy(self) -> Policy {
        let demands_more = !self.rules.demand.is_empty();
        Policy(Arc::new(Rules { demands_more, ..self.rules }))
    }

    /// Replaces the whole demand.
    ///
    /// ```
    /// # use auth_layer::{Demand, trust::Policy};
    /// let writing = Demand::new().scope("orders:write").role("clerk");
    /// let policy = Policy::builder().demand(writing).build();
    /// # let _ = policy;
    /// ```
    pub fn demand(mut self, demand: Demand) -> Self {
        self.rules.demand = demand;
        self
    }

    fn map_demand(mut self, more: impl FnOnce(Demand) -> Demand) -> Self {
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
        self.map_demand(|demand| demand.covering(scope))
    }

    /// Adds a role, see [`Demand::role`].
    pub fn role(self, role: impl Into<Arc<str>>) -> Self {
        self.map_demand(|demand| demand.role(role))
    }

    /// Adds issuers, see [`Demand::issuers`].
    pub fn issuers(self, names: impl IntoIterator<Item: Into<Arc<str>>>) -> Self {
        self.map_demand(|demand| demand.issuers(names))
    }

    /// Adds an audience, see [`Demand::audience`].
    pub fn audience(self, audience: impl Into<String>) -> Self {
        self.map_demand(|demand| demand.audience(audience))
    }

    /// Sets the longest age of the sign-in, see [`Demand::max_age`].
    pub fn max_age(self, age: Duration) -> Self {
        self.map_demand(|demand| demand.max_age(age))
    }

    /// Adds an authentication context class, see [`Demand::acr`].
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use auth_layer::trust::Policy;
    /// // A sign-in with a second factor, at most five minutes ago.
    /// let policy = Policy::builder().max_age(Duration::from_mins(5)).acr("mfa").build();
    /// # let _ = policy;
    /// ```
    pub fn acr(self, value: impl Into<String>) -> Self {
        self.map_demand(|demand| demand.acr(value))
    }

    /// Sets the type of the custom claims, see [`Demand::custom_claims`].
    ///
    /// ```
    /// # use auth_layer::trust::Policy;
    /// #[derive(serde::Deserialize)]
    /// struct Tenant {
    ///     tenant: u64,
    /// }
    ///
    /// let policy = Policy::builder().audience("billing").custom_claims::<Tenant>().build();
    /// # let _ = policy;
    /// ```
    pub fn custom_claims<T: DeserializeOwned + Send + Sync + 'static>(self) -> Self {
        self.map_demand(Demand::custom_claims::<T>)
    }

    /// Accepts single-use tokens instead of access tokens.
    ///
    /// The layer checks a token and leaves it unspent. The handler spends it, see
    /// [`SingleUse`](super::SingleUse).
    ///
    /// ```
    /// # use auth_layer::{AuthLayer, Authority, SingleUse};
    /// # use auth_layer::Rejection;
    /// # use axum::{Router, routing::post};
    /// async fn confirm(token: SingleUse) -> Result<String, Rejection> {
    ///     let claims = token.spend().await?;
    ///     Ok(format!("{} has confirmed", claims.sub))
    /// }
    ///
    /// fn app(authority: &Authority) -> Router {
    ///     let once = AuthLayer::builder(authority).single_use().build();
    ///     Router::new().route("/confirm", post(confirm)).route_layer(once)
    /// }
    /// ```
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
        self.rules.exemptions.push(Box::new(exempts));
        self
    }

    /// Lets CORS preflight requests pass, which never carry credentials (Fetch §4.8).
    ///
    /// Needed only if the layer that answers them is inside this one. Default: a preflight is
    /// refused like any request without credentials.
    ///
    /// ```
    /// # use auth_layer::{AuthLayer, Authority};
    /// # use axum::{Router, routing::get};
    /// # use tower_http::cors::CorsLayer;
    /// # fn app(authority: &Authority) -> Router {
    /// // One route answers preflights itself, inside the layer around all routes.
    /// let orders = get(async || "orders").layer(CorsLayer::permissive());
    /// let layer = AuthLayer::builder(authority).preflight().build();
    /// Router::new().route("/orders", orders).layer(layer)
    /// # }
    /// ```
    pub fn preflight(mut self) -> Self {
        self.rules.preflight = true;
        self
    }

    /// Takes tokens that are bound to a key, with a proof in the header `DPoP` (RFC 9449 §7).
    /// Default: the scheme `DPoP` counts as no credentials.
    ///
    /// A proof is accepted once, over all nodes of the store. Its reservation is the last step of the
    /// check, so a refused request writes nothing. A bound token in the scheme `Bearer` is refused
    /// with and without this setting.
    ///
    /// ```
    /// # use auth_layer::{AuthLayer, Authority, Claims};
    /// # use axum::{Router, routing::get};
    /// use auth_layer::dpop::{InvalidOrigin, ProofPolicy};
    ///
    /// fn app(authority: &Authority) -> Result<Router, InvalidOrigin> {
    ///     let proofs = ProofPolicy::new("https://api.example".parse()?);
    ///     let layer = AuthLayer::builder(authority).dpop(proofs).build();
    ///     let me = get(async |claims: Claims| claims.sub.to_string());
    ///     Ok(Router::new().route("/me", me).layer(layer))
    /// }
    /// ```
    pub fn dpop(mut self, proofs: ProofPolicy) -> Self {
        self.rules.proofs = Some(proofs);
        self
    }

    /// Takes the token from a cookie too. Default: from the `Authorization` header alone.
    ///
    /// A request with both is refused. Cookies come with requests that another site makes, so the
    /// service needs a defence against those: see
    /// [`Authority::csrf_token`](crate::Authority::csrf_token).
    ///
    /// ```
    /// # use auth_layer::{AuthLayer, Authority, trust::InvalidCookieName};
    /// # fn layer(authority: &Authority) -> Result<AuthLayer, InvalidCookieName> {
    /// use auth_layer::trust::CookieName;
    ///
    /// Ok(AuthLayer::builder(authority).cookie(CookieName::new("__Host-access")?).build())
    /// # }
    /// ```
    pub fn cookie(mut self, name: CookieName) -> Self {
        self.rules.cookie = Some(name);
        self
    }

    /// Sets the realm that challenges name (RFC 9110 §11.5). Default: `api`.
    pub fn realm(mut self, realm: Realm) -> Self {
        self.rules.realm = realm;
        self
    }

    /// Sets the `resource_metadata` that challenges name (RFC 9728 §5.1). Default: none.
    ///
    /// ```
    /// # use auth_layer::trust::Policy;
    /// # fn policy() -> Result<Policy, Box<dyn std::error::Error>> {
    /// use auth_layer::rejection::{Realm, ResourceMetadata};
    ///
    /// let url = "https://api.example/.well-known/oauth-protected-resource";
    /// Ok(Policy::builder()
    ///     .realm(Realm::new("shop")?)
    ///     .resource_metadata(ResourceMetadata::new(url)?)
    ///     .build())
    /// # }
    /// ```
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

impl<Target> fmt::Debug for PolicyBuilder<Target> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicyBuilder").field("rules", &self.rules).finish_non_exhaustive()
    }
}
