//! Header members that bring a key along or ask for more than we do (RFC 8725 §3.10, RFC 7515
//! §4.1.11).

use auth_layer::TokenFault::{Header, Key, Signature};
use serde_json::{Value, json};

use super::Corpus;
use crate::{fixture::GoodTokens, forge::KEYS};

pub(super) fn add(corpus: &mut Corpus, good: &GoodTokens) {
    let draft = &good.eddsa;
    let attacker = &KEYS.attacker;
    let jwk = attacker.library.verifying_key().to_jwk().unwrap();
    let url = "https://attacker.example/jwks.json";

    let mut group = corpus.group("a key of the sender's", draft);
    let theirs = draft.clone().signed_by(attacker);
    group.refused("with no word about it", theirs.token(), Key);
    let ours = theirs.clone().header("kid", draft.key.kid());
    group.refused("under the name of ours", ours.token(), Signature);
    for (name, value) in
        [("jwk", jwk.clone()), ("jku", json!(url)), ("x5u", json!(url)), ("x5c", json!(["MIIB"])), ("jwk", json!({}))]
    {
        let what = if value == json!({}) { "empty jwk".to_owned() } else { name.to_owned() };
        group.refused(
            format!("{what}, under its own name"),
            theirs.clone().header(name, value.clone()).token(),
            Header,
        );
        group.refused(format!("{what}, under ours"), ours.clone().header(name, value.clone()).token(), Header);
        group.refused(format!("{what}, in a token rightly signed"), draft.clone().header(name, value).token(), Header);
    }
    let our_jwk = draft.key.library.verifying_key().to_jwk().unwrap();
    group.refused("our own jwk, rightly signed", draft.clone().header("jwk", our_jwk).token(), Header);
    for url in ["file:///etc/passwd", "http://169.254.169.254/latest/meta-data", "http://127.0.0.1:1/", ""] {
        group.refused(format!("jku {url:?}"), draft.clone().header("jku", url).token(), Header);
        group.refused(format!("x5u {url:?}"), draft.clone().header("x5u", url).token(), Header);
    }
    for name in ["jwk", "jku", "x5u", "x5c"] {
        group.refused(format!("{name} null"), draft.clone().header(name, Value::Null).token(), Header);
    }

    let mut group = corpus.group("crit", draft);
    let values = [
        json!(["exp"]),
        json!(["b64"]),
        json!(["alg"]),
        json!(["https://unknown.example/extension"]),
        json!([]),
        json!([1]),
        json!("exp"),
        json!({}),
        Value::Null,
    ];
    for value in values {
        group.refused(value.to_string(), draft.clone().header("crit", value).token(), Header);
    }
    let exp = draft.clone().header("crit", json!(["exp"])).header("exp", 1);
    group.refused("[\"exp\"], with the member that it names", exp.token(), Header);
    let unencoded = draft.clone().header("crit", json!(["b64"])).header("b64", false);
    group.refused("[\"b64\"], with b64 false", unencoded.token(), Header);

    let mut group = corpus.group("an encoding asked for", draft);
    for (name, value) in [
        ("b64", json!(false)),
        ("b64", json!(true)),
        ("zip", json!("DEF")),
        ("enc", json!("A256GCM")),
        ("zip", Value::Null),
    ] {
        group.refused(format!("{name} {value}"), draft.clone().header(name, value).token(), Header);
    }
}
