//! `exp`, `nbf` and `iat`: each a NumericDate (RFC 7519 §2), tried at, beyond and far beyond its
//! limits.

use auth_layer::TokenFault::{Claim, Expired, NotYetValid};

use super::Corpus;
use crate::{
    fixture::{GoodTokens, LEEWAY},
    forge::KEYS,
};

/// JSON values that are no number of seconds from 1970 to 9999.
const NO_DATES: [&str; 22] = [
    "1800000000.5",
    "1900000000.0",
    "19e8",
    "1e308",
    "1e-308",
    "-1",
    "-0",
    "-1e308",
    "-9223372036854775808",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    // One second after the year 9999, and beyond the range of `chrono`.
    "253402300800",
    "8210266876800",
    "340282366920938463463374607431768211456",
    r#""1900000000""#,
    r#""""#,
    r#""2099-01-01T00:00:00Z""#,
    r#""never""#,
    "[1900000000]",
    // A number as serde_json writes it under its `arbitrary_precision`.
    r#"{"$serde_json::private::Number":"1900000000"}"#,
];

pub(super) fn add(corpus: &mut Corpus, good: &GoodTokens) {
    let draft = &good.eddsa;
    for (what, claim) in [("exp", "exp"), ("iat", "iat"), ("nbf", "nbf")] {
        let mut group = corpus.group(what, draft);
        for json in NO_DATES {
            group.refused(json, draft.clone().raw_claim(claim, json).token(), Claim(claim));
        }
    }
    let mut group = corpus.group("nbf", draft);
    for json in ["null", "true", "{}", "[]"] {
        group.refused(json, draft.clone().raw_claim("nbf", json).token(), Claim("nbf"));
    }

    let mut group = corpus.group("expired", draft);
    group.refused("in 1970", draft.clone().claim("exp", 0).token(), Expired);
    group.refused("a second after that", draft.clone().claim("exp", 1).token(), Expired);
    // This token was issued, recorded and has expired. Its control has one second left.
    let mut group = corpus.group("expired", &good.expiring);
    group.refused("just now, leeway included", good.expired.token(), Expired);
    group.refused("just now, under another key", good.expired.clone().signed_by(&KEYS.es256).token(), Expired);

    // In the controls, `future: iat` and `future: nbf` are one second less, and accepted.
    let mut group = corpus.group("future", draft);
    let beyond = (good.now + LEEWAY).timestamp() + 1;
    for (name, when) in [("just beyond the leeway", beyond), ("in the year 9999", 253_402_300_799)] {
        for claim in ["iat", "nbf"] {
            group.refused(format!("{claim} {name}"), draft.clone().claim(claim, when).token(), NotYetValid);
        }
    }
}
