//! Algorithm confusion: a public key used as the secret of an HMAC (RFC 8725 §2.1).

use auth_layer::TokenFault::{Key, Signature};

use super::Corpus;
use crate::{
    fixture::GoodTokens,
    forge::{KEYS, mac},
};

pub(super) fn add(corpus: &mut Corpus, good: &GoodTokens) {
    for draft in [&good.eddsa, &good.es256, &good.rs256] {
        let alg = draft.key.alg();
        let mut group = corpus.group("public key as a secret", draft);
        let hs256 = draft.clone().header("alg", "HS256");
        for (form, secret) in draft.key.public_forms() {
            let signature = mac(&secret, hs256.signing_input().as_bytes());
            group.refused(format!("{alg}, {form}, HS256"), hs256.signed_with(signature), Key);
            let signature = mac(&secret, draft.signing_input().as_bytes());
            group.refused(format!("{alg}, {form}, its own alg"), draft.signed_with(signature), Signature);
        }
    }

    let mut group = corpus.group("public key as the secret's", &good.hs256);
    for (form, secret) in KEYS.rs256.public_forms() {
        let signature = mac(&secret, good.hs256.signing_input().as_bytes());
        group.refused(form, good.hs256.signed_with(signature), Signature);
    }
    for (what, secret) in [("empty", &b""[..]), ("`secret`", b"secret"), ("its kid", KEYS.hs256.kid().as_bytes())] {
        let signature = mac(secret, good.hs256.signing_input().as_bytes());
        group.refused(format!("a secret to guess: {what}"), good.hs256.signed_with(signature), Signature);
    }
}
