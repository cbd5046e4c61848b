//! The corpus as refresh tokens: none rotates or revokes anything, or counts as reuse.

use auth_layer::{GrantFault, RefreshError, TokenFault, store::TokenKind};

use crate::{access::shows_before_lookup, corpus::Corpus, fixture::Fixture};

/// Fails unless both authorities refuse each case, without a write.
async fn assert_refuses_all(fixture: &Fixture, corpus: &Corpus, when: &str) {
    for (order, authority) in fixture.authorities() {
        for case in &corpus.cases {
            let name = format!("{when}, {order}, {}", case.name);
            let before = fixture.store.calls();
            match authority.refresh(&case.token).await {
                Err(RefreshError::InvalidGrant(GrantFault::Token(fault))) => assert_eq!(fault, case.fault, "{name}"),
                other => panic!("{name}: {other:?}"),
            }
            let after = fixture.store.calls();
            assert_eq!(after.writes, before.writes, "{name}: a write");
            // For refresh tokens the signature comes first in both orders of checking.
            let asked = !shows_before_lookup(case.fault) && case.fault != TokenFault::Signature;
            assert_eq!(after.reads > before.reads, asked, "{name}: is the store asked?");
        }
    }
}

#[tokio::test]
async fn refresh_with_a_forged_token_rotates_and_revokes_nothing() {
    let fixture = Fixture::new();
    let good = fixture.good(TokenKind::Refresh).await;
    assert_refuses_all(&fixture, &Corpus::of(&good), "current").await;
    // All of their sessions are as they were: not rotated, not revoked.
    for draft in [&good.eddsa, &good.other, &good.expiring] {
        let before = fixture.store.calls().writes;
        fixture.record_first.refresh(&draft.token()).await.unwrap();
        assert_eq!(fixture.store.calls().writes, before + 1, "one rotation, and it is counted");
        tokio::task::yield_now().await;
        assert_eq!(fixture.store.calls().writes, before + 2, "and the mark that its pair was delivered");
    }
    for sibling in good.siblings.iter().filter(|sibling| sibling.typ() == "at+jwt") {
        assert!(fixture.signature_first.verify(&sibling.token()).await.is_ok());
    }
}

/// Law 3 ends the session of a retired token that is presented again. A forger who has seen one,
/// and has no key, must not be able to trigger that.
#[tokio::test]
async fn refresh_with_a_forgery_of_a_retired_token_ends_no_session() {
    let fixture = Fixture::new();
    let good = fixture.good(TokenKind::Refresh).await;
    let retired = good.eddsa.token();
    let child = fixture.record_first.refresh(&retired).await.unwrap();
    let grandchild = fixture.record_first.refresh(&child.refresh_token).await.unwrap();
    assert_refuses_all(&fixture, &Corpus::of(&good), "retired").await;
    let current = fixture.record_first.refresh(&grandchild.refresh_token).await.unwrap();
    assert!(fixture.signature_first.verify(&current.access_token).await.is_ok(), "the session goes on");

    // The untouched token ends the session, so the forgeries were as close to it as possible.
    let again = fixture.signature_first.refresh(&retired).await;
    assert!(matches!(again, Err(RefreshError::InvalidGrant(GrantFault::Reused))), "{again:?}");
    let refused = fixture.signature_first.refresh(&current.refresh_token).await;
    assert!(matches!(refused, Err(RefreshError::InvalidGrant(_))), "{refused:?}");
}
