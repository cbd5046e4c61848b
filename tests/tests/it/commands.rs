//! The operator's commands beside running nodes.

use std::time::{Duration, Instant};

use auth_layer::{
    Authority, Grant, Subject,
    keys::{Keyring, SigningKey},
};
use bson::{Document, doc};
use http::StatusCode;
use serde_json::{Value, json};
use tests::{
    client::{Client, Tokens, payload},
    command::CommandOutput,
    node::{Node, run_command},
    servers::{MongoServer, RedisServer},
};

use crate::fleet::{Fleet, NODE, PASSWORD, node, store_in, username};

/// Without the in-process cache, what a command revokes is refused at once.
const STRICT: [&str; 4] = ["--local-cache", "0", "--rate-limit", "off"];

async fn status(node: &Client, token: &str) -> StatusCode {
    node.me(token).await.unwrap().status
}

async fn login_with_scope(node: &Client, name: &str, password: &str, scope: &str) -> tests::client::Response {
    let body = json!({ "username": name, "password": password, "scope": scope });
    node.post("/auth/login", None, Some(&body)).await.unwrap()
}

/// Disabling, a new password and `revoke` end what a user has on every node.
#[tokio::test]
async fn users_are_changed_beside_running_nodes() {
    let fleet = Fleet::on_shared_servers(2, true, &STRICT).await;
    let (a, b) = fleet.clients();
    let name = username();
    let created = fleet.command(&["users", "create", &name, "--json"], PASSWORD).await.json();
    let sign_in = async || {
        let tokens = a.login(&name, PASSWORD).await.unwrap().tokens();
        // Both nodes, and Redis, hold it as active.
        for node in [&a, &b] {
            assert_eq!(status(node, &tokens.access).await, StatusCode::OK);
        }
        tokens
    };
    let tokens = sign_in().await;
    assert_eq!(payload(&tokens.access)["sub"], created["user_id"]);

    assert_eq!(fleet.command(&["users", "disable", &name, "--json"], "").await.json()["disabled"], true);
    for node in [&a, &b] {
        assert_eq!(status(node, &tokens.access).await, StatusCode::UNAUTHORIZED);
        assert_eq!(node.refresh(&tokens.refresh).await.unwrap().error(), "invalid_grant");
        assert_eq!(node.login(&name, PASSWORD).await.unwrap().error(), "invalid_credentials");
    }
    assert_eq!(fleet.command(&["users", "enable", &name, "--json"], "").await.json()["disabled"], false);
    let tokens = sign_in().await;
    assert_eq!(fleet.command(&["users", "revoke", &name], "").await.code, Some(0));
    for node in [&a, &b] {
        assert_eq!(status(node, &tokens.access).await, StatusCode::UNAUTHORIZED);
    }
    let tokens = sign_in().await;
    assert_eq!(fleet.command(&["users", "password", &name], "battery staple").await.code, Some(0));
    for node in [&a, &b] {
        assert_eq!(status(node, &tokens.access).await, StatusCode::UNAUTHORIZED);
        assert_eq!(node.login(&name, PASSWORD).await.unwrap().error(), "invalid_credentials");
        assert_eq!(node.login(&name, "battery staple").await.unwrap().status, StatusCode::OK);
    }
}

#[tokio::test]
async fn users_with_the_role_admin_list_users_until_it_is_taken_away() {
    let fleet = Fleet::on_shared_servers(2, false, &STRICT).await;
    let (a, b) = fleet.clients();
    let name = username();
    a.register(&name, PASSWORD).await.unwrap();
    assert_eq!(login_with_scope(&a, &name, PASSWORD, "profile admin").await.error(), "invalid_scope");
    assert_eq!(fleet.command(&["users", "role", &name, "admin", "--json"], "").await.json()["role"], "admin");
    let tokens = login_with_scope(&a, &name, PASSWORD, "profile admin").await.tokens();
    let listed = b.get("/admin/users", Some(&tokens.access)).await.unwrap();
    assert_eq!(listed.status, StatusCode::OK, "{listed:?}");
    assert_eq!(listed.json(), fleet.command(&["users", "list", "--json"], "").await.json());
    for other in ["zzz", "AAA"] {
        a.register(other, PASSWORD).await.unwrap();
    }
    for (query, expected) in [("?limit=1", "AAA"), ("?after=aaa&limit=1", name.as_str()), ("?after=yyy", "zzz")] {
        let page = b.get(&format!("/admin/users{query}"), Some(&tokens.access)).await.unwrap().json();
        let names: Vec<&Value> = page.as_array().unwrap().iter().map(|user| &user["username"]).collect();
        assert_eq!(names, [expected], "{query}");
    }

    assert_eq!(fleet.command(&["users", "role", &name, "user", "--json"], "").await.json()["role"], "user");
    let refused = b.get("/admin/users", Some(&tokens.access)).await.unwrap();
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert_eq!(b.refresh(&tokens.refresh).await.unwrap().error(), "invalid_grant");
    assert_eq!(login_with_scope(&b, &name, PASSWORD, "admin").await.error(), "invalid_scope");
}

#[tokio::test]
async fn tokens_are_shown_and_revoked_by_their_ids() {
    let fleet = Fleet::on_shared_servers(2, true, &STRICT).await;
    let (a, b) = fleet.clients();
    let name = username();
    let first = a.sign_up(&name, PASSWORD).await.unwrap();
    let second = a.login(&name, PASSWORD).await.unwrap().tokens();
    let id = |tokens: &Tokens, claim: &str| payload(&tokens.access)[claim].as_str().unwrap().to_owned();
    let command = async |words: &[&str]| fleet.command(&[words, &["--json"]].concat(), "").await;

    let listed = command(&["tokens", "list", &name]).await.json();
    assert_eq!(listed.as_array().unwrap().len(), 2);
    assert_eq!(listed[0]["session_id"], id(&second, "sid"), "the newest first");
    assert_eq!(listed[0]["access_token_id"], id(&second, "jti"));
    let refresh_id = listed[0]["refresh_token_id"].as_str().unwrap().to_owned();
    let shown = command(&["tokens", "show", &id(&first, "jti")]).await.json();
    assert_eq!((&shown["kind"], &shown["status"]), (&json!("access"), &json!("active")));
    assert_eq!(shown["session_id"], id(&first, "sid"));
    let shown = command(&["tokens", "show", &id(&first, "sid").to_uppercase()]).await.json();
    assert_eq!((&shown["status"], &shown["client_id"]), (&json!("live"), &json!("demo-app")));

    // The access token alone.
    command(&["tokens", "revoke", &id(&first, "jti")]).await.json();
    assert_eq!(status(&b, &first.access).await, StatusCode::UNAUTHORIZED);
    assert_eq!(command(&["tokens", "show", &id(&first, "jti")]).await.json()["status"], "revoked or used");
    let refreshed = b.refresh(&first.refresh).await.unwrap().tokens();
    // Its session.
    assert_eq!(status(&b, &refreshed.access).await, StatusCode::OK);
    assert_eq!(command(&["tokens", "revoke", &id(&first, "sid")]).await.json()["kind"], "session");
    assert_eq!(status(&b, &refreshed.access).await, StatusCode::UNAUTHORIZED);
    // A refresh token takes its session with it.
    assert_eq!(status(&b, &second.access).await, StatusCode::OK);
    assert_eq!(command(&["tokens", "revoke", &refresh_id]).await.json()["kind"], "refresh");
    assert_eq!(status(&b, &second.access).await, StatusCode::UNAUTHORIZED);
    assert_eq!(command(&["tokens", "list", &name]).await.json(), json!([]));

    let unknown = command(&["tokens", "revoke", "0190a000-0000-7000-8000-000000000001"]).await;
    assert!(unknown.code == Some(1) && unknown.stderr.contains("nothing is recorded"), "{unknown:?}");
    let purged = command(&["tokens", "purge"]).await.json();
    assert_eq!(purged["tokens"], 0, "nothing has expired: {purged}");
    for output in [fleet.command(&["tokens", "list", &name], "").await, unknown] {
        assert!(!output.stdout.contains("eyJ") && !output.stderr.contains("eyJ"), "{output:?}");
    }
}

/// Opens a session for this subject and client, as a node's OAuth endpoint would.
async fn open_session(authority: &Authority, subject: Subject, client: &str) -> String {
    let sign_in = authority.begin_sign_in(subject).await.unwrap();
    authority.sign_in(sign_in, Grant::new(client)).await.unwrap().access_token
}

#[tokio::test]
async fn clients_deleted_lose_their_sessions_and_no_other_does() {
    let fleet = Fleet::on_shared_servers(1, false, &STRICT).await;
    let database = fleet.database.as_ref().unwrap();
    let keys = Keyring::new(SigningKey::generate().unwrap());
    let store = store_in(database).await;
    let authority = Authority::builder("http://issuer", store).audience("demo-app").keys(keys).build().unwrap();
    let created = fleet.command(&["clients", "create", "job", "--json"], "").await.json();
    let documents = mongodb::Client::with_uri_str(&database.uri).await.unwrap().database(&database.name);
    let stored = documents.collection::<Document>("clients").find_one(doc! { "_id": "job" }).await.unwrap().unwrap();
    assert!(!stored.to_string().contains(created["client_secret"].as_str().unwrap()), "{stored}");

    let user = Subject::generate();
    let own = open_session(&authority, "job".parse().unwrap(), "job").await;
    let of_user = open_session(&authority, user.clone(), "job").await;
    let of_another = open_session(&authority, user, "job-2").await;
    let begun = Instant::now();
    let late = async {
        // A node that still remembers the client.
        tokio::time::sleep(Duration::from_secs(3)).await;
        open_session(&authority, "job".parse().unwrap(), "job").await
    };
    let (deleted, late) = tokio::join!(fleet.command(&["clients", "delete", "job", "--json"], ""), late);
    assert_eq!(deleted.json(), json!({ "client_id": "job", "sessions_ended": 3 }));
    assert!(begun.elapsed() >= Duration::from_secs(7) && deleted.stderr.contains("waiting 7 s"), "{deleted:?}");
    for token in [&own, &of_user, &late] {
        assert!(authority.verify(token).await.is_err());
    }
    authority.verify(&of_another).await.unwrap();
    let again = fleet.command(&["clients", "delete", "job"], "").await;
    assert!(again.code == Some(1) && again.stderr.contains("no client `job`"), "{again:?}");
}

async fn embedded_command(directory: &str, words: &[&str], input: &str) -> CommandOutput {
    let args = [words, &["--data-dir", directory]].concat();
    run_command(NODE, &args, &[("NODE_PASSWORDS", "cheap")], input).await
}

/// On the embedded store the node is stopped while a command runs.
#[tokio::test]
async fn users_on_the_embedded_store_are_changed_between_two_runs_of_the_node() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().to_str().unwrap();
    let name = username();
    embedded_command(data, &["users", "create", &name, "--role", "admin", "--json"], PASSWORD).await.json();
    let mut node: Node = node(&["--data-dir", data, "--rate-limit", "off"], &[]).await;
    let client = Client::new(node.url());
    let tokens = login_with_scope(&client, &name, PASSWORD, "profile admin").await.tokens();
    let listed = client.get("/admin/users", Some(&tokens.access)).await.unwrap().json();
    let refused = embedded_command(data, &["users", "disable", &name], "").await;
    assert!(refused.code == Some(1) && refused.stderr.contains("in use by another process"), "{refused:?}");
    assert_eq!(status(&client, &tokens.access).await, StatusCode::OK, "nothing is changed");

    assert!(node.terminate().await.success());
    assert_eq!(embedded_command(data, &["users", "list", "--json"], "").await.json(), listed);
    let sessions: Value = embedded_command(data, &["tokens", "list", &name, "--json"], "").await.json();
    assert_eq!(sessions[0]["access_token_id"], payload(&tokens.access)["jti"]);
    embedded_command(data, &["users", "revoke", &name, "--json"], "").await.json();
    node.restart().await;
    let client = Client::new(node.url());
    assert_eq!(status(&client, &tokens.access).await, StatusCode::UNAUTHORIZED);
    assert_eq!(login_with_scope(&client, &name, PASSWORD, "admin").await.status, StatusCode::OK);
}

/// Returns the exit code of `doctor` and each finding as "check outcome text".
fn findings(output: &CommandOutput) -> (Option<i32>, Vec<String>) {
    let report: Value = serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let line = |finding: &Value| ["check", "outcome", "text"].map(|name| finding[name].as_str().unwrap()).join(" ");
    (output.code, report["findings"].as_array().unwrap().iter().map(line).collect())
}

#[tokio::test]
async fn doctor_tells_what_is_wrong_with_mongodb_and_redis() {
    let mongodb = MongoServer::start().await;
    let redis = RedisServer::start(&["--maxmemory-policy", "allkeys-lru"]).await;
    let fleet = Fleet::on_servers(1, &mongodb, Some(&redis), &[]).await;
    let (code, found) = findings(&fleet.command(&["doctor", "--json"], "").await);
    let failures: Vec<&String> = found.iter().filter(|finding| finding.contains(" failure ")).collect();
    assert!(code == Some(1) && failures.len() == 1, "{found:#?}");
    assert!(failures[0].contains("allkeys-lru") && failures[0].contains("noeviction"), "{found:#?}");

    assert_eq!(redis.command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]), "+OK");
    let (code, found) = findings(&fleet.command(&["doctor", "--json"], "").await);
    // The command has not the nodes' keys directory.
    let is_good =
        |finding: &String| finding.contains(" ok ") || finding.starts_with("keys warning there is no key yet");
    assert!(code == Some(0) && found.iter().all(is_good), "{found:#?}");
    for check in ["settings", "keys", "MongoDB", "clock", "Redis"] {
        assert!(found.iter().any(|finding| finding.starts_with(check)), "{check}: {found:#?}");
    }

    let data = tempfile::tempdir().unwrap();
    let env = [("MONGODB_URI", "mongodb://127.0.0.1:1/?replicaSet=rs0&serverSelectionTimeoutMS=200")];
    let args = ["doctor", "--json", "--data-dir", data.path().to_str().unwrap()];
    let (code, found) = findings(&run_command(NODE, &args, &env, "").await);
    let failed = found.iter().any(|finding| finding.starts_with("MongoDB failure"));
    assert!(code == Some(1) && failed, "{found:#?}");
}
