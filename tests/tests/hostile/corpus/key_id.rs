//! `kid` is a name to look up in a list, and no path, query or pattern.

use auth_layer::TokenFault::{Key, Signature};
use serde_json::{Value, json};

use super::Corpus;
use crate::{
    fixture::GoodTokens,
    forge::{KEYS, mac},
};

pub(super) fn add(corpus: &mut Corpus, good: &GoodTokens) {
    let draft = &good.eddsa;
    let kid = draft.key.kid();
    let mut group = corpus.group("kid", draft);
    group.refused("missing", draft.clone().without_header("kid").token(), Key);
    for value in [Value::Null, json!(0), json!(true), json!([kid]), json!({ "kid": kid }), json!([])] {
        let what = value.to_string().replace(kid, "the right one");
        group.refused(what, draft.clone().header("kid", value).token(), Key);
    }
    let names = [
        ("empty", String::new()),
        ("a blank", " ".into()),
        ("unknown", KEYS.attacker.kid().into()),
        ("a prefix", kid[..kid.len() - 1].into()),
        ("a suffix", kid[1..].into()),
        ("one letter more", format!("{kid}A")),
        ("a blank behind", format!("{kid} ")),
        ("a blank before", format!(" {kid}")),
        ("a NUL behind", format!("{kid}\0")),
        ("NULs alone", "\0\0\0\0".into()),
        ("in lower case", kid.to_lowercase()),
        ("padded", format!("{kid}=")),
        ("twice", format!("{kid}{kid}")),
        ("two of them", format!("{kid},{}", KEYS.es256.kid())),
        ("a pattern", "*".into()),
        ("a regular expression", ".*".into()),
        ("a wildcard of SQL", "%".into()),
        ("a path", format!("keys/{kid}.pem")),
        ("a URL", format!("https://attacker.example/{kid}")),
        ("a shell command", format!("{kid}|id")),
        ("a query of MongoDB", r#"{"$ne":null}"#.into()),
        ("a format", "%s%s%s%n".into()),
        ("beyond ASCII", format!("{kid}\u{e9}")),
        ("4000 letters", "A".repeat(4_000)),
    ];
    for (what, name) in names {
        group.refused(what, draft.clone().header("kid", name).token(), Key);
    }

    // Names that make a careless server read a secret known to the attacker, with the matching
    // HMAC.
    let mut group = corpus.group("kid", &good.hs256);
    let known = [
        ("an empty file", "../../../../../../dev/null", &b""[..]),
        ("an empty file, absolute", "/dev/null", b""),
        ("an empty file of Windows", r"..\..\NUL", b""),
        ("a file everybody has", "/proc/sys/kernel/randomize_va_space", b"2\n"),
        ("SQL that selects one", "x' UNION SELECT 'aaaaaaaa' -- ", b"aaaaaaaa"),
        ("SQL that is always true", "' OR 1=1 -- ", b""),
    ];
    for (what, name, secret) in known {
        let draft = good.hs256.clone().header("kid", name);
        group.refused(what, draft.signed_with(mac(secret, draft.signing_input().as_bytes())), Key);
    }

    let mut group = corpus.group("kid of another key", draft);
    let second = draft.clone().header("kid", KEYS.second.kid());
    group.refused("one of the ring, of the same algorithm", second.token(), Signature);
    for key in [&KEYS.es256, &KEYS.rs256, &KEYS.hs256] {
        let confused = draft.clone().header("kid", key.kid());
        group.refused(format!("that of {}, alg as it was", key.alg()), confused.token(), Key);
    }
}
