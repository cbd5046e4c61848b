//! MongoDB.

use std::os::unix::fs::PermissionsExt;

use bson::{Document, doc};
use mongodb::Client as MongoClient;
use tests::{
    client::Client,
    process::{Process, Program},
    servers::MongoServer,
};

use super::refused_start;
use crate::fleet::{NODE, PASSWORD, node, username};

/// A replica set that asks for passwords, and its administrator.
struct SecuredMongo {
    server: MongoServer,
    admin: MongoClient,
    _keys: tempfile::TempDir,
}

impl SecuredMongo {
    /// Starts the replica set and creates its administrator.
    async fn start() -> Self {
        let keys = tempfile::tempdir().unwrap();
        let file = keys.path().join("key");
        std::fs::write(&file, "ofMembersToEachOther").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let server = MongoServer::start_with(&["--keyFile", file.to_str().unwrap()]).await;
        // A client on the same machine may make the first user.
        let first = MongoClient::with_uri_str(server.uri()).await.unwrap();
        let user = doc! { "createUser": "root", "pwd": "s3cret", "roles": ["root"] };
        first.database("admin").run_command(user).await.unwrap();
        let admin = MongoClient::with_uri_str(uri(&server, "root:s3cret@", "admin")).await.unwrap();
        Self { server, admin, _keys: keys }
    }

    /// Runs a command as the administrator.
    async fn run(&self, command: Document) {
        self.admin.database("admin").run_command(command).await.unwrap();
    }

    /// Returns the URI with these credentials.
    fn uri(&self, user: &str) -> String {
        uri(&self.server, user, "admin")
    }
}

/// Returns the URI with these credentials and this `authSource`.
fn uri(server: &MongoServer, user: &str, source: &str) -> String {
    format!("mongodb://{user}127.0.0.1:{}/?replicaSet=rs0&authSource={source}", server.port())
}

#[tokio::test]
async fn settings_of_a_mongodb_user_that_cannot_work_end_the_start_at_once() {
    let secured = SecuredMongo::start().await;
    let role = doc! { "createUser": "reader", "pwd": "s3cret", "roles": [{ "role": "read", "db": "auth" }] };
    secured.run(role).await;
    for (uri, expected) in [
        (secured.uri("root:s3cretwrong@"), "refuses the sign-in"),
        (secured.uri("nobody:s3cret@"), "refuses the sign-in"),
        (uri(&secured.server, "root:s3cret@", "auth"), "authSource"),
        (secured.server.uri(), "name a user and a password"),
        (secured.uri("reader:s3cret@"), "role readWrite"),
    ] {
        let line = refused_start(&[], &[("MONGODB_URI", &uri)]).await;
        assert!(line.contains(expected) && line.contains("--mongodb-uri"), "{uri}: {line}");
    }
}

#[tokio::test]
async fn settings_of_a_mongodb_user_without_createindex_serve_if_the_indexes_exist() {
    let secured = SecuredMongo::start().await;
    let of = |actions: &[&str]| doc! { "resource": { "db": "auth", "collection": "" }, "actions": actions };
    let role = |actions: &[&str]| doc! { "createRole": "plain", "privileges": [of(actions)], "roles": [] };
    secured.run(role(&["find", "insert", "update", "remove", "listIndexes", "changeStream"])).await;
    secured.run(doc! { "createUser": "plain", "pwd": "s3cret", "roles": ["plain"] }).await;
    let plain = secured.uri("plain:s3cret@");
    let line = refused_start(&[], &[("MONGODB_URI", &plain)]).await;
    assert!(line.contains("an index is missing"), "{line}");
    node(&[], &[("MONGODB_URI", &secured.uri("root:s3cret@"))]).await;
    let node = node(&[], &[("MONGODB_URI", &plain)]).await;
    let client = Client::new(node.url());
    let tokens = client.sign_up(&username(), PASSWORD).await.unwrap();
    assert_eq!(client.logout(&tokens.access).await.unwrap().status, 204);
    let line = node.log().lines().into_iter().find(|line| line.contains("version=")).unwrap();
    assert!(line.contains(&format!("MongoDB rs0/127.0.0.1:{}, database auth", secured.server.port())), "{line}");
    assert!(!node.log().contains("s3cret"));
}

#[tokio::test]
async fn settings_of_a_mongodb_without_the_named_replica_set_end_the_start_at_once() {
    let uninitiated = MongoServer::start_uninitiated().await;
    let alone = format!("mongodb://127.0.0.1:{}/", uninitiated.port());
    for uri in [uninitiated.uri(), alone.clone(), format!("{alone}?directConnection=true")] {
        let line = refused_start(&[], &[("MONGODB_URI", &uri)]).await;
        assert!(line.contains("call rs.initiate() once"), "{uri}: {line}");
    }
    let standalone = MongoServer::start_standalone().await;
    for uri in [standalone.uri(), standalone.uri() + "?replicaSet=rs0"] {
        let line = refused_start(&[], &[("MONGODB_URI", &uri)]).await;
        assert!(line.contains("start mongod with --replSet"), "{uri}: {line}");
    }
    let named = MongoServer::start().await;
    let line = refused_start(&[], &[("MONGODB_URI", &named.uri().replace("rs0", "other"))]).await;
    assert!(line.contains("another name than the URI says"), "{line}");
    // Names that differ in case only are different names.
    node(&[], &[("MONGODB_URI", &named.uri())]).await;
    let line = refused_start(&["--mongodb-database", "AUTH"], &[("MONGODB_URI", &named.uri())]).await;
    assert!(line.contains("differs from this one in case only"), "{line}");
}

#[tokio::test]
async fn settings_of_a_mongodb_that_is_away_are_waited_for_and_logged_once() {
    let mut server = MongoServer::start().await;
    server.kill();
    let (data, uri) = (tempfile::tempdir().unwrap(), server.uri());
    let process = Process::start(&Program {
        path: NODE.into(),
        args: ["--listen", "127.0.0.1:0", "--data-dir", data.path().to_str().unwrap()].map(Into::into).into(),
        env: vec![("MONGODB_URI".into(), uri.into())],
        env_removed: &["DEMO_", "MONGODB_", "REDIS_"],
        scratch: None,
    })
    .unwrap();
    let log = process.log();
    log.until("waiting for MongoDB", 1).await;
    server.restart().await;
    log.until("listening on", 1).await;
    let waiting: Vec<String> = log.lines().into_iter().filter(|line| line.contains("waiting for MongoDB")).collect();
    assert!(waiting.len() <= 2 && waiting[0].contains("until=") && waiting[0].len() < 300, "{waiting:#?}");
}
