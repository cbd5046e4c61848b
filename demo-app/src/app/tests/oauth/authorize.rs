//! The sign-in page and its form.

use std::time::Duration;

use super::*;

#[tokio::test(start_paused = true)]
async fn oauth_authorize_asks_for_the_password_and_shows_client_and_scope() {
    let demo = oauth_app(&[]).await;
    let query = authorization(&[("scope", "profile admin")]);
    let mut browser = demo.open(&query).await;
    for round in ["first", "after a grant"] {
        let page = browser.open(&query).await.assert_ok();
        for text in ["The &#60;Shop&#62;", "see your username", "administer this service", "https://shop.example/cb"] {
            assert!(page.text.contains(text), "{round}: {text}: {}", page.text);
        }
        for label in [">Username</label>", ">Password</label>", ">Sign in</button>", ">Cancel</button>"] {
            assert!(page.text.contains(label), "{label}: {}", page.text);
        }
        assert!(!page.text.contains("<Shop>") && page.location().is_empty());
        assert_eq!(browser.submit(&authorization(&[]), &[]).await.status, StatusCode::SEE_OTHER);
    }
}

#[tokio::test(start_paused = true)]
async fn oauth_authorize_answers_with_code_state_and_issuer() {
    let demo = oauth_app(&[]).await;
    let redirect = demo.grant(&authorization(&[])).await;
    assert!(redirect.location().starts_with("https://shop.example/cb?shop=1&code="), "{}", redirect.location());
    assert_eq!(redirect.parameter("code").len(), 43);
    assert_eq!(redirect.parameter("state"), STATE);
    let metadata = demo.fetch("/.well-known/oauth-authorization-server").await;
    assert_eq!(redirect.parameter("iss"), metadata.member("issuer"));
    assert_eq!((redirect.header("cache-control"), redirect.header("referrer-policy")), ("no-store", "no-referrer"));
    // Without a state there is none.
    let redirect = demo.grant(&authorization(&[("state", "")])).await;
    assert!(!redirect.location().contains("state="), "{}", redirect.location());
}

#[tokio::test(start_paused = true)]
async fn oauth_authorize_without_a_safe_redirect_is_a_page() {
    const EVIL: &str = "https://evil.example/<script>alert(1)</script>";

    let demo = oauth_app(&[]).await;
    for changes in [
        &[("client_id", "")][..],
        &[("client_id", "unknown")],
        &[("client_id", "<script>alert(1)</script>")],
        &[("redirect_uri", EVIL)],
        &[("redirect_uri", "https://shop.example/cb")],
        &[("redirect_uri", "https://shop.example/cb?shop=1&next=2")],
        &[("redirect_uri", "javascript:alert(1)")],
        // The client of `/auth/*` has no redirect URI.
        &[("client_id", "demo-app"), ("redirect_uri", "")],
        &[("client_id", "unknown"), ("state", EVIL), ("scope", EVIL), ("error", EVIL)],
    ] {
        let query = authorization(changes);
        let mut browser = demo.open(&authorization(&[])).await;
        for page in [browser.open(&query).await, browser.submit(&query, &[]).await] {
            assert_eq!(page.status, StatusCode::BAD_REQUEST, "{changes:?} {page:?}");
            assert!(page.header("content-type").starts_with("text/html"), "{page:?}");
            assert!(page.location().is_empty() && !page.text.contains("script"), "{page:?}");
            assert!(page.text.contains("The application that sent you here"), "{page:?}");
        }
    }
    for (twice, text) in
        [("client_id=shop", "client_id comes"), ("redirect_uri=https://evil.example", "redirect_uri comes")]
    {
        let page = demo.fetch(&format!("/oauth/authorize?{}&{twice}", authorization(&[]))).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "{page:?}");
        assert!(page.text.contains(text), "{page:?}");
    }
    assert_eq!(demo.fetch("/oauth/authorize").await.status, StatusCode::BAD_REQUEST);
}

/// RFC 6749 §4.1.2.1.
#[tokio::test(start_paused = true)]
async fn oauth_authorize_tells_the_client_its_errors() {
    let demo = oauth_app(&[]).await;
    for (changes, error) in [
        (&[("response_type", "")][..], "invalid_request"),
        (&[("response_type", "token")], "unsupported_response_type"),
        (&[("response_mode", "fragment")], "invalid_request"),
        (&[("code_challenge", "")], "invalid_request"),
        (&[("code_challenge", "short")], "invalid_request"),
        (&[("code_challenge_method", "plain")], "invalid_request"),
        (&[("code_challenge_method", "")], "invalid_request"),
        (&[("scope", "profile unknown")], "invalid_scope"),
        (&[("scope", "profile  admin")], "invalid_scope"),
        (&[("resource", "https://payroll.example")], "invalid_target"),
        (&[("dpop_jkt", "short")], "invalid_request"),
    ] {
        let query = authorization(changes);
        let mut browser = demo.open(&authorization(&[])).await;
        for redirect in [browser.open(&query).await, browser.submit(&query, &[]).await] {
            assert_eq!(redirect.status, StatusCode::SEE_OTHER, "{changes:?} {redirect:?}");
            assert!(redirect.location().starts_with("https://shop.example/cb?shop=1&error="), "{redirect:?}");
            assert_eq!((redirect.parameter("error"), redirect.parameter("code")), (error.to_owned(), String::new()));
            assert_eq!(redirect.parameter("state"), STATE);
            assert_eq!(redirect.parameter("iss"), "http://127.0.0.1:3000");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn oauth_authorize_form_needs_its_csrf_field() {
    let demo = oauth_app(&[]).await;
    let query = authorization(&[]);
    let mut browser = demo.open(&query).await;
    let other = demo.open(&query).await;
    let cookie = browser.cookie.clone();
    for changes in [
        &[("csrf_token", "")][..],
        &[("csrf_token", "a")],
        &[("csrf_token", other.csrf_token.as_str())],
        &[("csrf_token", other.csrf_token.as_str()), ("cancel", "yes")],
    ] {
        // More than the limit of wrong passwords: such a form is no attempt.
        for _ in 0..12 {
            let refused = browser.submit(&query, changes).await;
            assert_eq!(refused.status, StatusCode::FORBIDDEN, "{changes:?} {refused:?}");
            assert!(refused.header("content-type").starts_with("text/html") && refused.text.contains("csrf"));
            assert!(refused.location().is_empty(), "{refused:?}");
        }
    }
    for cookie in [None, other.cookie.clone(), cookie.clone().map(|cookie| format!("{cookie}; {cookie}"))] {
        browser.cookie = cookie;
        assert_eq!(browser.submit(&query, &[]).await.status, StatusCode::FORBIDDEN);
    }
    browser.cookie = cookie;
    assert_eq!(browser.submit(&query, &[]).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test(start_paused = true)]
async fn oauth_authorize_pages_in_other_tabs_stay_good() {
    let demo = oauth_app(&[]).await;
    let query = authorization(&[]);
    let mut browser = demo.open(&query).await;
    let (cookie, first) = (browser.cookie.clone(), browser.csrf_token.clone());
    browser.open(&query).await.assert_ok();
    assert_eq!((&browser.cookie, &browser.csrf_token), (&cookie, &first));
    assert_eq!(browser.submit(&query, &[("csrf_token", &first)]).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test(start_paused = true)]
async fn oauth_authorize_cookie_is_bound_to_the_host_on_https() {
    let demo = oauth_app(&["--issuer", "https://auth.example"]).await;
    let page = demo.fetch(&format!("/oauth/authorize?{}", authorization(&[]))).await.assert_ok();
    let cookie = page.header("set-cookie");
    assert!(cookie.starts_with("__Host-authorize="), "{cookie}");
    for attribute in ["; Secure", "; HttpOnly", "; SameSite=Lax", "; Path=/;"] {
        assert!(cookie.contains(attribute), "{attribute}: {cookie}");
    }
    assert!(!cookie.contains("Domain"), "{cookie}");
    let demo = oauth_app(&[]).await;
    let page = demo.fetch(&format!("/oauth/authorize?{}", authorization(&[]))).await.assert_ok();
    let cookie = page.header("set-cookie");
    assert!(cookie.starts_with("authorize=") && !cookie.contains("Secure"), "{cookie}");
    assert!(cookie.contains("; Path=/oauth/authorize; HttpOnly; SameSite=Lax"), "{cookie}");
}

#[tokio::test(start_paused = true)]
async fn oauth_authorize_form_is_checked_as_a_new_request() {
    let demo = oauth_app(&[]).await;
    let mut browser = demo.open(&authorization(&[])).await;
    let evil = browser.submit(&authorization(&[("redirect_uri", "https://evil.example/cb")]), &[]).await;
    assert_eq!(evil.status, StatusCode::BAD_REQUEST, "{evil:?}");
    let unknown = browser.submit(&authorization(&[("client_id", "unknown")]), &[]).await;
    assert_eq!(unknown.status, StatusCode::BAD_REQUEST, "{unknown:?}");
    let plain = browser.submit(&authorization(&[("code_challenge_method", "plain")]), &[]).await;
    assert_eq!(plain.parameter("error"), "invalid_request");
    // Fields of the form change nothing of the request.
    let fields = [("redirect_uri", "https://evil.example/cb"), ("client_id", "job"), ("scope", "admin")];
    let granted = browser.submit(&authorization(&[]), &fields).await;
    assert!(granted.location().starts_with("https://shop.example/cb?"), "{granted:?}");
    let tokens = demo.exchange(&granted.parameter("code"), &[]).await.assert_ok();
    assert_eq!(tokens.member("scope"), "profile");
    // The code belongs to the client that the form's request names.
    let of_job = [("client_id", "job"), ("redirect_uri", "https://job.example/cb")];
    let granted = browser.submit(&authorization(&of_job), &[]).await;
    assert!(granted.location().starts_with("https://job.example/cb?code="), "{granted:?}");
    demo.exchange(&granted.parameter("code"), &[]).await.assert_refused("invalid_grant");
}

#[tokio::test(start_paused = true)]
async fn oauth_authorize_with_head_grants_nothing() {
    let demo = oauth_app(&[]).await;
    let browser = demo.open(&authorization(&[])).await;
    let query = [authorization(&[]), form(&[("username", "ada"), ("password", PASSWORD)], &[])].join("&");
    let query = format!("{query}&csrf_token={}", browser.csrf_token);
    let request = Request::head(format!("/oauth/authorize?{query}"));
    let request = request.header(header::COOKIE, browser.cookie.clone().unwrap());
    let answer = demo.answer(request.body(Body::empty()).unwrap()).await;
    assert_eq!((answer.status, answer.location(), &*answer.text), (StatusCode::OK, "", ""));
    assert_eq!(demo.state.authority.sessions(demo.user_id("ada").await).await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn oauth_authorize_pages_are_not_framed_and_load_nothing_from_elsewhere() {
    let demo = oauth_app(&[]).await;
    let query = authorization(&[]);
    let mut browser = demo.open(&query).await;
    let pages = [
        (browser.open(&query).await, "'self' https://shop.example"),
        (browser.submit(&query, &[("password", "wrong horse")]).await, "'self' https://shop.example"),
        (browser.open(&authorization(&[("client_id", "unknown")])).await, "'none'"),
        (browser.submit(&query, &[("csrf_token", "a")]).await, "'none'"),
    ];
    for (page, form_action) in pages {
        let policy = page.header("content-security-policy");
        for directive in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"] {
            assert!(policy.contains(directive), "{directive}: {policy}");
        }
        assert!(policy.contains(&format!("form-action {form_action};")), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains("script-src"), "{policy}");
        assert_eq!(page.header("x-frame-options"), "DENY");
        assert_eq!(page.header("referrer-policy"), "no-referrer");
        assert_eq!(page.header("x-content-type-options"), "nosniff");
        assert_eq!(page.header("cache-control"), "no-store");
        for inline in ["<script", "<style", " style="] {
            assert!(!page.text.contains(inline), "{inline}: {}", page.text);
        }
        for attribute in ["href=\"", "src=\""] {
            let mut loaded = page.text.split(attribute).skip(1);
            assert!(loaded.all(|url| url.starts_with("../assets/")), "{}", page.text);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn oauth_authorize_has_no_cors_headers() {
    let demo = oauth_app(&["--cors-origin", "https://shop.example"]).await;
    let uri = format!("/oauth/authorize?{}", authorization(&[]));
    for method in ["GET", "OPTIONS"] {
        let request = Request::builder().method(method).uri(&uri).header("origin", "https://shop.example");
        let request = request.header("access-control-request-method", "POST");
        let answer = demo.answer(request.body(Body::empty()).unwrap()).await;
        let names: Vec<_> = answer.headers.keys().map(|name| name.as_str().to_owned()).collect();
        assert!(!names.is_empty() && !names.iter().any(|name| name.starts_with("access-control-")), "{names:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn oauth_authorize_refuses_wrong_passwords_and_disabled_users_alike() {
    let demo = oauth_app(&[]).await;
    demo.register("off").await;
    demo.state.authority.set_user_disabled(demo.user_id("off").await, true).await.unwrap();
    let query = authorization(&[]);
    let mut browser = demo.open(&query).await;
    for (username, password) in [("ada", "wrong \"horse"), ("nobody", PASSWORD), ("off", PASSWORD), ("a\"b<c", "x")] {
        let begun = Instant::now();
        let page = browser.submit(&query, &[("username", username), ("password", password)]).await;
        assert!(begun.elapsed() >= Duration::from_millis(400), "{username}");
        assert_eq!(page.status, StatusCode::UNAUTHORIZED, "{page:?}");
        assert_eq!(page.header("www-authenticate"), format!("Bearer {REALM}"));
        assert!(page.text.contains("The username or the password is wrong"), "{page:?}");
        let kept = username.replace('"', "&#34;").replace('<', "&#60;");
        assert!(page.text.contains(&format!("value=\"{kept}\"")), "{page:?}");
        assert!(!page.text.contains("wrong &#34;horse"), "{page:?}");
        assert!(page.location().is_empty());
    }
    assert_eq!(browser.submit(&query, &[]).await.status, StatusCode::SEE_OTHER, "the page again is a good page");
}

#[tokio::test(start_paused = true)]
async fn oauth_authorize_shares_the_limits_of_login() {
    let demo = oauth_app(&[]).await;
    let query = authorization(&[]);
    let mut browser = demo.open(&query).await;
    for round in 0..5 {
        let wrong = demo.post("/auth/login", json!({ "username": "ada", "password": "wrong horse" })).await;
        assert_eq!(wrong.status, StatusCode::UNAUTHORIZED, "{round}");
        let page = browser.submit(&query, &[("username", "ADA"), ("password", "wrong horse")]).await;
        assert_eq!(page.status, StatusCode::UNAUTHORIZED, "{round}");
    }
    let limited = browser.submit(&query, &[]).await;
    assert_eq!(limited.status, StatusCode::TOO_MANY_REQUESTS, "{limited:?}");
    let wait: u64 = limited.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&wait) && limited.text.contains(&format!("try again in {wait} s")), "{limited:?}");
    let login = demo.post("/auth/login", json!({ "username": "ada", "password": PASSWORD })).await;
    assert_eq!(login.status, StatusCode::TOO_MANY_REQUESTS);
    tokio::time::advance(Duration::from_secs(wait)).await;
    assert_eq!(browser.submit(&query, &[]).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test(start_paused = true)]
async fn oauth_authorize_is_cancelled_with_access_denied() {
    let demo = oauth_app(&[]).await;
    let query = authorization(&[]);
    let mut browser = demo.open(&query).await;
    let redirect = browser.submit(&query, &[("username", ""), ("password", ""), ("cancel", "yes")]).await;
    assert_eq!(redirect.status, StatusCode::SEE_OTHER, "{redirect:?}");
    assert_eq!((redirect.parameter("error"), redirect.parameter("state")), ("access_denied".into(), STATE.into()));
}

#[tokio::test(start_paused = true)]
async fn oauth_authorize_grants_the_scope_that_client_and_user_may_have() {
    let demo = oauth_app(&[]).await;
    let hash = demo.state.passwords.hash(&PASSWORD.to_owned().into()).await.unwrap();
    demo.add_user("root", hash, Role::Admin).await;
    let admins = Client::public("admins").unwrap().scope("admin".parse().unwrap());
    demo.add_client(admins.redirect_uri("https://admins.example".parse().unwrap())).await;
    for (username, client, scope, expected) in [
        ("ada", "shop", "profile", Ok("profile")),
        ("ada", "shop", "", Ok("profile")),
        ("ada", "shop", "admin", Err("invalid_scope")),
        ("ada", "shop", "profile admin", Err("invalid_scope")),
        ("ada", "admins", "", Err("invalid_scope")),
        ("root", "shop", "", Ok("profile admin")),
        ("root", "shop", "admin", Ok("admin")),
        ("root", "admins", "", Ok("admin")),
    ] {
        let changes =
            [("client_id", client), ("scope", scope), ("redirect_uri", if client == "shop" { URI } else { "" })];
        let query = authorization(&changes);
        let redirect = demo.open(&query).await.submit(&query, &[("username", username)]).await;
        match expected {
            Ok(scope) => {
                let fields = [("client_id", client), ("redirect_uri", changes[2].1)];
                let tokens = demo.exchange(&redirect.parameter("code"), &fields).await.assert_ok();
                assert_eq!(tokens.member("scope"), scope, "{username} {client}");
            }
            Err(error) => assert_eq!(redirect.parameter("error"), error, "{username} {client} {scope}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn oauth_authorize_errors_are_pages() {
    let demo = oauth_app(&[]).await;
    let path = format!("/oauth/authorize?{}", authorization(&[]));
    let browser = demo.open(&authorization(&[])).await;
    let request = Request::post(&path).header(header::CONTENT_TYPE, "application/json");
    let json = demo.answer(request.body("{}".into()).unwrap()).await;
    assert_eq!(json.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let large = demo.post_form(&path, "a".repeat(BODY_LIMIT + 1), &[]).await;
    assert_eq!(large.status, StatusCode::PAYLOAD_TOO_LARGE);
    demo.users.fail_reads.store(true, std::sync::atomic::Ordering::SeqCst);
    let mut browser = browser;
    let outage = browser.submit(&authorization(&[]), &[]).await;
    assert_eq!((outage.status, outage.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "1"));
    for page in [json, large, outage] {
        assert!(page.header("content-type").starts_with("text/html"), "{page:?}");
        assert!(page.text.contains("start again"), "{page:?}");
    }
    assert_eq!(demo.answer(Request::put(&path).body(Body::empty()).unwrap()).await.status, 405);
}

#[tokio::test(start_paused = true)]
async fn oauth_authorize_names_the_device_of_the_session() {
    let demo = oauth_app(&[]).await;
    let query = authorization(&[]);
    let browser = demo.open(&query).await;
    let body = form(&[("csrf_token", &browser.csrf_token), ("username", "ada"), ("password", PASSWORD)], &[]);
    let headers = [(header::COOKIE, browser.cookie.as_deref().unwrap()), (header::USER_AGENT, "Firefox")];
    let redirect = demo.post_form(&format!("/oauth/authorize?{query}"), body, &headers).await;
    demo.exchange(&redirect.parameter("code"), &[]).await.assert_ok();
    let sessions = demo.state.authority.sessions(demo.user_id("ada").await).await.unwrap();
    assert_eq!(sessions[0].user_agent(), Some("Firefox"));
}
