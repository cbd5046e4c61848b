//! The client of `PyPI`'s `mcp`, against the example of an MCP server.

#[expect(dead_code, reason = "its `main` listens on a fixed port")]
#[path = "../../../../auth-layer/examples/mcp.rs"]
mod example;

use http::StatusCode;
use serde_json::json;
use tests::{
    client::{Client, payload},
    clients::python,
};
use tokio::net::TcpListener;

use super::Service;

#[tokio::test]
async fn oauth_mcp_client_finds_the_authorization_server_and_is_refused_after_the_sign_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let resource = format!("{origin}/mcp");
    let service = Service::start(&["--audience", &format!("demo-app,{resource}")]).await;
    let app = example::app(service.node.url(), &origin).unwrap();
    let server = tokio::spawn(async move { axum::serve(listener, app).await });

    let told = python("with_mcp.py", &service.input(json!({ "story": "sign_out", "resource": resource }))).await;
    let token = told["token"].as_str().unwrap();
    let claims = payload(token);
    assert_eq!((&claims["aud"], &claims["client_id"]), (&json!(resource), &json!("desktop")));
    let expected = json!({
        "asked_for": [resource, "profile", "S256"],
        "tools": ["sign_out", "whoami"],
        "whoami": claims["sub"],
        "sign_out": "signed out",
        // A client that is refused asks its user to sign in again.
        "after": "another sign-in is needed",
        "token": token,
    });
    assert_eq!(told, expected);

    // The token was for this server alone, and is refused here too now.
    for (url, path) in [(service.node.url(), "/me"), (&origin, "/mcp")] {
        let refused = Client::new(url).get(path, Some(token)).await.unwrap();
        assert_eq!((refused.status, refused.error().as_str()), (StatusCode::UNAUTHORIZED, "invalid_token"), "{url}");
    }
    server.abort();
}
