//! The page at `/docs` in Chromium.

use std::{fs, path::Path};

use serde_json::json;
use tests::{client::Client, clients};

use super::Service;

/// It loads nothing from elsewhere, and its policy blocks nothing that it needs.
#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(all(has_node, has_chromium)), ignore = "Node.js, npm or Chromium is not on the PATH")]
async fn openapi_page_shows_each_operation_and_calls_the_service() {
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("browser");
    fs::create_dir_all(&pictures).unwrap();
    let service = Service::start(&[]).await;
    let token = service.tokens().await.access;
    let input = json!({ "chromium": clients::chromium(), "screenshots": pictures, "token": token });
    let told = clients::browser("docs.mjs", &service.input(input)).await;

    let description = Client::new(service.node.url()).get("/openapi.json", None).await.unwrap().json();
    let paths = description["paths"].as_object().unwrap();
    let operations: usize = paths.values().map(|item| item.as_object().unwrap().len()).sum();
    assert_eq!(told, json!({ "shown": operations, "alive": "200", "me": "200" }));
}
