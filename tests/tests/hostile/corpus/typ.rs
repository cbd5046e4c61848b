//! `typ`: no kind of token is taken for another (RFC 8725 §3.11, RFC 9068 §2.1).

use auth_layer::TokenFault::Type;
use serde_json::{Value, json};

use super::{Corpus, mismatch_fault};
use crate::fixture::GoodTokens;

pub(super) fn add(corpus: &mut Corpus, good: &GoodTokens) {
    let draft = &good.eddsa;
    let typ = draft.typ();
    let mut group = corpus.group("typ", draft);
    group.refused("missing", draft.clone().without_header("typ").token(), Type);
    for value in [Value::Null, json!(1), json!(false), json!([typ]), json!({ "typ": typ })] {
        let what = value.to_string().replace(typ, "the right one");
        group.refused(what, draft.clone().header("typ", value).token(), Type);
    }
    let kinds = ["at+jwt", "rt+jwt", "su+jwt"].into_iter().filter(|kind| *kind != typ);
    for other in kinds.chain(["JWT", "jwt", "JOSE", "dpop+jwt", "logout+jwt", "application/jwt", ""]) {
        group.refused(format!("{other:?}"), draft.clone().header("typ", other).token(), Type);
    }
    let spellings = [
        ("with a parameter", format!("{typ}; charset=utf-8")),
        ("with an empty parameter", format!("{typ};")),
        ("a blank behind", format!("{typ} ")),
        ("a blank before", format!(" {typ}")),
        ("a NUL behind", format!("{typ}\0")),
        ("a letter more", format!("{typ}s")),
        ("a letter less", typ[..typ.len() - 1].into()),
        ("a blank for the plus", typ.replace('+', " ")),
        ("the plus encoded", typ.replace('+', "%2B")),
        ("a wide plus", typ.replace('+', "\u{ff0b}")),
        ("a Cyrillic j", typ.replace('j', "\u{458}")),
        ("a wide t", typ.replace('t', "\u{ff54}")),
        ("no more than application", "application/".into()),
        ("application twice", format!("application/application/{typ}")),
        ("another tree", format!("text/{typ}")),
        ("a letter cut in two where the prefix ends", format!("applicatio\u{e9}/{typ}")),
    ];
    for (what, spelling) in spellings {
        group.refused(what, draft.clone().header("typ", spelling).token(), Type);
    }

    for sibling in &good.siblings {
        let mut group = corpus.group("another kind", draft);
        let other = sibling.typ();
        group.refused(format!("{other} as it was issued"), sibling.token(), Type);
        // We signed this token and recorded it, so only the record still shows its kind.
        let renamed = sibling.clone().header("typ", typ).token();
        group.refused(format!("{other} under our typ"), renamed, mismatch_fault(good.kind));
    }
}
