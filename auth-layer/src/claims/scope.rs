//! OAuth scope (RFC 6749 §3.3).

use std::{collections::HashSet, fmt, hash::Hash, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A set of scope tokens, in the order in which they were first named.
///
/// It takes as much memory as its text.
///
/// ```
/// use auth_layer::Scope;
///
/// let scope: Scope = "orders:read orders:write".parse()?;
/// assert!(scope.contains("orders:read") && !scope.contains("orders"));
/// # Ok::<(), auth_layer::claims::ParseScopeError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope(String);

/// The text is not a scope (RFC 6749 §3.3): tokens of `%x21 / %x23-5B / %x5D-7E`, each separated by
/// one space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a list of scope tokens separated by single spaces")]
pub struct ParseScopeError;

/// How many tokens are compared one by one. Further ones go into a set.
const FEW: usize = 16;

impl Scope {
    /// Creates a scope without tokens.
    pub const fn empty() -> Self {
        Self(String::new())
    }

    /// Whether the scope has no tokens.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the length of its text, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.0.len()
    }

    /// Whether `token` is in the scope. Scope tokens are case-sensitive.
    pub fn contains(&self, token: &str) -> bool {
        self.iter().any(|held| held == token)
    }

    /// Whether every token of `other` is in this scope.
    pub fn covers(&self, other: &Self) -> bool {
        if other.iter().nth(FEW).is_none() {
            return other.iter().all(|token| self.contains(token));
        }
        let held: HashSet<&str> = self.iter().collect();
        other.iter().all(|token| held.contains(token))
    }

    /// Returns a scope with the tokens of both.
    ///
    /// ```
    /// # use auth_layer::Scope;
    /// let granted: Scope = "orders:read".parse()?;
    /// let both = granted.union(&"orders:write".parse()?);
    /// assert!(both.covers(&granted) && !granted.covers(&both));
    /// # Ok::<(), auth_layer::claims::ParseScopeError>(())
    /// ```
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self::join(self.iter().chain(other.iter()), self.0.len() + other.0.len() + 1)
    }

    /// Returns a scope with the tokens that both have.
    ///
    /// ```
    /// # use auth_layer::Scope;
    /// let granted: Scope = "profile admin".parse()?;
    /// let allowed: Scope = "profile mail".parse()?;
    /// assert_eq!(granted.intersection(&allowed), "profile".parse()?);
    /// # Ok::<(), auth_layer::claims::ParseScopeError>(())
    /// ```
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let held: HashSet<&str> = other.iter().collect();
        Self::join(self.iter().filter(|token| held.contains(token)), self.0.len())
    }

    /// Joins tokens, each once, to a text of at most this length.
    fn join<'t>(tokens: impl Iterator<Item = &'t str>, length: usize) -> Self {
        let mut scope = String::with_capacity(length);
        for token in without_duplicates(tokens) {
            if !scope.is_empty() {
                scope.push(' ');
            }
            scope.push_str(token);
        }
        Self(scope)
    }

    /// Returns the tokens, in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        // Splitting the empty text would give one empty token.
        self.0.split(' ').filter(|token| !token.is_empty())
    }
}

impl FromStr for Scope {
    type Err = ParseScopeError;

    /// Reads tokens separated by single spaces. The empty text is the empty scope.
    fn from_str(text: &str) -> Result<Self, ParseScopeError> {
        if text.is_empty() {
            return Ok(Self::empty());
        }
        let is_token =
            |token: &str| !token.is_empty() && token.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5B | 0x5D..=0x7E));
        if !text.split(' ').all(is_token) {
            return Err(ParseScopeError);
        }
        Ok(Self::join(text.split(' '), text.len()))
    }
}

/// Drops items that came before. The work is linear in their number.
fn without_duplicates<T: Copy + Eq + Hash>(items: impl Iterator<Item = T>) -> impl Iterator<Item = T> {
    let (mut few, mut many) = (Vec::new(), HashSet::new());
    items.filter(move |item| {
        if few.contains(item) {
            return false;
        }
        if few.len() < FEW {
            few.push(*item);
            return true;
        }
        many.insert(*item)
    })
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
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
    use std::{cell::Cell, hash::Hasher};

    use super::*;

    #[test]
    fn scope_tokens_are_kept_in_order_and_once() {
        let scope: Scope = "profile admin profile".parse().unwrap();
        assert_eq!(scope.to_string(), "profile admin");
        assert_eq!(scope.iter().collect::<Vec<_>>(), ["profile", "admin"]);
        assert_eq!(scope.union(&"mail admin".parse().unwrap()).to_string(), "profile admin mail");
        assert_eq!(Scope::empty().union(&Scope::empty()), Scope::empty());
        assert!(scope.covers(&"admin".parse().unwrap()));
        assert!(!scope.covers(&"admin mail".parse().unwrap()));
        assert!(!scope.contains("adm") && !scope.contains(""));
        assert_eq!((Scope::empty().iter().count(), Scope::empty().contains("")), (0, false));
    }

    #[test]
    fn scope_text_that_the_grammar_forbids_is_refused() {
        for text in [" ", "a  b", " a", "a ", "a\"b", "a\\b", "é", "a\tb"] {
            assert_eq!(text.parse::<Scope>(), Err(ParseScopeError), "{text:?}");
        }
    }

    #[test]
    fn scope_of_many_tokens_is_the_same_as_of_few() {
        let many: Vec<String> = (0..100).map(|n| n.to_string()).collect();
        let scope: Scope = [many.join(" "), many.join(" ")].join(" ").parse().unwrap();
        assert_eq!(scope.iter().collect::<Vec<_>>(), many);
        assert!(scope.covers(&many.join(" ").parse().unwrap()));
        assert!(!scope.covers(&[&many.join(" "), "100"].join(" ").parse().unwrap()));
        assert!(scope.covers(&Scope::empty()));
    }

    thread_local! {
        static COMPARED: Cell<usize> = const { Cell::new(0) };
    }

    /// A token that counts comparisons.
    #[derive(Clone, Copy)]
    struct Counted(usize);

    impl PartialEq for Counted {
        fn eq(&self, other: &Self) -> bool {
            COMPARED.set(COMPARED.get() + 1);
            self.0 == other.0
        }
    }

    impl Eq for Counted {}

    impl Hash for Counted {
        fn hash<H: Hasher>(&self, state: &mut H) {
            self.0.hash(state);
        }
    }

    /// A forged token can name thousands of scope tokens, and its signature is not verified yet.
    #[test]
    fn scope_parsing_is_linear_in_the_number_of_tokens() {
        for many in [100, 1_000, 4_000] {
            COMPARED.set(0);
            assert_eq!(without_duplicates((0..many).map(Counted)).count(), many);
            // With each of the few, and sometimes with one of the same hash bits.
            assert!(COMPARED.get() <= (FEW + 4) * many, "{} comparisons of {many}", COMPARED.get());
        }
    }
}
