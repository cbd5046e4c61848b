//! The introspection endpoint (RFC 7662).

use super::*;

async fn introspect(demo: &TestApp, token: &str) -> Answer {
    demo.as_job("/oauth/introspect", &[("token", token)]).await.assert_ok()
}

#[tokio::test(start_paused = true)]
async fn oauth_introspect_describes_a_token_as_json_that_is_not_cached() {
    let demo = oauth_app(&[]).await;
    let tokens = demo.shop_tokens().await;
    let answer = introspect(&demo, &tokens.member("access_token")).await;
    assert_eq!((answer.header("content-type"), answer.header("cache-control")), ("application/json", "no-store"));
    let body = answer.json();
    assert_eq!((&body["active"], &body["token_type"]), (&json!(true), &json!("Bearer")));
    assert_eq!(
        (&body["client_id"], &body["scope"], &body["aud"]),
        (&json!("shop"), &json!("profile"), &json!(["demo-app"]))
    );
    assert_eq!((&body["sub"], &body["username"]), (&json!(demo.user_id("ada").await), &json!("ada")));
    assert_eq!(body["exp"].as_i64().unwrap() - body["iat"].as_i64().unwrap(), 900);
    let hinted = [("token", tokens.member("access_token")), ("token_type_hint", "refresh_token".to_owned())];
    let hinted = hinted.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(demo.as_job("/oauth/introspect", &hinted).await.json(), body, "a hint changes nothing");
}

#[tokio::test(start_paused = true)]
async fn oauth_introspect_needs_a_confidential_client() {
    let demo = oauth_app(&[]).await;
    let tokens = demo.shop_tokens().await;
    let access = tokens.member("access_token");
    let token = ("token", access.as_str());
    for fields in [
        &[token][..],
        &[token, ("client_id", "shop")],
        &[token, ("client_id", "job")],
        &[token, ("client_id", "job"), ("client_secret", JOB_SECRET)],
    ] {
        demo.as_public("/oauth/introspect", fields).await.assert_refused("invalid_client");
    }
    for authorization in
        [&*format!("Bearer {access}"), "Basic am9iOndyb25n", "Basic c2hvcDo=", "Basic c2hvcDphYg==", "Basic"]
    {
        let headers = [(header::AUTHORIZATION, authorization)];
        let refused = demo.post_form("/oauth/introspect", form(&[token], &[]), &headers).await;
        assert!(!refused.text.contains("shop") && !refused.text.contains("active"), "{refused:?}");
        refused.assert_refused("invalid_client");
    }
    demo.as_job("/oauth/introspect", &[]).await.assert_refused("invalid_request");
    assert_eq!(demo.fetch(&format!("/oauth/introspect?token={access}")).await.status, 405);
}

#[tokio::test(start_paused = true)]
async fn oauth_introspect_of_what_may_not_be_seen_is_inactive_and_nothing_else() {
    let demo = oauth_app(&["--password-grant", "on"]).await;
    let inactive = json!({ "active": false });
    let tokens = demo.shop_tokens().await;
    let (access, refresh) = (tokens.member("access_token"), tokens.member("refresh_token"));
    assert_eq!(introspect(&demo, &refresh).await.json(), inactive, "another client's refresh token");
    let password = [("grant_type", "password"), ("username", "ada"), ("password", PASSWORD)];
    let own = demo.as_job("/oauth/token", &password).await.assert_ok();
    let own = introspect(&demo, &own.member("refresh_token")).await.json();
    assert_eq!((&own["active"], &own["client_id"], own.get("token_type")), (&json!(true), &json!("job"), None));

    let first_party = demo.log_in("ada").await.text("access_token");
    assert_eq!(introspect(&demo, &first_party).await.json()["active"], true, "anybody's access token");
    let once = demo.with_token("POST", "/auth/single-use", &first_party, None).await.text("access_token");
    assert_eq!(introspect(&demo, &once).await.json()["active"], true);
    assert_eq!(demo.with_token("POST", "/demo/single-use", &once, None).await.status, StatusCode::OK);

    let foreign = {
        let other = oauth_app(&[]).await;
        other.shop_tokens().await.member("access_token")
    };
    let forged = format!("{}AAAA", &access[..access.len() - 4]);
    for token in ["a", "a.b.c", &forged, &foreign, &once] {
        assert_eq!(introspect(&demo, token).await.json(), inactive, "{token}");
    }
    demo.as_public("/oauth/revoke", &[("client_id", "shop"), ("token", &access)]).await.assert_ok();
    assert_eq!(introspect(&demo, &access).await.json(), inactive, "revoked");
    demo.clock.advance(std::time::Duration::from_hours(1));
    assert_eq!(introspect(&demo, &first_party).await.json(), inactive, "expired");
}
