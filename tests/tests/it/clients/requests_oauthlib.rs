//! requests-oauthlib, and oauthlib below it.

use serde_json::{Value, json};
use tests::clients::python;

use super::Service;

async fn tell(service: &Service, story: Value) -> Value {
    python("with_requests_oauthlib.py", &service.input(story)).await
}

#[tokio::test]
async fn oauth_requests_oauthlib_public_client_signs_in_with_pkce_and_refreshes_by_itself_until_revoked() {
    let service = Service::start(&[]).await;
    let expected = json!({
        "scope": ["profile"],
        "signed_in": [200, service.username],
        "refreshed": [200, service.username],
        "updates": 1,
        "tokens": 4,
        "revoked": 200,
        "after": [401, "invalid_token"],
    });
    assert_eq!(tell(&service, json!({ "story": "public" })).await, expected);
}

#[tokio::test]
async fn oauth_requests_oauthlib_confidential_client_introspects_what_it_got_until_revoked() {
    let service = Service::start(&[]).await;
    let expected = json!({
        "signed_in": [200, service.username],
        "active": [true, "backend", service.username, "profile"],
        "refreshed": [200, service.username],
        "revoked": 200,
        "after": [401, "invalid_token"],
        "inactive": [false, null, null, null],
    });
    for method in ["client_secret_basic", "client_secret_post"] {
        let told = tell(&service, json!({ "story": "confidential", "method": method })).await;
        assert_eq!(told, expected, "{method}");
    }
}

#[tokio::test]
async fn oauth_requests_oauthlib_client_credentials_open_no_users_route() {
    let service = Service::start(&[]).await;
    let told = tell(&service, json!({ "story": "client_credentials" })).await;
    let members = ["access_token", "expires_in", "scope", "token_type"];
    assert_eq!(told, json!({ "members": members, "me": [403, "insufficient_scope"] }));
}
