//! Tokens in a cookie.

use auth_layer::trust::CookieName;

use super::*;

fn layer(authority: &Authority) -> AuthLayer {
    AuthLayer::builder(authority).cookie(CookieName::new("__Host-access").unwrap()).build()
}

fn with_cookies(cookies: &[&str]) -> http::request::Builder {
    cookies.iter().fold(Request::get("/me"), |request, cookie| request.header(header::COOKIE, *cookie))
}

async fn status(app: &Router, request: http::request::Builder) -> u16 {
    app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap().status().as_u16()
}

#[tokio::test]
async fn cookie_lets_in_what_the_header_does() {
    let authority = authority();
    let token = sign_in(&authority).await.access_token;
    let app = app(layer(&authority));
    assert_eq!(status(&app, with_cookies(&[&format!("theme=dark; __Host-access={token}")])).await, 200);
    assert_eq!(status(&app, Request::get("/me").header(header::AUTHORIZATION, format!("Bearer {token}"))).await, 200);
    assert_eq!(status(&app, with_cookies(&["theme=dark"])).await, 401);
    assert_eq!(status(&app, with_cookies(&["__Host-access=a.b.c"])).await, 401);
    assert_eq!(status(&app, with_cookies(&["__Host-access="])).await, 400);
    let plain = self::app(AuthLayer::new(&authority));
    assert_eq!(status(&plain, with_cookies(&[&format!("__Host-access={token}")])).await, 401, "only where it is set");
}

#[tokio::test]
async fn layer_refuses_a_cookie_beside_the_header() {
    let authority = authority();
    let token = sign_in(&authority).await.access_token;
    let app = app(layer(&authority));
    let cookie = format!("__Host-access={token}");
    let both = with_cookies(&[&cookie]).header(header::AUTHORIZATION, format!("Bearer {token}"));
    assert_eq!(status(&app, both).await, 400);
    assert_eq!(status(&app, with_cookies(&[&cookie, &cookie])).await, 400);
}

#[tokio::test]
async fn cookie_of_a_revoked_session_is_refused() {
    let authority = authority();
    let pair = sign_in(&authority).await;
    let app = app(layer(&authority));
    authority.revoke_session(pair.session_id).await.unwrap();
    assert_eq!(status(&app, with_cookies(&[&format!("__Host-access={}", pair.access_token)])).await, 401);
}
