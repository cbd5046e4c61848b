//! Checks tokens without records: the signature first, then whether they are denied.

use std::{sync::Arc, time::Duration};

use super::{
    AuthError, Issuer, Trust,
    check::{Origins, PendingCheck, TokenCheck, TokenQuery, not_verified},
    foreign::Foreign,
};
use crate::{
    claims::{Claims, DenialKey, DenialKeys, ForeignClaims, VerifiedSignature},
    clock::later,
    fault::TokenFault,
    jwt::{NamedKey, Opened},
    keys::VerifyingKey,
    kind::TokenKind,
    layer_context::LayerContext,
    local::{CheckOutcome, Key},
    store::{HashedKey, StoreError},
};

impl Trust {
    /// Returns the issuer of a token that has no record, with the token; `None` if the token must
    /// have one.
    pub(super) fn find_foreign(
        &self,
        kind: TokenKind,
        origins: Origins<'_>,
        token: &str,
    ) -> Result<Option<(&Arc<Issuer>, Opened)>, TokenFault> {
        let own = &self.inner.issuer;
        // Other issuers have neither refresh tokens nor single-use tokens here.
        if kind != TokenKind::Access {
            return if own.rules().is_none() { Ok(None) } else { Err(TokenFault::Type) };
        }
        let is_taken = |issuer: &Issuer| match origins.issuers {
            Some(_) => origins.names(issuer),
            None => issuer.number() == own.number(),
        };
        if !self.all_issuers().any(|issuer| issuer.rules().is_some() && is_taken(issuer)) {
            return if is_taken(own) { Ok(None) } else { Err(TokenFault::Issuer) };
        }
        let opened = Opened::read(token, self.settings().max_token_bytes)?;
        let name = opened.issuer()?;
        let issuer = self.all_issuers().find(|issuer| issuer.name == name && is_taken(issuer));
        let issuer = issuer.ok_or(TokenFault::Issuer)?;
        Ok(issuer.rules().map(|_| (issuer, opened)))
    }

    /// Returns the issuer with this name, if its tokens have no records.
    pub(super) fn foreign_issuer(&self, name: &str) -> Option<(&Arc<Issuer>, &Foreign)> {
        let issuer = self.all_issuers().find(|issuer| issuer.name == name)?;
        Some((issuer, issuer.rules()?))
    }

    /// Checks a token without a record that is not cached.
    pub(super) fn check_foreign(
        &self,
        query: TokenQuery<'_>,
        issuer: &Arc<Issuer>,
        opened: Opened,
        key: Option<Key>,
        began: Duration,
    ) -> TokenCheck {
        let Some(rules) = issuer.rules() else { return TokenCheck::Done(Err(TokenFault::Issuer.into())) };
        let TokenQuery { origins, layer, may_be_bound, .. } = query;
        let audiences = origins.audiences.unwrap_or(&issuer.audiences);
        let expected = rules.expected(audiences, self.settings().leeway, self.now());
        let claims = match opened.access_claims(&expected) {
            Ok(claims) if claims.set.cnf.is_some() && !may_be_bound => {
                return TokenCheck::Done(Err(TokenFault::Binding.into()));
            }
            Ok(claims) => claims,
            Err(fault) => return TokenCheck::Done(Err(fault.into())),
        };
        let (trust, issuer, layer) = (self.clone(), Arc::clone(issuer), layer.clone());
        let audiences = audiences.number();
        let check = async move {
            let verified = trust.verify_foreign(&issuer, opened, claims, audiences, layer, began).await?;
            trust.check_denials(verified, key, began, false).await
        };
        TokenCheck::Pending(PendingCheck::in_steps(self.settings().deadline, check))
    }

    /// Asks whether a cached token without a record is denied.
    pub(super) fn look_up_denials(&self, claims: Claims, key: Option<Key>, began: Duration) -> PendingCheck {
        let trust = self.clone();
        let check = async move { trust.check_denials(claims, key, began, true).await };
        PendingCheck::in_steps(self.settings().deadline, check)
    }

    async fn verify_foreign(
        &self,
        issuer: &Issuer,
        opened: Opened,
        claims: ForeignClaims,
        audiences: u64,
        layer: LayerContext,
        began: Duration,
    ) -> Result<Claims, AuthError> {
        let (key, key_set) = self.key_of(issuer, &opened).await?;
        let signature = VerifiedSignature { key, key_set, issuer: issuer.number() };
        let verify = move |opened: Opened| opened.into_claims(claims, signature, audiences, layer);
        self.with_signature(opened, began, verify).await
    }

    /// Returns the key that a token names, and the number of its set. Fetches the keys if they do not
    /// have it.
    pub(super) async fn key_of(&self, issuer: &Issuer, opened: &Opened) -> Result<(VerifyingKey, u64), AuthError> {
        let find = || {
            let (keys, number) = issuer.keys();
            (opened.key(&keys), number)
        };
        let Some(rules) = issuer.rules() else { return Err(TokenFault::Issuer.into()) };
        rules.fetch_if_due();
        let (mut named, mut number) = find();
        // Leaves time for the store.
        let wait = self.settings().deadline / 5 * 4;
        if matches!(named, NamedKey::UnknownKid) && rules.refetch(wait).await.map_err(AuthError::Unavailable)? {
            (named, number) = find();
        }
        match named {
            NamedKey::Found(key) => Ok((key, number)),
            NamedKey::UnknownKid | NamedKey::NoneFits => Err(TokenFault::Key.into()),
        }
    }

    /// Verifies a signature: inline, or in the pool during a flood of wrong ones.
    pub(super) async fn with_signature<T: Send + 'static>(
        &self,
        opened: Opened,
        began: Duration,
        verify: impl FnOnce(Opened) -> Result<T, TokenFault> + Send + 'static,
    ) -> Result<T, AuthError> {
        let (checker, bytes) = (self.clone(), opened.bytes());
        let verify = move || verify(opened).inspect_err(|fault| checker.count_if_forged(*fault, began));
        if !self.inner.forged_signatures.is_exhausted(began) {
            return Ok(verify()?);
        }
        match self.inner.signature_pool.try_spawn(bytes, verify) {
            Ok(verified) => Ok(verified.await.map_err(not_verified)??),
            Err(verify) => Ok(verify()?),
        }
    }

    /// Asks the store whether a token is denied, by itself, its session or its subject.
    async fn check_denials(
        self,
        claims: Claims,
        key: Option<Key>,
        began: Duration,
        was_cached: bool,
    ) -> Result<Claims, AuthError> {
        self.resume_in_background();
        let Some(denial_keys) = claims.denial_keys() else { return Err(TokenFault::Unknown.into()) };
        let is_denied = self.is_denied(denial_keys).await.map_err(AuthError::Unavailable)?;
        let kept = self.local_cache().zip(key);
        if is_denied {
            if let Some((verified, key)) = kept {
                verified.remove(key);
            }
            return Err(TokenFault::Revoked.into());
        }
        if let Some((verified, key)) = kept {
            verified.insert(key, &CheckOutcome { claims: &claims, began, now: self.now() }, was_cached);
        }
        Ok(claims)
    }

    async fn is_denied(&self, keys: &DenialKeys) -> Result<bool, StoreError> {
        let asked: Vec<DenialKey> = keys.iter().collect();
        let hashed = asked.iter().map(hashed).collect();
        let denials = self.inner.store.denials(hashed, self.now()).await?;
        let leeway = self.settings().leeway;
        let mut denied = asked.into_iter().zip(denials).filter_map(|(key, denial)| Some((key, denial?.denied_at)));
        Ok(denied.any(|(key, denied_at)| keys.are_denied_by(key, later(denied_at, leeway))))
    }
}

/// Returns the key under which the store keeps a denial.
pub(super) fn hashed(key: &DenialKey) -> HashedKey {
    HashedKey::from_digest(key.digest())
}
