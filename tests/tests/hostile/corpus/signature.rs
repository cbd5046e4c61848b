//! Signatures that are damaged, borrowed or made up.

use auth_layer::TokenFault::{Malformed, Signature};
use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::Corpus;
use crate::{fixture::GoodTokens, forge::KEYS};

pub(super) fn add(corpus: &mut Corpus, good: &GoodTokens) {
    for draft in [&good.eddsa, &good.es256, &good.rs256, &good.ps256, &good.hs256] {
        let alg = draft.key.alg();
        let mut group = corpus.group("signature", draft);
        let right = draft.key.sign(draft.signing_input().as_bytes());
        let length = right.len();
        for at in [0, 1, length / 2 - 1, length / 2, length - 2, length - 1] {
            for bit in [0, 7] {
                let mut flipped = right.clone();
                flipped[at] ^= 1 << bit;
                group.refused(format!("{alg}, bit {bit} of byte {at} flipped"), draft.signed_with(flipped), Signature);
            }
        }
        let mut halves = right.clone();
        halves.rotate_left(length / 2);
        let message = draft.clone().claim("jti", good.other.text("jti")).signing_input();
        let payload_alone = draft.parts().1;
        let made_up = [
            ("of zeros", vec![0; length]),
            ("of ones", vec![0xff; length]),
            ("a byte short", right[..length - 1].to_vec()),
            ("its first half", right[..length / 2].to_vec()),
            ("its first byte", right[..1].to_vec()),
            ("a zero behind", [&right[..], &[0]].concat()),
            ("a zero before", [&[0], &right[..]].concat()),
            ("twice", right.repeat(2)),
            ("its halves swapped", halves),
            ("reversed", right.iter().rev().copied().collect()),
            ("of another message", draft.key.sign(message.as_bytes())),
            ("of the payload alone", draft.key.sign(payload_alone.as_bytes())),
            ("of nothing", draft.key.sign(b"")),
            ("of a hash of the message", draft.key.sign(digest(&SHA256, draft.signing_input().as_bytes()).as_ref())),
            ("a hash of the message", digest(&SHA256, draft.signing_input().as_bytes()).as_ref().to_vec()),
            ("in letters", URL_SAFE_NO_PAD.encode(&right).into_bytes()),
            ("in hexadecimal", right.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect()),
        ];
        for (what, signature) in made_up {
            group.refused(format!("{alg}, {what}"), draft.signed_with(signature), Signature);
        }
        // RS256 and PS256 share one RSA key, so there the padding alone differs.
        for key in KEYS.each().into_iter().chain([&KEYS.second]).filter(|key| key.kid() != draft.key.kid()) {
            let signature = key.sign(draft.signing_input().as_bytes());
            let name = if key.kid() == KEYS.second.kid() { "the second EdDSA" } else { key.alg() };
            group.refused(format!("{alg}, {name} key's"), draft.signed_with(signature), Signature);
        }
    }

    // What a forger with a token wants most: more rights, under the signature of that token.
    let draft = &good.eddsa;
    let mut group = corpus.group("kept signature", draft);
    let token = draft.token();
    let signature = token.rsplit('.').next().unwrap();
    let (header, payload) = draft.parts();
    let altered = [
        ("scope", draft.clone().claim("scope", "admin")),
        ("a claim of the application's", draft.clone().claim("username", "admin")),
        ("client_id", draft.clone().claim("client_id", "another")),
        ("iat", draft.clone().claim("iat", draft.number("iat") - 1)),
        ("a header member that means nothing", draft.clone().header("x", 1)),
    ];
    for (what, altered) in altered {
        group.refused(what, format!("{}.{signature}", altered.signing_input()), Signature);
    }
    let spaced = URL_SAFE_NO_PAD.encode(draft.payload_text() + " ");
    group.refused("a blank behind the payload", format!("{header}.{spaced}.{signature}"), Signature);
    group.refused("the first half of the payload", format!("{header}.{}.{signature}", &payload[..80]), Malformed);
}
