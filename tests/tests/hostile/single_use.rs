//! The corpus as single-use tokens: none uses anything up.

use auth_layer::{AuthError, TokenFault, store::TokenKind};

use crate::{
    access::shows_before_lookup,
    corpus::Corpus,
    fixture::Fixture,
    protected_route::{ProtectedRoute, bearer},
};

#[tokio::test]
async fn single_use_token_that_is_forged_uses_nothing_up() {
    let fixture = Fixture::new();
    let good = fixture.good(TokenKind::SingleUse).await;
    let corpus = Corpus::of(&good);
    for (order, authority) in fixture.authorities() {
        let route = ProtectedRoute::new(authority, true);
        for case in &corpus.cases {
            let name = format!("{order}, {}", case.name);
            let before = fixture.store.calls();
            match authority.spend(&case.token).await {
                Err(AuthError::InvalidToken(fault)) => assert_eq!(fault, case.fault, "{name}"),
                other => panic!("{name}: {other:?}"),
            }
            if let Some((value, refusal)) = bearer(&case.token).zip(case.expected.refusal()) {
                route.assert_refuses(&name, &[value], refusal, &case.token).await;
            }
            let after = fixture.store.calls();
            assert_eq!(after.writes, before.writes, "{name}: a write");
            // For single-use tokens the signature comes first in both orders of checking.
            let asked = !shows_before_lookup(case.fault) && case.fault != TokenFault::Signature;
            assert_eq!(after.reads > before.reads, asked, "{name}: is the store asked?");
        }
        assert_eq!(route.handler_calls(), 0, "{order}");
    }
    for draft in [&good.eddsa, &good.other, &good.expiring] {
        let before = fixture.store.calls().writes;
        assert!(fixture.record_first.spend(&draft.token()).await.is_ok());
        assert_eq!(fixture.store.calls().writes, before + 1, "one use, and it is counted");
        let again = fixture.signature_first.spend(&draft.clone().token()).await;
        assert!(matches!(again, Err(AuthError::InvalidToken(TokenFault::Used))), "{again:?}");
    }
}
