//! Normalises passwords and checks the rules for new ones.

use std::{collections::HashSet, sync::LazyLock};

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use unicode_normalization::UnicodeNormalization;

/// The maximum length of a text that is normalised, in code points. NFC merges at most four into
/// one, so a longer text is too long in any form.
const MAX_CODE_POINTS: usize = 4 * 256;

/// The most used passwords, in lower case. Lines that begin with `#` are comments.
static MOST_USED: LazyLock<HashSet<&'static str>> =
    LazyLock::new(|| include_str!("most_used.txt").lines().filter(|line| !line.starts_with('#')).collect());

/// A password. It is hashed and compared in NFC, so texts that differ only in the encoding of
/// accents are one password.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "String")]
pub(crate) struct Password {
    normalized: SecretString,
    sent: Option<SecretString>,
}

impl Password {
    /// Returns the password in NFC.
    pub(crate) fn normalized(&self) -> &SecretString {
        &self.normalized
    }

    /// Returns the password as sent, if that was not NFC.
    pub(super) fn as_sent(&self) -> Option<&SecretString> {
        self.sent.as_ref()
    }
}

impl From<String> for Password {
    fn from(sent: String) -> Self {
        if sent.is_ascii() || sent.chars().nth(MAX_CODE_POINTS).is_some() {
            return Self { normalized: sent.into(), sent: None };
        }
        let normalized: String = sent.nfc().collect();
        let sent = (normalized != sent).then(|| sent.into());
        Self { normalized: normalized.into(), sent }
    }
}

/// Checks a new password: 8 to 256 characters in NFC, and none of the most used.
pub(crate) fn check_password(password: &Password) -> Result<(), &'static str> {
    let text = password.normalized().expose_secret();
    if !(8..=256).contains(&text.chars().count()) {
        return Err("must be 8 to 256 characters");
    }
    if MOST_USED.contains(text.to_lowercase().as_str()) {
        return Err("is too common; choose another");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn password_list_has_3000_passwords_of_allowed_length() {
        assert_eq!(MOST_USED.len(), 3_000);
        for password in &*MOST_USED {
            assert!((8..=256).contains(&password.chars().count()), "{password}");
            assert_eq!(password.to_lowercase(), *password);
            assert_eq!(check_password(&Password::from((*password).to_owned())), Err("is too common; choose another"));
        }
    }

    #[test]
    fn password_debug_shows_no_secret() {
        assert!(!format!("{:?}", Password::from("fo\u{308}rever hush".to_owned())).contains("hush"));
    }

    #[test]
    fn password_normalization_is_bounded() {
        let text = |characters| Password::from("\u{3b1}\u{313}\u{300}\u{345}".repeat(characters));
        assert_eq!(text(256).normalized().expose_secret(), "\u{1f82}".repeat(256));
        assert!(text(257).as_sent().is_none());
    }
}
