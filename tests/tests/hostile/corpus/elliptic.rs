//! Signatures that exploit the arithmetic of elliptic curves.

use auth_layer::TokenFault::Signature;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::Corpus;
use crate::{fixture::GoodTokens, forge::TokenDraft};

/// The order of P-256's base point, big-endian (SEC 2 §2.4.2).
const P256_ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
    0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// The order of Ed25519's base point, little-endian (RFC 8032 §5.1).
const ED25519_ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

pub(super) fn add(corpus: &mut Corpus, good: &GoodTokens) {
    let draft = &good.es256;
    let mut group = corpus.group("ES256", draft);
    let (r, s) = es256(draft);
    let (zero, one) = ([0; 32], [[0; 31].to_vec(), vec![1]].concat());
    let n = &P256_ORDER[..];
    let minus_one = minus(&P256_ORDER, &one);
    let pairs: [(&str, &[u8], &[u8]); 13] = [
        ("r zero", &zero, &s),
        ("s zero", &r, &zero),
        ("r and s the order", n, n),
        ("r the order", n, &s),
        ("s the order", &r, n),
        ("r zero, s the order", &zero, n),
        ("r the order, s zero", n, &zero),
        ("r and s one", &one, &one),
        ("r one, s zero", &one, &zero),
        ("r and s the order less one", &minus_one, &minus_one),
        ("r beyond the order", &[0xff; 32], &s),
        ("s beyond the order", &r, &[0xff; 32]),
        ("r turned to its negative", &minus(&P256_ORDER, &r), &s),
    ];
    for (what, r, s) in pairs {
        group.refused(what, draft.signed_with([r, s].concat()), Signature);
    }
    let wide = [&[0][..], &r, &[0], &s].concat();
    group.refused("each a zero longer", draft.signed_with(wide), Signature);
    group.refused("in DER", draft.signed_with(der(&r, &s)), Signature);
    group.refused("zeros in DER", draft.signed_with(der(&[0], &[0])), Signature);
    group.refused("r alone", draft.signed_with(&r), Signature);

    let draft = &good.eddsa;
    let mut group = corpus.group("EdDSA", draft);
    let signature = draft.key.sign(draft.signing_input().as_bytes());
    let (r, s) = signature.split_at(32);
    // RFC 8032 §5.1.7: S must be less than the order, or every signature would have twins.
    let plus_order = plus(s, &ED25519_ORDER);
    group.refused("S and the order", draft.signed_with([r, &plus_order].concat()), Signature);
    let twice = plus(&plus_order, &ED25519_ORDER);
    group.refused("S and twice the order", draft.signed_with([r, &twice].concat()), Signature);
    group.refused("S the order", draft.signed_with([r, &ED25519_ORDER].concat()), Signature);
    let mut identity = [0; 64];
    identity[0] = 1;
    group.refused("R the identity, S zero", draft.signed_with(identity), Signature);
    let mut order_two = [0xff; 64];
    order_two[0] = 0xec;
    order_two[31] = 0x7f;
    order_two[32..].fill(0);
    group.refused("R of order two, S zero", draft.signed_with(order_two), Signature);
    let mut not_reduced = [0xff; 64];
    not_reduced[0] = 0xee;
    not_reduced[31] = 0x7f;
    not_reduced[32..].fill(0);
    group.refused("R not reduced, S zero", draft.signed_with(not_reduced), Signature);
    let mut high_bits = signature;
    high_bits[63] |= 0xe0;
    group.refused("S with its high bits set", draft.signed_with(high_bits), Signature);
}

/// Returns the other signature that ECDSA accepts for the same message, with `s` negated.
pub(crate) fn es256_twin(token: &str) -> String {
    let (input, signature) = token.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let (r, s) = signature.split_at(32);
    let twin = [r, &minus(&P256_ORDER, s)].concat();
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(twin))
}

/// Returns `r` and `s` of the right ES256 signature.
fn es256(draft: &TokenDraft) -> (Vec<u8>, Vec<u8>) {
    let signature = draft.key.sign(draft.signing_input().as_bytes());
    let (r, s) = signature.split_at(32);
    (r.to_vec(), s.to_vec())
}

/// Returns `a - b`, big-endian. `a` must not be less than `b`.
fn minus(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut borrow = false;
    let mut difference: Vec<u8> = a
        .iter()
        .zip(b)
        .rev()
        .map(|(a, b)| {
            let (byte, first) = a.overflowing_sub(*b);
            let (byte, second) = byte.overflowing_sub(u8::from(borrow));
            borrow = first || second;
            byte
        })
        .collect();
    assert!(!borrow);
    difference.reverse();
    difference
}

/// Returns `a + b`, little-endian. The sum must fit.
fn plus(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut carry = false;
    let sum = a
        .iter()
        .zip(b)
        .map(|(a, b)| {
            let (byte, first) = a.overflowing_add(*b);
            let (byte, second) = byte.overflowing_add(u8::from(carry));
            carry = first || second;
            byte
        })
        .collect();
    assert!(!carry);
    sum
}

/// Returns `SEQUENCE { INTEGER r, INTEGER s }`, the form of ECDSA signatures in X.509.
fn der(r: &[u8], s: &[u8]) -> Vec<u8> {
    let integer = |number: &[u8]| {
        let number = &number[number.iter().position(|byte| *byte != 0).unwrap_or(number.len() - 1)..];
        let sign: &[u8] = if number[0] & 0x80 == 0 { &[] } else { &[0] };
        let length = u8::try_from(sign.len() + number.len()).unwrap();
        [&[2, length], sign, number].concat()
    };
    let body = [integer(r), integer(s)].concat();
    [&[0x30, u8::try_from(body.len()).unwrap()], &body[..]].concat()
}
