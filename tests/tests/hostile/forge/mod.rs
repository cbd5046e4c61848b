//! Forging: a good token is taken apart, altered in one thing and signed again.

mod key;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

pub(crate) use key::{ForgeKey, KEYS, mac};

/// Stands for a number that `serde_json` would write differently.
const RAW: &str = "@raw@";

/// A token before it is signed. Each alteration makes another one.
#[derive(Clone)]
pub(crate) struct TokenDraft {
    pub(crate) key: &'static ForgeKey,
    header: Map<String, Value>,
    claims: Map<String, Value>,
    raw: String,
}

impl TokenDraft {
    /// Reads a good token, to be signed again by this key of the ring.
    pub(crate) fn of(token: &str, key: &'static ForgeKey) -> Self {
        let mut parts = token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap());
        let mut object = || serde_json::from_slice(&parts.next().unwrap()).unwrap();
        let draft = Self { key, header: object(), claims: object(), raw: String::new() };
        draft.signed_by(key)
    }

    /// Changes the key, and `alg` and `kid` with it.
    pub(crate) fn signed_by(self, key: &'static ForgeKey) -> Self {
        let named = Self { key, ..self };
        named.header("alg", key.alg()).header("kid", key.kid())
    }

    /// Sets a header member.
    pub(crate) fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header.insert(name.into(), value.into());
        self
    }

    /// Removes a header member.
    pub(crate) fn without_header(mut self, name: &str) -> Self {
        assert!(self.header.remove(name).is_some(), "{name} is in the header");
        self
    }

    /// Sets a claim.
    pub(crate) fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.into(), value.into());
        self
    }

    /// Removes a claim.
    pub(crate) fn without_claim(mut self, name: &str) -> Self {
        assert!(self.claims.remove(name).is_some(), "{name} is a claim");
        self
    }

    /// Sets a claim to this text of JSON or of almost JSON.
    pub(crate) fn raw_claim(mut self, name: &str, json: &str) -> Self {
        json.clone_into(&mut self.raw);
        self.claim(name, RAW)
    }

    /// Returns a claim that is text.
    pub(crate) fn text(&self, claim: &str) -> &str {
        self.claims[claim].as_str().unwrap()
    }

    /// Returns a claim that is a number.
    pub(crate) fn number(&self, claim: &str) -> i64 {
        self.claims[claim].as_i64().unwrap()
    }

    /// Returns its `typ`.
    pub(crate) fn typ(&self) -> &str {
        self.header["typ"].as_str().unwrap()
    }

    /// Returns the JSON of its header.
    pub(crate) fn header_text(&self) -> String {
        Value::Object(self.header.clone()).to_string()
    }

    /// Returns the JSON of its payload.
    pub(crate) fn payload_text(&self) -> String {
        Value::Object(self.claims.clone()).to_string().replace(&format!("\"{RAW}\""), &self.raw)
    }

    /// Returns the token, signed by its key.
    pub(crate) fn token(&self) -> String {
        self.key.token(self.header_text(), self.payload_text())
    }

    /// Returns header and payload, encoded.
    pub(crate) fn parts(&self) -> (String, String) {
        (URL_SAFE_NO_PAD.encode(self.header_text()), URL_SAFE_NO_PAD.encode(self.payload_text()))
    }

    /// Returns the message that a signature covers.
    pub(crate) fn signing_input(&self) -> String {
        let (header, payload) = self.parts();
        format!("{header}.{payload}")
    }

    /// Returns the token with these bytes in place of its signature.
    pub(crate) fn signed_with(&self, signature: impl AsRef<[u8]>) -> String {
        format!("{}.{}", self.signing_input(), URL_SAFE_NO_PAD.encode(signature))
    }

    /// Returns the token with another header text, signed.
    pub(crate) fn with_header_text(&self, text: impl AsRef<[u8]>) -> String {
        self.key.token(text, self.payload_text())
    }

    /// Returns the token with another payload text, signed.
    pub(crate) fn with_payload_text(&self, text: impl AsRef<[u8]>) -> String {
        self.key.token(self.header_text(), text)
    }

    /// Returns the token with exactly `bytes` bytes, filled up with blanks behind its JSON.
    pub(crate) fn of_length(&self, bytes: usize) -> String {
        let encoded = |length: usize| (length * 4).div_ceil(3);
        let (header, payload) = (self.header_text(), self.payload_text());
        let rest = bytes - 2 - encoded(self.key.sign(b"").len());
        let fits = |blanks: &usize| (rest - encoded(header.len() + blanks)) % 4 != 1;
        let header = header.clone() + &" ".repeat((0..3).find(fits).unwrap());
        let payload_length = (rest - encoded(header.len())) * 3 / 4;
        let payload = payload.clone() + &" ".repeat(payload_length - payload.len());
        let token = self.key.token(header, payload);
        assert_eq!(token.len(), bytes);
        token
    }
}

/// Returns the text of a JSON object with one more member at its end.
pub(crate) fn with_member(object: &str, member: &str) -> String {
    format!("{},{member}}}", object.strip_suffix('}').unwrap())
}
