//! The handler spends a single-use token. Nothing before the handler does.

use axum::{Json, routing::post};
use serde_json::json;

use super::*;

#[derive(Debug, Deserialize)]
struct Order {
    item: String,
}

async fn token(authority: &Authority) -> String {
    let pair = sign_in(authority).await;
    let claims = authority.verify(&pair.access_token).await.unwrap();
    authority.issue_single_use(&claims).await.unwrap().token
}

fn app(authority: &Authority) -> Router {
    Router::new()
        .route("/order", post(async |Spend(_, Json(order)): Spend<Json<Order>>| order.item))
        .route("/confirm", post(async |token: SingleUse| Ok::<_, Rejection>(token.spend().await?.sub.to_string())))
        .layer(AuthLayer::builder(authority).single_use().build())
}

fn request(method: &Method, path: &str, token: &str, content_type: &str, body: &str) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(path)
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .header(header::CONTENT_TYPE, content_type)
        .body(Body::from(body.to_owned()))
        .unwrap()
}

#[tokio::test]
async fn single_use_token_is_not_used_up_where_no_handler_serves_the_request() {
    let authority = authority();
    let (app, token) = (app(&authority), token(&authority).await);
    let order = json!({ "item": "tea" }).to_string();
    for (method, path, content_type, body, status) in [
        (Method::HEAD, "/order", "application/json", "", StatusCode::METHOD_NOT_ALLOWED),
        (Method::OPTIONS, "/order", "application/json", "", StatusCode::METHOD_NOT_ALLOWED),
        (Method::GET, "/order", "application/json", "", StatusCode::METHOD_NOT_ALLOWED),
        (Method::POST, "/orders", "application/json", &*order, StatusCode::NOT_FOUND),
        (Method::POST, "/order", "text/plain", &*order, StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (Method::POST, "/order", "application/json", "{", StatusCode::BAD_REQUEST),
        (Method::POST, "/order", "application/json", "{}", StatusCode::UNPROCESSABLE_ENTITY),
    ] {
        let response = app.clone().oneshot(request(&method, path, &token, content_type, body)).await.unwrap();
        assert_eq!(response.status(), status, "{method} {path} {content_type} {body}");
    }
    let good = || request(&Method::POST, "/order", &token, "application/json", &order);
    let response = app.clone().oneshot(good()).await.unwrap();
    assert_eq!((response.status(), body(response).await), (StatusCode::OK, "tea".to_owned()));
    let response = app.clone().oneshot(good()).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(response.headers()[header::WWW_AUTHENTICATE], r#"Bearer realm="api", error="invalid_token""#);
    let response = app.oneshot(request(&Method::POST, "/confirm", &token, "text/plain", "")).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "used up for every route");
}

#[tokio::test]
async fn single_use_token_is_accepted_once_from_the_first_request() {
    let authority = authority();
    let (app, token) = (app(&authority), token(&authority).await);
    let tries: Vec<_> = (0..64)
        .map(|_| tokio::spawn(app.clone().oneshot(request(&Method::POST, "/confirm", &token, "text/plain", ""))))
        .collect();
    let mut served = 0;
    for attempt in tries {
        served += usize::from(attempt.await.unwrap().unwrap().status() == StatusCode::OK);
    }
    assert_eq!(served, 1);
}

#[tokio::test]
async fn single_use_route_refuses_access_tokens_and_gives_its_handler_no_claims() {
    let authority = authority();
    let pair = sign_in(&authority).await;
    let response = app(&authority)
        .oneshot(request(&Method::POST, "/confirm", &pair.access_token, "text/plain", ""))
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);

    let forgetful = Router::new()
        .route("/", post(async |claims: Claims| claims.sub.to_string()))
        .layer(AuthLayer::builder(&authority).single_use().build());
    let token = token(&authority).await;
    let response = forgetful.oneshot(request(&Method::POST, "/", &token, "text/plain", "")).await.unwrap();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR, "a handler that does not spend serves nobody");
    authority.spend(&token).await.expect("it is not used up");
}
