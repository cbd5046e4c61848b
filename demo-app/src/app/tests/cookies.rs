//! Sessions whose tokens are in cookies.

use std::sync::atomic::Ordering;

use super::{browser::Page, *};

/// What removes both cookies.
const CLEARED: [&str; 2] = [
    "__Host-access=; Max-Age=0; Path=/; Secure; HttpOnly; SameSite=Lax",
    "__Host-refresh=; Max-Age=0; Path=/; Secure; HttpOnly; SameSite=Lax",
];

#[tokio::test]
async fn cookie_login_sets_both_cookies_and_returns_no_token() {
    let demo = test_app();
    demo.register("ada").await;
    let body = json!({ "username": "ada", "password": PASSWORD });
    let answer = demo.post("/auth/login?transport=cookie", body).await;
    let page = Page::after(&answer);
    let expected = [
        format!("__Host-access={}; Max-Age=900; Path=/; Secure; HttpOnly; SameSite=Lax", page.access),
        format!("__Host-refresh={}; Max-Age=2592000; Path=/; Secure; HttpOnly; SameSite=Lax", page.refresh),
    ];
    assert_eq!(answer.set_cookies(), expected);
    assert!(expected.iter().all(|cookie| cookie.len() < 4_096));
    assert_eq!(answer.body, json!({ "csrf_token": page.csrf, "expires_in": 900 }));
    assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
    let claims = demo.state.authority.verify(&page.access).await.unwrap();
    assert!(demo.state.authority.is_csrf_token(claims.session_id().unwrap(), &page.csrf));
}

#[tokio::test]
async fn cookie_transport_has_one_value() {
    let demo = test_app();
    demo.register("ada").await;
    let log_in = async |query: &str| {
        let body = json!({ "username": "ada", "password": PASSWORD });
        demo.post(&format!("/auth/login{query}"), body).await
    };
    for query in [
        "?transport=",
        "?transport",
        "?transport=Cookie",
        "?transport=body",
        "?transport=cookie&transport=cookie",
        "?transport=cookie&transport=body",
        "?transport=cookie%20",
    ] {
        let answer = log_in(query).await;
        assert_eq!((answer.status.as_u16(), &answer.body["error"]), (400, &json!("invalid_request")), "{query}");
        assert!(answer.set_cookies().is_empty(), "{query}");
    }
    for query in ["", "?", "?other=x", "?Transport=x"] {
        let answer = log_in(query).await;
        assert_eq!(answer.status, StatusCode::OK, "{query}");
        assert!(answer.body["access_token"].is_string() && answer.set_cookies().is_empty(), "{query}");
    }
    assert_eq!(log_in("?other=x&tr%61nsport=%63ookie").await.set_cookies().len(), 2);
}

#[tokio::test]
async fn cookie_stands_in_for_the_header_on_every_route() {
    let demo = test_app();
    demo.register("ada").await;
    let page = demo.open_page("ada").await;
    assert_eq!(demo.page(&page, "GET", "/me").await.body["username"], "ada");
    assert_eq!(demo.page(&page, "GET", "/auth/sessions").await.body[0]["current"], true);
    let once = demo.page(&page, "POST", "/auth/single-use").await;
    assert_eq!(once.status, StatusCode::CREATED);
    let once = Page { access: once.text("access_token"), ..page.clone() };
    // A single-use token's cookie has no session that a token could be bound to; the refresh cookie has.
    assert_eq!(demo.page(&once, "POST", "/demo/single-use").await.status, StatusCode::OK);
    assert_eq!(demo.page(&once, "POST", "/demo/single-use").await.status, StatusCode::UNAUTHORIZED);

    let get = async |cookies: &[&str]| {
        let request = cookies.iter().fold(Request::get("/me"), |request, value| request.header(header::COOKIE, *value));
        demo.send(request.body(Body::empty()).unwrap()).await
    };
    let access = format!("__Host-access={}", page.access);
    let refresh = format!("__Host-refresh={}", page.refresh);
    let wrong = format!("__Host-access={}", page.refresh);
    for (cookies, status, error) in [
        (&["__Host-access=a.b.c"][..], 401, "invalid_token"),
        (&["__Host-access="], 400, "invalid_request"),
        (&[access.as_str(), &access], 400, "invalid_request"),
        // A refresh token is no access token, in either cookie.
        (&[refresh.as_str()], 401, "unauthorized"),
        (&[wrong.as_str()], 401, "invalid_token"),
    ] {
        let answer = get(cookies).await;
        assert_eq!((answer.status.as_u16(), &answer.body["error"]), (status, &json!(error)), "{cookies:?}");
    }
    assert_eq!(get(&["a=b", &access]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn cookie_beside_a_header_is_refused() {
    let demo = test_app();
    demo.register("ada").await;
    let page = demo.open_page("ada").await;
    let bearer = format!("Bearer {}", page.access);
    for (method, path) in
        [("GET", "/me"), ("POST", "/auth/logout"), ("POST", "/auth/refresh"), ("DELETE", "/auth/sessions/x")]
    {
        for authorization in [bearer.as_str(), "bearer x", "DPoP x"] {
            let request = page.request(method, path).header(header::AUTHORIZATION, authorization);
            let answer = demo.send(request.body(Body::empty()).unwrap()).await;
            // Without `--dpop` a GET takes the scheme DPoP for no credential of ours.
            if (method, authorization) == ("GET", "DPoP x") {
                assert_eq!(answer.status, StatusCode::OK);
                continue;
            }
            assert_eq!(
                (answer.status.as_u16(), &answer.body["error"]),
                (400, &json!("invalid_request")),
                "{method} {path} {authorization}"
            );
        }
    }
    // Another scheme is none of our credentials.
    let request = page.request("POST", "/auth/single-use").header(header::AUTHORIZATION, "Basic dTpw");
    assert_eq!(demo.send(request.body(Body::empty()).unwrap()).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn cookie_refresh_sets_the_next_pair() {
    let demo = test_app();
    demo.register("ada").await;
    let first = demo.open_page("ada").await;
    let answer = demo.page(&first, "POST", "/auth/refresh").await;
    let second = Page::after(&answer);
    assert_eq!(answer.body, json!({ "csrf_token": first.csrf, "expires_in": 900 }), "the session's token stays");
    assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
    assert_ne!((&first.access, &first.refresh), (&second.access, &second.refresh));
    // A second tab that refreshes at the same time gets the same pair.
    let again = Page::after(&demo.page(&first, "POST", "/auth/refresh").await);
    assert_eq!((&again.access, &again.refresh), (&second.access, &second.refresh));
    assert_eq!(demo.page(&second, "GET", "/me").await.status, StatusCode::OK);

    // Without the access cookie, which has expired.
    let request = second.request("POST", "/auth/refresh");
    let mut request = request.body(Body::empty()).unwrap();
    request.headers_mut().insert(header::COOKIE, format!("__Host-refresh={}", second.refresh).parse().unwrap());
    let third = Page::after(&demo.send(request).await);
    assert_eq!(demo.page(&third, "GET", "/me").await.status, StatusCode::OK);

    // The first token is retired, and its child was used: theft.
    let stolen = demo.page(&first, "POST", "/auth/refresh").await;
    assert_eq!((stolen.status.as_u16(), &stolen.body["error"]), (401, &json!("invalid_grant")));
    assert_eq!(stolen.set_cookies(), CLEARED);
    assert_eq!(demo.page(&third, "GET", "/me").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn cookie_refresh_that_is_refused_has_its_error() {
    let demo = test_app();
    demo.register("ada").await;
    let page = demo.open_page("ada").await;
    let refresh = async |page: &Page, body: &str| {
        let request = page.request("POST", "/auth/refresh").header(header::CONTENT_TYPE, "application/json");
        demo.send(request.body(body.to_owned().into()).unwrap()).await
    };
    for body in ["{}", " ", &json!({ "refresh_token": page.refresh }).to_string()] {
        let both = refresh(&page, body).await;
        assert_eq!((both.status.as_u16(), &both.body["error"]), (400, &json!("invalid_request")), "{body}");
    }
    for wrong in ["a.b.c", "", &page.access] {
        let answer = refresh(&Page { refresh: wrong.to_owned(), ..page.clone() }, "").await;
        assert_eq!((answer.status.as_u16(), &answer.body["error"]), (401, &json!("invalid_grant")), "{wrong}");
        assert_eq!(answer.set_cookies(), CLEARED);
    }
    let mut without_refresh = page.request("POST", "/auth/refresh").body(Body::empty()).unwrap();
    without_refresh.headers_mut().insert(header::COOKIE, format!("__Host-access={}", page.access).parse().unwrap());
    assert_eq!(demo.send(without_refresh).await.body["error"], "invalid_grant");
    // An outage says nothing about the session.
    demo.users.fail_reads.store(true, Ordering::SeqCst);
    let outage = demo.page(&page, "POST", "/auth/refresh").await;
    assert_eq!((outage.status, outage.set_cookies().len()), (StatusCode::SERVICE_UNAVAILABLE, 0));
    assert_eq!(outage.headers[header::RETRY_AFTER], "1");
    demo.users.fail_reads.store(false, Ordering::SeqCst);
    Page::after(&demo.page(&page, "POST", "/auth/refresh").await);
}

#[tokio::test]
async fn cookie_logout_removes_both_cookies() {
    let demo = test_app();
    demo.register("ada").await;
    for path in ["/auth/logout", "/auth/logout-all"] {
        let page = demo.open_page("ada").await;
        let bearer = demo.log_in("ada").await.text("access_token");
        let answer = demo.page(&page, "POST", path).await;
        assert_eq!((answer.status, answer.set_cookies()), (StatusCode::NO_CONTENT, CLEARED.to_vec()), "{path}");
        assert_eq!(demo.page(&page, "POST", path).await.status, StatusCode::UNAUTHORIZED, "{path}");
        if path == "/auth/logout" {
            let answer = demo.with_token("POST", path, &bearer, None).await;
            assert_eq!(
                (answer.status, answer.set_cookies().len()),
                (StatusCode::NO_CONTENT, 0),
                "no cookies were sent"
            );
        }
    }
}

#[tokio::test]
async fn cookie_of_an_ended_session_is_removed_in_its_own_browser_alone() {
    let demo = test_app();
    demo.register("ada").await;
    let (mine, other) = (demo.open_page("ada").await, demo.open_page("ada").await);
    let id = async |page: &Page| demo.page(page, "GET", "/me").await.body["claims"]["sid"].as_str().unwrap().to_owned();
    let (mine_id, other_id) = (id(&mine).await, id(&other).await);
    let ended = demo.page(&mine, "DELETE", &format!("/auth/sessions/{other_id}")).await;
    assert_eq!((ended.status, ended.set_cookies().len()), (StatusCode::NO_CONTENT, 0));
    // A sign-out that cannot be promised can be repeated.
    demo.store.fail_after_revoke.store(true, Ordering::SeqCst);
    let failed = demo.page(&mine, "DELETE", &format!("/auth/sessions/{other_id}")).await;
    assert_eq!((failed.status, failed.set_cookies().len()), (StatusCode::SERVICE_UNAVAILABLE, 0));
    demo.store.fail_after_revoke.store(false, Ordering::SeqCst);
    let ended = demo.page(&mine, "DELETE", &format!("/auth/sessions/{mine_id}")).await;
    assert_eq!((ended.status, ended.set_cookies()), (StatusCode::NO_CONTENT, CLEARED.to_vec()));
}

#[tokio::test]
async fn cookie_that_a_browser_need_not_keep_is_not_issued() {
    let mut demo = test_app();
    demo.register("ada").await;
    let keys = demo.state.authority.keys();
    let user = demo.state.users.by_name("ada").await.unwrap().unwrap().user_id;
    let mut log_in = async |issuer_length: usize, query: &str| {
        let issuer = format!("https://{}", "i".repeat(issuer_length));
        let config = Config::parse_from(["demo-app", "--issuer", &issuer]);
        let authority = authority(&demo.store, &demo.clock, &config).keys(keys.clone()).build().unwrap();
        demo.state_mut().authority = authority;
        let sessions = demo.state.authority.sessions(user).await.unwrap().len();
        let answer =
            demo.post(&format!("/auth/login{query}"), json!({ "username": "ada", "password": PASSWORD })).await;
        let opened = demo.state.authority.sessions(user).await.unwrap().len() - sessions;
        (answer, opened)
    };
    // The longest issuer whose tokens fit.
    let (mut fits, mut is_too_long) = (0, 6_000);
    while is_too_long - fits > 1 {
        let middle = usize::midpoint(fits, is_too_long);
        let (answer, _) = log_in(middle, "?transport=cookie").await;
        if answer.status == StatusCode::OK { fits = middle } else { is_too_long = middle }
    }
    let (answer, opened) = log_in(fits, "?transport=cookie").await;
    let largest = answer.set_cookies().iter().map(|cookie| cookie.len()).max().unwrap();
    // An access token's `Max-Age` is shorter than the longest possible one.
    assert!((4_084..4_096).contains(&largest), "{largest}");
    assert_eq!((answer.status, opened), (StatusCode::OK, 1));
    let (answer, opened) = log_in(is_too_long, "?transport=cookie").await;
    assert_eq!((answer.status.as_u16(), &answer.body["error"], opened), (400, &json!("invalid_request"), 0));
    assert!(answer.set_cookies().is_empty());
    let (answer, opened) = log_in(is_too_long, "").await;
    assert_eq!((answer.status, opened), (StatusCode::OK, 1), "{}", answer.body);
}
