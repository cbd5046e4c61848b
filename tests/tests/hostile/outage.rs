//! The corpus while the store is down: garbage is still the client's fault (law 8), and what only the store could tell is 503 and
//! never let in (law 7).

use auth_layer::{AuthError, GrantFault, RefreshError, TokenFault, store::TokenKind};

use crate::{
    access::is_seen_at_sight,
    bench::Bench,
    corpus::{Case, Corpus},
};

/// How a check must end, whatever is looked at first.
fn assert_ended<T: std::fmt::Debug>(name: &str, ended: &Result<T, AuthError>, case: &Case) {
    let seen = is_seen_at_sight(case.fault) || case.fault == TokenFault::Signature;
    match ended {
        Err(AuthError::InvalidToken(fault)) if seen => assert_eq!(*fault, case.fault, "{name}"),
        Err(AuthError::Unavailable(_)) if !seen => {}
        other => panic!("{name}: {other:?}"),
    }
}

#[tokio::test]
async fn garbage_is_the_client_s_fault_with_the_store_down_as_well() {
    let bench = Bench::new();
    let mut corpora = Vec::new();
    for kind in [TokenKind::Access, TokenKind::Refresh, TokenKind::SingleUse] {
        let good = bench.good(kind).await;
        corpora.push((kind, Corpus::of(&good), good.eddsa.token()));
    }
    bench.store.go_down();
    for (order, authority) in bench.orders() {
        for (kind, corpus, good) in &corpora {
            for case in &corpus.cases {
                let name = format!("{order}, {kind}, {}", case.name);
                match kind {
                    TokenKind::Access => {
                        assert_ended(&name, &authority.verify(&case.token).await, case);
                    }
                    TokenKind::SingleUse => assert_ended(&name, &authority.spend(&case.token).await, case),
                    TokenKind::Refresh => {
                        let refreshed = authority.refresh(&case.token).await.map_err(|error| match error {
                            RefreshError::InvalidGrant(GrantFault::Token(fault)) => AuthError::InvalidToken(fault),
                            RefreshError::Unavailable(cause) => AuthError::Unavailable(cause),
                            other => panic!("{name}: {other:?}"),
                        });
                        assert_ended(&name, &refreshed, case);
                    }
                    other => panic!("{other} is new"),
                }
            }
            // What is good cannot be known to be: that is no reason to let it in, nor to call it bad.
            let unavailable = match kind {
                TokenKind::Access => matches!(authority.verify(good).await, Err(AuthError::Unavailable(_))),
                TokenKind::SingleUse => matches!(authority.spend(good).await, Err(AuthError::Unavailable(_))),
                TokenKind::Refresh => matches!(authority.refresh(good).await, Err(RefreshError::Unavailable(_))),
                other => panic!("{other} is new"),
            };
            assert!(unavailable, "{order}, {kind}");
        }
    }
}
