//! Pages of other origins.

use super::*;

const APP: &str = "https://app.example";

fn cors_app() -> TestApp {
    test_app_with(&["--cors-origin", "https://app.example,http://127.0.0.1:5173", "--dpop", "optional"])
}

/// Builds what a browser asks before a page of `origin` may send this.
fn preflight(path: &str, origin: &str, method: &str) -> Request<Body> {
    let request = Request::options(path).header(header::ORIGIN, origin);
    let request = request.header("access-control-request-method", method);
    request.header("access-control-request-headers", "authorization,content-type,dpop").body(Body::empty()).unwrap()
}

/// Returns the answer's headers about CORS, in the order of their names.
fn cors_headers(answer: &TestResponse) -> Vec<(&str, &str)> {
    let headers = answer.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
    let mut headers: Vec<_> = headers.filter(|(name, _)| name.starts_with("access-control-")).collect();
    headers.sort_unstable();
    headers
}

fn allowed_origin(answer: &TestResponse) -> Option<&str> {
    cors_headers(answer).into_iter().find_map(|(name, value)| (name == "access-control-allow-origin").then_some(value))
}

#[tokio::test]
async fn cors_is_off_by_default() {
    let demo = test_app();
    let answer = demo.send(preflight("/me", APP, "GET")).await;
    assert_eq!((answer.status, cors_headers(&answer)), (StatusCode::METHOD_NOT_ALLOWED, Vec::new()));
    let request = Request::get("/me").header(header::ORIGIN, APP).body(Body::empty()).unwrap();
    assert_eq!(cors_headers(&demo.send(request).await), []);
}

#[tokio::test]
async fn cors_preflights_of_named_origins_are_answered() {
    let demo = cors_app();
    for origin in [APP, "http://127.0.0.1:5173"] {
        for (path, method) in [("/me", "GET"), ("/auth/sessions/x", "DELETE"), ("/oauth/token", "POST")] {
            let answer = demo.send(preflight(path, origin, method)).await;
            assert_eq!(answer.status, StatusCode::OK, "{path}");
            assert_eq!(
                cors_headers(&answer),
                [
                    ("access-control-allow-headers", "authorization,content-type,dpop"),
                    ("access-control-allow-methods", "GET,POST,DELETE"),
                    ("access-control-allow-origin", origin),
                    ("access-control-max-age", "3600"),
                ],
                "{path}"
            );
            assert!(answer.headers.get_all(header::VARY).iter().any(|value| value.as_bytes().starts_with(b"origin")));
        }
    }
    for origin in ["https://evil.example", "https://app.example.evil.example", "http://app.example", "null"] {
        assert_eq!(allowed_origin(&demo.send(preflight("/me", origin, "GET")).await), None, "{origin}");
    }
}

#[tokio::test]
async fn cors_lets_a_page_sign_in_and_read_refusals() {
    let demo = cors_app();
    demo.register("ada").await;
    let from_page = |method: &str, path: &str| {
        let request = Request::builder().method(method).uri(path).header(header::ORIGIN, APP);
        request.header("sec-fetch-site", "cross-site").header(header::CONTENT_TYPE, "application/json")
    };
    let body = json!({ "username": "ada", "password": PASSWORD }).to_string();
    let login = demo.send(from_page("POST", "/auth/login").body(body.clone().into()).unwrap()).await;
    assert_eq!((login.status, allowed_origin(&login)), (StatusCode::OK, Some(APP)));

    let request = from_page("GET", "/me").header(header::AUTHORIZATION, "Bearer x").body(Body::empty()).unwrap();
    let refused = demo.send(request).await;
    assert_eq!((refused.status, allowed_origin(&refused)), (StatusCode::UNAUTHORIZED, Some(APP)));
    let read = "www-authenticate,retry-after,dpop-nonce,x-request-id";
    assert!(cors_headers(&refused).contains(&("access-control-expose-headers", read)), "{:?}", refused.headers);

    let unknown = demo.send(from_page("GET", "/nothing").body(Body::empty()).unwrap()).await;
    assert_eq!((unknown.status, allowed_origin(&unknown)), (StatusCode::NOT_FOUND, Some(APP)));

    // Cookies are for the service's own pages.
    let cookies = demo.send(from_page("POST", "/auth/login?transport=cookie").body(body.into()).unwrap()).await;
    assert_eq!((cookies.status, &cookies.body["error"]), (StatusCode::FORBIDDEN, &json!("csrf")));
    for answer in [login, refused, cookies] {
        assert!(cors_headers(&answer).iter().all(|(name, _)| *name != "access-control-allow-credentials"));
    }
}
