//! Reads JSON strictly: an object with duplicate members is refused, at every depth.
//!
//! RFC 7519 §4 lets a parser reject duplicate members or take the last one. Two parsers that differ
//! see two different tokens.
//!
//! One pass finds duplicates and picks out the requested members. It builds nothing else, so an
//! unverified token takes memory only for what is kept of it.

use std::{borrow::Cow, collections::HashSet, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value, de::StrRead};

/// How many strings of an array are kept. No claim needs more.
const MAX_TEXTS: usize = 64;

/// The value of a member, as far as claims and headers use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Datum<'t> {
    Text(Cow<'t, str>),
    Integer(i64),
    /// An array of at most [`MAX_TEXTS`] strings.
    Texts(Vec<Cow<'t, str>>),
    /// Any other value.
    Other,
}

impl<'t> Datum<'t> {
    /// Returns the text, if it is one.
    pub(crate) fn text(self) -> Option<Cow<'t, str>> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Joins the texts of two JSON objects that have no member in common.
pub(crate) fn join_objects(mut first: String, second: &str) -> String {
    if first == "{}" {
        return second.to_owned();
    }
    if let Some(members) = second.strip_prefix('{').filter(|rest| *rest != "}") {
        first.pop();
        first.push(',');
        first.push_str(members);
    }
    first
}

/// The requested members of an object, in the order of the names.
pub(crate) struct Fields<'t, const N: usize> {
    pub(crate) values: [Option<Datum<'t>>; N],
    /// Whether the object has further members.
    pub(crate) has_others: bool,
}

/// Reads the members `names` of the JSON object in `text`; `None` if it is not one.
///
/// The work is linear in the length of `text`.
pub(crate) fn fields<'t, const N: usize>(text: &'t [u8], names: &[&str; N]) -> Option<Fields<'t, N>> {
    let mut json = deserializer(text)?;
    let fields = json.deserialize_map(FieldsVisitor { names }).ok()?;
    json.end().ok()?;
    Some(fields)
}

/// Reads the members `names` of the object that is the member `name` of the object in `text`.
pub(crate) fn member_fields<'t, const N: usize>(
    text: &'t [u8],
    name: &str,
    names: &[&str; N],
) -> Option<Fields<'t, N>> {
    member(text, name, FieldsVisitor { names })
}

/// Reads the number that is the member `name` of the object in `text`, with or without a fraction.
pub(crate) fn member_number(text: &[u8], name: &str) -> Option<f64> {
    member(text, name, PhantomData::<f64>)
}

/// Whether the member `name` of the object in `text` is an object in which `inner` is an object.
pub(crate) fn has_object(text: &[u8], name: &str, inner: &str) -> bool {
    let seed = MemberVisitor { name: inner, seed: FieldsVisitor { names: &[] } };
    member(text, name, seed).flatten().is_some()
}

/// Reads one member; `None` if it is absent or not what `seed` reads.
fn member<'t, S: DeserializeSeed<'t>>(text: &'t [u8], name: &str, seed: S) -> Option<S::Value> {
    let mut json = deserializer(text)?;
    let value = json.deserialize_map(MemberVisitor { name, seed }).ok()?;
    json.end().ok()?;
    value
}

/// Reads all members of the JSON object in `text`; `None` if it is not one.
pub(crate) fn members(text: &[u8]) -> Option<Map<String, Value>> {
    fields(text, &[])?;
    serde_json::from_slice(text).ok()
}

/// Reads all members of the JSON object in `text` except `names`; `None` if it is not one.
///
/// `text` has passed [`fields`], so no member is a duplicate.
pub(crate) fn other_members(text: &[u8], names: &[&str]) -> Option<Map<String, Value>> {
    let mut json = deserializer(text)?;
    let members = json.deserialize_map(OthersVisitor { names }).ok()?;
    json.end().ok()?;
    Some(members)
}

/// Begins to read `text`; `None` if it is not UTF-8.
///
/// All of it is checked at once: from bytes, `serde_json` would check each string by itself.
fn deserializer(text: &[u8]) -> Option<serde_json::Deserializer<StrRead<'_>>> {
    std::str::from_utf8(text).ok().map(serde_json::Deserializer::from_str)
}

struct FieldsVisitor<'n, const N: usize> {
    names: &'n [&'n str; N],
}

impl<'t, const N: usize> Visitor<'t> for FieldsVisitor<'_, N> {
    type Value = Fields<'t, N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object without duplicate members")
    }

    fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut values = [const { None }; N];
        let mut others = MemberNames::default();
        while let Some(name) = map.next_key_seed(TextSeed)? {
            match self.names.iter().position(|wanted| *wanted == name) {
                Some(at) if values[at].is_some() => return Err(duplicate()),
                Some(at) => values[at] = Some(map.next_value()?),
                None => {
                    others.add(name)?;
                    map.next_value::<Skipped>()?;
                }
            }
        }
        Ok(Fields { values, has_others: !others.is_empty() })
    }
}

impl<'t, const N: usize> DeserializeSeed<'t> for FieldsVisitor<'_, N> {
    type Value = Fields<'t, N>;

    fn deserialize<D: Deserializer<'t>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

/// Picks out one member and skips the others.
struct MemberVisitor<'n, S> {
    name: &'n str,
    seed: S,
}

impl<'t, S: DeserializeSeed<'t>> Visitor<'t> for MemberVisitor<'_, S> {
    type Value = Option<S::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut seed, mut value) = (Some(self.seed), None);
        while let Some(name) = map.next_key_seed(TextSeed)? {
            if name != self.name {
                map.next_value::<Skipped>()?;
            } else if let Some(seed) = seed.take() {
                value = Some(map.next_value_seed(seed)?);
            } else {
                return Err(duplicate());
            }
        }
        Ok(value)
    }
}

impl<'t, S: DeserializeSeed<'t>> DeserializeSeed<'t> for MemberVisitor<'_, S> {
    type Value = Option<S::Value>;

    fn deserialize<D: Deserializer<'t>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

/// Keeps all members except some.
struct OthersVisitor<'n> {
    names: &'n [&'n str],
}

impl<'t> Visitor<'t> for OthersVisitor<'_> {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Map::new();
        while let Some(name) = map.next_key_seed(TextSeed)? {
            if self.names.contains(&&*name) {
                map.next_value::<IgnoredAny>()?;
            } else {
                members.insert(name.into_owned(), map.next_value()?);
            }
        }
        Ok(members)
    }
}

/// The names of one object so far.
#[derive(Default)]
struct MemberNames<'t> {
    few: Vec<Cow<'t, str>>,
    many: HashSet<Cow<'t, str>>,
}

impl<'t> MemberNames<'t> {
    /// How many names are compared one by one. Further ones go into a set.
    const FEW: usize = 16;

    fn add<E: Error>(&mut self, name: Cow<'t, str>) -> Result<(), E> {
        if self.few.contains(&name) {
            return Err(duplicate());
        }
        if self.few.len() < Self::FEW {
            self.few.push(name);
            return Ok(());
        }
        if self.many.insert(name) { Ok(()) } else { Err(duplicate()) }
    }

    fn is_empty(&self) -> bool {
        self.few.is_empty()
    }
}

fn duplicate<E: Error>() -> E {
    E::custom("duplicate member")
}

/// Reads a string without copying it, unless it has escapes.
struct TextSeed;

impl<'t> DeserializeSeed<'t> for TextSeed {
    type Value = Cow<'t, str>;

    fn deserialize<D: Deserializer<'t>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'t> Visitor<'t> for TextSeed {
    type Value = Cow<'t, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E: Error>(self, value: &'t str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(value.to_owned()))
    }
}

/// Any JSON value without duplicate members. Nothing of it is kept.
struct Skipped;

impl<'t> Deserialize<'t> for Skipped {
    fn deserialize<D: Deserializer<'t>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor::<Self>(PhantomData))
    }
}

impl<'t> Deserialize<'t> for Datum<'t> {
    fn deserialize<D: Deserializer<'t>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor::<Self>(PhantomData))
    }
}

/// What is kept of a value.
trait Kept<'t>: Deserialize<'t> {
    fn other() -> Self;

    fn integer(_: i64) -> Self {
        Self::other()
    }

    fn text(_: Cow<'t, str>) -> Self {
        Self::other()
    }

    /// Keeps an array; an item that is not a string is `None`.
    fn texts(_: Vec<Option<Cow<'t, str>>>) -> Self {
        Self::other()
    }

    /// How many items of an array may be kept.
    const ITEMS: usize = 0;
}

impl Kept<'_> for Skipped {
    fn other() -> Self {
        Self
    }
}

impl<'t> Kept<'t> for Datum<'t> {
    fn other() -> Self {
        Self::Other
    }

    fn integer(value: i64) -> Self {
        Self::Integer(value)
    }

    fn text(value: Cow<'t, str>) -> Self {
        Self::Text(value)
    }

    fn texts(items: Vec<Option<Cow<'t, str>>>) -> Self {
        let within = items.len() <= MAX_TEXTS;
        let texts = items.into_iter().collect::<Option<_>>().filter(|_| within);
        texts.map_or(Self::Other, Self::Texts)
    }

    const ITEMS: usize = MAX_TEXTS + 1;
}

struct ValueVisitor<T>(PhantomData<T>);

impl<'t, T: Kept<'t>> Visitor<'t> for ValueVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without duplicate members")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<T, E> {
        Ok(T::other())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<T, E> {
        Ok(T::integer(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<T, E> {
        Ok(i64::try_from(value).map_or_else(|_| T::other(), T::integer))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<T, E> {
        Ok(T::other())
    }

    fn visit_borrowed_str<E: Error>(self, value: &'t str) -> Result<T, E> {
        Ok(T::text(Cow::Borrowed(value)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<T, E> {
        Ok(T::text(Cow::Owned(value.to_owned())))
    }

    fn visit_unit<E: Error>(self) -> Result<T, E> {
        Ok(T::other())
    }

    fn visit_seq<A: SeqAccess<'t>>(self, mut seq: A) -> Result<T, A::Error> {
        let mut items = Vec::new();
        while items.len() < T::ITEMS {
            match seq.next_element::<Datum<'t>>()? {
                Some(item) => items.push(item.text()),
                None => return Ok(T::texts(items)),
            }
        }
        while seq.next_element::<Skipped>()?.is_some() {}
        Ok(T::texts(items))
    }

    /// Also called for numbers with a fraction if another crate enables `arbitrary_precision` of
    /// `serde_json`. Such a number is not kept, like an object.
    fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<T, A::Error> {
        let mut names = MemberNames::default();
        while let Some(name) = map.next_key_seed(TextSeed)? {
            names.add(name)?;
            map.next_value::<Skipped>()?;
        }
        Ok(T::other())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_duplicates_are_refused_at_every_depth() {
        assert!(members(br#"{"a":1,"b":{"a":2},"c":[{"a":3}]}"#).is_some());
        for text in [
            &br#"{"a":1,"a":1}"#[..],
            br#"{"a":1,"\u0061":2}"#,
            br#"{"b":{"a":1,"a":2}}"#,
            br#"{"c":[{"a":1,"a":2}]}"#,
            br#"[{"a":1}]"#,
            br#"{"a":1} {"#,
            b"{\"a\":\"\xff\"}",
            b"{\"x\":{\"\xc3\":1}}",
            b"null",
            b"",
        ] {
            assert!(members(text).is_none(), "{}", String::from_utf8_lossy(text));
            assert!(fields(text, &["a", "b", "c"]).is_none(), "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn json_duplicates_are_found_among_many_members() {
        let object = |last: usize| {
            let members: Vec<String> = (0..200).chain([last]).map(|n| format!("\"{n}\":0")).collect();
            format!("{{{}}}", members.join(","))
        };
        assert!(members(object(200).as_bytes()).is_some());
        for last in [0, 15, 16, 17, 199] {
            assert!(members(object(last).as_bytes()).is_none(), "{last}");
        }
    }

    #[test]
    fn json_depth_is_bounded() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(4_000), "]".repeat(4_000));
        assert!(members(deep.as_bytes()).is_none());
        assert!(other_members(deep.as_bytes(), &[]).is_none());
    }

    #[test]
    fn json_other_members_are_kept_whole() {
        let read = |text: &str| other_members(text.as_bytes(), &["a", "b"]).map(Value::Object);
        let text = r#"{"a":{"c":1},"\u0062":[],"c":{"a":"\u0061","b":[null,1.5]},"":-1}"#;
        assert_eq!(read(text), Some(json!({ "c": { "a": "a", "b": [null, 1.5] }, "": -1 })));
        assert_eq!(read("{}"), Some(json!({})));
        for text in ["[]", "null", "", r#"{"a":}"#, r#"{"c":1} {}"#, r#"{"a":1"#] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn json_fields_keep_only_what_was_requested() {
        let text =
            br#"{"t":"\u0061b","i":-3,"x":1.5,"big":18446744073709551615,"s":["a","b"],"m":["a",1],"o":{"t":1},"z":0}"#;
        let names = ["t", "i", "x", "big", "s", "m", "o", "absent"];
        let Fields { values, has_others } = fields(text, &names).unwrap();
        assert_eq!(
            values,
            [
                Some(Datum::Text("ab".into())),
                Some(Datum::Integer(-3)),
                Some(Datum::Other),
                Some(Datum::Other),
                Some(Datum::Texts(vec!["a".into(), "b".into()])),
                Some(Datum::Other),
                Some(Datum::Other),
                None,
            ]
        );
        assert!(has_others, "z");
        assert!(!fields(br#"{"t":1}"#, &["t"]).unwrap().has_others);
    }

    #[test]
    fn json_member_is_read_as_strictly_as_the_whole() {
        let read = |text: &'static str| {
            let fields = member_fields(text.as_bytes(), "o", &["a"])?;
            Some((fields.values.into_iter().flatten().collect::<Vec<_>>(), fields.has_others))
        };
        assert_eq!(read(r#"{"x":{"a":2},"o":{"a":1,"b":[]}}"#), Some((vec![Datum::Integer(1)], true)));
        assert_eq!(read(r#"{"\u006f":{}}"#), Some((vec![], false)));
        for text in [
            r#"{"o":{"a":1,"a":1}}"#,
            r#"{"o":{"b":{"c":1,"c":1}}}"#,
            r#"{"o":{},"o":{}}"#,
            r#"{"o":{},"x":{"a":1,"a":1}}"#,
            r#"{"o":[]}"#,
            r#"{"o":1.5}"#,
            r#"{"x":{"o":{}}}"#,
            r#"{"o":{}} {}"#,
            "[]",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn json_object_in_an_object_is_found() {
        assert!(has_object(br#"{"x":1,"o":{"a":{"b":1},"c":2}}"#, "o", "a"));
        for text in [
            r#"{"o":{"a":1}}"#,
            r#"{"o":{"a":[]}}"#,
            r#"{"o":{"b":{}}}"#,
            r#"{"o":[{"a":{}}]}"#,
            r#"{"a":{}}"#,
            r#"{"o":{"a":{}},"o":{"a":{}}}"#,
            r#"{"o":{"a":{"b":1,"b":1}}}"#,
            "[]",
        ] {
            assert!(!has_object(text.as_bytes(), "o", "a"), "{text}");
        }
    }

    #[test]
    fn json_number_is_read_with_or_without_a_fraction() {
        let read = |value: &str| member_number(format!("{{\"a\":0,\"n\":{value}}}").as_bytes(), "n");
        assert_eq!(["1.5", "-2", "1e3"].map(read), [Some(1.5), Some(-2.0), Some(1_000.0)]);
        assert_eq!(["null", "\"1\"", "[1]", "{}", "1e999", "01"].map(read), [None; 6]);
    }

    #[test]
    fn json_arrays_are_kept_up_to_a_bound() {
        let text = |many: usize| json!({ "s": vec!["a"; many] }).to_string();
        for many in [MAX_TEXTS, MAX_TEXTS + 1, 1_000] {
            let kept = if many <= MAX_TEXTS { Datum::Texts(vec!["a".into(); many]) } else { Datum::Other };
            assert_eq!(fields(text(many).as_bytes(), &["s"]).unwrap().values, [Some(kept)], "{many}");
        }
    }
}
