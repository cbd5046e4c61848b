use std::{fmt, sync::Arc, time::Duration};

use serde::{Deserialize, de::DeserializeOwned};

use super::AuthError;
use crate::{
    claims::{Audiences, Claims, Scope},
    clock::{Timestamp, later},
    fault::TokenFault,
};

/// What a route demands of a good token: scope, roles, audience, age and strength of the sign-in.
///
/// A layer judges the demand on every request, for cached tokens too.
///
/// ```
/// use std::time::Duration;
///
/// use auth_layer::Demand;
///
/// let demand = Demand::new().scope("orders:write").role("clerk").max_age(Duration::from_mins(5));
/// ```
#[derive(Clone, Default)]
#[must_use]
pub struct Demand {
    issuers: Vec<Arc<str>>,
    audiences: Audiences,
    scope: Scope,
    roles: Vec<Arc<str>>,
    max_age: Option<Duration>,
    acr_values: Vec<String>,
    custom: Option<CustomCheck>,
}

/// Fails if the custom claims do not read as one type.
type CustomCheck = fn(&Claims) -> Result<(), TokenFault>;

/// Why a good token is not enough for a route.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Denied {
    /// The token's scope lacks this: `insufficient_scope` (RFC 6750 §3.1).
    #[error("the token's scope does not cover `{0}`")]
    Scope(Scope),
    /// The user lacks this role: `insufficient_scope` (RFC 6750 §3.1).
    #[error("the user lacks the role `{0}`")]
    Role(Arc<str>),
    /// The user signed in longer ago than this: `insufficient_user_authentication` (RFC 9470 §3).
    #[error("the user signed in more than {} s ago", .0.as_secs())]
    Age(Duration),
    /// The token's `acr` is none of these: `insufficient_user_authentication` (RFC 9470 §3).
    #[error("the user did not sign in as strongly as {0:?}")]
    Acr(Vec<String>),
}

/// The claim `roles` (RFC 9068 §2.2.3.1).
#[derive(Deserialize)]
struct Roles {
    #[serde(default)]
    roles: Vec<String>,
}

impl Demand {
    /// Creates an empty demand.
    pub fn new() -> Self {
        Self::default()
    }

    /// Demands all of these scope tokens, separated by spaces. Calls add up.
    ///
    /// # Panics
    ///
    /// Panics if the text is not a scope (RFC 6749 §3.3). Use [`covering`](Self::covering) for a
    /// scope that is known only at run time.
    #[track_caller]
    pub fn scope(self, scope: &str) -> Self {
        match scope.parse() {
            Ok(scope) => self.covering(&scope),
            Err(error) => panic!("the demanded scope {scope:?} is {error}"),
        }
    }

    /// Demands all tokens of this scope. Calls add up.
    ///
    /// ```
    /// # use auth_layer::{Demand, claims::ParseScopeError};
    /// # fn demand(configured: &str) -> Result<Demand, ParseScopeError> {
    /// Ok(Demand::new().covering(&configured.parse()?))
    /// # }
    /// ```
    pub fn covering(mut self, scope: &Scope) -> Self {
        self.scope = self.scope.union(scope);
        self
    }

    /// Demands this role in the token's claim `roles` (RFC 9068 §2.2.3.1). Calls add up: all are
    /// needed.
    pub fn role(mut self, role: impl Into<Arc<str>>) -> Self {
        self.roles.push(role.into());
        self
    }

    /// Takes the tokens of these issuers of the trust, instead of its own issuer's alone. Calls add
    /// up.
    ///
    /// With several issuers, a user is `iss` and `sub` together: two issuers may have the same
    /// `sub` for different people. Also think of scopes: each issuer may give any of them.
    ///
    /// ```
    /// # use auth_layer::{AuthLayer, Trust};
    /// fn layers(trust: &Trust) -> [AuthLayer; 2] {
    ///     let everybody = ["https://auth.example", "https://kc.example/realms/partners"];
    ///     let orders = AuthLayer::builder(trust).issuers(everybody).scope("orders:read").build();
    ///     // Our own tokens alone.
    ///     let admin = AuthLayer::builder(trust).scope("admin").build();
    ///     [orders, admin]
    /// }
    /// ```
    pub fn issuers(mut self, names: impl IntoIterator<Item: Into<Arc<str>>>) -> Self {
        self.issuers.extend(names.into_iter().map(Into::into));
        self
    }

    /// Demands this audience instead of the issuer's own. After several calls, any one is enough.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audiences.push(audience.into());
        self
    }

    /// Demands a sign-in no longer ago than `age`, by the claim `auth_time` (RFC 9470 §4).
    ///
    /// A token without `auth_time` is refused.
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = Some(age);
        self
    }

    /// Demands this authentication context class in the claim `acr` (RFC 9470 §4).
    ///
    /// After several calls, any one is enough.
    ///
    /// ```
    /// # use auth_layer::Demand;
    /// // A token for `billing`, after a sign-in of one of two kinds.
    /// let demand = Demand::new().audience("billing").acr("mfa").acr("hardware");
    /// # let _ = demand;
    /// ```
    pub fn acr(mut self, value: impl Into<String>) -> Self {
        self.acr_values.push(value.into());
        self
    }

    /// Demands custom claims that read as a `T`. Other tokens are refused as `invalid_token`.
    ///
    /// ```
    /// # use auth_layer::Demand;
    /// #[derive(serde::Deserialize)]
    /// struct Tenant {
    ///     tenant: u64,
    /// }
    ///
    /// let demand = Demand::new().custom_claims::<Tenant>();
    /// # let _ = demand;
    /// ```
    pub fn custom_claims<T: DeserializeOwned + Send + Sync + 'static>(mut self) -> Self {
        self.custom = Some(|claims| claims.custom::<T>().map(drop));
        self
    }

    /// Fails unless the claims meet this demand, issuer and audience included.
    ///
    /// For handlers that demand more than their layer.
    ///
    /// # Errors
    ///
    /// [`AuthError::Denied`], or [`AuthError::InvalidToken`] for another issuer, another audience or
    /// custom claims of another type.
    ///
    /// ```
    /// # use auth_layer::{AuthError, Claims, Demand};
    /// fn delete(claims: &Claims) -> Result<(), AuthError> {
    ///     Demand::new().scope("orders:delete").check(claims)?;
    ///     // …
    ///     Ok(())
    /// }
    /// ```
    pub fn check(&self, claims: &Claims) -> Result<(), AuthError> {
        if self.named_issuers().is_some_and(|issuers| !issuers.iter().any(|name| **name == *claims.iss)) {
            return Err(TokenFault::Issuer.into());
        }
        if self.audiences().is_some_and(|audiences| !claims.is_for(audiences)) {
            return Err(TokenFault::Audience.into());
        }
        let layer = claims.layer();
        self.check_at(claims, || layer.now(), layer.leeway())
    }

    /// Whether every checked token meets this demand. Issuers and audiences are part of the check
    /// itself.
    pub(crate) fn is_empty(&self) -> bool {
        let Self { issuers: _, audiences: _, scope, roles, max_age, acr_values, custom } = self;
        scope.is_empty() && roles.is_empty() && acr_values.is_empty() && max_age.is_none() && custom.is_none()
    }

    /// Returns the issuers whose tokens are taken in place of the trust's own, if any are set.
    pub(crate) fn named_issuers(&self) -> Option<&[Arc<str>]> {
        (!self.issuers.is_empty()).then_some(&self.issuers)
    }

    /// Returns the audiences that replace the issuer's, if any are set.
    pub(crate) fn audiences(&self) -> Option<&Audiences> {
        (!self.audiences.is_empty()).then_some(&self.audiences)
    }

    /// Fails unless the claims meet this demand at `now`. The check has judged the audience
    /// already.
    #[inline(never)]
    pub(crate) fn check_at(
        &self,
        claims: &Claims,
        now: impl FnOnce() -> Timestamp,
        leeway: Duration,
    ) -> Result<(), AuthError> {
        if let Some(custom) = self.custom {
            custom(claims)?;
        }
        if !self.scope.is_empty() && !claims.scope.covers(&self.scope) {
            return Err(Denied::Scope(self.scope.clone()).into());
        }
        if !self.roles.is_empty() {
            let held = claims.custom::<Roles>().ok();
            let has = |role: &str| held.as_ref().is_some_and(|held| held.roles.iter().any(|held| held == role));
            if let Some(lacking) = self.roles.iter().find(|role| !has(role)) {
                return Err(Denied::Role(Arc::clone(lacking)).into());
            }
        }
        if !self.acr_values.is_empty() && !claims.acr.as_ref().is_some_and(|acr| self.acr_values.contains(acr)) {
            return Err(Denied::Acr(self.acr_values.clone()).into());
        }
        if let Some(max_age) = self.max_age {
            let end = claims.auth_time.map(|at| later(later(at, max_age), leeway));
            if end.is_none_or(|end| now() > end) {
                return Err(Denied::Age(max_age).into());
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Demand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Demand")
            .field("issuers", &self.issuers)
            .field("audiences", &self.audiences)
            .field("scope", &self.scope)
            .field("roles", &self.roles)
            .field("max_age", &self.max_age)
            .field("acr_values", &self.acr_values)
            .finish_non_exhaustive()
    }
}
