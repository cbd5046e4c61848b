//! JSON that two parsers could read differently, or that could exhaust one. Each text is signed as
//! it stands.

use auth_layer::TokenFault::Malformed;

use super::Corpus;
use crate::{fixture::GoodTokens, forge::with_member};

pub(super) fn add(corpus: &mut Corpus, good: &GoodTokens) {
    let draft = &good.eddsa;
    let mut group = corpus.group("header JSON", draft);
    let header = draft.header_text();
    for (what, text) in broken(&header).into_iter().chain(duplicated(&header, &["alg", "kid", "typ"])) {
        group.refused(what, draft.with_header_text(text), Malformed);
    }
    let escaped = [
        ("alg again, escaped", r#""\u0061lg":"none""#.to_owned()),
        ("kid again, escaped", format!(r#""k\u0069d":"{}""#, draft.key.kid())),
    ];
    for (what, member) in escaped {
        group.refused(what, draft.with_header_text(with_member(&header, &member)), Malformed);
    }

    let mut group = corpus.group("payload JSON", draft);
    let payload = draft.payload_text();
    let claims = ["iss", "sub", "aud", "exp", "iat", "jti", "client_id", "sid", "scope"];
    let present = claims.into_iter().filter(|name| payload.contains(&format!("\"{name}\"")));
    let present: Vec<&str> = present.collect();
    for (what, text) in broken(&payload).into_iter().chain(duplicated(&payload, &present)) {
        group.refused(what, draft.with_payload_text(text), Malformed);
    }
    for (what, member) in [
        ("jti again, escaped", r#""\u006at\u0069":"x""#),
        ("exp again, escaped", r#""e\u0078p":4102444800"#),
        ("scope again, escaped", r#""scop\u0065":"admin""#),
    ] {
        group.refused(what, draft.with_payload_text(with_member(&payload, member)), Malformed);
    }
}

/// Returns the object with each of these members twice, first with the same value, then with
/// another.
fn duplicated(object: &str, names: &[&str]) -> Vec<(String, Vec<u8>)> {
    let members: serde_json::Map<String, serde_json::Value> = serde_json::from_str(object).unwrap();
    let mut texts = Vec::new();
    for name in names {
        let again = with_member(object, &format!(r#""{name}":{}"#, members[*name]));
        texts.push((format!("{name} twice, alike"), again.into_bytes()));
        texts
            .push((format!("{name} twice, then null"), with_member(object, &format!(r#""{name}":null"#)).into_bytes()));
        let before = format!(r#"{{"{name}":"x",{}"#, &object[1..]);
        texts.push((format!("{name} twice, first another"), before.into_bytes()));
    }
    texts
}

/// Returns variants of this object that are no JSON, no object, or name a member twice.
fn broken(object: &str) -> Vec<(String, Vec<u8>)> {
    let with = |member: &str| with_member(object, member).into_bytes();
    let around = |before: &[u8], after: &[u8]| [before, object.as_bytes(), after].concat();
    let not_utf8 =
        |bytes: &[u8]| [object.strip_suffix('}').unwrap().as_bytes(), br#","x":""#, bytes, br#""}"#].concat();
    let utf16: Vec<u8> = object.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let utf32: Vec<u8> = object.chars().flat_map(|char| u32::from(char).to_be_bytes()).collect();
    let inner = object.strip_prefix('{').unwrap();
    let named = [
        ("a stranger twice", with(r#""x":1,"x":1"#)),
        ("a stranger twice, escaped", with(r#""x":1,"\u0078":2"#)),
        ("twice within an object", with(r#""x":{"a":1,"a":2}"#)),
        ("twice within an array", with(r#""x":[{"a":1,"a":2}]"#)),
        ("twice, deep down", with(r#""x":[[[{"y":{"a":1,"\u0061":1}}]]]"#)),
        ("twice, the name empty", with(r#""":1,"":2"#)),
        ("arrays in arrays", with(&format!(r#""x":{}{}"#, "[".repeat(1_000), "]".repeat(1_000)))),
        ("objects in objects", with(&format!(r#""x":{}1{}"#, r#"{"a":"#.repeat(500), "}".repeat(500)))),
        ("arrays that never close", with(&format!(r#""x":{}"#, "[".repeat(4_000)))),
        ("a number beyond f64", with(r#""x":1e999"#)),
        ("a number of 1000 digits", with(&format!(r#""x":{}"#, "9".repeat(1_000)))),
        ("a number with a leading zero", with(r#""x":01"#)),
        ("a number with a plus", with(r#""x":+1"#)),
        ("a number without digits before the point", with(r#""x":.5"#)),
        ("a hexadecimal number", with(r#""x":0x10"#)),
        ("NaN", with(r#""x":NaN"#)),
        ("infinity", with(r#""x":-Infinity"#)),
        ("undefined", with(r#""x":undefined"#)),
        ("a letter behind", around(b"", b"x")),
        ("a brace behind", around(b"", b"}")),
        ("itself behind", around(b"", object.as_bytes())),
        ("an object before", around(b"{}", b"")),
        ("a NUL behind", around(b"", b"\0")),
        ("a BOM before", around(b"\xef\xbb\xbf", b"")),
        ("a form feed before", around(b"\x0c", b"")),
        ("a no-break space before", around(b"\xc2\xa0", b"")),
        ("UTF-16", utf16),
        ("UTF-32", utf32),
        ("a byte of Latin-1", not_utf8(b"\xe9")),
        ("an overlong slash", not_utf8(b"\xc0\xaf")),
        ("a surrogate in UTF-8", not_utf8(b"\xed\xa0\x80")),
        ("half a letter", not_utf8(b"\xf0\x9f\x98")),
        ("a high surrogate alone", with(r#""x":"\ud800""#)),
        ("a low surrogate alone", with(r#""x":"\udc00""#)),
        ("surrogates the wrong way round", with(r#""x":"\udc00\ud800""#)),
        ("a name that is a lone surrogate", with(r#""\ud800":1"#)),
        ("a NUL in a text", not_utf8(b"\0")),
        ("a line feed in a text", not_utf8(b"\n")),
        ("an escape that there is not", with(r#""x":"\x41""#)),
        ("an escape cut short", with(r#""x":"\u00""#)),
        ("a text that does not end", with(r#""x":"y"#)),
        ("a comma behind the last", with("")),
        ("a comma before the first", format!("{{,{inner}").into_bytes()),
        ("a comma missing", object.replacen(',', " ", 1).into_bytes()),
        ("a colon missing", object.replacen(':', " ", 1).into_bytes()),
        ("single quotes", object.replace('"', "'").into_bytes()),
        ("a name without quotes", with("x:1")),
        ("a name that is a number", with("1:1")),
        ("a comment", around(b"/* */", b"")),
        ("a comment to the end of the line", around(b"", b"// x")),
        ("not closed", object.strip_suffix('}').unwrap().into()),
        ("in an array", around(b"[", b"]")),
        ("in a text", serde_json::to_vec(object).unwrap()),
        ("an array", b"[]".to_vec()),
        ("a text", br#""x""#.to_vec()),
        ("a number", b"1".to_vec()),
        ("null", b"null".to_vec()),
        ("true", b"true".to_vec()),
        ("a blank", b" ".to_vec()),
        ("a NUL", b"\0".to_vec()),
        ("a brace", b"{".to_vec()),
    ];
    named.into_iter().map(|(what, text)| (what.to_owned(), text)).collect()
}
