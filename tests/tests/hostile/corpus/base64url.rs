//! base64url (RFC 7515 §2): one text for each value, no padding, no other alphabet. Header and payload are signed as they
//! are spelt here, so that the spelling alone is at fault.

use auth_layer::TokenFault::{Malformed, Signature};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::Corpus;
use crate::{bench::Good, forge::Draft};

pub(super) fn add(corpus: &mut Corpus, good: &Good) {
    let draft = &good.eddsa;
    let mut group = corpus.group("base64url", draft);
    for part in ["header", "payload", "signature"] {
        let last = part == "signature";
        let with = |alter: &dyn Fn(&str) -> String| altered(draft, part, alter);
        let middle = |insert: &str| with(&|text| format!("{}{insert}{}", &text[..8], &text[8..]));

        // Padding is part of RFC 6750's grammar, at the end and nowhere else.
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

/// The token with one of its parts spelt otherwise.
fn altered(draft: &Draft, part: &str, alter: &dyn Fn(&str) -> String) -> String {
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

/// The part, blanks behind its JSON, so that its last letter has bits to spare.
fn spare(text: &str, draft: &Draft, part: &str) -> String {
    let mut json = match part {
        "header" => draft.header_text(),
        "payload" => draft.payload_text(),
        _ => return text.to_owned(),
    };
    while json.len() % 3 == 0 {
        json.push(' ');
    }
    URL_SAFE_NO_PAD.encode(json)
}

fn with_trailing_bits(draft: &Draft, part: &str) -> String {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    altered(draft, part, &|text| {
        let mut text = spare(text, draft, part);
        let last = text.pop().unwrap();
        // The lowest bit of the last letter is spare: setting it changes no byte.
        let index = ALPHABET.find(last).unwrap();
        assert_eq!(index % 2, 0, "the last letter of {part} has bits to spare");
        text + &ALPHABET[index + 1..=index + 1]
    })
}

/// One letter more than fours: six bits that are no byte.
fn with_stray_letter(draft: &Draft, part: &str) -> String {
    altered(draft, part, &|text| {
        let keep = text.len() - text.len() % 4;
        format!("{}A", &text[..keep])
    })
}
