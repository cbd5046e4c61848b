//! OAuth scope (RFC 6749 §3.3).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A set of scope tokens, in the order in which they were first named, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope(Vec<String>);

/// The text is not a scope of RFC 6749 §3.3: tokens of `%x21 / %x23-5B / %x5D-7E`, one space between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a list of scope tokens separated by single spaces")]
pub struct ParseScopeError;

impl Scope {
    /// The scope with no tokens.
    pub const fn empty() -> Self {
        Self(Vec::new())
    }

    /// True when there are no tokens.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True when `token` is one of the tokens. Scope tokens are case-sensitive.
    pub fn contains(&self, token: &str) -> bool {
        self.0.iter().any(|held| held == token)
    }

    /// True when every token of `other` is one of ours.
    pub fn covers(&self, other: &Self) -> bool {
        other.iter().all(|token| self.contains(token))
    }

    /// The tokens, in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl FromStr for Scope {
    type Err = ParseScopeError;

    /// Reads tokens with one space between them. The empty text is the empty scope.
    fn from_str(text: &str) -> Result<Self, ParseScopeError> {
        let mut tokens: Vec<String> = Vec::new();
        if text.is_empty() {
            return Ok(Self(tokens));
        }
        for token in text.split(' ') {
            if token.is_empty() || !token.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5B | 0x5D..=0x7E)) {
                return Err(ParseScopeError);
            }
            if !tokens.iter().any(|held| held == token) {
                tokens.push(token.to_owned());
            }
        }
        Ok(Self(tokens))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_kept_in_order_and_once() {
        let scope: Scope = "profile admin profile".parse().unwrap();
        assert_eq!(scope.to_string(), "profile admin");
        assert!(scope.covers(&"admin".parse().unwrap()));
        assert!(!scope.covers(&"admin mail".parse().unwrap()));
    }

    #[test]
    fn what_the_grammar_forbids_is_refused() {
        for text in [" ", "a  b", " a", "a ", "a\"b", "a\\b", "é", "a\tb"] {
            assert_eq!(text.parse::<Scope>(), Err(ParseScopeError), "{text:?}");
        }
    }
}
