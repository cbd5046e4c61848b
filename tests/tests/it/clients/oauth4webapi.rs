//! npm's `oauth4webapi`, which checks each member of a response.

use serde_json::{Value, json};
use tests::clients;

use super::Service;

async fn story(args: &[&str]) -> Value {
    let audiences = ["--audience", "demo-app,https://orders.example", "--dpop", "optional"];
    let service = Service::start(&[&audiences, args].concat()).await;
    let input = service.input(json!({ "other_resource": "https://orders.example" }));
    let told = clients::node("oauth4webapi.mjs", &input).await;
    assert_eq!(told["username"], service.username);
    told
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(has_node), ignore = "Node.js 18 or newer and npm are not on the PATH")]
async fn oauth_oauth4webapi_accepts_each_response() {
    let told = story(&[]).await;
    assert_eq!(told["nonce_challenges"], 0, "{told}");
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(has_node), ignore = "Node.js 18 or newer and npm are not on the PATH")]
async fn oauth_oauth4webapi_accepts_demands_for_a_nonce() {
    let told = story(&["--dpop-nonce", "on"]).await;
    assert!(told["nonce_challenges"].as_u64() > Some(0), "{told}");
}
