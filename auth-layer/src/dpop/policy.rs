use http::{HeaderMap, Method};

use super::{Nonce, Nonces, Origin, Proof, ProofCheck, ProofFault, proof_header};
use crate::{clock::Timestamp, layer_context::ProofChallenge};

/// What a service demands of all its proofs.
///
/// A layer takes it with [`dpop`](crate::trust::PolicyBuilder::dpop). A token endpoint
/// [reads](Self::read) the proof of a request with it.
///
/// ```
/// # use auth_layer::{AuthLayer, Authority};
/// # fn layer(authority: &Authority) -> Result<AuthLayer, auth_layer::dpop::InvalidOrigin> {
/// use auth_layer::dpop::ProofPolicy;
///
/// let proofs = ProofPolicy::new("https://api.example".parse()?);
/// Ok(AuthLayer::builder(authority).dpop(proofs).build())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct ProofPolicy {
    origin: Origin,
    is_required: bool,
    nonces: Option<Nonces>,
}

impl ProofPolicy {
    /// Creates a policy for a service that clients know by this origin.
    pub fn new(origin: Origin) -> Self {
        Self { origin, is_required: false, nonces: None }
    }

    /// Sets whether tokens without a proof are refused. Default: false.
    pub fn required(self, is_required: bool) -> Self {
        Self { is_required, ..self }
    }

    /// Demands nonces (RFC 9449 §8, §9). Default: none.
    ///
    /// ```
    /// use auth_layer::{
    ///     dpop::{InvalidOrigin, Nonces, ProofPolicy},
    ///     keys::Keyring,
    /// };
    ///
    /// fn policy(keys: &Keyring) -> Result<ProofPolicy, InvalidOrigin> {
    ///     let proofs = ProofPolicy::new("https://api.example".parse()?);
    ///     Ok(proofs.required(true).nonces(Nonces::from(keys)))
    /// }
    /// ```
    pub fn nonces(self, nonces: Nonces) -> Self {
        Self { nonces: Some(nonces), ..self }
    }

    /// Returns whether tokens without a proof are refused.
    pub fn is_required(&self) -> bool {
        self.is_required
    }

    /// Returns the nonce for clients to use from now on; `None` if none is demanded.
    pub fn nonce(&self, now: Timestamp) -> Option<Nonce> {
        self.nonces.as_ref().map(|nonces| nonces.current(now))
    }

    /// Returns how a layer with this policy asks for proofs.
    pub(crate) fn to_challenge(&self) -> ProofChallenge {
        let nonce = self.nonces.clone().map(|nonces| {
            let nonce = move |now| nonces.current(now).to_header_value();
            Box::new(nonce) as Box<dyn Fn(Timestamp) -> http::HeaderValue + Send + Sync>
        });
        ProofChallenge { is_required: self.is_required, nonce }
    }

    /// Begins the check of a proof for this method and path.
    pub fn check<'a>(&'a self, method: &'a Method, path: &'a str, now: Timestamp) -> ProofCheck<'a> {
        let check = ProofCheck::new(method, &self.origin, path, now);
        match &self.nonces {
            Some(nonces) => check.nonces(nonces),
            None => check,
        }
    }

    /// Verifies the proof of a token request; `None` if it has none and needs none.
    ///
    /// An [`Authority`](crate::Authority) binds tokens to the proof's key, and makes sure that the
    /// proof is used once: see [`Grant::bound_to`](crate::Grant::bound_to).
    ///
    /// # Errors
    ///
    /// [`ProofFault`], also [`ProofFault::Missing`].
    ///
    /// ```
    /// # use auth_layer::{clock::Timestamp, dpop::{Proof, ProofFault, ProofPolicy}};
    /// # use http::Request;
    /// // At a token endpoint.
    /// fn proof<B>(
    ///     proofs: &ProofPolicy,
    ///     request: &Request<B>,
    ///     now: Timestamp,
    /// ) -> Result<Option<Proof>, ProofFault> {
    ///     proofs.read(request.method(), request.uri().path(), request.headers(), now)
    /// }
    /// ```
    pub fn read(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<Option<Proof>, ProofFault> {
        match proof_header(headers)? {
            Some(text) => self.check(method, path, now).verify(text).map(Some),
            None if self.is_required => Err(ProofFault::Missing),
            None => Ok(None),
        }
    }
}
