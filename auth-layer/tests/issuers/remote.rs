//! Keys that are fetched.

use std::sync::Mutex;

use axum::{Router, routing::get};
use tokio::net::TcpListener;

use super::*;

/// The time between two fetches.
const SPACING: Duration = Duration::from_secs(10);

#[tokio::test]
async fn issuer_key_that_is_new_is_fetched_and_one_that_is_dropped_takes_its_cached_tokens_along() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/keys", listener.local_addr().unwrap());
    let [old, new] = ["k1", "k2"].map(Minter::ed25519);
    let published = Arc::new(Mutex::new(old.jwk_set()));
    let answer = Arc::clone(&published);
    let app = Router::new().route("/keys", get(async move || answer.lock().unwrap().clone()));
    let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });

    let clock = clock();
    let node = Node::new(&clock, Issuer::with_jwks_url(THEIRS, url).audience("orders"));
    let tokens = [&old, &new].map(|minter| minter.mint(access(), &claims(&clock)));
    // Nothing has waited for the keys, so the first check does.
    node.trust.verify(&tokens[0]).await.unwrap();
    assert_eq!(fault(node.trust.verify(&tokens[1]).await), TokenFault::Key);

    *published.lock().unwrap() = new.jwk_set();
    assert_eq!(fault(node.trust.verify(&tokens[1]).await), TokenFault::Key, "one fetch in 10 s");
    clock.advance(SPACING);
    // From now on it is cached.
    node.trust.verify(&tokens[0]).await.unwrap();
    node.trust.verify(&tokens[1]).await.unwrap();
    assert_eq!(fault(node.trust.verify(&tokens[0]).await), TokenFault::Key);

    // Its server is gone: what is known serves, and what is not known cannot be learnt.
    server.abort();
    clock.advance(SPACING);
    let unknown = Minter::ed25519("k3").mint(access(), &claims(&clock));
    assert!(matches!(node.trust.verify(&unknown).await, Err(AuthError::Unavailable(_))));
    node.trust.verify(&tokens[1]).await.unwrap();
}
