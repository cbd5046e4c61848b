//! Schemathesis: the description at `/openapi.json`, compared with what a node does.

use serde_json::json;
use tests::{clients::schemathesis, node::run_command};

use super::Service;
use crate::fleet::{NODE, PASSWORD};

/// It makes requests from the description, good and bad, and checks each answer against it.
#[tokio::test]
async fn openapi_schemathesis_finds_no_difference_between_description_and_node() {
    let data = tempfile::tempdir().unwrap();
    let path = data.path().to_str().unwrap();
    let create = ["users", "create", "root", "--role", "admin", "--data-dir", path];
    let created = run_command(NODE, &create, &[("NODE_PASSWORDS", "cheap")], PASSWORD).await;
    assert_eq!(created.code, Some(0), "{created}");
    let service = Service::start_in(data, &[]).await;
    let told = schemathesis(&service.input(json!({ "administrator": "root" }))).await;
    assert_eq!(told["failed"], json!(["events"]), "all but the endless stream succeed");
}
