//! Requests that another site makes a browser send.

use super::{
    browser::{HOST, Page},
    *,
};

const ISSUER: &str = "https://auth.example";

/// The headers `Origin` and `Sec-Fetch-Site` of a request, and whether it may come from our page.
fn places() -> Vec<(Option<&'static str>, Option<&'static str>, bool)> {
    let origins = [
        (None, true),
        (Some("https://demo.example"), true),
        (Some(ISSUER), true),
        (Some("https://evil.example"), false),
        (Some("https://demo.example.evil.example"), false),
        (Some("https://demo.example:8443"), false),
        (Some("null"), false),
    ];
    let mut places = Vec::new();
    for (origin, is_ours) in origins {
        for (site, is_same) in [
            (None, None),
            (Some("same-origin"), Some(true)),
            (Some("none"), Some(true)),
            (Some("same-site"), Some(false)),
            (Some("cross-site"), Some(false)),
        ] {
            // The issuer's origin is trusted with every value of `Sec-Fetch-Site`.
            let may_pass = is_same.map_or(is_ours, |is_same| is_same || origin == Some(ISSUER));
            places.push((origin, site, may_pass));
        }
    }
    places
}

/// Builds a request with these headers in place of those of a page's script.
fn request_from(page: &Page, path: &str, origin: Option<&str>, site: Option<&str>, tokens: &[&str]) -> Request<Body> {
    let request = Request::post(path).header(header::HOST, HOST).header(header::COOKIE, page.cookies());
    let request = origin.into_iter().fold(request, |request, origin| request.header(header::ORIGIN, origin));
    let request = site.into_iter().fold(request, |request, site| request.header("sec-fetch-site", site));
    tokens.iter().fold(request, |request, token| request.header("x-csrf-token", *token)).body(Body::empty()).unwrap()
}

#[tokio::test]
async fn csrf_needs_the_right_origin_and_the_sessions_token() {
    let demo = test_app_with(&["--issuer", ISSUER]);
    demo.register("ada").await;
    let (page, other) = (demo.open_page("ada").await, demo.open_page("ada").await);
    let longer = format!("{}x", page.csrf);
    let tokens: [(&[&str], bool); 7] = [
        (&[&page.csrf], true),
        (&[], false),
        (&[""], false),
        (&[&other.csrf], false),
        (&[&page.csrf[1..]], false),
        (&[&longer], false),
        (&[&page.csrf, &page.csrf], false),
    ];
    for (origin, site, may_pass) in places() {
        for (tokens, is_token) in tokens {
            let answer = demo.send(request_from(&page, "/auth/single-use", origin, site, tokens)).await;
            let expected = if may_pass && is_token { StatusCode::CREATED } else { StatusCode::FORBIDDEN };
            assert_eq!(answer.status, expected, "{origin:?} {site:?} {tokens:?}");
            if expected == StatusCode::FORBIDDEN {
                assert_eq!(answer.body["error"], "csrf", "{origin:?} {site:?} {tokens:?}");
                assert_eq!(answer.headers[header::CONTENT_TYPE], "application/json");
            }
        }
    }
}

#[tokio::test]
async fn csrf_is_checked_on_every_route_and_method_that_may_change_something() {
    let demo = test_app_with(&["--issuer", ISSUER]);
    demo.register("ada").await;
    let page = demo.open_page("ada").await;
    let cookies =
        [page.cookies(), format!("__Host-access={}", page.access), format!("__Host-refresh={}", page.refresh)];
    let send = async |method: &str, path: &str, cookies: &str| {
        let request = Request::builder().method(method).uri(path).header(header::COOKIE, cookies);
        demo.send(request.body(Body::empty()).unwrap()).await
    };
    for cookies in &cookies {
        for (method, path) in [
            ("POST", "/auth/logout"),
            ("POST", "/auth/logout-all"),
            ("POST", "/auth/refresh"),
            ("POST", "/auth/password"),
            ("POST", "/auth/single-use"),
            ("POST", "/auth/register"),
            ("POST", "/demo/single-use"),
            ("DELETE", "/auth/sessions/x"),
            ("PUT", "/me"),
            ("PATCH", "/me"),
            ("TRACE", "/me"),
            ("POST", "/nowhere"),
        ] {
            let answer = send(method, path, cookies).await;
            assert_eq!((answer.status.as_u16(), &answer.body["error"]), (403, &json!("csrf")), "{method} {path}");
        }
        for method in ["GET", "HEAD", "OPTIONS"] {
            assert_ne!(send(method, "/me", cookies).await.status, StatusCode::FORBIDDEN, "{method}");
        }
    }
    assert_eq!(demo.page(&page, "GET", "/me").await.status, StatusCode::OK, "nothing was changed");
}

#[tokio::test]
async fn csrf_needs_nothing_of_requests_without_our_cookies() {
    let demo = test_app_with(&["--issuer", ISSUER]);
    demo.register("ada").await;
    let access = demo.log_in("ada").await.text("access_token");
    let cross_site = |request: http::request::Builder| {
        let request = request.header(header::ORIGIN, "https://evil.example").header("sec-fetch-site", "cross-site");
        request.header(header::COOKIE, "theme=dark; host-access=x; access=y")
    };
    let request =
        cross_site(Request::post("/auth/single-use")).header(header::AUTHORIZATION, format!("Bearer {access}"));
    assert_eq!(demo.send(request.body(Body::empty()).unwrap()).await.status, StatusCode::CREATED);
    let request = cross_site(Request::post("/auth/login")).header(header::CONTENT_TYPE, "application/json");
    let body = json!({ "username": "ada", "password": PASSWORD }).to_string();
    assert_eq!(demo.send(request.body(body.into()).unwrap()).await.status, StatusCode::OK);
}

/// Another site must not sign a visitor in to an account of its own.
#[tokio::test]
async fn csrf_of_a_login_with_cookies_is_its_origin_alone() {
    let demo = test_app_with(&["--issuer", ISSUER]);
    demo.register("ada").await;
    let page = demo.open_page("ada").await;
    for (origin, site, may_pass) in places() {
        for (path, cookies) in [
            ("/auth/login?transport=cookie", None),
            ("/auth/login?tr%61nsport=cookie", None),
            // Cookies of a session before: the page may have lost its token.
            ("/auth/login?transport=cookie", Some(page.cookies())),
            ("/auth/login", Some(page.cookies())),
        ] {
            let mut request = request_from(&page, path, origin, site, &[]);
            request.headers_mut().insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
            if cookies.is_none() {
                request.headers_mut().remove(header::COOKIE);
            }
            *request.body_mut() = json!({ "username": "ada", "password": PASSWORD }).to_string().into();
            let answer = demo.send(request).await;
            let expected = if may_pass { StatusCode::OK } else { StatusCode::FORBIDDEN };
            assert_eq!(answer.status, expected, "{path} {origin:?} {site:?} {}", answer.body);
            assert!(may_pass || answer.set_cookies().is_empty());
        }
    }
}

#[tokio::test]
async fn csrf_token_is_not_asked_for_where_no_cookie_is_good() {
    let demo = test_app_with(&["--issuer", ISSUER]);
    demo.register("ada").await;
    let page = Page { access: "a.b.c".into(), refresh: "a.b.c".into(), csrf: String::new() };
    for (path, status, error) in [("/auth/logout", 401, "invalid_token"), ("/auth/refresh", 401, "invalid_grant")] {
        let answer = demo.send(request_from(&page, path, None, None, &[])).await;
        assert_eq!((answer.status.as_u16(), &answer.body["error"]), (status, &json!(error)), "{path}");
        let answer = demo.send(request_from(&page, path, Some("https://evil.example"), None, &[])).await;
        assert_eq!(answer.body["error"], "csrf", "{path}");
    }
    // One of the two is enough to need it.
    let half = Page { access: "a.b.c".into(), ..demo.open_page("ada").await };
    assert_eq!(demo.send(request_from(&half, "/auth/logout", None, None, &[])).await.body["error"], "csrf");
}

#[tokio::test]
async fn csrf_token_of_another_session_is_refused_at_refresh_and_nothing_is_used_up() {
    let demo = test_app_with(&["--issuer", ISSUER]);
    demo.register("ada").await;
    let (page, other) = (demo.open_page("ada").await, demo.open_page("ada").await);
    let wrong = Page { csrf: other.csrf, ..page.clone() };
    let answer = demo.page(&wrong, "POST", "/auth/refresh").await;
    assert_eq!((answer.status.as_u16(), &answer.body["error"], answer.set_cookies().len()), (403, &json!("csrf"), 0));
    let next = Page::after(&demo.page(&page, "POST", "/auth/refresh").await);
    assert_eq!(demo.page(&next, "POST", "/auth/logout").await.status, StatusCode::NO_CONTENT);
}
