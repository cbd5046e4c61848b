//! `alg`: the header must agree with the key, and never selects the algorithm (RFC 8725 §3.1).

use auth_layer::TokenFault::{Key, Malformed};
use serde_json::{Value, json};

use super::Corpus;
use crate::fixture::GoodTokens;

pub(super) fn add(corpus: &mut Corpus, good: &GoodTokens) {
    let mut group = corpus.group("alg none", &good.eddsa);
    for none in ["none", "None", "NONE", "nOnE", "none ", " none", "none\0", "n\u{f6}ne", "NoNe;"] {
        let draft = good.eddsa.clone().header("alg", none);
        group.refused(format!("{none:?}, without a signature"), draft.signed_with(b""), Malformed);
        group.refused(format!("{none:?}, rightly signed"), draft.token(), Key);
    }

    let all = [&good.eddsa, &good.es256, &good.rs256, &good.ps256, &good.hs256];
    for draft in all {
        let mut group = corpus.group("alg swapped", draft);
        let alg = draft.key.alg();
        for other in all.map(|other| other.key.alg()).into_iter().filter(|other| *other != alg) {
            group.refused(format!("{alg} key, {other}"), draft.clone().header("alg", other).token(), Key);
        }
        let lower = alg.to_lowercase();
        group.refused(format!("{alg} key, {lower}"), draft.clone().header("alg", lower).token(), Key);
        let upper = format!("{alg} ");
        group.refused(format!("{alg} key, a blank behind"), draft.clone().header("alg", upper).token(), Key);
    }

    let mut group = corpus.group("alg unknown", &good.eddsa);
    // `Ed25519` is the name of the same algorithm in RFC 9864. We write `EdDSA`, so we read only
    // that.
    for other in ["Ed25519", "Ed448", "ES384", "ES512", "ES256K", "RS384", "RS512", "PS384", "HS384", "HS512", "A256KW"]
    {
        group.refused(other, good.eddsa.clone().header("alg", other).token(), Key);
    }
    group.refused("RSA-OAEP", good.rs256.clone().header("alg", "RSA-OAEP").token(), Key);

    let mut group = corpus.group("alg of another type", &good.eddsa);
    group.refused("missing", good.eddsa.clone().without_header("alg").token(), Key);
    let values = [Value::Null, json!(0), json!(true), json!(""), json!(["EdDSA"]), json!([]), json!({ "EdDSA": 1 })];
    for value in values {
        group.refused(value.to_string(), good.eddsa.clone().header("alg", value).token(), Key);
    }
}
