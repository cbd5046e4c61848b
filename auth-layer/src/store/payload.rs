//! What a store keeps but does not decide on.

use std::{
    collections::{BTreeMap, btree_map},
    fmt,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[cfg(doc)]
use super::OneTimeRecord;
use super::{Pair, Session, StoreError, StoreErrorKind};
use crate::claims::{Authentication, Confirmation, Scope};

/// Named texts that the library writes and a store only keeps.
///
/// A session has one for its whole life ([`Session::payload`]), each pair has one of its own
/// ([`Pair::payload`]), and so has each one-time record ([`OneTimeRecord::payload`]). A store
/// returns the names and texts that it was given, unknown members included. A later version of the
/// library can therefore keep more without a change in any store.
///
/// A store may keep a payload as one text, a JSON object of strings. The same payload always gives
/// the same text.
///
/// ```
/// use auth_layer::store::Payload;
///
/// let payload: Payload = [("client_id", "web")].into_iter().collect();
/// let text = serde_json::to_string(&payload)?;
/// assert_eq!(text, r#"{"client_id":"web"}"#);
/// assert_eq!(serde_json::from_str::<Payload>(&text)?, payload);
/// # Ok::<(), serde_json::Error>(())
/// ```
///
/// # Versions that run side by side
///
/// A node carries unknown members through every operation. In a refresh, the next pair's payload
/// starts from the current one. The member `crit` names other members, separated by blanks, that a
/// reader must understand. If it names one that the node does not know, a refresh fails with 503
/// and writes nothing. The same holds before a one-time record is redeemed: see
/// [`check_crit`](Self::check_crit).
///
/// A node from before payloads existed replaces a pair in MongoDB as a whole. Its refresh loses the
/// pair's unknown members, `crit` included, but leaves the session's own fields alone. A member
/// that must survive such a node belongs to the session.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Payload(BTreeMap<String, String>);

/// The members that this version knows.
pub(crate) mod member {
    /// Session: the OAuth client that opened it.
    pub(crate) const CLIENT_ID: &str = "client_id";
    /// Session: the `User-Agent` at sign-in. Optional.
    pub(crate) const USER_AGENT: &str = "user_agent";
    /// Pair: the text of its scope.
    pub(crate) const SCOPE: &str = "scope";
    /// Pair: the access token's claims about the sign-in and its custom claims, as a JSON object.
    pub(crate) const CUSTOM: &str = "custom";
    /// Pair: the `kid` of the key that signed it.
    pub(crate) const KID: &str = "kid";
    /// Pair: both signatures, sealed, in base64url. Absent if the algorithm is deterministic.
    pub(crate) const SEALED_SIGNATURES: &str = "sealed_signatures";
    /// Pair: the scope of the access token, if it is less than that of the refresh token. `crit`
    /// names it.
    pub(crate) const ACCESS_SCOPE: &str = "access_scope";
    /// Both: the audiences of the access token, a JSON array of texts. On a session, those of the
    /// next pair. Absent for the issuer's first audience.
    pub(crate) const AUDIENCE: &str = "audience";
    /// Both: the names of members that a reader must understand.
    pub(crate) const CRIT: &str = "crit";
}

const SESSION_MEMBERS: [&str; 4] = [member::CLIENT_ID, member::USER_AGENT, member::AUDIENCE, member::CRIT];
const PAIR_MEMBERS: [&str; 7] = [
    member::SCOPE,
    member::ACCESS_SCOPE,
    member::CUSTOM,
    member::KID,
    member::SEALED_SIGNATURES,
    member::AUDIENCE,
    member::CRIT,
];

impl Payload {
    /// Creates an empty payload.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Returns whether it has no members.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the text of the member `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Iterates over the members in the order of their names.
    pub fn iter(&self) -> btree_map::Iter<'_, String, String> {
        self.0.iter()
    }

    /// Creates the payload of a new session.
    pub(crate) fn of_session(client_id: String, user_agent: Option<String>) -> Self {
        let mut payload = Self::new();
        payload.set(member::CLIENT_ID, Some(client_id));
        payload.set(member::USER_AGENT, user_agent);
        payload
    }

    /// Creates the payload of a pair, which each refresh copies to the next pair.
    pub(crate) fn of_pair(scope: &Scope, custom: String) -> Self {
        let mut payload = Self::new();
        payload.set(member::SCOPE, Some(scope.to_string()));
        payload.set(member::CUSTOM, Some(custom));
        payload
    }

    /// Sets the audiences that the session is opened for. Empty means the issuer's first.
    pub(crate) fn for_audiences(mut self, audiences: &[String]) -> Self {
        self.set(member::AUDIENCE, (!audiences.is_empty()).then(|| Value::from(audiences).to_string()));
        self
    }

    /// Copies the audiences of `session`.
    pub(crate) fn for_audiences_of(mut self, session: &Self) -> Self {
        self.set(member::AUDIENCE, session.get(member::AUDIENCE).map(str::to_owned));
        self
    }

    /// Returns the audiences. `None` means the issuer's first.
    pub(crate) fn audiences(&self) -> Option<Vec<String>> {
        self.get(member::AUDIENCE).and_then(|audiences| serde_json::from_str(audiences).ok())
    }

    /// Sets the scopes of a pair: the refresh token's, and the access token's if that is less.
    ///
    /// A version that does not know `access_scope` would sign the access token with more, so `crit`
    /// names it.
    pub(crate) fn with_scopes(mut self, scope: &Scope, access_scope: Option<&Scope>) -> Self {
        self.set(member::SCOPE, Some(scope.to_string()));
        self.set(member::ACCESS_SCOPE, access_scope.map(Scope::to_string));
        self.set_crit(member::ACCESS_SCOPE, access_scope.is_some());
        self
    }

    /// Adds a name to those that a reader must understand, or removes it. The others stay.
    fn set_crit(&mut self, name: &'static str, is_critical: bool) {
        let crit = self.get(member::CRIT).unwrap_or_default();
        let names = crit.split(' ').filter(|other| !other.is_empty() && *other != name);
        let names: Vec<&str> = names.chain(is_critical.then_some(name)).collect();
        if names.is_empty() && !crit.contains(name) {
            return;
        }
        let crit = names.join(" ");
        self.set(member::CRIT, (!crit.is_empty()).then_some(crit));
    }

    /// Sets the claims beside those of the record, the text of a JSON object.
    pub(crate) fn with_custom(mut self, custom: String) -> Self {
        self.set(member::CUSTOM, Some(custom));
        self
    }

    /// Sets the key that will sign the pair, and removes the previous pair's signatures.
    pub(crate) fn signed_with(mut self, kid: &str) -> Self {
        self.set(member::KID, Some(kid.to_owned()));
        self.set(member::SEALED_SIGNATURES, None);
        self
    }

    /// Replaces a member, or removes it.
    pub(crate) fn set(&mut self, name: &'static str, text: Option<String>) {
        match text {
            Some(text) => self.0.insert(name.to_owned(), text),
            None => self.0.remove(name),
        };
    }

    /// Removes a member and returns its text.
    #[cfg(feature = "mongodb")]
    pub(crate) fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    #[cfg(feature = "mongodb")]
    pub(crate) fn into_map(self) -> BTreeMap<String, String> {
        self.0
    }

    /// Fails if the member `crit` names a member that is not in `known`.
    ///
    /// The reader of a payload calls this before anything is written on its word. The error's kind
    /// is [`Corrupt`](StoreErrorKind::Corrupt).
    ///
    /// ```
    /// use auth_layer::store::Payload;
    ///
    /// let members = [("cnf", "..."), ("crit", "cnf"), ("scope", "mail")];
    /// let payload: Payload = members.into_iter().collect();
    /// assert!(payload.check_crit(&["scope", "cnf"]).is_ok());
    /// assert!(payload.check_crit(&["scope"]).is_err());
    /// ```
    pub fn check_crit(&self, known: &[&str]) -> Result<(), StoreError> {
        let crit = self.get(member::CRIT).unwrap_or_default();
        if crit.split(' ').filter(|name| !name.is_empty()).all(|name| known.contains(&name)) {
            return Ok(());
        }
        Err(corrupt(
            "a newer version keeps something in this record that this one must not pass over: update this node",
        ))
    }
}

impl From<BTreeMap<String, String>> for Payload {
    fn from(members: BTreeMap<String, String>) -> Self {
        Self(members)
    }
}

impl<N: Into<String>, T: Into<String>> FromIterator<(N, T)> for Payload {
    fn from_iter<I: IntoIterator<Item = (N, T)>>(members: I) -> Self {
        Self(members.into_iter().map(|(name, text)| (name.into(), text.into())).collect())
    }
}

impl<'a> IntoIterator for &'a Payload {
    type Item = (&'a String, &'a String);
    type IntoIter = btree_map::Iter<'a, String, String>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Debug for Payload {
    /// Prints the names only: the texts belong to the application and its users.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Returns the error for a payload that this library did not write.
pub(crate) fn unreadable_payload() -> StoreError {
    corrupt("a session's payload is not what this library writes")
}

fn corrupt(what: &'static str) -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt, what)
}

impl Session {
    /// Returns the OAuth client that opened the session.
    pub fn client_id(&self) -> &str {
        self.payload.get(member::CLIENT_ID).unwrap_or_default()
    }

    /// Returns the `User-Agent` at sign-in, as the application chose to record it.
    pub fn user_agent(&self) -> Option<&str> {
        self.payload.get(member::USER_AGENT)
    }

    /// Returns the payload of the session's next pair.
    pub(crate) fn next_payload(&self) -> Payload {
        // An older node may have signed the newest pair for the issuer's first audience.
        self.current.payload.clone().for_audiences_of(&self.payload)
    }

    /// Returns the scope of its newest refresh token. Empty if the scope cannot be read.
    pub fn scope(&self) -> Scope {
        self.current.scope()
    }

    /// Fails if a payload is malformed, or if `crit` names a member that this version does not
    /// know.
    ///
    /// Called before anything is issued in the session.
    pub(crate) fn check_payloads(&self) -> Result<(), StoreError> {
        self.payload.check_crit(&SESSION_MEMBERS)?;
        let pair = &self.current.payload;
        pair.check_crit(&PAIR_MEMBERS)?;
        let can_be_read = |payload: &Payload| payload.get(member::AUDIENCE).is_none() || payload.audiences().is_some();
        let complete = self.payload.get(member::CLIENT_ID).is_some()
            && [&self.payload, pair].into_iter().all(can_be_read)
            && pair.get(member::KID).is_some()
            && pair.get(member::CUSTOM).is_some_and(Authentication::is_readable)
            && pair.get(member::SCOPE).is_some_and(|scope| scope.parse::<Scope>().is_ok())
            && pair.get(member::ACCESS_SCOPE).is_none_or(|scope| scope.parse::<Scope>().is_ok())
            && pair.get(member::SEALED_SIGNATURES).is_none_or(|sealed| URL_SAFE_NO_PAD.decode(sealed).is_ok());
        if complete { Ok(()) } else { Err(unreadable_payload()) }
    }
}

// A missing or unreadable member grants the least here: `Session::check_payloads` reports it.
impl Pair {
    /// Returns the `scope` of the refresh token: the most that an access token of it may have.
    pub(crate) fn scope(&self) -> Scope {
        self.payload.get(member::SCOPE).and_then(|scope| scope.parse().ok()).unwrap_or_default()
    }

    /// Returns the `scope` of the access token.
    pub(crate) fn access_scope(&self) -> Scope {
        match self.payload.get(member::ACCESS_SCOPE) {
            Some(scope) => scope.parse().unwrap_or_default(),
            None => self.scope(),
        }
    }

    /// Returns the key that both tokens are bound to.
    pub(crate) fn confirmation(&self) -> Option<Confirmation> {
        Authentication::from_json(self.custom()).cnf
    }

    /// Returns the audiences of the access token. `None` means the issuer's first.
    pub(crate) fn audiences(&self) -> Option<Vec<String>> {
        self.payload.audiences()
    }

    /// Returns the access token's claims beside those of the record, the text of a JSON object.
    pub(crate) fn custom(&self) -> &str {
        self.payload.get(member::CUSTOM).unwrap_or("{}")
    }

    /// Returns the `kid` of the key that signed both tokens.
    pub(crate) fn kid(&self) -> &str {
        self.payload.get(member::KID).unwrap_or_default()
    }

    /// Returns both signatures, sealed under a secret derived from the signing key.
    ///
    /// Stored only if the key's algorithm signs differently each time (ES256, PS256).
    pub(crate) fn sealed_signatures(&self) -> Option<Vec<u8>> {
        self.payload.get(member::SEALED_SIGNATURES).and_then(|sealed| URL_SAFE_NO_PAD.decode(sealed).ok())
    }

    pub(crate) fn set_sealed_signatures(&mut self, sealed: &[u8]) {
        self.payload.set(member::SEALED_SIGNATURES, Some(URL_SAFE_NO_PAD.encode(sealed)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payload_json_round_trips_and_other_json_is_refused() {
        let payload: Payload = [("a", "\u{0}\"\\é\u{1f980}"), ("b.$c", ""), ("", "{}")].into_iter().collect();
        let text = serde_json::to_string(&payload).unwrap();
        assert_eq!(serde_json::from_str::<Payload>(&text).unwrap(), payload);
        assert_eq!(serde_json::from_str::<Payload>("{}").unwrap(), Payload::new());
        for text in ["", "null", "[]", "\"a\"", r#"{"a":1}"#, r#"{"a":null}"#, r#"{"a":"b"}x"#] {
            assert!(serde_json::from_str::<Payload>(text).is_err_and(|error| !error.is_io()), "{text}");
        }
    }

    #[test]
    fn payload_debug_has_names_and_no_values() {
        let payload = Payload::of_session("web".to_owned(), Some("browser".to_owned()));
        assert_eq!(format!("{payload:?}"), r#"{"client_id", "user_agent"}"#);
    }

    #[test]
    fn payload_of_the_next_pair_keeps_unknown_members() {
        let mut payload = Payload::of_pair(&"profile".parse().unwrap(), "{}".to_owned()).signed_with("k1");
        payload.set(member::SEALED_SIGNATURES, Some("AAAA".to_owned()));
        payload.set("later", Some("kept".to_owned()));
        let next = payload.signed_with("k2");
        let expected = [("custom", "{}"), ("kid", "k2"), ("later", "kept"), ("scope", "profile")];
        assert_eq!(next, expected.into_iter().collect());
    }
}
