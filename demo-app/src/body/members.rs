//! Reads a JSON object into a request and collects every error in its members.
//!
//! serde stops at the first bad member, but the client should get all errors. So a required text
//! that is missing or has another type is recorded as a fault and read as "". The caller refuses a
//! request with faults, so no handler sees that "".
//!
//! `eserde` also collects errors, but then returns no request. The rules of the readable fields
//! would go unchecked.

use std::{cell::RefCell, collections::BTreeMap};

use serde::{
    Deserializer,
    de::{
        DeserializeOwned, Error as _, IntoDeserializer, Visitor,
        value::{Error, MapDeserializer},
    },
    forward_to_deserialize_any,
};
use serde_json::{Map, Value};

/// The members that cannot be read, each with the reason.
pub(super) type FieldErrors = BTreeMap<&'static str, &'static str>;

/// Reads a struct of texts. A `String`, or a type that derives from it, is required; an `Option`
/// may be missing or `null`. Unknown members are ignored.
///
/// # Errors
///
/// Returns an error if `T` has a field of another type.
pub(super) fn read<T: DeserializeOwned>(members: Map<String, Value>) -> Result<(T, FieldErrors), Error> {
    let errors = RefCell::default();
    let request = T::deserialize(ObjectDeserializer { members, errors: &errors })?;
    Ok((request, errors.into_inner()))
}

struct ObjectDeserializer<'a> {
    members: Map<String, Value>,
    errors: &'a RefCell<FieldErrors>,
}

impl<'de> Deserializer<'de> for ObjectDeserializer<'_> {
    type Error = Error;

    fn deserialize_struct<V: Visitor<'de>>(
        mut self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let members = fields.iter().map(|&name| {
            let value = self.members.remove(name).unwrap_or_default();
            (name, MemberDeserializer { name, value, errors: self.errors })
        });
        MapDeserializer::new(members).deserialize_any(visitor)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("a request is a struct"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// A member for a field of the request; null if the object lacks it.
struct MemberDeserializer<'a> {
    name: &'static str,
    value: Value,
    errors: &'a RefCell<FieldErrors>,
}

impl<'de> Deserializer<'de> for MemberDeserializer<'_> {
    type Error = Error;

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.value.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let error = match self.value {
            Value::String(text) => return visitor.visit_string(text),
            Value::Null => "is required",
            _ => "must be a string",
        };
        self.errors.borrow_mut().insert(self.name, error);
        visitor.visit_str("")
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl IntoDeserializer<'_, Error> for MemberDeserializer<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Request {
        one: String,
        two: String,
        three: Option<String>,
    }

    fn read_text(members: Value) -> (Request, FieldErrors) {
        let Value::Object(members) = members else { panic!("an object") };
        read(members).unwrap()
    }

    fn request(one: &str, two: &str, three: Option<&str>) -> Request {
        Request { one: one.to_owned(), two: two.to_owned(), three: three.map(str::to_owned) }
    }

    #[test]
    fn body_members_are_read_by_name() {
        for (members, three) in [
            (json!({ "two": "b", "one": "a", "four": [1] }), None),
            (json!({ "one": "a", "two": "b", "three": null }), None),
            (json!({ "three": "c", "one": "a", "two": "b" }), Some("c")),
        ] {
            assert_eq!(read_text(members), (request("a", "b", three), FieldErrors::new()));
        }
    }

    #[test]
    fn body_members_report_all_errors() {
        let (_, errors) = read_text(json!({ "one": 1, "three": {} }));
        assert_eq!(
            errors,
            FieldErrors::from([("one", "must be a string"), ("two", "is required"), ("three", "must be a string")])
        );
        let (rest, errors) = read_text(json!({ "one": "a", "two": null }));
        assert_eq!((rest, errors), (request("a", "", None), FieldErrors::from([("two", "is required")])));
    }

    #[test]
    fn body_type_with_non_string_field_is_an_error() {
        #[derive(Debug, Deserialize)]
        struct Number {
            #[expect(dead_code, reason = "it cannot be read")]
            number: u32,
        }

        let members = || Map::from_iter([("number".to_owned(), json!(1))]);
        read::<Number>(members()).unwrap_err();
        read::<BTreeMap<String, u32>>(members()).unwrap_err();
    }
}
