//! The corpus as single-use tokens: none uses anything up.

use auth_layer::{AuthError, TokenFault, store::TokenKind};

use crate::{
    access::is_seen_at_sight,
    bench::Bench,
    corpus::Corpus,
    door::{Door, bearer},
};

#[tokio::test]
async fn single_use_token_that_is_forged_uses_nothing_up() {
    let bench = Bench::new();
    let good = bench.good(TokenKind::SingleUse).await;
    let corpus = Corpus::of(&good);
    for (order, authority) in bench.orders() {
        let door = Door::new(authority, true);
        for case in &corpus.cases {
            let name = format!("{order}, {}", case.name);
            let before = bench.store.asked();
            match authority.spend(&case.token).await {
                Err(AuthError::InvalidToken(fault)) => assert_eq!(fault, case.fault, "{name}"),
                other => panic!("{name}: {other:?}"),
            }
            if let Some((value, refusal)) = bearer(&case.token).zip(case.answer.refusal()) {
                door.refuses(&name, &[value], refusal, &case.token).await;
            }
            let after = bench.store.asked();
            assert_eq!(after.writes, before.writes, "{name}: a write");
            // For single-use tokens the signature comes first in both orders of checking.
            let asked = !is_seen_at_sight(case.fault) && case.fault != TokenFault::Signature;
            assert_eq!(after.reads > before.reads, asked, "{name}: is the store asked?");
        }
        assert_eq!(door.entered(), 0, "{order}");
    }
    for draft in [&good.eddsa, &good.other, &good.expiring] {
        let before = bench.store.asked().writes;
        assert!(bench.record_first.spend(&draft.token()).await.is_ok());
        assert_eq!(bench.store.asked().writes, before + 1, "one use, and it is counted");
        let again = bench.signature_first.spend(&draft.clone().token()).await;
        assert!(matches!(again, Err(AuthError::InvalidToken(TokenFault::Used))), "{again:?}");
    }
}
