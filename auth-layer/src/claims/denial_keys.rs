//! The keys under which another issuer's tokens are denied.

use uuid::Uuid;

use super::ClaimSet;
use crate::{clock::Timestamp, hash::sha256};

/// The key of a denial: a SHA-256 hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct DenialKey([u8; 32]);

/// What a token of another issuer can be denied by. Computed once, when the token is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DenialKeys {
    pub(crate) token: DenialKey,
    pub(crate) session: Option<DenialKey>,
    pub(crate) subject: DenialKey,
    /// A denial of the subject covers the tokens that were issued until then.
    pub(crate) issued_at: Option<Timestamp>,
}

impl DenialKey {
    /// Denies the token with this `jti`.
    pub(crate) fn of_token(issuer: &str, token_id: &str) -> Self {
        Self::new("token", issuer, token_id)
    }

    /// Denies a token that has no `jti`, by the text that its signature covers.
    ///
    /// The signature is left out: whoever has an ECDSA signature can make a second one that is right.
    pub(crate) fn of_text(issuer: &str, signing_input: &str) -> Self {
        Self::new("text", issuer, signing_input)
    }

    /// Denies the tokens of the session with this `sid`.
    pub(crate) fn of_session(issuer: &str, session: &str) -> Self {
        Self::new("session", issuer, session)
    }

    /// Denies the tokens that were issued to this subject until a time.
    pub(crate) fn of_subject(issuer: &str, subject: &str) -> Self {
        Self::new("subject", issuer, subject)
    }

    fn new(of: &str, issuer: &str, value: &str) -> Self {
        // With the length of the issuer, no two pairs have the same bytes.
        let length = (issuer.len() as u64).to_be_bytes();
        let parts = [b"denial\0", of.as_bytes(), b"\0", &length, issuer.as_bytes(), value.as_bytes()];
        Self(sha256(&parts))
    }

    /// Returns the hash.
    pub(crate) fn digest(&self) -> [u8; 32] {
        self.0
    }

    /// Returns the id under which news of a denial travel: the first half of the hash.
    pub(crate) fn tag(&self) -> Uuid {
        Uuid::from_bytes(self.0.first_chunk().copied().unwrap_or_default())
    }
}

impl DenialKeys {
    /// Computes the keys of a token with these claims.
    pub(crate) fn of(claims: &ClaimSet, signing_input: &str) -> Self {
        let issuer = claims.iss.as_str();
        Self {
            token: match &claims.jti {
                Some(id) => DenialKey::of_token(issuer, &id.to_text()),
                None => DenialKey::of_text(issuer, signing_input),
            },
            session: claims.sid.as_ref().map(|session| DenialKey::of_session(issuer, &session.to_text())),
            subject: DenialKey::of_subject(issuer, &claims.sub.to_text()),
            issued_at: claims.iat,
        }
    }

    /// Returns the keys: of the token, of its subject, and of its session if it has one.
    pub(crate) fn iter(&self) -> impl Iterator<Item = DenialKey> {
        [Some(self.token), Some(self.subject), self.session].into_iter().flatten()
    }

    /// Returns the ids that news of a denial of this token may name.
    pub(crate) fn tags(&self) -> [Option<Uuid>; 3] {
        [Some(self.token.tag()), self.session.as_ref().map(DenialKey::tag), Some(self.subject.tag())]
    }

    /// Whether the denial of `key` that was made at `denied_at` covers this token.
    ///
    /// A token without `iat` may have been issued before.
    pub(crate) fn are_denied_by(&self, key: DenialKey, denied_at: Timestamp) -> bool {
        if key == self.subject {
            return self.issued_at.is_none_or(|issued_at| issued_at <= denied_at);
        }
        key == self.token || Some(key) == self.session
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn denial_keys_of_other_things_issuers_and_values_differ() {
        let all = [
            DenialKey::of_token("https://a", "1"),
            DenialKey::of_text("https://a", "1"),
            DenialKey::of_session("https://a", "1"),
            DenialKey::of_subject("https://a", "1"),
            DenialKey::of_subject("https://b", "1"),
            DenialKey::of_subject("https://a", "2"),
            DenialKey::of_subject("https://a1", ""),
            DenialKey::of_subject("https://", "a1"),
        ];
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
        assert_eq!(all.iter().map(DenialKey::tag).collect::<HashSet<_>>().len(), all.len());
    }

    #[test]
    fn denial_of_a_subject_covers_what_was_issued_until_then_and_what_does_not_say_when() {
        let [before, then, after] = [9, 10, 11].map(|at| Timestamp::from_timestamp(at, 0).unwrap());
        let [token, subject, session] = ["1", "2", "3"].map(|value| DenialKey::of_token("https://a", value));
        let keys = |issued_at| DenialKeys { token, session: Some(session), subject, issued_at };
        for (issued_at, is_denied) in [(Some(before), true), (Some(then), true), (Some(after), false), (None, true)] {
            assert_eq!(keys(issued_at).are_denied_by(subject, then), is_denied, "{issued_at:?}");
            assert!(keys(issued_at).are_denied_by(token, then) && keys(issued_at).are_denied_by(session, then));
        }
        assert!(!keys(None).are_denied_by(DenialKey::of_token("https://a", "4"), then));
    }
}
