//! `PyJWT`.

use auth_layer::keys::Algorithm;
use serde_json::json;
use tests::{client::payload, clients::python};

use super::{Service, private_key};

/// The algorithms of a node's keys.
const ALGORITHMS: [Algorithm; 3] = [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Rs256];

#[tokio::test]
async fn jwks_pyjwt_verifies_an_access_token_of_each_algorithm() {
    for algorithm in ALGORITHMS {
        let service = Service::signing_with(&private_key(algorithm)).await;
        let token = service.tokens().await.access;
        let story = json!({ "story": "verify", "token": token, "algorithm": algorithm.as_str() });
        let told = python("with_pyjwt.py", &service.input(story)).await;
        assert_eq!(told["claims"], payload(&token));
        assert_eq!((&told["header"]["alg"], &told["header"]["typ"]), (&json!(algorithm.as_str()), &json!("at+jwt")));
    }
}

#[tokio::test]
async fn jwks_pyjwt_tokens_under_our_key_are_accepted_with_an_issued_tokens_claims_alone() {
    for algorithm in ALGORITHMS {
        let key = private_key(algorithm);
        let service = Service::signing_with(&key).await;
        let token = service.tokens().await.access;
        let story = json!({ "story": "mint", "token": token, "private_key": key });
        let told = python("with_pyjwt.py", &service.input(story)).await;
        let (accepted, refused) = (json!([200, service.username]), json!([401, "invalid_token"]));
        let expected = json!({
            "issued": accepted,
            "the same claims": accepted,
            "unknown jti": refused,
            "altered sub": refused,
            "altered sid": refused,
            "longer exp": refused,
            "alg none": refused,
            "HS256 with the public key": refused,
            "issued, again": accepted,
        });
        assert_eq!(told, expected, "{algorithm}");
    }
}
