//! The corpus as access tokens: to the authority and to the layer, over HTTP and gRPC, in both orders of checking.

use auth_layer::{AuthError, TokenFault, store::TokenKind};

use crate::{
    bench::Bench,
    corpus::Corpus,
    door::{Door, bearer},
};

/// What can be seen without a store and without a signature, which no forged token may cost more than.
pub(crate) fn is_seen_at_sight(fault: TokenFault) -> bool {
    use TokenFault::{
        Audience, Claims, Expired, Header, Issuer, Key, Malformed, NotYetValid, Oversized, Type, Unknown,
    };
    match fault {
        Oversized | Malformed | Header | Type | Key | Claims | Issuer | Audience | Expired | NotYetValid => true,
        Unknown | TokenFault::Mismatch | TokenFault::Signature | TokenFault::Used | TokenFault::Revoked => false,
        other => panic!("{other:?} is new: say when it is seen"),
    }
}

#[tokio::test]
async fn a_forged_access_token_is_refused_for_what_is_wrong_with_it_and_writes_nothing() {
    let bench = Bench::new();
    let corpus = Corpus::of(&bench.good(TokenKind::Access).await);
    for (order, authority) in bench.orders() {
        let door = Door::new(authority, false);
        for case in &corpus.cases {
            let name = format!("{order}, {}", case.name);
            let before = bench.store.asked();
            match authority.verify(&case.token).await {
                Err(AuthError::InvalidToken(fault)) => assert_eq!(fault, case.fault, "{name}"),
                other => panic!("{name}: {other:?}"),
            }
            let credentials = bearer(&case.token);
            assert_eq!(credentials.is_some(), case.answer.refusal().is_some(), "{name}: can it be sent?");
            if let Some((value, refusal)) = credentials.zip(case.answer.refusal()) {
                door.refuses(&name, &[value], refusal, &case.token).await;
            }
            let after = bench.store.asked();
            assert_eq!(after.writes, before.writes, "{name}: a write");
            let no_store = order == "signature first" && case.fault == TokenFault::Signature;
            if no_store || is_seen_at_sight(case.fault) {
                assert_eq!(after.reads, before.reads, "{name}: the store was asked");
            } else {
                assert!(after.reads > before.reads, "{name}: the store was not asked");
            }

            let control = authority.verify(&case.control).await;
            assert!(control.is_ok(), "{name}: its control is refused: {control:?}");
        }
        assert_eq!(door.entered(), 0, "{order}");
    }
}
