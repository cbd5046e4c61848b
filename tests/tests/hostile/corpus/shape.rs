//! The compact form: three parts, none empty, not too long (RFC 7515 §7.1).

use auth_layer::TokenFault::{Malformed, Oversized, Type};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::Corpus;
use crate::fixture::GoodTokens;

/// The default limit.
const LIMIT: usize = 8 * 1024;

pub(super) fn add(corpus: &mut Corpus, good: &GoodTokens) {
    let draft = &good.eddsa;
    let (h, p) = draft.parts();
    let token = draft.token();
    let s = token.rsplit('.').next().unwrap();

    let mut group = corpus.group("parts", draft);
    group.unreadable("nothing at all", "");
    let broken = [
        ("dots alone", "..".to_owned()),
        ("one dot", ".".to_owned()),
        ("four dots", "....".to_owned()),
        ("a header alone", h.clone()),
        ("no signature", format!("{h}.{p}")),
        ("an empty signature", format!("{h}.{p}.")),
        ("no header", format!("{p}.{s}")),
        ("an empty header", format!(".{p}.{s}")),
        ("a signature alone", format!("..{s}")),
        ("a dot before", format!(".{token}")),
        ("a dot behind", format!("{token}.")),
        ("a fourth part", format!("{token}.{s}")),
        ("itself behind itself", format!("{token}.{token}")),
        ("five parts, as a JWE has", format!("{h}.{p}.{p}.{p}.{s}")),
        ("no dots", format!("{h}{p}{s}")),
        ("a part in words", "not.a.token".to_owned()),
    ];
    for (what, token) in broken {
        group.refused(what, token, Malformed);
    }
    group.refused("header and payload swapped", draft.key.token_of_parts(&p, &h), Type);
    // RFC 7515 appendix F. The signature is that of the whole.
    group.refused("a detached payload", format!("{h}..{s}"), Malformed);
    group.refused("a payload that is empty, signed", draft.key.token_of_parts(&h, ""), Malformed);
    group.refused("a header that is empty, signed", draft.key.token_of_parts("", &p), Malformed);
    let jwe = URL_SAFE_NO_PAD.encode(r#"{"alg":"dir","enc":"A256GCM","typ":"at+jwt"}"#);
    group.refused(
        "a JWE encrypted directly",
        format!("{jwe}..AAAAAAAAAAAAAAAA.AAAA.AAAAAAAAAAAAAAAAAAAAAA"),
        Malformed,
    );
    group.unreadable("a JWS in flattened JSON", format!(r#"{{"protected":"{h}","payload":"{p}","signature":"{s}"}}"#));
    group.unreadable("quoted", format!("\"{token}\""));
    group.unreadable("a comma behind", format!("{token},"));
    group.unreadable("twice with a comma", format!("{token},{token}"));
    group.unreadable("twice with a blank", format!("{token} {token}"));
    group.unreadable("a scheme of its own", format!("Bearer {token}"));

    let mut group = corpus.group("length", draft);
    // Blanks behind the JSON make the token long. The controls accept `length: just within the
    // limit`.
    group.refused("one byte over the limit", draft.of_length(LIMIT + 1), Oversized);
    group.refused("twice the limit", draft.of_length(2 * LIMIT), Oversized);
    group.refused("a megabyte", draft.of_length(1 << 20), Oversized);
    group.refused("a megabyte of dots", ".".repeat(1 << 20), Oversized);
}
