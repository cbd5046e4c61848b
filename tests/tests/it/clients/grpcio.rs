//! grpcio, with its packages for reflection and health.

use serde_json::json;
use tests::{
    client::{Client, payload},
    clients::python,
};

use super::Service;

#[tokio::test]
async fn grpc_grpcio_finds_the_services_by_reflection_and_is_refused_without_a_live_token() {
    let service = Service::start(&[]).await;
    let token = service.tokens().await.access;
    let me = Client::new(service.node.url()).me(&token).await.unwrap().json();
    let story = json!({ "story": "identity", "token": token });
    let told = python("with_grpcio.py", &service.input(story)).await;
    let refused = |description: &str| json!(["UNAUTHENTICATED", description]);
    let expected = json!({
        "services": [
            "demo.v1.Identity",
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection",
            "grpc.reflection.v1alpha.ServerReflection",
        ],
        "health": ["SERVING", "SERVING"],
        "good": { "user_id": payload(&token)["sub"], "username": service.username, "scopes": ["profile"] },
        "no token": refused("A token is needed"),
        "bad token": refused("The token is expired, revoked or otherwise not valid"),
        "revoked": refused("The token is expired, revoked or otherwise not valid"),
    });
    assert_eq!(me["user_id"], expected["good"]["user_id"]);
    assert_eq!(told, expected);
}
