//! The corpus as access tokens, to the authority and to the layer, over HTTP and gRPC, in both
//! orders of checking.

use std::sync::Arc;

use auth_layer::{AuthError, Authority, TokenFault, store::TokenKind};

use crate::{
    corpus::Corpus,
    fixture::{AUDIENCE, Fixture, ISSUER},
    forge::{KEYS, with_member},
    protected_route::{ProtectedRoute, bearer},
};

/// Returns whether the fault shows without a store and without a signature. A forged token with
/// such a fault must cost neither.
pub(crate) fn shows_before_lookup(fault: TokenFault) -> bool {
    use TokenFault::{Audience, Claim, Expired, Header, Issuer, Key, Malformed, NotYetValid, Oversized, Type, Unknown};
    match fault {
        Oversized | Malformed | Header | Type | Key | Claim(_) | Issuer | Audience | Expired | NotYetValid => true,
        Unknown | TokenFault::Mismatch | TokenFault::Signature | TokenFault::Used | TokenFault::Revoked => false,
        other => panic!("{other:?} is new: say when it is seen"),
    }
}

#[tokio::test]
async fn check_refuses_a_forged_access_token_for_its_fault_and_writes_nothing() {
    let fixture = Fixture::new();
    let corpus = Corpus::of(&fixture.good(TokenKind::Access).await);
    for (order, authority) in fixture.authorities() {
        let route = ProtectedRoute::new(authority, false);
        for case in &corpus.cases {
            let name = format!("{order}, {}", case.name);
            let before = fixture.store.calls();
            match authority.verify(&case.token).await {
                Err(AuthError::InvalidToken(fault)) => assert_eq!(fault, case.fault, "{name}"),
                other => panic!("{name}: {other:?}"),
            }
            let credentials = bearer(&case.token);
            assert_eq!(credentials.is_some(), case.expected.refusal().is_some(), "{name}: can it be sent?");
            if let Some((value, refusal)) = credentials.zip(case.expected.refusal()) {
                route.assert_refuses(&name, &[value], refusal, &case.token).await;
            }
            let after = fixture.store.calls();
            assert_eq!(after.writes, before.writes, "{name}: a write");
            let no_store = order == "signature first" && case.fault == TokenFault::Signature;
            if no_store || shows_before_lookup(case.fault) {
                assert_eq!(after.reads, before.reads, "{name}: the store was asked");
            } else {
                assert!(after.reads > before.reads, "{name}: the store was not asked");
            }

            let control = authority.verify(&case.control).await;
            assert!(control.is_ok(), "{name}: its control is refused: {control:?}");
        }
        assert_eq!(route.handler_calls(), 0, "{order}");
    }
}

/// An application may allow longer tokens. Depth and duplicates stay bounded, and the time to read
/// a token is linear in its length.
#[tokio::test]
async fn check_with_a_larger_size_limit_exhausts_neither_stack_nor_time() {
    let fixture = Fixture::new();
    let good = fixture.good(TokenKind::Access).await.eddsa;
    let keys = KEYS.ring();
    let authority: Authority = Authority::builder(ISSUER, Arc::clone(&fixture.store))
        .audience(AUDIENCE)
        .keys(keys)
        .max_token_bytes(4 << 20)
        .build()
        .unwrap();
    let payload = good.payload_text();
    let with = |value: String| good.with_payload_text(with_member(&payload, &format!("\"x\":{value}")));
    let members =
        |repeat: usize| -> String { (0..repeat).map(|number| format!("\"{number}\":0")).collect::<Vec<_>>().join(",") };
    let tokens = [
        ("arrays", with("[".repeat(1_000_000) + &"]".repeat(1_000_000))),
        ("arrays that never close", with("[".repeat(2_000_000))),
        ("objects", with("{\"\":".repeat(500_000))),
        ("arrays in the header", good.with_header_text("[".repeat(2_000_000))),
        ("members, one of them twice", with(format!("{{{},\"7\":1}}", members(100_000)))),
        ("a number", with("9".repeat(2_000_000))),
        ("a text that does not end", with("\"".to_owned() + &"\\u0061".repeat(300_000))),
        ("an alphabet that is none", good.token().replace('.', &".".repeat(1_000_000))),
    ];
    for (name, token) in tokens {
        assert!(token.len() > 1_000_000 && token.len() <= 4 << 20, "{name}: {}", token.len());
        let before = fixture.store.calls();
        let verified = authority.verify(&token).await;
        assert!(matches!(verified, Err(AuthError::InvalidToken(TokenFault::Malformed))), "{name}: {verified:?}");
        assert_eq!(fixture.store.calls(), before, "{name}: no store was asked");
    }
}
