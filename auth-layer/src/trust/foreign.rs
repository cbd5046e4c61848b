//! The settings of an issuer whose tokens have no records, and where its keys come from.

#[cfg(feature = "discovery")]
use std::fmt::Display;
use std::{sync::Arc, time::Duration};

use super::{BuildError, check_duration};
#[cfg(feature = "discovery")]
use crate::jwks::{Location, RemoteKeys};
use crate::{
    claims::{Audiences, CLIENT_CLAIMS},
    clock::{Clock, Timestamp},
    jwt::{ClaimRule, ForeignExpected, Typ},
    keys::{Algorithm, VerifyingKeys, read_jwk_set},
    store::StoreError,
};

/// The algorithms of keys that are read from a JWK set. `HS256` must be asked for: whoever has the
/// set could sign.
const ALGORITHMS: [Algorithm; 4] = [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa, Algorithm::Ps256];

/// The claims that are judged in another way than by a rule.
const JUDGED: [&str; 5] = ["iss", "aud", "exp", "nbf", "iat"];

/// How long a token may live, if nothing else is set.
const MAX_LIFE: Duration = Duration::from_hours(24);

/// How long a session may live, if nothing else is set.
const MAX_SESSION_LIFE: Duration = Duration::from_hours(30 * 24);

/// What tokens without records must be, and where the keys come from.
pub(crate) struct Foreign {
    pub(super) typ: Typ,
    pub(super) algorithms: Option<Vec<Algorithm>>,
    pub(super) claim_rules: Vec<ClaimRule>,
    pub(super) max_life: Duration,
    pub(super) max_session_life: Duration,
    pub(super) logout_audiences: Audiences,
    pub(super) logout_by_subject: bool,
    source: KeySource,
    #[cfg(feature = "discovery")]
    remote: Option<RemoteKeys>,
}

/// Where the keys come from.
pub(super) enum KeySource {
    Fixed(VerifyingKeys),
    /// The text of a JWK set.
    Set(String),
    /// The URL of a JWK set.
    #[cfg(feature = "discovery")]
    Url(String),
    /// The metadata of the issuer.
    #[cfg(feature = "discovery")]
    Discovery,
}

impl Foreign {
    pub(super) fn new(source: KeySource) -> Self {
        Self {
            typ: Typ::default(),
            algorithms: None,
            claim_rules: Vec::new(),
            max_life: MAX_LIFE,
            max_session_life: MAX_SESSION_LIFE,
            logout_audiences: Audiences::default(),
            logout_by_subject: false,
            source,
            #[cfg(feature = "discovery")]
            remote: None,
        }
    }

    pub(super) fn add_rule(&mut self, name: String, value: String) {
        match self.claim_rules.iter_mut().find(|rule| rule.name == name) {
            Some(rule) => rule.values.push(value),
            None => self.claim_rules.push(ClaimRule { name, values: vec![value] }),
        }
    }

    /// Whether a rule names the client that tokens are issued to.
    pub(super) fn names_client(&self) -> bool {
        self.claim_rules.iter().any(|rule| CLIENT_CLAIMS.contains(&rule.name.as_str()))
    }

    pub(super) fn check(&self) -> Result<(), BuildError> {
        check_duration("max_life", self.max_life)?;
        check_duration("max_session_life", self.max_session_life)?;
        if self.max_session_life < self.max_life {
            return Err(BuildError::Order { longer: "max_session_life", shorter: "max_life" });
        }
        if self.algorithms.as_ref().is_some_and(Vec::is_empty) {
            return Err(BuildError::Missing("algorithm"));
        }
        if self.logout_audiences.iter().any(String::is_empty) {
            return Err(BuildError::Empty("audience of logout tokens"));
        }
        for rule in &self.claim_rules {
            if rule.name.is_empty() || rule.values.iter().any(String::is_empty) {
                return Err(BuildError::Empty("name or value of a claim"));
            }
            if let Some(judged) = JUDGED.into_iter().find(|judged| *judged == rule.name) {
                return Err(BuildError::Claim(judged));
            }
        }
        Ok(())
    }

    /// Returns the fixed keys, or prepares to fetch them.
    #[cfg_attr(
        not(feature = "discovery"),
        expect(unused_variables, reason = "only keys that are fetched need a clock")
    )]
    pub(super) fn prepare(
        &mut self,
        issuer: &str,
        clock: &Arc<dyn Clock>,
    ) -> Result<Option<VerifyingKeys>, BuildError> {
        let algorithms = self.algorithms.as_deref();
        match &self.source {
            KeySource::Fixed(keys) => {
                let keys = algorithms.map_or_else(|| keys.clone(), |algorithms| keys.only(algorithms));
                if keys.is_empty() { Err(BuildError::Missing("key of an allowed algorithm")) } else { Ok(Some(keys)) }
            }
            KeySource::Set(json) => read_jwk_set(json.as_bytes(), algorithms.unwrap_or(&ALGORITHMS))
                .map(Some)
                .map_err(|source| BuildError::Keys { issuer: issuer.to_owned(), source }),
            #[cfg(feature = "discovery")]
            KeySource::Url(url) => {
                let location = Location::key_set(url);
                self.fetch_from(location, issuer, clock).map(|()| None)
            }
            #[cfg(feature = "discovery")]
            KeySource::Discovery => self.fetch_from(Location::issuer(issuer), issuer, clock).map(|()| None),
        }
    }

    #[cfg(feature = "discovery")]
    fn fetch_from(
        &mut self,
        location: Result<Location, impl Display>,
        issuer: &str,
        clock: &Arc<dyn Clock>,
    ) -> Result<(), BuildError> {
        let location =
            location.map_err(|fault| BuildError::Url { issuer: issuer.to_owned(), fault: fault.to_string() })?;
        let algorithms = self.algorithms.clone().unwrap_or_else(|| ALGORITHMS.to_vec());
        let read = move |json: &[u8]| read_jwk_set(json, &algorithms);
        self.remote = Some(RemoteKeys::new(location, read, Arc::clone(clock)));
        Ok(())
    }

    /// Begins to fetch the keys, if they are fetched. Waits for nothing.
    #[cfg_attr(not(feature = "discovery"), expect(unused_variables, clippy::unused_self, reason = "keys are fixed"))]
    pub(super) fn start(&self, on_keys: impl Fn(Option<&VerifyingKeys>) + Send + Sync + 'static) {
        #[cfg(feature = "discovery")]
        if let Some(remote) = &self.remote {
            remote.start(on_keys);
        }
    }

    /// Fetches the keys if that is due and nobody does, for example after the runtime has ended.
    #[cfg_attr(not(feature = "discovery"), expect(clippy::unused_self, reason = "keys are fixed"))]
    pub(super) fn fetch_if_due(&self) {
        #[cfg(feature = "discovery")]
        if let Some(remote) = &self.remote {
            let _ = remote.current();
        }
    }

    /// Waits until the keys are fresh. Returns false at once if they are fixed.
    ///
    /// # Errors
    ///
    /// Fails if they cannot be fetched within this time.
    #[cfg_attr(not(feature = "discovery"), expect(unused_variables, clippy::unused_async, reason = "keys are fixed"))]
    pub(super) async fn refetch(&self, wait: Duration) -> Result<bool, StoreError> {
        #[cfg(feature = "discovery")]
        if let Some(remote) = &self.remote {
            let fetched = remote.refetch(wait).await;
            let unavailable = |error| StoreError::unavailable("a key of another issuer cannot be learnt", error);
            return fetched.map(|_| true).map_err(unavailable);
        }
        Ok(false)
    }

    /// Returns what a logout token is read against.
    pub(super) fn expected_logout(&self, leeway: Duration, now: Timestamp) -> ForeignExpected<'_> {
        // Its life has nothing to do with that of access tokens.
        ForeignExpected { max_life: MAX_LIFE, rules: &[], ..self.expected(&self.logout_audiences, leeway, now) }
    }

    /// Returns what an access token is read against.
    pub(super) fn expected<'a>(
        &'a self,
        audiences: &'a Audiences,
        leeway: Duration,
        now: Timestamp,
    ) -> ForeignExpected<'a> {
        let Self { typ, claim_rules, max_life, .. } = self;
        ForeignExpected { typ: *typ, audiences, rules: claim_rules, max_life: *max_life, leeway, now }
    }
}
