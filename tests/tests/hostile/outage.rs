//! The corpus while the store is down. Garbage is still the client's fault (law 8). A check that
//! needs the store is 503 and never accepts (law 7).

use auth_layer::{AuthError, GrantFault, RefreshError, TokenFault, store::TokenKind};

use crate::{
    access::shows_before_lookup,
    corpus::{Case, Corpus},
    fixture::Fixture,
};

/// Fails unless a check ended as it must, in either order of checking.
fn assert_refused_or_unavailable<T: std::fmt::Debug>(name: &str, ended: &Result<T, AuthError>, case: &Case) {
    let seen = shows_before_lookup(case.fault) || case.fault == TokenFault::Signature;
    match ended {
        Err(AuthError::InvalidToken(fault)) if seen => assert_eq!(*fault, case.fault, "{name}"),
        Err(AuthError::Unavailable(_)) if !seen => {}
        other => panic!("{name}: {other:?}"),
    }
}

#[tokio::test]
async fn garbage_is_the_clients_fault_with_the_store_down_too() {
    let fixture = Fixture::new();
    let mut corpora = Vec::new();
    for kind in [TokenKind::Access, TokenKind::Refresh, TokenKind::SingleUse] {
        let good = fixture.good(kind).await;
        corpora.push((kind, Corpus::of(&good), good.eddsa.token()));
    }
    fixture.store.go_down();
    for (order, authority) in fixture.authorities() {
        for (kind, corpus, good) in &corpora {
            for case in &corpus.cases {
                let name = format!("{order}, {kind}, {}", case.name);
                match kind {
                    TokenKind::Access => {
                        assert_refused_or_unavailable(&name, &authority.verify(&case.token).await, case);
                    }
                    TokenKind::SingleUse => {
                        assert_refused_or_unavailable(&name, &authority.spend(&case.token).await, case);
                    }
                    TokenKind::Refresh => {
                        let refreshed = authority.refresh(&case.token).await.map_err(|error| match error {
                            RefreshError::InvalidGrant(GrantFault::Token(fault)) => AuthError::InvalidToken(fault),
                            RefreshError::Unavailable(cause) => AuthError::Unavailable(cause),
                            other => panic!("{name}: {other:?}"),
                        });
                        assert_refused_or_unavailable(&name, &refreshed, case);
                    }
                    other => panic!("{other} is new"),
                }
            }
            // A good token cannot be confirmed. It must be neither accepted nor called bad.
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
