//! The slow group: tests that take minutes, or need a build that does. CONTRIBUTING.md says how to run
//! it.

mod mixed_fleet;
mod soaks;
mod upgrade;

use std::collections::BTreeMap;

use http::{Method, StatusCode, header};
use serde_json::{Value, json};
use tests::client::{Client, Response, Tokens};

use crate::fleet::PASSWORD;

/// Signs in with this user agent.
async fn sign_in_with(node: &Client, name: &str, agent: &str) -> Tokens {
    let login = node.request(Method::POST, "/auth/login").header(header::USER_AGENT, agent);
    let login = login.json(&json!({ "username": name, "password": PASSWORD })).send().await.unwrap();
    Response::read(login).await.unwrap().tokens()
}

/// Returns the user's sessions by id.
async fn list_sessions(node: &Client, access: &str) -> BTreeMap<String, Value> {
    let listed = node.get("/auth/sessions", Some(access)).await.unwrap();
    assert_eq!(listed.status, StatusCode::OK, "{listed:?}");
    let sessions = listed.json().as_array().unwrap().clone();
    sessions.into_iter().map(|session| (session["session_id"].as_str().unwrap().to_owned(), session)).collect()
}

/// Issues a single-use token.
async fn single_use(node: &Client, access: &str) -> String {
    let issued = node.post("/auth/single-use", Some(access), None).await.unwrap();
    assert_eq!(issued.status, StatusCode::CREATED, "{issued:?}");
    issued.json()["access_token"].as_str().unwrap().to_owned()
}

/// Uses a single-use token.
async fn spend(node: &Client, token: &str) -> StatusCode {
    node.post("/demo/single-use", Some(token), None).await.unwrap().status
}
