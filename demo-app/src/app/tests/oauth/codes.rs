//! Authorization codes at the token endpoint.

use std::time::Duration;

use super::*;

#[tokio::test(start_paused = true)]
async fn oauth_code_flow_ends_with_the_users_tokens() {
    let demo = oauth_app(&[]).await;
    let tokens = demo.shop_tokens().await;
    let me = demo.with_token("GET", "/me", &tokens.member("access_token"), None).await;
    assert_eq!((me.status, &me.body["username"]), (StatusCode::OK, &json!("ada")));
    let claims = &me.body["claims"];
    assert_eq!(
        (&claims["client_id"], &claims["scope"], &claims["aud"]),
        (&json!("shop"), &json!("profile"), &json!(["demo-app"]))
    );
    let next = demo.refresh_shop(&tokens.member("refresh_token")).await.assert_ok();
    assert_eq!(demo.me(&next.member("access_token")).await, 200);
}

#[tokio::test(start_paused = true)]
async fn oauth_token_endpoint_response_is_that_of_rfc_6749() {
    let demo = oauth_app(&[]).await;
    let tokens = demo.shop_tokens().await;
    let body = tokens.json();
    let members: Vec<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, ["access_token", "expires_in", "refresh_token", "scope", "token_type"]);
    assert_eq!(
        (&body["token_type"], &body["expires_in"], &body["scope"]),
        (&json!("Bearer"), &json!(900), &json!("profile"))
    );
    assert_eq!(tokens.header("content-type"), "application/json");
    assert_eq!((tokens.header("cache-control"), tokens.header("pragma")), ("no-store", "no-cache"));
}

#[tokio::test(start_paused = true)]
async fn oauth_code_dies_after_60_seconds() {
    let demo = oauth_app(&[]).await;
    let (first, second) = (demo.code(&[]).await, demo.code(&[]).await);
    demo.clock.advance(Duration::from_millis(59_999));
    demo.exchange(&first, &[]).await.assert_ok();
    demo.clock.advance(Duration::from_millis(1));
    demo.exchange(&second, &[]).await.assert_refused("invalid_grant");
}

#[tokio::test(start_paused = true)]
async fn oauth_code_used_twice_is_refused_and_revokes_what_came_of_it() {
    let demo = oauth_app(&[]).await;
    let other = demo.shop_tokens().await;
    let code = demo.code(&[]).await;
    let tokens = demo.exchange(&code, &[]).await.assert_ok();
    demo.exchange(&code, &[("code_verifier", &"a".repeat(43))]).await.assert_refused("invalid_grant");
    demo.exchange(&code, &[("redirect_uri", "https://evil.example")]).await.assert_refused("invalid_grant");
    let of_job = exchange_form(&code, &[("client_id", "")]);
    demo.as_job("/oauth/token", &of_job).await.assert_refused("invalid_grant");
    assert_eq!(demo.me(&tokens.member("access_token")).await, 200, "wrong hands revoke nothing");

    demo.exchange(&code, &[]).await.assert_refused("invalid_grant");
    assert_eq!(demo.me(&tokens.member("access_token")).await, 401);
    demo.refresh_shop(&tokens.member("refresh_token")).await.assert_refused("invalid_grant");
    assert_eq!(demo.me(&other.member("access_token")).await, 200, "other sessions go on");
}

#[tokio::test(start_paused = true)]
async fn oauth_token_endpoint_takes_a_code_for_its_binding_alone() {
    let demo = oauth_app(&[]).await;
    let code = demo.code(&[]).await;
    for changes in [
        &[("code_verifier", "a-verifier-that-somebody-has-guessed-for-this-one")][..],
        &[("redirect_uri", "")],
        &[("redirect_uri", "https://shop.example/cb")],
        &[("redirect_uri", "https://evil.example/cb")],
        &[("client_id", "")],
        &[("client_id", "demo-app")],
        &[("code", "a")],
        &[("code", CHALLENGE)],
    ] {
        demo.exchange(&code, changes).await.assert_refused("invalid_grant");
    }
    demo.as_job("/oauth/token", &exchange_form(&code, &[("client_id", "")])).await.assert_refused("invalid_grant");
    for changes in [&[("code_verifier", "")][..], &[("code_verifier", "short")], &[("code", "")]] {
        demo.exchange(&code, changes).await.assert_refused("invalid_request");
    }
    demo.exchange(&code, &[]).await.assert_ok();
    // The request had no redirect URI, and the client has only one.
    let code = demo.code(&[("redirect_uri", "")]).await;
    demo.exchange(&code, &[("redirect_uri", "")]).await.assert_ok();
}

/// Law 4 holds for codes.
#[tokio::test(start_paused = true)]
async fn oauth_code_does_not_survive_what_ends_the_users_sessions() {
    let demo = oauth_app(&[]).await;
    let access = demo.log_in("ada").await.text("access_token");
    let code = demo.code(&[]).await;
    let change = json!({ "current_password": PASSWORD, "new_password": "battery staple" });
    assert_eq!(demo.with_token("POST", "/auth/password", &access, Some(change)).await.status, 204);
    demo.exchange(&code, &[]).await.assert_refused("invalid_grant");

    let query = authorization(&[]);
    let again = demo.open(&query).await.submit(&query, &[("password", "battery staple")]).await;
    assert_eq!(demo.with_token("POST", "/auth/logout-all", &access, None).await.status, 204);
    demo.exchange(&again.parameter("code"), &[]).await.assert_refused("invalid_grant");
    assert_eq!(demo.state.authority.sessions(demo.user_id("ada").await).await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn oauth_resource_restricts_the_audience_of_the_tokens() {
    const BASE: &str = "http://127.0.0.1:3000/";

    let demo = oauth_app(&["--audience", "demo-app,https://orders.example,billing"]).await;
    let audience = async |tokens: &Answer| {
        let introspected = demo.as_job("/oauth/introspect", &[("token", &tokens.member("access_token"))]).await;
        introspected.json()["aud"].clone()
    };
    let both = [("resource", "https://orders.example"), ("resource", "billing")];
    let code = demo.code(&both).await;
    demo.exchange(&code, &[("resource", "payroll")]).await.assert_refused("invalid_target");
    demo.exchange(&code, &[("resource", BASE)]).await.assert_refused("invalid_target");
    let tokens = demo.exchange(&code, &[]).await.assert_ok();
    assert_eq!(audience(&tokens).await, json!(["https://orders.example", "billing"]));
    assert_eq!(demo.me(&tokens.member("access_token")).await, 401, "the token is for others");

    let refresh = async |refresh_token: &str, resource: &[(&str, &str)]| {
        let fields = [("grant_type", "refresh_token"), ("client_id", "shop"), ("refresh_token", refresh_token)];
        demo.as_public("/oauth/token", &[&fields[..], resource].concat()).await
    };
    let refused = refresh(&tokens.member("refresh_token"), &[("resource", BASE)]).await;
    refused.assert_refused("invalid_target");
    let narrowed = refresh(&tokens.member("refresh_token"), &[("resource", "billing")]).await.assert_ok();
    assert_eq!(audience(&narrowed).await, json!(["billing"]));
    let whole = refresh(&narrowed.member("refresh_token"), &[]).await.assert_ok();
    assert_eq!(audience(&whole).await, json!(["https://orders.example", "billing"]));

    for (resource, expected) in [(BASE, "demo-app"), ("http://127.0.0.1:3000", "demo-app"), ("billing", "billing")] {
        let code = demo.code(&[("resource", resource)]).await;
        let tokens = demo.exchange(&code, &[]).await.assert_ok();
        assert_eq!(audience(&tokens).await, json!([expected]), "{resource}");
        let fields = [("grant_type", "client_credentials"), ("resource", resource)];
        let tokens = demo.as_job("/oauth/token", &fields).await.assert_ok();
        assert_eq!(audience(&tokens).await, json!([expected]), "{resource}");
    }
    let narrowed_at_exchange = demo.code(&both).await;
    let tokens = demo.exchange(&narrowed_at_exchange, &[("resource", "billing")]).await.assert_ok();
    assert_eq!(audience(&tokens).await, json!(["billing"]));
}
