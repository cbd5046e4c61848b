//! npm's `jose`.

use auth_layer::keys::Algorithm;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tests::clients;

use super::{Service, private_key};

/// Runs the script beside a node that signs with this algorithm.
async fn story(algorithm: Algorithm) {
    let key = private_key(algorithm);
    let service = Service::signing_with(&key).await;
    let input = json!({
        "algorithm": algorithm.as_str(),
        "private_key": key,
        "access_token": service.tokens().await.access,
    });
    let told = clients::node("jose.mjs", &service.input(input)).await;
    let Value::Object(answers) = told else { panic!("{told}") };
    let (accepted, refused): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|(_, answer)| *answer == json!([200, service.username]));
    let mut accepted: Vec<_> = accepted.into_iter().map(|(token, _)| token).collect();
    accepted.sort();
    assert_eq!(accepted, ["issued", "issued, again", "the same claims"], "{algorithm}");
    assert_eq!(refused.len(), 16, "{algorithm}: {refused:?}");
    for (token, answer) in refused {
        assert_eq!(answer, json!([401, "invalid_token"]), "{algorithm}: {token}");
    }
}

/// A node signs with each of these algorithms.
#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(has_node), ignore = "Node.js 18 or newer and npm are not on the PATH")]
async fn jwks_jose_verifies_our_tokens_and_cannot_forge_one() {
    join_all([Algorithm::EdDsa, Algorithm::Es256, Algorithm::Rs256].map(story)).await;
}
