//! What garbage costs, and what happens while the store is away.

use super::*;

#[tokio::test]
async fn outage_makes_genuine_tokens_unavailable_and_forged_ones_refused() {
    let (clock, minter) = (clock(), Minter::ed25519("k1"));
    let node = Node::new(&clock, theirs(&minter));
    let [known, new] = ["t1", "t2"].map(|id| {
        let mut claims = claims(&clock);
        claims["jti"] = id.into();
        minter.mint(access(), &claims)
    });
    node.trust.verify(&known).await.unwrap();
    node.store.fail(true);
    node.trust.verify(&known).await.unwrap();
    assert!(matches!(node.trust.verify(&new).await, Err(AuthError::Unavailable(_))));
    let forged = Minter::ed25519("k1").mint(access(), &claims(&clock));
    assert_eq!(fault(node.trust.verify(&forged).await), TokenFault::Signature);
    clock.advance(LEASE + MILLI);
    assert!(matches!(node.trust.verify(&known).await, Err(AuthError::Unavailable(_))));
    node.store.fail(false);
    node.trust.verify(&known).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn outage_of_the_store_fails_a_denial_which_is_recorded_in_the_background() {
    let (clock, minter) = (clock(), Minter::ed25519("k1"));
    let node = Node::new(&clock, theirs(&minter));
    let token = minter.mint(access(), &claims(&clock));
    node.trust.verify(&token).await.unwrap();
    node.store.fail(true);
    assert!(matches!(node.trust.deny_token(&token).await, Err(AuthError::Unavailable(_))));
    // What this node believed is in doubt.
    assert!(matches!(node.trust.verify(&token).await, Err(AuthError::Unavailable(_))));
    tokio::time::sleep(MINUTE).await;
    node.store.fail(false);
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert_eq!(fault(node.trust.verify(&token).await), TokenFault::Revoked);
}

#[tokio::test]
async fn denial_goes_on_when_its_caller_goes_away() {
    let (clock, minter) = (clock(), Minter::ed25519("k1"));
    let node = Node::new(&clock, theirs(&minter));
    let user: auth_layer::Subject = "ada".parse().unwrap();
    // Polled once, and dropped.
    let denial = node.trust.deny_subject(THEIRS, &user);
    assert!(futures_util::FutureExt::now_or_never(denial).is_none());
    tokio::task::yield_now().await;
    let token = minter.mint(access(), &claims(&clock));
    assert_eq!(fault(node.trust.verify(&token).await), TokenFault::Revoked);
}

/// Law 8: no token that is not signed reaches the store, whatever it says.
#[tokio::test]
async fn garbage_asks_no_store_and_is_the_clients_fault() {
    let (clock, minter) = (clock(), Minter::ed25519("k1"));
    let node = Node::new(&clock, theirs(&minter).typ(Typ::AnyJwt).logout_audience("web"));
    let good = minter.mint(access(), &claims(&clock));
    let mut garbage: Vec<String> = (0..good.len()).map(|at| good[..at].to_owned()).collect();
    for at in 0..good.len() {
        let mut bytes = good.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        garbage.push(String::from_utf8(bytes).unwrap());
    }
    let large = json!({ "iss": THEIRS, "sub": "a".repeat(256), "exp": 1, "scope": vec!["a"; 500] });
    garbage.extend([minter.mint(access(), &large), minter.mint(json!({ "typ": "a".repeat(9_000) }), &json!({}))]);
    for token in garbage {
        assert!(matches!(node.trust.verify(&token).await, Err(AuthError::InvalidToken(_))), "{token}");
        assert!(matches!(node.trust.deny_token(&token).await, Err(AuthError::InvalidToken(_))), "{token}");
        assert!(matches!(node.trust.log_out(&token).await, Err(AuthError::InvalidToken(_))), "{token}");
    }
    assert_eq!(node.store.questions(), 0);
}
