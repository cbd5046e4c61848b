//! The audit events of the OAuth endpoints.

use super::{
    super::audit::{events, field, log_of, names},
    *,
};

#[test]
fn audit_has_the_events_of_codes_clients_passwords_and_revocations() {
    let lines = log_of(async || {
        let demo = oauth_app(&["--password-grant", "on"]).await;
        let query = authorization(&[]);
        demo.open(&query).await.submit(&query, &[("password", "wrong horse")]).await;
        let too_much = authorization(&[("scope", "admin")]);
        demo.open(&too_much).await.submit(&too_much, &[]).await;
        let code = demo.code(&[]).await;
        demo.exchange(&code, &[("code_verifier", &"x".repeat(43))]).await.assert_refused("invalid_grant");
        let pair = demo.exchange(&code, &[]).await.assert_ok();
        demo.exchange(&code, &[]).await.assert_refused("invalid_grant");

        let client_credentials = [("grant_type", "client_credentials")];
        let own = demo.as_job("/oauth/token", &client_credentials).await.assert_ok();
        let wrong = [("client_id", "job"), ("client_secret", "guess"), ("grant_type", "client_credentials")];
        demo.as_public("/oauth/token", &wrong).await.assert_refused("invalid_client");
        let password = [("grant_type", "password"), ("username", "ada"), ("password", PASSWORD)];
        demo.as_public("/oauth/token", &password).await.assert_ok();
        let password = [("grant_type", "password"), ("username", "ada"), ("password", "wrong horse")];
        demo.as_public("/oauth/token", &password).await.assert_refused("invalid_grant");

        let own = own.member("access_token");
        demo.as_public("/oauth/revoke", &[("client_id", "shop"), ("token", &own)]).await;
        demo.as_public("/oauth/revoke", &[("client_id", "shop"), ("token", "a.b.c")]).await;
        demo.as_job("/oauth/revoke", &[("token", &own)]).await.assert_ok();
        demo.refresh_shop(&pair.member("refresh_token")).await.assert_refused("invalid_grant");
    });
    let events = events(&lines);
    let expected = [
        ["registration", "granted"],
        ["authorization", "refused"],
        ["authorization", "refused"],
        ["authorization", "granted"],
        ["sign_in", "refused"],
        ["sign_in", "granted"],
        ["code_reuse", "refused"],
        ["sign_in", "granted"],
        ["sign_in", "refused"],
        ["sign_in", "granted"],
        ["sign_in", "refused"],
        ["revocation", "refused"],
        ["revocation", "granted"],
        ["refresh", "refused"],
    ];
    assert_eq!(names(&events), expected, "{events:#?}");
    for (name, at, value) in [
        ("reason", 1, "invalid_credentials"),
        ("username", 1, "ada"),
        ("reason", 2, "invalid_scope"),
        ("client_id", 3, "shop"),
        ("method", 4, "code"),
        ("client_id", 5, "shop"),
        ("method", 6, "code"),
        ("client_id", 6, "shop"),
        ("method", 7, "client_credentials"),
        ("user_id", 7, "job"),
        ("reason", 8, "invalid_client"),
        ("client_id", 8, "job"),
        ("method", 9, "password"),
        ("client_id", 9, "demo-app"),
        ("username", 10, "ada"),
        ("client_id", 11, "shop"),
        ("user_id", 12, "job"),
        ("client_id", 13, "shop"),
    ] {
        assert_eq!(field(events[at], name), value, "{name} of {}", events[at]);
    }
    assert!(events[4].contains("the code does not go with its client, redirect URI, verifier or key"), "{}", events[4]);
    assert!(events[6].contains("the code was used before"), "{}", events[6]);
    assert_eq!(field(events[3], "user_id"), field(events[5], "user_id"));
    // The session that the second use ends.
    assert_eq!(field(events[5], "session_id"), field(events[6], "session_id"));
    assert_eq!(field(events[7], "session_id"), field(events[12], "session_id"));
    assert!(
        !lines.iter().any(|line| line.contains("wrong horse") || line.contains("guess") || line.contains(JOB_SECRET))
    );
}

/// The page's form has a field of its own, so it works beside the cookies of a session.
#[tokio::test(start_paused = true)]
async fn csrf_defence_of_cookies_leaves_the_sign_in_page_alone() {
    let demo = oauth_app(&[]).await;
    let page = demo.open_page("ada").await;
    let query = authorization(&[]);
    let mut browser = demo.open(&query).await;
    browser.cookie = browser.cookie.map(|cookie| format!("{cookie}; {}", page.cookies()));
    let redirect = browser.submit(&query, &[]).await;
    assert_eq!(redirect.status, StatusCode::SEE_OTHER, "{redirect:?}");
}
