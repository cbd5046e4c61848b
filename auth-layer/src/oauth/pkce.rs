//! Proof Key for Code Exchange (RFC 7636).

use std::{borrow::Cow, fmt};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::hash::{bytes_32, sha256};

/// The hash that a client sends ahead of its code verifier (RFC 7636 §4.2), always `S256`.
///
/// ```
/// use auth_layer::oauth::CodeChallenge;
///
/// let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
/// let challenge = CodeChallenge::parse(Some("S256"), Some(challenge))?;
/// assert!(challenge.verify("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"));
/// assert!(CodeChallenge::parse(Some("plain"), Some("a")).is_err());
/// # Ok::<(), auth_layer::oauth::CodeChallengeError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct CodeChallenge([u8; 32]);

/// Why a code challenge is refused: `invalid_request` (RFC 7636 §4.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodeChallengeError {
    /// The request has no challenge.
    #[error("code_challenge is missing")]
    Missing,
    /// The method is not `S256`. Without a method it is `plain` (RFC 7636 §4.3).
    #[error("code_challenge_method must be S256")]
    Method,
    /// The challenge is not a SHA-256 in base64url without padding.
    #[error("code_challenge is not 43 characters of base64url")]
    Malformed,
}

impl CodeChallenge {
    /// Reads the parameters `code_challenge_method` and `code_challenge`.
    pub fn parse(method: Option<&str>, challenge: Option<&str>) -> Result<Self, CodeChallengeError> {
        //= RFC 7636 §4.4.1
        let challenge = challenge.ok_or(CodeChallengeError::Missing)?;
        // A plain challenge is the verifier: a reader of the request could use the code.
        //= RFC 9700 §2.1.1
        if method != Some("S256") {
            return Err(CodeChallengeError::Method);
        }
        bytes_32(challenge).map(Self).ok_or(CodeChallengeError::Malformed)
    }

    /// Returns the challenge of a verifier, as a client computes it.
    pub fn of(verifier: &str) -> Self {
        Self(sha256(&[verifier.as_bytes()]))
    }

    /// Whether `verifier` has the form of RFC 7636 §4.1 and this hash. Compares in constant time.
    pub fn verify(&self, verifier: &str) -> bool {
        //= RFC 7636 §4.6
        is_verifier(verifier) && verify_slices_are_equal(&self.0, &sha256(&[verifier.as_bytes()])).is_ok()
    }
}

/// Whether a text is a `code-verifier`: 43 to 128 unreserved characters (RFC 7636 §4.1).
pub(super) fn is_verifier(text: &str) -> bool {
    let is_unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    (43..=128).contains(&text.len()) && text.bytes().all(is_unreserved)
}

impl fmt::Display for CodeChallenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for CodeChallenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CodeChallenge")
    }
}

impl Serialize for CodeChallenge {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CodeChallenge {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(Some("S256"), Some(&text)).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7636 Appendix B.
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    #[test]
    fn oauth_pkce_vector_of_rfc_7636_appendix_b() {
        let challenge = CodeChallenge::parse(Some("S256"), Some(CHALLENGE)).unwrap();
        assert_eq!((challenge.clone(), challenge.to_string()), (CodeChallenge::of(VERIFIER), CHALLENGE.to_owned()));
        assert!(challenge.verify(VERIFIER));
        // The challenge is no verifier of itself.
        assert!(!challenge.verify(CHALLENGE));
        let json = serde_json::to_string(&challenge).unwrap();
        assert_eq!(serde_json::from_str::<CodeChallenge>(&json).unwrap(), challenge);
    }

    #[test]
    fn oauth_pkce_method_other_than_s256_is_refused() {
        for method in [None, Some("plain"), Some("s256"), Some("S256 "), Some("S512"), Some("")] {
            assert_eq!(CodeChallenge::parse(method, Some(CHALLENGE)), Err(CodeChallengeError::Method), "{method:?}");
        }
    }

    #[test]
    fn oauth_pkce_challenge_of_another_form_is_refused() {
        assert_eq!(CodeChallenge::parse(Some("S256"), None), Err(CodeChallengeError::Missing));
        for text in [
            "",
            &CHALLENGE[..42],
            &format!("{CHALLENGE}="),
            &format!("{CHALLENGE}A"),
            &CHALLENGE.replace('-', "+"),
            // The unused bits of the last character are not zero.
            &format!("{}N", &CHALLENGE[..42]),
            &format!("{} ", &CHALLENGE[..42]),
            &"é".repeat(22),
        ] {
            let parsed = CodeChallenge::parse(Some("S256"), Some(text));
            assert_eq!(parsed, Err(CodeChallengeError::Malformed), "{text:?}");
        }
    }

    #[test]
    fn oauth_pkce_verifier_has_43_to_128_unreserved_characters() {
        for (length, is_good) in [(0, false), (42, false), (43, true), (128, true), (129, false), (100_000, false)] {
            let verifier = "a".repeat(length);
            assert_eq!(CodeChallenge::of(&verifier).verify(&verifier), is_good, "{length}");
        }
        for odd in ["+", "/", "=", " ", "%", "\0", "é"] {
            let verifier = format!("{}{odd}", "a".repeat(50));
            assert!(!CodeChallenge::of(&verifier).verify(&verifier), "{odd:?}");
        }
        let verifier = format!("{}-._~09AZaz", "a".repeat(40));
        assert!(CodeChallenge::of(&verifier).verify(&verifier));
    }

    #[test]
    fn oauth_pkce_challenge_is_hidden_in_debug() {
        assert_eq!(format!("{:?}", CodeChallenge::of(VERIFIER)), "CodeChallenge");
    }
}
