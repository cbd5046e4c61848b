//! base64url (RFC 7515 §2): one text for each value, no padding, no other alphabet. Header and
//! payload are signed as they are spelt, so the spelling alone is at fault.

use auth_layer::TokenFault::{Malformed, Signature};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::Corpus;
use crate::{fixture::GoodTokens, forge::TokenDraft};

pub(super) fn add(corpus: &mut Corpus, good: &GoodTokens) {
    let draft = &good.eddsa;
    let mut group = corpus.group("base64url", draft);
    for part in ["header", "payload", "signature"] {
        let last = part == "signature";
        let with = |alter: &dyn Fn(&str) -> String| altered(draft, part, alter);
        let middle = |insert: &str| with(&|text| format!("{}{insert}{}", &text[..8], &text[8..]));

        // Padding is part of RFC 6750's grammar, at the end only.
        for padding in ["=", "=="] {
            let padded = with(&|text| format!("{text}{padding}"));
            if last {
                group.refused(format!("{part} with {padding}"), padded, Malformed);
            } else {
                group.unreadable(format!("{part} with {padding}"), padded);
            }
        }
        for other in ["+", "/", "~", "."] {
            group.refused(format!("{part} with {other} in it"), middle(other), Malformed);
        }
        for other in [" ", "\t", "%", "%3D", "\\", ",", ":", "\"", "\u{e9}", "\u{ff21}"] {
            group.unreadable(format!("{part} with {other:?} in it"), middle(other));
        }
        for other in ["\n", "\r\n", "\0", "\u{7f}", "\u{8}"] {
            group.unsendable(format!("{part} with {other:?} in it"), middle(other));
        }
        group.unsendable(format!("{part} with a line feed behind"), with(&|text| format!("{text}\n")));
        group.refused(format!("{part} in the alphabet of base64"), in_standard_alphabet(draft, part), Malformed);
        group.refused(format!("{part}, bits behind its last byte"), with_trailing_bits(draft, part), Malformed);
        group.refused(format!("{part}, a length that there is not"), with_stray_letter(draft, part), Malformed);
        if !last {
            group.refused(
                format!("{part} without its last letter"),
                with(&|text| text[..text.len() - 1].into()),
                Malformed,
            );
            group.refused(format!("{part} without its first letter"), with(&|text| text[1..].into()), Malformed);
        }
        group.refused(
            format!("{part} twice"),
            with(&|text| format!("{text}{text}")),
            if last { Signature } else { Malformed },
        );
    }
}

/// Returns the token with one of its parts spelt in another way.
fn altered(draft: &TokenDraft, part: &str, alter: &dyn Fn(&str) -> String) -> String {
    let (header, payload) = draft.parts();
    match part {
        "header" => draft.key.token_of_parts(&alter(&header), &payload),
        "payload" => draft.key.token_of_parts(&header, &alter(&payload)),
        _ => {
            let token = draft.token();
            let (input, signature) = token.rsplit_once('.').unwrap();
            format!("{input}.{}", alter(signature))
        }
    }
}

/// Returns the part with blanks behind its JSON, so that its length is `rest` modulo three bytes.
fn respelt(text: &str, draft: &TokenDraft, part: &str, rest: usize) -> String {
    let mut json = match part {
        "header" => draft.header_text(),
        "payload" => draft.payload_text(),
        _ => return text.to_owned(),
    };
    while json.len() % 3 != rest {
        json.push(' ');
    }
    URL_SAFE_NO_PAD.encode(json)
}

/// Returns the token with a bit set behind the last byte of a part.
fn with_trailing_bits(draft: &TokenDraft, part: &str) -> String {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    altered(draft, part, &|text| {
        let mut text = respelt(text, draft, part, 1);
        let last = text.pop().unwrap();
        // The lowest bit of the last letter is unused: setting it changes no byte.
        let index = ALPHABET.find(last).unwrap();
        assert_eq!(index % 2, 0, "the last letter of {part} has bits to spare");
        text + &ALPHABET[index + 1..=index + 1]
    })
}

/// Returns the token with one letter after complete groups of four: six bits that make no byte.
fn with_stray_letter(draft: &TokenDraft, part: &str) -> String {
    altered(draft, part, &|text| {
        let text = respelt(text, draft, part, 0);
        format!("{}A", &text[..text.len() - text.len() % 4])
    })
}

/// Returns the token with a part spelt with `+` and `/` in place of `-` and `_`.
fn in_standard_alphabet(draft: &TokenDraft, part: &str) -> String {
    // Header and payload get a letter that is spelt with one of the two. A signature cannot be
    // chosen, so others are tried.
    let tokens = (0..100).map(|attempt| {
        let draft =
            draft.clone().header("x", "\u{3ff}\u{3ff}\u{3ff}").claim("x", "\u{3ff}\u{3ff}\u{3ff}").claim("y", attempt);
        altered(&draft, part, &|text| text.replace('-', "+").replace('_', "/"))
    });
    let mut spelt = tokens.filter(|token| token.contains(['+', '/']));
    spelt.next().unwrap()
}
