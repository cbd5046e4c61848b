use std::{fmt, sync::Arc, time::Duration};

use serde::de::DeserializeOwned;

use super::{Demand, RequestHead};
use crate::{
    claims::Scope,
    kind::TokenKind,
    layer_context::{Realm, ResourceMetadata},
};

/// How requests are authenticated: which tokens are taken, what is demanded of them, which requests need none. It is built
/// once and shared. Cloning it copies a pointer.
///
/// A policy judges and keeps no verdicts: layers with different policies share what a process has verified.
#[derive(Clone, Debug)]
pub struct Policy(Arc<Rules>);

pub(super) struct Rules {
    pub(super) kind: TokenKind,
    pub(super) demand: Demand,
    /// Whether that is more than a check demands.
    pub(super) demands_more: bool,
    pub(super) optional: bool,
    pub(super) preflight: bool,
    pub(super) exceptions: Vec<Exception>,
    pub(super) realm: Realm,
    pub(super) resource_metadata: Option<ResourceMetadata>,
}

type Exception = Box<dyn Fn(&RequestHead<'_>) -> bool + Send + Sync>;

/// Sets a [`Policy`] up, or a layer with one. Made by [`Policy::builder`] and
/// [`AuthLayer::builder`](crate::AuthLayer::builder), with the same methods.
#[must_use]
pub struct PolicyBuilder<For = ()> {
    pub(crate) for_whom: For,
    rules: Rules,
}

impl Policy {
    /// Begins the policy that takes access tokens, and demands nothing more of them than that they are good.
    pub fn builder() -> PolicyBuilder {
        PolicyBuilder::new(())
    }

    pub(super) fn rules(&self) -> &Rules {
        &self.0
    }
}

impl Rules {
    /// Whether a request is let pass unchecked.
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
    /// The policy.
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

    /// What is demanded of a token, in place of what was demanded so far.
    pub fn demand(mut self, demand: Demand) -> Self {
        self.rules.demand = demand;
        self
    }

    fn demanding(mut self, more: impl FnOnce(Demand) -> Demand) -> Self {
        self.rules.demand = more(self.rules.demand);
        self
    }

    /// See [`Demand::scope`].
    ///
    /// # Panics
    ///
    /// As that.
    #[track_caller]
    pub fn scope(mut self, scope: &str) -> Self {
        self.rules.demand = self.rules.demand.scope(scope);
        self
    }

    /// See [`Demand::covering`].
    pub fn covering(self, scope: &Scope) -> Self {
        self.demanding(|demand| demand.covering(scope))
    }

    /// See [`Demand::role`].
    pub fn role(self, role: impl Into<Arc<str>>) -> Self {
        self.demanding(|demand| demand.role(role))
    }

    /// See [`Demand::audience`].
    pub fn audience(self, audience: impl Into<String>) -> Self {
        self.demanding(|demand| demand.audience(audience))
    }

    /// See [`Demand::max_age`].
    pub fn max_age(self, age: Duration) -> Self {
        self.demanding(|demand| demand.max_age(age))
    }

    /// See [`Demand::acr`].
    pub fn acr(self, value: impl Into<String>) -> Self {
        self.demanding(|demand| demand.acr(value))
    }

    /// See [`Demand::custom_claims`].
    pub fn custom_claims<T: DeserializeOwned + Send + Sync + 'static>(self) -> Self {
        self.demanding(Demand::custom_claims::<T>)
    }

    /// Takes single-use tokens in place of access tokens. The layer checks them and leaves them unspent: the handler spends
    /// them, see [`SingleUse`](super::SingleUse).
    pub fn single_use(mut self) -> Self {
        self.rules.kind = TokenKind::SingleUse;
        self
    }

    /// Lets requests with no credentials pass, with no claims. Bad credentials are refused all the same. Default: false.
    pub fn optional(mut self, optional: bool) -> Self {
        self.rules.optional = optional;
        self
    }

    /// Lets requests pass unchecked, and with no claims, for which this is true. Repeatable: any of them.
    ///
    /// ```
    /// # use auth_layer::trust::Policy;
    /// let policy = Policy::builder().except(|head| head.uri.path() == "/healthz").build();
    /// ```
    pub fn except(mut self, exempts: impl Fn(&RequestHead<'_>) -> bool + Send + Sync + 'static) -> Self {
        self.rules.exceptions.push(Box::new(exempts));
        self
    }

    /// Lets the preflight requests of browsers pass (Fetch §4.8), which never carry credentials. That is needed only where
    /// a layer that answers them stands behind this one. Default: they are refused like other requests without credentials.
    pub fn preflight(mut self) -> Self {
        self.rules.preflight = true;
        self
    }

    /// The realm that challenges name (RFC 9110 §11.5). Default: `api`.
    pub fn realm(mut self, realm: Realm) -> Self {
        self.rules.realm = realm;
        self
    }

    /// The `resource_metadata` that challenges name (RFC 9728 §5.1). Default: none.
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
