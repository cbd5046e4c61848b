//! Refreshes, client credentials, passwords, and the errors of the token endpoint.

use std::sync::atomic::Ordering;

use super::*;

fn refresh_form<'a>(refresh_token: &'a str, more: Fields<'a>) -> Vec<(&'a str, &'a str)> {
    [&[("grant_type", "refresh_token"), ("refresh_token", refresh_token)][..], more].concat()
}

/// RFC 6749 §5.2.
#[tokio::test(start_paused = true)]
async fn oauth_token_endpoint_errors_are_those_of_rfc_6749() {
    let demo = oauth_app(&[]).await;
    let long = "a".repeat(20_000);
    for (fields, error) in [
        (&[][..], "invalid_request"),
        (&[("grant_type", "")], "invalid_request"),
        (&[("grant_type", "authorization_code")], "invalid_request"),
        (&[("grant_type", "refresh_token")], "invalid_request"),
        (&[("grant_type", "refresh_token"), ("refresh_token", "a"), ("refresh_token", "a")], "invalid_request"),
        (&[("grant_type", "refresh_token"), ("refresh_token", "a"), ("client_secret", "b")], "invalid_request"),
        (&[("grant_type", "refresh_token"), ("refresh_token", "a"), ("client_id", "unknown")], "invalid_client"),
        (&[("grant_type", "refresh_token"), ("refresh_token", "a.b.c")], "invalid_grant"),
        (&[("grant_type", "refresh_token"), ("refresh_token", &long)], "invalid_grant"),
        (&[("grant_type", "client_credentials"), ("client_id", "shop")], "unauthorized_client"),
        (&[("grant_type", "client_credentials")], "unauthorized_client"),
        (&[("grant_type", "implicit")], "unsupported_grant_type"),
        (&[("grant_type", "urn:ietf:params:oauth:grant-type:device_code")], "unsupported_grant_type"),
        (&[("grant_type", "refresh_token"), ("refresh_token", "a"), ("scope", "a  b")], "invalid_scope"),
        (&[("grant_type", "refresh_token"), ("refresh_token", "a"), ("resource", "payroll")], "invalid_target"),
    ] {
        let refused = demo.as_public("/oauth/token", fields).await;
        assert_eq!(refused.error().1, error, "{fields:?}");
        refused.assert_refused(error);
    }
    let body = form(&[("grant_type", "refresh_token"), ("refresh_token", "a")], &[]);
    let json = Request::post("/oauth/token").header(header::CONTENT_TYPE, "application/json");
    demo.answer(json.body(body.into()).unwrap()).await.assert_refused("invalid_request");
    let large = demo.post_form("/oauth/token", "a".repeat(BODY_LIMIT + 1), &[]).await;
    assert_eq!(large.error(), (413, "invalid_request".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn oauth_token_endpoint_reads_the_body_of_a_post_alone() {
    let demo = oauth_app(&[]).await;
    let code = demo.code(&[]).await;
    let query = form(&exchange_form(&code, &[]), &[]);
    let get = demo.fetch(&format!("/oauth/token?{query}")).await;
    assert_eq!((get.status.as_u16(), get.header("allow")), (405, "POST"));
    let in_query = demo.post_form(&format!("/oauth/token?{query}"), String::new(), &[]).await;
    in_query.assert_refused("invalid_request");
    let secret = form(&[("client_id", "job"), ("client_secret", JOB_SECRET)], &[]);
    let body = form(&[("grant_type", "client_credentials"), ("client_id", "job")], &[]);
    demo.post_form(&format!("/oauth/token?{secret}"), body, &[]).await.assert_refused("invalid_client");
    demo.exchange(&code, &[]).await.assert_ok();
}

#[tokio::test(start_paused = true)]
async fn oauth_refresh_token_is_good_for_its_client_alone() {
    let demo = oauth_app(&[]).await;
    let refresh_token = demo.shop_tokens().await.member("refresh_token");
    let first_party = demo.log_in("ada").await.text("refresh_token");
    demo.as_job("/oauth/token", &refresh_form(&refresh_token, &[])).await.assert_refused("invalid_grant");
    demo.as_public("/oauth/token", &refresh_form(&refresh_token, &[])).await.assert_refused("invalid_grant");
    let at_auth = demo.post("/auth/refresh", json!({ "refresh_token": refresh_token })).await;
    assert_eq!((at_auth.status, &at_auth.body["error"]), (StatusCode::UNAUTHORIZED, &json!("invalid_grant")));
    demo.refresh_shop(&first_party).await.assert_refused("invalid_grant");

    let next = demo.refresh_shop(&refresh_token).await.assert_ok();
    demo.refresh_shop(&next.member("refresh_token")).await.assert_ok();
    // The built-in client need not name itself.
    let next = demo.as_public("/oauth/token", &refresh_form(&first_party, &[])).await.assert_ok();
    let named = [("client_id", "demo-app")];
    let next = demo.as_public("/oauth/token", &refresh_form(&next.member("refresh_token"), &named)).await.assert_ok();
    assert_eq!(demo.post("/auth/refresh", json!({ "refresh_token": next.member("refresh_token") })).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn oauth_refresh_with_a_wider_scope_is_refused() {
    let demo = oauth_app(&[]).await;
    let hash = demo.state.passwords.hash(&PASSWORD.to_owned().into()).await.unwrap();
    demo.add_user("root", hash, Role::Admin).await;
    let query = authorization(&[("scope", "profile admin")]);
    let redirect = demo.open(&query).await.submit(&query, &[("username", "root")]).await;
    let tokens = demo.exchange(&redirect.parameter("code"), &[]).await.assert_ok();
    let refresh = async |token: &str, scope: &str| {
        demo.as_public("/oauth/token", &refresh_form(token, &[("client_id", "shop"), ("scope", scope)])).await
    };
    refresh(&tokens.member("refresh_token"), "profile orders").await.assert_refused("invalid_scope");
    let narrowed = refresh(&tokens.member("refresh_token"), "admin").await.assert_ok();
    assert_eq!(narrowed.member("scope"), "admin");
    let whole = refresh(&narrowed.member("refresh_token"), "").await.assert_ok();
    assert_eq!(whole.member("scope"), "profile admin");
}

/// A role that is taken away is gone with the next refresh, and so is scope of the client.
#[tokio::test(start_paused = true)]
async fn oauth_refresh_follows_the_role_of_the_user() {
    let demo = oauth_app(&[]).await;
    let hash = demo.state.passwords.hash(&PASSWORD.to_owned().into()).await.unwrap();
    demo.add_user("root", hash, Role::Admin).await;
    let login = json!({ "username": "root", "password": PASSWORD, "scope": "profile admin" });
    let (both, only_admin) = (demo.post("/auth/login", login).await, async || {
        let login = json!({ "username": "root", "password": PASSWORD, "scope": "admin" });
        demo.post("/auth/login", login).await.text("refresh_token")
    });
    let [first, second] = [only_admin().await, only_admin().await];
    demo.users.demote.store(true, Ordering::SeqCst);

    let next = demo.post("/auth/refresh", json!({ "refresh_token": both.text("refresh_token") })).await;
    assert_eq!((next.status, &next.body["scope"]), (StatusCode::OK, &json!("profile")));
    demo.users.demote.store(false, Ordering::SeqCst);
    let next = demo.post("/auth/refresh", json!({ "refresh_token": next.text("refresh_token") })).await;
    assert_eq!(next.body["scope"], "profile", "a refresh adds nothing");
    demo.users.demote.store(true, Ordering::SeqCst);
    // Nothing is left of these.
    let refused = demo.post("/auth/refresh", json!({ "refresh_token": first })).await;
    assert_eq!((refused.status, &refused.body["error"]), (StatusCode::UNAUTHORIZED, &json!("invalid_grant")));
    demo.as_public("/oauth/token", &refresh_form(&second, &[])).await.assert_refused("invalid_grant");
}

#[tokio::test(start_paused = true)]
async fn oauth_refresh_without_users_is_503_and_uses_nothing_up() {
    let demo = oauth_app(&[]).await;
    let refresh_token = demo.shop_tokens().await.member("refresh_token");
    demo.users.fail_reads.store(true, Ordering::SeqCst);
    let outage = demo.refresh_shop(&refresh_token).await;
    assert_eq!(outage.error(), (503, "temporarily_unavailable".to_owned()));
    assert_eq!(outage.header("retry-after"), "1");
    demo.users.fail_reads.store(false, Ordering::SeqCst);
    demo.refresh_shop(&refresh_token).await.assert_ok();
}

#[tokio::test(start_paused = true)]
async fn oauth_client_credentials_token_is_the_clients_own() {
    let demo = oauth_app(&[]).await;
    let fields = [("grant_type", "client_credentials")];
    let tokens = demo.as_job("/oauth/token", &fields).await.assert_ok();
    assert_eq!(tokens.json().get("refresh_token"), None);
    assert_eq!((tokens.member("token_type"), tokens.member("scope")), ("Bearer".to_owned(), "profile".to_owned()));
    let introspected = demo.as_job("/oauth/introspect", &[("token", &tokens.member("access_token"))]).await.json();
    assert_eq!((&introspected["sub"], &introspected["client_id"]), (&json!("job"), &json!("job")));
    assert_eq!(introspected.get("username"), None);
    let job: auth_layer::Subject = "job".parse().unwrap();
    assert_eq!(demo.state.authority.sessions(job).await.unwrap().len(), 1);
    let access = tokens.member("access_token");
    for (method, path) in [
        ("GET", "/me"),
        ("POST", "/auth/logout"),
        ("POST", "/auth/logout-all"),
        ("GET", "/auth/sessions"),
        ("POST", "/auth/single-use"),
        ("POST", "/auth/password"),
    ] {
        let body = (path == "/auth/password").then(|| json!({ "current_password": "a", "new_password": "b" }));
        let refused = demo.with_token(method, path, &access, body).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{method} {path}: {}", refused.body);
    }
    for (scope, error) in [("admin", "invalid_scope"), ("profile admin", "invalid_scope")] {
        let fields = [("grant_type", "client_credentials"), ("scope", scope)];
        demo.as_job("/oauth/token", &fields).await.assert_refused(error);
    }
    let bare = Client::confidential("bare", Secret::from("bare").hash()).unwrap();
    demo.add_client(bare).await;
    let fields = [("grant_type", "client_credentials"), ("client_id", "bare"), ("client_secret", "bare")];
    demo.as_public("/oauth/token", &fields).await.assert_refused("invalid_scope");
}

fn password_form<'a>(password: &'a str, more: Fields<'a>) -> Vec<(&'a str, &'a str)> {
    [&[("grant_type", "password"), ("username", "ada"), ("password", password)][..], more].concat()
}

#[tokio::test(start_paused = true)]
async fn oauth_password_grant_works_only_where_it_is_on() {
    let off = oauth_app(&[]).await;
    off.as_public("/oauth/token", &password_form(PASSWORD, &[])).await.assert_refused("unsupported_grant_type");
    let metadata = off.fetch("/.well-known/oauth-authorization-server").await;
    assert!(!metadata.text.contains("\"password\""), "{metadata:?}");

    let on = oauth_app(&["--password-grant", "on"]).await;
    let metadata = on.fetch("/.well-known/oauth-authorization-server").await.json();
    assert_eq!(metadata["grant_types_supported"][3], "password");
    on.as_public("/oauth/token", &password_form("wrong horse", &[])).await.assert_refused("invalid_grant");
    let tokens = on.as_public("/oauth/token", &password_form(PASSWORD, &[])).await.assert_ok();
    assert_eq!(tokens.member("scope"), "profile");
    assert_eq!(on.me(&tokens.member("access_token")).await, 200);
    for scope in ["admin", "profile admin", "unknown"] {
        let refused = on.as_public("/oauth/token", &password_form(PASSWORD, &[("scope", scope)])).await;
        refused.assert_refused("invalid_scope");
    }
    let tokens = on.as_job("/oauth/token", &password_form(PASSWORD, &[])).await.assert_ok();
    let introspected = on.as_job("/oauth/introspect", &[("token", &tokens.member("refresh_token"))]).await.json();
    assert_eq!(introspected["client_id"], "job");
    on.as_public("/oauth/token", &password_form(PASSWORD, &[("client_id", "job")]))
        .await
        .assert_refused("invalid_client");
}

#[tokio::test(start_paused = true)]
async fn oauth_password_grant_shares_the_limits_of_login() {
    let demo = oauth_app(&["--password-grant", "on"]).await;
    for _ in 0..5 {
        let wrong = demo.post("/auth/login", json!({ "username": "ada", "password": "wrong horse" })).await;
        assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
        let refused = demo.as_public("/oauth/token", &password_form("wrong horse", &[])).await;
        refused.assert_refused("invalid_grant");
    }
    let limited = demo.as_public("/oauth/token", &password_form(PASSWORD, &[])).await;
    assert_eq!(limited.error(), (429, "rate_limited".to_owned()));
    assert!(!limited.header("retry-after").is_empty());
    let login = demo.post("/auth/login", json!({ "username": "ada", "password": PASSWORD })).await;
    assert_eq!(login.status, StatusCode::TOO_MANY_REQUESTS);
}
