//! How clients authenticate.

use std::time::Duration;

use super::*;

/// Returns the value of an `Authorization` header.
fn basic(client_id: &str, secret: &str) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};

    format!("Basic {}", STANDARD.encode(format!("{client_id}:{secret}")))
}

#[tokio::test(start_paused = true)]
async fn oauth_token_endpoint_authenticates_confidential_clients() {
    let demo = oauth_app(&["--password-grant", "on"]).await;
    assert_eq!(basic("job", JOB_SECRET), JOB);
    let query = authorization(&[("client_id", "job"), ("redirect_uri", "https://job.example/cb")]);
    let code = demo.grant(&query).await.parameter("code");
    let exchange = exchange_form(&code, &[("client_id", ""), ("redirect_uri", "https://job.example/cb")]);
    let password = [("grant_type", "password"), ("username", "ada"), ("password", PASSWORD)];
    let tokens = demo.as_job("/oauth/token", &password).await.assert_ok();
    let refresh_token = tokens.member("refresh_token");
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", refresh_token.as_str())];
    let own = [("grant_type", "client_credentials")];
    let (with_basic, with_post) =
        ([(header::AUTHORIZATION, JOB)], [("client_id", "job"), ("client_secret", JOB_SECRET)]);
    for grant in [&exchange[..], &refresh, &own, &password] {
        for (authorization, fields) in [
            (None, &[("client_id", "job")][..]),
            (None, &[("client_id", "job"), ("client_secret", "wrong")]),
            (None, &[("client_id", "shop"), ("client_secret", JOB_SECRET)]),
            (None, &[("client_id", "unknown"), ("client_secret", JOB_SECRET)]),
            (Some(basic("job", "wrong")), &[]),
            (Some(basic("job", "")), &[]),
            (Some(basic("JOB", JOB_SECRET)), &[]),
            (Some(basic("shop", JOB_SECRET)), &[]),
            (Some(format!("Bearer {JOB_SECRET}")), &[]),
            (Some("Basic !".to_owned()), &[]),
        ] {
            let body = form(grant, fields);
            let headers = authorization.as_deref().map(|value| (header::AUTHORIZATION, value));
            let refused = demo.post_form("/oauth/token", body, headers.as_slice()).await;
            assert_eq!(refused.error().1, "invalid_client", "{grant:?} {authorization:?} {fields:?}");
            refused.assert_refused("invalid_client");
        }
    }
    let twice = demo.post_form("/oauth/token", form(&own, &with_post), &with_basic).await;
    twice.assert_refused("invalid_request");
    // None of that used the code or the refresh token up.
    demo.post_form("/oauth/token", form(&exchange, &[]), &with_basic).await.assert_ok();
    let next = demo.post_form("/oauth/token", form(&refresh, &with_post), &[]).await.assert_ok();
    let refresh_token = next.member("refresh_token");
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", refresh_token.as_str())];
    demo.post_form("/oauth/token", form(&refresh, &[]), &with_basic).await.assert_ok();
    for _ in 0..2 {
        demo.post_form("/oauth/token", form(&own, &with_post), &[]).await.assert_ok();
        demo.post_form("/oauth/token", form(&password, &with_post), &[]).await.assert_ok();
    }
}

#[tokio::test(start_paused = true)]
async fn oauth_clients_of_the_flag_authenticate() {
    let demo = oauth_app(&["--clients", "nightly:a b:c%+,other:secret"]).await;
    let fields = [("grant_type", "client_credentials")];
    // RFC 6749 §2.3.1: identifier and secret are form-encoded first.
    let encoded = basic("nightly", "a+b%3Ac%25%2B");
    let headers = [(header::AUTHORIZATION, encoded.as_str())];
    demo.post_form("/oauth/token", form(&fields, &[]), &headers).await.assert_ok();
    let raw = basic("nightly", "a b:c%+");
    let headers = [(header::AUTHORIZATION, raw.as_str())];
    demo.post_form("/oauth/token", form(&fields, &[]), &headers).await.assert_refused("invalid_client");
}

#[tokio::test(start_paused = true)]
async fn oauth_token_endpoint_limits_wrong_client_secrets() {
    let demo = oauth_app(&[]).await;
    let own = [("grant_type", "client_credentials")];
    let wrong = |path| {
        let fields =
            [("grant_type", "client_credentials"), ("client_id", "job"), ("client_secret", "guess"), ("token", "a")];
        demo.post_form(path, form(&fields, &[]), &[])
    };
    for round in 0..50 {
        demo.as_job("/oauth/token", &own).await.assert_ok();
        assert_eq!(wrong("/oauth/token").await.status, 401, "{round}");
        assert_eq!(wrong("/oauth/revoke").await.status, 401, "{round}");
        // Without a secret nothing is guessed.
        demo.as_public("/oauth/token", &[own[0], ("client_id", "job")]).await.assert_refused("invalid_client");
    }
    let limited = demo.as_job("/oauth/token", &own).await;
    assert_eq!(limited.error(), (429, "rate_limited".to_owned()));
    let wait: u64 = limited.header("retry-after").parse().unwrap();
    demo.log_in("ada").await;
    demo.shop_tokens().await;
    tokio::time::advance(Duration::from_secs(wait)).await;
    demo.as_job("/oauth/token", &own).await.assert_ok();
}
