//! Administrators list users.

use auth_layer::Grant;

use super::*;
use crate::{password::Password, state::Identity};

impl TestApp {
    /// Adds an administrator and signs in with the scope `admin`.
    async fn sign_in_as_admin(&self, username: &str) -> String {
        let password = Password::from(PASSWORD.to_owned());
        let hash = self.state.passwords.hash(password.normalized()).await.unwrap();
        self.add_user(username, hash, Role::Admin).await;
        let body = json!({ "username": username, "password": PASSWORD, "scope": "profile admin" });
        self.post("/auth/login", body).await.text("access_token")
    }

    async fn list_users(&self, query: &str, token: &str) -> TestResponse {
        self.with_token("GET", &format!("/admin/users{query}"), token, None).await
    }
}

fn names(answer: &TestResponse) -> Vec<&str> {
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    answer.body.as_array().unwrap().iter().map(|user| user["username"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn admin_lists_users_in_pages_by_name() {
    let demo = test_app();
    let admin = demo.sign_in_as_admin("Root").await;
    for name in ["zoe", "Bob", "ada", "carl"] {
        demo.register(name).await;
    }
    let all = demo.list_users("", &admin).await;
    assert_eq!(names(&all), ["ada", "Bob", "carl", "Root", "zoe"]);
    assert_eq!(names(&demo.list_users("?limit=2", &admin).await), ["ada", "Bob"]);
    assert_eq!(names(&demo.list_users("?limit=2&after=Bob", &admin).await), ["carl", "Root"]);
    assert_eq!(names(&demo.list_users("?limit=2&after=bOB", &admin).await), ["carl", "Root"]);
    assert_eq!(names(&demo.list_users("?after=root&limit=100", &admin).await), ["zoe"]);
    assert_eq!(names(&demo.list_users("?after=zoe", &admin).await), [""; 0]);

    let ada = &all.body[0];
    let members: Vec<&String> = ada.as_object().unwrap().keys().collect();
    assert_eq!(members, ["created_at", "disabled", "role", "user_id", "username"], "and no hash");
    assert_eq!((&ada["role"], &ada["disabled"]), (&json!("user"), &json!(false)));
    assert!(ada["created_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(all.body[3]["role"], "admin");
    let id: UserId = ada["user_id"].as_str().unwrap().parse().unwrap();
    demo.state.authority.set_user_disabled(id, true).await.unwrap();
    assert_eq!(demo.list_users("?limit=1", &admin).await.body[0]["disabled"], true);
}

#[tokio::test]
async fn admin_list_refuses_wrong_queries_by_field() {
    let demo = test_app();
    let admin = demo.sign_in_as_admin("root").await;
    for (query, field) in [
        ("?limit=0", "limit"),
        ("?limit=101", "limit"),
        ("?limit=-1", "limit"),
        ("?limit=", "limit"),
        ("?limit=99999999999999999999", "limit"),
        ("?after=", "after"),
        ("?after=a%20b", "after"),
        ("?after=%ff%ff%ff", "after"),
    ] {
        let answer = demo.list_users(query, &admin).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{query}");
        assert_eq!(answer.body["fields"].as_object().unwrap().keys().collect::<Vec<_>>(), [field], "{query}");
    }
    assert_eq!(demo.list_users("?limit=1&limit=2", &admin).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(demo.list_users("?other=1", &admin).await.status, StatusCode::OK);
}

#[tokio::test]
async fn admin_list_is_for_administrators_with_tokens_of_the_first_party_client() {
    let demo = test_app();
    let admin = demo.sign_in_as_admin("root").await;
    demo.register("ada").await;
    let user = demo.log_in("ada").await.text("access_token");
    let without_scope = demo.log_in("root").await.text("access_token");
    for token in [&user, &without_scope] {
        let answer = demo.list_users("", token).await;
        assert_eq!((answer.status, &answer.body["error"]), (StatusCode::FORBIDDEN, &json!("insufficient_scope")));
        let challenge = answer.headers[header::WWW_AUTHENTICATE].to_str().unwrap();
        assert!(challenge.contains(r#"scope="admin""#), "{challenge}");
    }
    let anonymous = demo.send(Request::get("/admin/users").body(Body::empty()).unwrap()).await;
    assert_eq!(anonymous.status, StatusCode::UNAUTHORIZED);

    // A user's token of another client, and clients' own tokens.
    let root = demo.list_users("?after=ada", &admin).await.body[0]["user_id"].as_str().unwrap().to_owned();
    let (foreign, own) = ("other clients than demo-app", "a client's own");
    for (subject, client, why) in [(root.as_str(), "other", foreign), ("job", "job", own), ("job", "demo-app", own)] {
        let sign_in =
            demo.state.authority.begin_sign_in(subject.parse::<auth_layer::Subject>().unwrap()).await.unwrap();
        let grant = Grant::new(client).scope("profile admin".parse().unwrap());
        let grant = grant.custom(&Identity { username: "root".to_owned() }).unwrap();
        let token = demo.state.authority.sign_in(sign_in, grant).await.unwrap().access_token;
        let answer = demo.list_users("", &token).await;
        assert_eq!((answer.status, &answer.body["error"]), (StatusCode::FORBIDDEN, &json!("insufficient_scope")));
        assert!(answer.text("error_description").contains(why), "{subject} of {client}: {}", answer.body);
    }
}
