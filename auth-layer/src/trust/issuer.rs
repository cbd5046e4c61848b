use std::{
    fmt,
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::{ArcSwap, Guard};

use super::{
    BuildError,
    foreign::{Foreign, KeySource},
};
use crate::{
    claims::{Audiences, Claims},
    clock::Clock,
    jwt::Typ,
    keys::{Algorithm, VerifyingKeys},
};

/// An issuer whose tokens are accepted: its name, its keys and what its tokens must be.
///
/// [`recorded`](Self::recorded) is for an authority that records its tokens in the store. The other
/// constructors are for other issuers, such as Keycloak: their tokens have no records, and are good
/// until they expire or are [denied](super::Trust::deny_session).
///
/// | its keys are | |
/// | --- | --- |
/// | known | [`with_keys`](Self::with_keys) |
/// | in a file with a JWK set | [`with_jwk_set`](Self::with_jwk_set) |
/// | at a URL | `with_jwks_url`, with the feature `discovery` |
/// | found by its name | `discover`, with the feature `discovery` |
///
/// What well-known issuers mint, and the settings for it:
///
/// | issuer | settings beside the audience |
/// | --- | --- |
/// | Keycloak | `typ(Typ::AnyJwt)`, `claim("typ", "Bearer")` |
/// | Auth0 | `typ(Typ::AnyJwt)`, unless the API has the RFC 9068 profile |
/// | Entra | `typ(Typ::AnyJwt)`, `max_life(Duration::from_hours(28))` |
/// | Cognito | no audience, `typ(Typ::AnyJwt)`, `claim("token_use", "access")`, `claim("client_id", …)` |
/// | Google | `typ(Typ::AnyJwt)`: these are ID tokens, for your audience |
/// | Okta | `typ(Typ::AnyJwt)` |
///
/// ```
/// use auth_layer::trust::{Issuer, Typ};
///
/// # fn example(keys: auth_layer::keys::VerifyingKeys) {
/// // Cognito names no audience, so a claim names the client.
/// let issuer = Issuer::with_keys("https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Ab", keys)
///     .typ(Typ::AnyJwt)
///     .claim("token_use", "access")
///     .claim("client_id", "7f2k3…");
/// # }
/// ```
#[must_use]
pub struct Issuer {
    pub(crate) name: String,
    pub(crate) audiences: Audiences,
    /// Stands for the settings of this issuer: no other issuer of the process has it.
    number: u64,
    /// `None` for an issuer that records its tokens.
    foreign: Option<Box<Foreign>>,
    keys: ArcSwap<NumberedKeys>,
    /// A copy of the number of the current keys, cheaper to read.
    key_set: AtomicU64,
    /// A setting for other issuers that was made on one that records its tokens.
    misplaced: Option<&'static str>,
}

/// A key set with its number, so that nobody sees the one without the other.
#[derive(Debug)]
pub(crate) struct NumberedKeys {
    keys: VerifyingKeys,
    /// It changes when a key is removed, not when one is added.
    number: u64,
}

impl Deref for NumberedKeys {
    type Target = VerifyingKeys;

    fn deref(&self) -> &VerifyingKeys {
        &self.keys
    }
}

impl Issuer {
    /// Creates an issuer that records each token it issues.
    ///
    /// `name` is the `iss` of its tokens; `keys` verify their signatures.
    ///
    /// ```
    /// # fn example(keys: auth_layer::keys::VerifyingKeys) {
    /// use auth_layer::trust::Issuer;
    ///
    /// let issuer = Issuer::recorded("https://auth.example", keys).audience("api");
    /// # }
    /// ```
    pub fn recorded(name: impl Into<String>, keys: impl Into<VerifyingKeys>) -> Self {
        Self::new(name.into(), keys.into(), None)
    }

    /// Creates an issuer that records nothing here, with fixed keys.
    ///
    /// `name` is the `iss` of its tokens, to the letter: Auth0's ends with a slash, Keycloak's does
    /// not.
    ///
    /// ```
    /// # fn example(pem: &[u8]) -> Result<(), auth_layer::keys::KeyError> {
    /// use auth_layer::{keys::{Algorithm, VerifyingKey}, trust::Issuer};
    ///
    /// let key = VerifyingKey::from_pem(Algorithm::Rs256, pem)?;
    /// let issuer = Issuer::with_keys("https://partner.example", key).audience("orders");
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_keys(name: impl Into<String>, keys: impl Into<VerifyingKeys>) -> Self {
        Self::foreign(name.into(), KeySource::Fixed(keys.into()))
    }

    /// Creates an issuer that records nothing here, with the text of a JWK set (RFC 7517 §5).
    ///
    /// Keys that cannot verify are left out. Building the trust fails if none is left.
    ///
    /// ```
    /// # fn example() -> std::io::Result<()> {
    /// use auth_layer::trust::Issuer;
    ///
    /// let jwk_set = std::fs::read_to_string("partner.jwks.json")?;
    /// let issuer = Issuer::with_jwk_set("https://partner.example", jwk_set).audience("orders");
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_jwk_set(name: impl Into<String>, json: impl Into<String>) -> Self {
        Self::foreign(name.into(), KeySource::Set(json.into()))
    }

    /// Creates an issuer that records nothing here, whose JWK set is at this URL.
    ///
    /// As [`discover`](Self::discover), for issuers that publish no metadata.
    ///
    /// ```
    /// use auth_layer::trust::Issuer;
    ///
    /// let issuer = Issuer::with_jwks_url("https://idp.example", "https://idp.example/keys.json")
    ///     .audience("orders");
    /// ```
    #[cfg(feature = "discovery")]
    pub fn with_jwks_url(name: impl Into<String>, url: impl Into<String>) -> Self {
        Self::foreign(name.into(), KeySource::Url(url.into()))
    }

    /// Creates an issuer that records nothing here, whose keys are found by its name: in its metadata
    /// by OpenID Connect Discovery, or by RFC 8414.
    ///
    /// - Keys are fetched every 5 minutes, or sooner if the response says so.
    /// - A token with an unknown `kid` makes for a fetch at once, at most every 10 seconds. It is
    ///   refused with 401 if the issuer has no such key, and with 503 if that cannot be learnt.
    /// - While the issuer is away, its last keys serve for 24 hours. After that its tokens get 503.
    /// - Tokens whose key is gone from the set are refused, also known ones.
    ///
    /// Building the trust does not wait for the issuer.
    ///
    /// ```
    /// use auth_layer::trust::{Issuer, Typ};
    ///
    /// let issuer = Issuer::discover("https://kc.example/realms/main")
    ///     .typ(Typ::AnyJwt)
    ///     .claim("typ", "Bearer")
    ///     .audience("orders");
    /// ```
    #[cfg(feature = "discovery")]
    pub fn discover(name: impl Into<String>) -> Self {
        Self::foreign(name.into(), KeySource::Discovery)
    }

    fn foreign(name: String, source: KeySource) -> Self {
        Self::new(name, VerifyingKeys::default(), Some(Box::new(Foreign::new(source))))
    }

    fn new(name: String, keys: VerifyingKeys, foreign: Option<Box<Foreign>>) -> Self {
        let keys = NumberedKeys { keys, number: next_number() };
        Self {
            name,
            audiences: Audiences::default(),
            number: next_number(),
            foreign,
            key_set: AtomicU64::new(keys.number),
            keys: ArcSwap::from_pointee(keys),
            misplaced: None,
        }
    }

    /// Adds an audience. At least one is required, except where a [`claim`](Self::claim) names the
    /// client.
    ///
    /// A token for any of them is accepted, unless a layer [demands](crate::Demand::audience)
    /// another.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audiences.push(audience.into());
        self
    }

    /// Sets the `typ` of the access tokens of another issuer. Default: [`Typ::AccessToken`].
    pub fn typ(self, typ: Typ) -> Self {
        self.set("typ", |foreign| foreign.typ = typ)
    }

    /// Sets the algorithms of another issuer's keys. Default: all but `HS256`.
    ///
    /// Other keys are not used. An RSA key that names no `alg` gets the first RSA algorithm of the
    /// list: `RS256` by default.
    ///
    /// ```
    /// # fn example(issuer: auth_layer::trust::Issuer) -> auth_layer::trust::Issuer {
    /// use auth_layer::keys::Algorithm;
    ///
    /// issuer.algorithms([Algorithm::Ps256])
    /// # }
    /// ```
    pub fn algorithms(self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        self.set("algorithms", |foreign| foreign.algorithms = Some(algorithms.into_iter().collect()))
    }

    /// Demands that the tokens of another issuer have this claim: a text, or an array of texts with
    /// this one. After several calls for one name, any one of the values is enough.
    ///
    /// ```
    /// # fn example(issuer: auth_layer::trust::Issuer) -> auth_layer::trust::Issuer {
    /// // Access tokens alone, of two clients.
    /// issuer.claim("token_use", "access").claim("client_id", "web").claim("client_id", "app")
    /// # }
    /// ```
    pub fn claim(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.set("claim", |foreign| foreign.add_rule(name.into(), value.into()))
    }

    /// Sets how long a token of another issuer may live. Default: 24 hours.
    ///
    /// Tokens that live longer are refused. The denial of a subject is kept for this long, so it
    /// outlives every token that it covers.
    pub fn max_life(self, life: Duration) -> Self {
        self.set("max_life", |foreign| foreign.max_life = life)
    }

    /// Sets how long a session of another issuer may live. Default: 30 days.
    ///
    /// The denial of a session is kept for this long, since the issuer may go on to mint tokens of
    /// it.
    ///
    /// ```
    /// # fn example(issuer: auth_layer::trust::Issuer) -> auth_layer::trust::Issuer {
    /// use std::time::Duration;
    ///
    /// // As the issuer is configured.
    /// issuer.max_life(Duration::from_mins(5)).max_session_life(Duration::from_hours(10))
    /// # }
    /// ```
    pub fn max_session_life(self, life: Duration) -> Self {
        self.set("max_session_life", |foreign| foreign.max_session_life = life)
    }

    /// Adds an audience of the logout tokens of another issuer: the id of an OAuth client. Without
    /// one, its logout tokens are refused.
    ///
    /// [`BackChannelLogout`](crate::oidc::BackChannelLogout) takes them, and has an example.
    pub fn logout_audience(self, client_id: impl Into<String>) -> Self {
        self.set("logout_audience", |foreign| foreign.logout_audiences.push(client_id.into()))
    }

    /// Makes a logout token of another issuer deny its subject, also when it names a session.
    ///
    /// For issuers whose access tokens carry no `sid`, such as Auth0. The subject's tokens of other
    /// sessions are denied too, as far as they were issued until then.
    ///
    /// ```
    /// # fn example(issuer: auth_layer::trust::Issuer) -> auth_layer::trust::Issuer {
    /// issuer.logout_audience("8Kz3…").logout_by_subject()
    /// # }
    /// ```
    pub fn logout_by_subject(self) -> Self {
        self.set("logout_by_subject", |foreign| foreign.logout_by_subject = true)
    }

    fn set(mut self, name: &'static str, set: impl FnOnce(&mut Foreign)) -> Self {
        match &mut self.foreign {
            Some(foreign) => set(foreign),
            None => self.misplaced = Some(name),
        }
        self
    }

    /// Checks the settings, and reads the keys or prepares to fetch them.
    pub(super) fn prepare(&mut self, clock: &Arc<dyn Clock>) -> Result<(), BuildError> {
        self.check()?;
        if let Some(foreign) = &mut self.foreign
            && let Some(keys) = foreign.prepare(&self.name, clock)?
        {
            self.set_keys(keys);
        }
        Ok(())
    }

    /// Begins to fetch the keys, if they are fetched. Waits for nothing.
    pub(super) fn start(self: &Arc<Self>) {
        if let Some(foreign) = &self.foreign {
            let issuer = Arc::downgrade(self);
            foreign.start(move |keys| {
                if let Some(issuer) = issuer.upgrade() {
                    issuer.set_keys(keys.cloned().unwrap_or_default());
                }
            });
        }
    }

    /// Fails if the issuer has no name or no audience, or if a setting cannot work.
    pub(crate) fn check(&self) -> Result<(), BuildError> {
        if self.name.is_empty() {
            return Err(BuildError::Empty("issuer's name"));
        }
        if let Some(setting) = self.misplaced {
            return Err(BuildError::Misplaced(setting));
        }
        let names_client = self.foreign.as_ref().is_some_and(|foreign| foreign.names_client());
        if self.audiences.is_empty() && !names_client {
            return Err(BuildError::Missing("audience"));
        }
        if self.audiences.iter().any(String::is_empty) {
            return Err(BuildError::Empty("audience"));
        }
        match &self.foreign {
            Some(foreign) => foreign.check(),
            None => Ok(()),
        }
    }

    /// Returns the rules for tokens without a record; `None` for an issuer that records its tokens.
    #[inline]
    pub(super) fn rules(&self) -> Option<&Foreign> {
        self.foreign.as_deref()
    }

    /// Returns the number that stands for this issuer's settings.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Returns the current keys and their number.
    pub(crate) fn keys(&self) -> (Guard<Arc<NumberedKeys>>, u64) {
        let keys = self.keys.load();
        let number = keys.number;
        (keys, number)
    }

    /// Replaces the keys. Calls must not overlap.
    pub(crate) fn set_keys(&self, keys: VerifyingKeys) {
        let old = self.keys.load();
        let number = if keys.contains_all(&old) { old.number } else { next_number() };
        self.keys.store(Arc::new(NumberedKeys { keys, number }));
        self.key_set.store(number, Ordering::Relaxed);
    }

    /// Whether a current key of this issuer verified the signature of these claims, and its settings
    /// were met.
    #[inline]
    pub(crate) fn has_verified(&self, claims: &Claims) -> bool {
        // Numbers are unique in the process, so an equal number means this issuer.
        claims.signature().key_set == self.key_set.load(Ordering::Relaxed) || self.has_key_of(claims)
    }

    #[cold]
    fn has_key_of(&self, claims: &Claims) -> bool {
        let signature = claims.signature();
        let met_settings = match self.foreign {
            // Without a record it would have to be one of another issuer's, of the same name.
            None => claims.is_recorded() && claims.iss == self.name,
            Some(_) => signature.issuer == self.number,
        };
        met_settings && self.keys.load().contains(&signature.key)
    }

    /// Whether the claims are for an audience of this issuer's, or for one that is demanded in
    /// place of them.
    #[inline]
    pub(super) fn takes_audience(&self, claims: &Claims, demanded: Option<&Audiences>) -> bool {
        let audiences = demanded.unwrap_or(&self.audiences);
        claims.is_for(audiences) || audiences.is_empty()
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer")
            .field("name", &self.name)
            .field("audiences", &self.audiences)
            .field("is_recorded", &self.foreign.is_none())
            .field("keys", &**self.keys.load())
            .finish_non_exhaustive()
    }
}

/// Numbers are unique over all issuers and key sets of the process.
fn next_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
