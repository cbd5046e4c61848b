//! The corpus as refresh tokens: none rotates or revokes anything, or counts as reuse.

use auth_layer::{GrantFault, RefreshError, TokenFault, store::TokenKind};

use crate::{access::is_seen_at_sight, bench::Bench, corpus::Corpus};

/// Tries each case on both authorities.
async fn refuse_all(bench: &Bench, corpus: &Corpus, when: &str) {
    for (order, authority) in bench.orders() {
        for case in &corpus.cases {
            let name = format!("{when}, {order}, {}", case.name);
            let before = bench.store.asked();
            match authority.refresh(&case.token).await {
                Err(RefreshError::InvalidGrant(GrantFault::Token(fault))) => assert_eq!(fault, case.fault, "{name}"),
                other => panic!("{name}: {other:?}"),
            }
            let after = bench.store.asked();
            assert_eq!(after.writes, before.writes, "{name}: a write");
            // For refresh tokens the signature comes first in both orders of checking.
            let asked = !is_seen_at_sight(case.fault) && case.fault != TokenFault::Signature;
            assert_eq!(after.reads > before.reads, asked, "{name}: is the store asked?");
        }
    }
}

#[tokio::test]
async fn refresh_with_a_forged_token_rotates_and_revokes_nothing() {
    let bench = Bench::new();
    let good = bench.good(TokenKind::Refresh).await;
    refuse_all(&bench, &Corpus::of(&good), "current").await;
    // All of their sessions are as they were: not rotated, not revoked.
    for draft in [&good.eddsa, &good.other, &good.expiring] {
        let before = bench.store.asked().writes;
        bench.record_first.refresh(&draft.token()).await.unwrap();
        assert_eq!(bench.store.asked().writes, before + 1, "one rotation, and it is counted");
        tokio::task::yield_now().await;
        assert_eq!(bench.store.asked().writes, before + 2, "and the note that its pair was handed out");
    }
    for sibling in good.siblings.iter().filter(|sibling| sibling.typ() == "at+jwt") {
        assert!(bench.signature_first.verify(&sibling.token()).await.is_ok());
    }
}

/// Law 3 ends the session of a retired token that is presented again. A forger who has seen one,
/// and has no key, must not be able to trigger that.
#[tokio::test]
async fn refresh_with_a_forgery_of_a_retired_token_ends_no_session() {
    let bench = Bench::new();
    let good = bench.good(TokenKind::Refresh).await;
    let retired = good.eddsa.token();
    let child = bench.record_first.refresh(&retired).await.unwrap();
    let grandchild = bench.record_first.refresh(&child.refresh_token).await.unwrap();
    refuse_all(&bench, &Corpus::of(&good), "retired").await;
    let current = bench.record_first.refresh(&grandchild.refresh_token).await.unwrap();
    assert!(bench.signature_first.verify(&current.access_token).await.is_ok(), "the session goes on");

    // The untouched token ends the session, so the forgeries were as close to it as possible.
    let again = bench.signature_first.refresh(&retired).await;
    assert!(matches!(again, Err(RefreshError::InvalidGrant(GrantFault::Reused))), "{again:?}");
    let refused = bench.signature_first.refresh(&current.refresh_token).await;
    assert!(matches!(refused, Err(RefreshError::InvalidGrant(_))), "{refused:?}");
}
