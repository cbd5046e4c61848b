//! The corpus as refresh tokens: none rotates, revokes or is held against anybody.

use auth_layer::{GrantFault, RefreshError, TokenFault, store::TokenKind};

use crate::{access::is_seen_at_sight, bench::Bench, corpus::Corpus};

#[tokio::test]
async fn a_forged_refresh_token_rotates_and_revokes_nothing() {
    let bench = Bench::new();
    let good = bench.good(TokenKind::Refresh).await;
    let corpus = Corpus::of(&good);
    for (order, authority) in bench.orders() {
        for case in &corpus.cases {
            let name = format!("{order}, {}", case.name);
            let before = bench.store.asked();
            match authority.refresh(&case.token).await {
                Err(RefreshError::InvalidGrant(GrantFault::Token(fault))) => assert_eq!(fault, case.fault, "{name}"),
                other => panic!("{name}: {other:?}"),
            }
            let after = bench.store.asked();
            assert_eq!(after.writes, before.writes, "{name}: a write");
            // Whatever the order is for access tokens: here the signature always comes first.
            let asked = !is_seen_at_sight(case.fault) && case.fault != TokenFault::Signature;
            assert_eq!(after.reads > before.reads, asked, "{name}: is the store asked?");
        }
    }
    // All of their sessions are as they were: not rotated, not revoked.
    for draft in [&good.eddsa, &good.other, &good.expiring] {
        let before = bench.store.asked().writes;
        bench.record_first.refresh(&draft.token()).await.unwrap();
        assert_eq!(bench.store.asked().writes, before + 1, "one rotation, and it is counted");
    }
    for sibling in good.siblings.iter().filter(|sibling| sibling.typ() == "at+jwt") {
        assert!(bench.signature_first.verify(&sibling.token()).await.is_ok());
    }
}
