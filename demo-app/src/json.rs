//! Reads JSON and refuses objects with a duplicate member.
//!
//! `serde_json` takes the last of two members with one name, other parsers the first (RFC 8259 §4).
//! An attacker can use the difference between two programs. `serde_with` refuses duplicates in one
//! map, but not at any depth.

use std::{collections::HashSet, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::error::Category;

/// The reason why a text cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JsonError {
    #[error("it is not JSON, or not what is expected")]
    Malformed,
    #[error("an object names a member twice")]
    DuplicateMember,
}

/// Reads a whole text.
pub(crate) fn from_slice<T: DeserializeOwned>(text: &[u8]) -> Result<T, JsonError> {
    serde_json::from_slice::<UniqueMembers>(text).map_err(|error| match error.classify() {
        // `UniqueMembers` takes any value, so its only data errors are duplicate members.
        Category::Data => JsonError::DuplicateMember,
        Category::Io | Category::Syntax | Category::Eof => JsonError::Malformed,
    })?;
    serde_json::from_slice(text).map_err(|_| JsonError::Malformed)
}

/// Any value whose objects have no duplicate members.
struct UniqueMembers;

impl<'de> Deserialize<'de> for UniqueMembers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for UniqueMembers {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value whose objects name each member once")
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self, A::Error> {
        while array.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self, A::Error> {
        let mut names = HashSet::new();
        while let Some(name) = object.next_key::<String>()? {
            if !names.insert(name) {
                return Err(A::Error::custom("a member is named twice"));
            }
            object.next_value::<Self>()?;
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn json_without_duplicates_reads_as_serde_json_does() {
        for text in [
            "null",
            "true",
            "-1",
            "18446744073709551615",
            "1.5e300",
            r#""\u0061""#,
            "[]",
            "{}",
            r#"{"a":{"a":[{"a":1},{"a":2}]},"b":{"a":null}}"#,
            r#"{"a":1,"A":2,"":3," ":4}"#,
        ] {
            assert_eq!(from_slice::<Value>(text.as_bytes()), Ok(serde_json::from_str(text).unwrap()), "{text}");
        }
    }

    #[test]
    fn json_with_duplicate_member_is_refused_at_any_depth() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"b":2,"a":3}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"":1,"":2}"#,
            r#"[[{"x":{"a":1,"a":2}}]]"#,
            r#"{"a":{"b":[1,{"c":1,"c":1}]}}"#,
        ] {
            assert_eq!(from_slice::<Value>(text.as_bytes()), Err(JsonError::DuplicateMember), "{text}");
        }
    }

    #[test]
    fn json_malformed_is_refused() {
        let deep = "[".repeat(200) + &"]".repeat(200);
        for text in ["", "{", "{}x", "{} {}", r#"{"a":1,}"#, "{'a':1}", "NaN", r#""\ud800""#, "1e999", deep.as_str()] {
            assert_eq!(from_slice::<Value>(text.as_bytes()), Err(JsonError::Malformed), "{text}");
        }
        assert_eq!(from_slice::<Value>(b"\"\xff\""), Err(JsonError::Malformed));
    }
}
