//! `sid` and `jti` are UUIDs in one spelling only, so that one record has one name. `sub` is any
//! text: a text that only looks like the user's is another user.

use auth_layer::{TokenFault::Claim, store::TokenKind};
use uuid::Uuid;

use super::{Corpus, mismatch_fault, missing_record_fault};
use crate::fixture::GoodTokens;

pub(super) fn add(corpus: &mut Corpus, good: &GoodTokens) {
    let draft = &good.eddsa;
    let mut group = corpus.group("identifier", draft);
    for claim in ["sub", "sid", "jti"] {
        let right = draft.text(claim);
        let spellings = [
            ("in upper case", right.to_uppercase()),
            ("in braces", format!("{{{right}}}")),
            ("as a URN", format!("urn:uuid:{right}")),
            ("without hyphens", right.replace('-', "")),
            ("a blank before", format!(" {right}")),
            ("a blank behind", format!("{right} ")),
            ("a line feed behind", format!("{right}\n")),
            ("a NUL behind", format!("{right}\0")),
            ("a digit less", right[..35].into()),
            ("a digit more", format!("{right}0")),
            ("hyphens elsewhere", format!("{}-{}", &right[..4], right.replacen('-', "", 1)[4..].to_owned())),
            ("no hexadecimal", right.replace(['0', '1', '9', 'a'], "g")),
            ("wide digits", right.replace('0', "\u{ff10}")),
            ("a query", r#"{"$gt":""}"#.into()),
            ("SQL", "' OR '1'='1".into()),
            ("a path", "../../etc/passwd".into()),
            ("a thousand letters", "a".repeat(1_000)),
        ];
        for (what, spelling) in spellings {
            assert_ne!(spelling, right, "{claim} {what}");
            let is_text = claim == "sub" && spelling.chars().count() <= 255;
            let fault = if is_text { mismatch_fault(good.kind) } else { Claim(claim) };
            group.refused(format!("{claim} {what}"), draft.clone().claim(claim, spelling).token(), fault);
        }
    }

    for (what, id) in [("nil", Uuid::nil()), ("of ones", Uuid::max()), ("that nobody has", Uuid::new_v4())] {
        let named = |claim| draft.clone().claim(claim, id.to_string()).token();
        group.refused(format!("jti {what}"), named("jti"), missing_record_fault(good.kind));
        group.refused(format!("sub {what}"), named("sub"), mismatch_fault(good.kind));
        // A refresh looks up the session first.
        let session =
            if good.kind == TokenKind::Refresh { missing_record_fault(good.kind) } else { mismatch_fault(good.kind) };
        group.refused(format!("sid {what}"), named("sid"), session);
    }
}
