//! Registered claims that are missing, of another type, or of another user. Each token has a valid
//! signature and a record.

use auth_layer::{
    TokenFault::{Audience, Claim, Issuer},
    store::TokenKind,
};
use serde_json::{Value, json};

use super::{Corpus, mismatch_fault};
use crate::fixture::{AUDIENCE, GoodTokens, ISSUER};

pub(super) fn add(corpus: &mut Corpus, good: &GoodTokens) {
    let draft = &good.eddsa;
    let mut group = corpus.group("claim", draft);
    for name in ["iss", "sub", "aud", "exp", "iat", "jti", "client_id", "sid"] {
        group.refused(format!("{name} missing"), draft.clone().without_claim(name).token(), Claim(name));
        let wrong = if name == "exp" || name == "iat" { json!("1800000000") } else { json!(1_800_000_000) };
        let values = [Value::Null, wrong, json!(true), json!({}), json!([[]])];
        for value in values {
            group.refused(format!("{name} {value}"), draft.clone().claim(name, value).token(), Claim(name));
        }
    }
    for name in ["iss", "sub", "jti", "sid", "client_id"] {
        let array = json!([draft.text(name)]);
        group.refused(format!("{name} in an array"), draft.clone().claim(name, array).token(), Claim(name));
    }
    for name in ["sub", "jti", "sid"] {
        group.refused(format!("{name} empty"), draft.clone().claim(name, "").token(), Claim(name));
    }
    for value in [Value::Null, json!(1), json!(true), json!({}), json!(["profile"])] {
        group.refused(format!("scope {value}"), draft.clone().claim("scope", value).token(), Claim("scope"));
    }
    for scope in [" ", "a  b", " a", "a ", "a\"b", "a\\b", "\u{e9}", "a\tb", "a\nb", "a\0b", "a\u{7f}", "a\u{a0}b"] {
        group.refused(format!("scope {scope:?}"), draft.clone().claim("scope", scope).token(), Claim("scope"));
    }

    let mut group = corpus.group("iss", draft);
    for other in [
        "",
        "https://other.example",
        "https://issuer.exampl",
        "https://issuer.example/",
        "https://issuer.example.attacker.example",
        "http://issuer.example",
        "HTTPS://issuer.example",
        "https://ISSUER.example",
        "https://issuer.example\0",
        " https://issuer.example",
        "https://issuer.example ",
        "https://issuer\u{2024}example",
    ] {
        assert_ne!(other, ISSUER);
        group.refused(format!("{other:?}"), draft.clone().claim("iss", other).token(), Issuer);
    }

    let mut group = corpus.group("aud", draft);
    for other in ["", "other", "ap", "apis", "API", "api ", " api", "api\0", "api other", "api,other", "*", "\u{430}pi"]
    {
        group.refused(format!("{other:?}"), draft.clone().claim("aud", other).token(), Audience);
        group.refused(format!("{other:?} in an array"), draft.clone().claim("aud", json!([other])).token(), Audience);
    }
    group.refused("an empty array", draft.clone().claim("aud", json!([])).token(), Audience);
    for mixed in [
        json!([1]),
        json!([null]),
        json!([AUDIENCE, 1]),
        json!([null, AUDIENCE]),
        json!([[AUDIENCE]]),
        json!([{ "aud": AUDIENCE }]),
        json!({ "aud": AUDIENCE }),
    ] {
        group.refused(mixed.to_string(), draft.clone().claim("aud", mixed).token(), Claim("aud"));
    }

    let other = &good.other;
    let mut group = corpus.group("another user's", draft);
    // `sub` and `sid` must equal the record's. A forger who can sign such a token has the key, and
    // then only the record stands in the way.
    let mismatch = mismatch_fault(good.kind);
    for name in ["jti", "sub", "sid"] {
        let theirs = draft.clone().claim(name, other.text(name));
        group.refused(format!("{name} alone"), theirs.token(), mismatch);
    }
    let user = draft.clone().claim("sub", other.text("sub")).claim("sid", other.text("sid"));
    group.refused("sub and sid", user.token(), mismatch);
    // The store alone knows when a session ends, so the `exp` of a refresh token is not compared
    // with the record.
    if good.kind != TokenKind::Refresh {
        for seconds in [-1, 1, 86_400] {
            let exp = draft.number("exp") + seconds;
            group.refused(
                format!("an exp {seconds} s off its record"),
                draft.clone().claim("exp", exp).token(),
                mismatch,
            );
        }
    }
}
