//! A flood of forged tokens causes no flood of lookups.

use std::{sync::Arc, time::Duration};

use auth_layer::{AuthError, Authority, TokenFault, TokenId, clock::ManualClock};
use chrono::DateTime;
use futures_util::future::join_all;

use crate::{
    counting_store::CountingStore,
    fixture::{AUDIENCE, ISSUER, issue},
    forge::{KEYS, TokenDraft},
};

/// More tokens than can be checked within the deadline of one check.
const FLOOD: usize = 20_000;

#[tokio::test]
async fn flood_of_forged_tokens_costs_bounded_lookups_and_good_ones_pass() {
    let clock = ManualClock::starting_at(DateTime::from_timestamp(1_800_000_000, 0).unwrap());
    let store = Arc::<CountingStore>::default();
    let authority: Authority = Authority::builder(ISSUER, Arc::clone(&store))
        .audience(AUDIENCE)
        .keys(KEYS.ring())
        .clock(clock.clone())
        .forged_lookups(50)
        .deadline(Duration::from_millis(500))
        .build()
        .unwrap();
    let [access, ..] = issue(&authority).await;
    let draft = TokenDraft::of(&access, &KEYS.eddsa);
    let revoked = TokenDraft::of(&issue(&authority).await[0], &KEYS.eddsa);
    authority.revoke_token(revoked.text("jti").parse().unwrap()).await.unwrap();

    for second in 0..3 {
        let before = store.calls().reads;
        let forged: Vec<String> = (0..FLOOD)
            .map(|number| {
                // Forgeries of tokens that nobody issued, of a live one, and of a revoked one.
                let draft = match number % 3 {
                    0 => draft.clone().claim("jti", TokenId::generate().to_string()),
                    1 => draft.clone(),
                    _ => revoked.clone(),
                };
                draft.signed_with([0x55; 64])
            })
            .collect();
        // All at once: checks in progress count as well, and no check fails because there are so
        // many.
        for answer in join_all(forged.iter().map(|token| authority.verify(token))).await {
            match answer {
                Err(AuthError::InvalidToken(TokenFault::Unknown | TokenFault::Revoked | TokenFault::Signature)) => {}
                other => panic!("{other:?}"),
            }
        }
        let cost = store.calls().reads - before;
        assert!((1..=101).contains(&cost), "second {second}: {cost} lookups");
        let good = issue(&authority).await;
        assert!(authority.verify(&good[0]).await.is_ok(), "a token that the process has not seen before");
        assert!(authority.verify(&access).await.is_ok());
        clock.advance(Duration::from_secs(1));
    }
}
