//! Authlib, with requests and with httpx.

use serde_json::{Value, json};
use tests::clients::python;

use super::Service;

async fn tell(service: &Service, story: Value) -> Value {
    python("with_authlib.py", &service.input(story)).await
}

#[tokio::test]
async fn oauth_authlib_public_client_signs_in_with_pkce_and_refreshes_by_itself_until_revoked() {
    let service = Service::start(&[]).await;
    let expected = json!({
        "scope": "profile",
        "signed_in": [200, service.username],
        "refreshed": [200, service.username],
        "updated_from_first": true,
        "tokens": 4,
        "revoked": 200,
        "after": [401, "invalid_token"],
    });
    assert_eq!(tell(&service, json!({ "story": "public" })).await, expected);
}

#[tokio::test]
async fn oauth_authlib_confidential_client_introspects_what_it_got_until_revoked() {
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
async fn oauth_authlib_code_is_refused_with_another_verifier_and_a_second_time() {
    let service = Service::start(&[]).await;
    let told = tell(&service, json!({ "story": "stolen_code" })).await;
    assert_eq!(told, json!(["invalid_grant", null, "invalid_grant"]));
}

#[tokio::test]
async fn oauth_authlib_client_credentials_are_fetched_again_and_open_no_users_route() {
    let service = Service::start(&[]).await;
    let expected = json!({
        "members": ["access_token", "expires_in", "scope", "token_type"],
        "me": [403, "insufficient_scope"],
        "again": [403, "insufficient_scope"],
        "updated_from_first": true,
        "subject": "backend",
    });
    assert_eq!(tell(&service, json!({ "story": "client_credentials" })).await, expected);
}

#[tokio::test]
async fn oauth_authlib_password_session_refreshes_where_the_grant_is_on() {
    let service = Service::start(&["--password-grant", "on"]).await;
    let told = tell(&service, json!({ "story": "password" })).await;
    let expected = json!({
        "supported": ["authorization_code", "refresh_token", "client_credentials", "password"],
        "signed_in": [200, service.username],
        "refreshed": [200, service.username],
    });
    assert_eq!(told, expected);
}

#[tokio::test]
async fn oauth_authlib_password_session_is_refused_by_default() {
    let service = Service::start(&[]).await;
    let told = tell(&service, json!({ "story": "password" })).await;
    let expected = json!({
        "supported": ["authorization_code", "refresh_token", "client_credentials"],
        "error": "unsupported_grant_type",
    });
    assert_eq!(told, expected);
}

#[tokio::test]
async fn oauth_authlib_requests_at_once_refresh_an_expired_token_once() {
    let service = Service::start(&[]).await;
    let expected = json!({
        "answers": vec![json!([200, service.username]); 8],
        "updated_from_first": true,
        "revoked": 200,
        "after": [401, "invalid_token"],
    });
    assert_eq!(tell(&service, json!({ "story": "requests_at_once" })).await, expected);
}
