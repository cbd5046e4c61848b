//! The revocation endpoint (RFC 7009).

use std::sync::atomic::Ordering;

use super::*;

/// Revokes a token as `shop`.
async fn revoke(demo: &TestApp, token: &str, more: Fields<'_>) -> Answer {
    demo.as_public("/oauth/revoke", &[&[("client_id", "shop"), ("token", token)][..], more].concat()).await
}

#[tokio::test(start_paused = true)]
async fn oauth_revoke_of_a_refresh_token_ends_its_session() {
    let demo = oauth_app(&[]).await;
    let tokens = demo.shop_tokens().await;
    let revoked = revoke(&demo, &tokens.member("refresh_token"), &[]).await.assert_ok();
    assert_eq!((revoked.header("cache-control"), &*revoked.text), ("no-store", ""));
    assert_eq!(demo.me(&tokens.member("access_token")).await, 401);
    demo.refresh_shop(&tokens.member("refresh_token")).await.assert_refused("invalid_grant");
}

#[tokio::test(start_paused = true)]
async fn oauth_revoke_of_an_access_token_holds_at_once() {
    let demo = oauth_app(&[]).await;
    let tokens = demo.shop_tokens().await;
    revoke(&demo, &tokens.member("access_token"), &[]).await.assert_ok();
    assert_eq!(demo.me(&tokens.member("access_token")).await, 401);
    let next = demo.refresh_shop(&tokens.member("refresh_token")).await.assert_ok();
    assert_eq!(demo.me(&next.member("access_token")).await, 200);
}

#[tokio::test(start_paused = true)]
async fn oauth_revoke_checks_the_client_and_whose_token_it_is() {
    let demo = oauth_app(&["--password-grant", "on"]).await;
    let password = [("grant_type", "password"), ("username", "ada"), ("password", PASSWORD)];
    let of_job = demo.as_job("/oauth/token", &password).await.assert_ok();
    let of_shop = demo.shop_tokens().await;
    let of_demo = demo.log_in("ada").await;
    for name in ["access_token", "refresh_token"] {
        let token = of_job.member(name);
        for (client, secret) in [("job", ""), ("job", "wrong"), ("unknown", ""), ("shop", "secret")] {
            let fields = [("client_id", client), ("client_secret", secret), ("token", &token)];
            let sent = if secret.is_empty() { [fields[0], fields[2]].to_vec() } else { fields.to_vec() };
            demo.as_public("/oauth/revoke", &sent).await.assert_refused("invalid_client");
        }
        revoke(&demo, &token, &[]).await.assert_refused("invalid_grant");
        demo.as_public("/oauth/revoke", &[("token", &token)]).await.assert_refused("invalid_grant");
        demo.as_job("/oauth/revoke", &[("token", &of_shop.member(name))]).await.assert_refused("invalid_grant");
        revoke(&demo, &of_demo.text(name), &[]).await.assert_refused("invalid_grant");
    }
    for access in [of_job.member("access_token"), of_shop.member("access_token"), of_demo.text("access_token")] {
        assert_eq!(demo.me(&access).await, 200, "nothing was revoked");
    }
    demo.as_job("/oauth/revoke", &[("token", &of_job.member("refresh_token"))]).await.assert_ok();
    revoke(&demo, &of_shop.member("refresh_token"), &[]).await.assert_ok();
    // The built-in client need not name itself.
    demo.as_public("/oauth/revoke", &[("token", &of_demo.text("refresh_token"))]).await.assert_ok();
    for access in [of_job.member("access_token"), of_shop.member("access_token"), of_demo.text("access_token")] {
        assert_eq!(demo.me(&access).await, 401);
    }
}

#[tokio::test(start_paused = true)]
async fn oauth_revoke_of_an_invalid_token_is_200_whatever_the_hint() {
    let demo = oauth_app(&[]).await;
    let tokens = demo.shop_tokens().await;
    let access = tokens.member("access_token");
    let forged = format!("{}AAAA", &access[..access.len() - 4]);
    let hints = ["", "access_token", "refresh_token", "unknown"];
    for hint in hints {
        for token in ["a", "a.b.c", "{}", &forged] {
            revoke(&demo, token, &[("token_type_hint", hint)]).await.assert_ok();
        }
    }
    assert_eq!(demo.me(&access).await, 200);
    for hint in hints {
        let tokens = demo.shop_tokens().await;
        for _ in 0..2 {
            revoke(&demo, &tokens.member("access_token"), &[("token_type_hint", hint)]).await.assert_ok();
        }
        assert_eq!(demo.me(&tokens.member("access_token")).await, 401, "{hint}");
    }
    demo.clock.advance(std::time::Duration::from_hours(1));
    revoke(&demo, &access, &[]).await.assert_ok();
    demo.refresh_shop(&tokens.member("refresh_token")).await.assert_ok();
    demo.as_public("/oauth/revoke", &[("client_id", "shop")]).await.assert_refused("invalid_request");
    let twice = [("client_id", "shop"), ("token", "a"), ("token", "a")];
    demo.as_public("/oauth/revoke", &twice).await.assert_refused("invalid_request");
    assert_eq!(demo.fetch("/oauth/revoke").await.status, 405);
}

#[tokio::test(start_paused = true)]
async fn oauth_revoke_during_an_outage_is_503() {
    let demo = oauth_app(&[]).await;
    let tokens = demo.shop_tokens().await;
    demo.store.fail_after_revoke.store(true, Ordering::SeqCst);
    for _ in 0..2 {
        let outage = revoke(&demo, &tokens.member("refresh_token"), &[]).await;
        assert_eq!(outage.error(), (503, "temporarily_unavailable".to_owned()));
        assert_eq!(outage.header("retry-after"), "1");
    }
    demo.store.fail_after_revoke.store(false, Ordering::SeqCst);
    revoke(&demo, &tokens.member("refresh_token"), &[]).await.assert_ok();
    assert_eq!(demo.me(&tokens.member("access_token")).await, 401);
}
