//! Tests of the harness that the other tests rely on.

use std::{
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use bson::{Document, doc};
use mongodb::Client as MongoClient;
use tests::{
    client::{Client, raw_status, send_raw},
    node::Node,
    process::{Process, Program},
    servers::{self, MongoServer, RedisServer},
};
use tokio::time::sleep;

/// Returns whether the process with this id runs.
fn is_running(id: u32) -> bool {
    // A process that has ended and is not yet reaped no longer runs.
    std::fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// Waits until the process with this id has ended.
async fn until_gone(id: u32) {
    let begun = Instant::now();
    while is_running(id) {
        assert!(begun.elapsed() < Duration::from_secs(5), "process {id} still runs");
        sleep(Duration::from_millis(5)).await;
    }
}

/// Returns a document of the collection `c`, if there is one.
async fn stored_document(uri: &str, database: &str) -> Option<Document> {
    let client = MongoClient::with_uri_str(uri).await.unwrap();
    client.database(database).collection::<Document>("c").find_one(doc! {}).await.unwrap()
}

#[tokio::test]
async fn harness_gives_each_test_its_own_database_on_the_shared_mongodb() {
    let (one, other) = (servers::mongodb().await, servers::mongodb().await);
    let client = MongoClient::with_uri_str(&one.uri).await.unwrap();
    let mut session = client.start_session().await.unwrap();
    session.start_transaction().await.unwrap();
    let collection = client.database(&one.name).collection("c");
    collection.insert_one(doc! { "a": 1 }).session(&mut session).await.unwrap();
    session.commit_transaction().await.unwrap();
    assert!(stored_document(&one.uri, &one.name).await.is_some());
    assert_eq!(stored_document(&other.uri, &other.name).await, None);
}

/// Not a test of its own: the next one runs it with `MONGODB_URI`.
#[tokio::test]
#[ignore = "started by harness_drops_a_database_on_a_given_server_with_its_last_clone"]
async fn harness_subprocess_uses_a_database() {
    let database = servers::mongodb().await;
    let kept = database.clone();
    let client = MongoClient::with_uri_str(&database.uri).await.unwrap();
    client.database(&database.name).collection("c").insert_one(doc! { "a": 1 }).await.unwrap();
    drop(database);
    assert!(stored_document(&kept.uri, &kept.name).await.is_some(), "it is there while somebody has it");
}

#[tokio::test]
async fn harness_drops_a_database_on_a_given_server_with_its_last_clone() {
    let server = MongoServer::start().await;
    let child = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "harness::harness_subprocess_uses_a_database"])
        .env("MONGODB_URI", server.uri())
        .output();
    let output = child.await.unwrap();
    assert!(output.status.success(), "{output:?}");
    let client = MongoClient::with_uri_str(server.uri()).await.unwrap();
    let names = client.list_database_names().await.unwrap();
    assert!(!names.iter().any(|name| name.starts_with("test_")), "{names:?}");
}

#[tokio::test]
async fn harness_restarts_a_killed_mongodb_with_its_data() {
    let mut server = MongoServer::start().await;
    let client = MongoClient::with_uri_str(server.uri()).await.unwrap();
    let journaled = mongodb::options::WriteConcern::builder().journal(true).build();
    let collection = client.database("d").collection("c");
    collection.insert_one(doc! { "a": 1 }).write_concern(journaled).await.unwrap();
    server.kill();
    server.restart().await;
    assert!(stored_document(&server.uri(), "d").await.is_some());
    drop(server);

    let server = MongoServer::start_standalone().await;
    let client = MongoClient::with_uri_str(server.uri()).await.unwrap();
    let hello = client.database("admin").run_command(doc! { "hello": 1 }).await.unwrap();
    assert_eq!(hello.get("setName"), None);
}

#[tokio::test]
async fn harness_kills_restarts_and_monitors_redis() {
    let mut server = RedisServer::start(&["--maxmemory", "5mb"]).await;
    assert_eq!(server.command(&["SET", "k", "v"]), "+OK");
    assert_eq!(server.command(&["GET", "k"]), "$1");
    server.kill();
    server.restart().await;
    let monitor = server.monitor();
    assert_eq!(server.command(&["GET", "k"]), "$-1");
    let seen = monitor.commands_with("\"GET\"").await;
    assert_eq!(seen.len(), 1, "{seen:?}");
}

#[tokio::test]
async fn harness_ends_a_dropped_child_even_if_it_was_stopped() {
    let mut server = RedisServer::start(&[]).await;
    let reply = server.command(&["INFO", "server"]);
    assert!(reply.starts_with('$'), "{reply}");
    let process = Process::start(&sleep_program(None)).unwrap();
    let id = process.id();
    assert!(is_running(id));
    drop(process);
    assert!(!is_running(id));
    server.pause();
    drop(server);
}

/// Returns a program that sleeps for ten minutes.
fn sleep_program(scratch: Option<PathBuf>) -> Program {
    Program { path: "sleep".into(), args: vec!["600".into()], env: Vec::new(), env_removed: &[], scratch }
}

/// Not a test of its own: the next one runs it in a process that it kills.
#[tokio::test]
#[ignore = "started by harness_children_die_with_a_test_process_that_is_killed"]
async fn harness_subprocess_leaves_a_child_behind() {
    // Like a server in a static, the child is never dropped.
    let file = PathBuf::from(std::env::var_os("LEAVE_CHILD_ID_IN").unwrap());
    let process = Process::start(&sleep_program(Some(file.with_file_name("scratch")))).unwrap();
    let id = std::mem::ManuallyDrop::new(process).id();
    std::fs::write(file, format!("{id}\n")).unwrap();
    sleep(Duration::from_mins(10)).await;
}

#[tokio::test]
async fn harness_children_die_with_a_test_process_that_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let scratch = dir.path().join("scratch");
    std::fs::create_dir(&scratch).unwrap();
    std::fs::write(scratch.join("data"), "of a server").unwrap();
    let file = dir.path().join("id");
    let mut other = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "harness::harness_subprocess_leaves_a_child_behind"])
        .env("LEAVE_CHILD_ID_IN", &file)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    let child: u32 = loop {
        if let Some(id) = std::fs::read_to_string(&file).ok().and_then(|text| text.strip_suffix('\n')?.parse().ok()) {
            break id;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "no child was started");
        sleep(Duration::from_millis(5)).await;
    };
    assert!(is_running(child) && scratch.exists());
    other.kill().unwrap();
    other.wait().unwrap();
    until_gone(child).await;
    let begun = Instant::now();
    while scratch.exists() {
        assert!(begun.elapsed() < Duration::from_secs(10), "what the child had on the disk is left there");
        sleep(Duration::from_millis(5)).await;
    }
}

/// A program in place of a node: prints its address and gives each connection the same answer.
const FAKE_NODE: &str = r#"#!/usr/bin/env python3
import os, socket, sys
assert not [name for name in os.environ if name.startswith(("DEMO_", "MONGODB_", "REDIS_")) and name != "DEMO_GIVEN"]
assert os.environ["DEMO_GIVEN"] == "yes" and sys.argv[1:3] == ["--listen", "127.0.0.1:0"], sys.argv
server = socket.create_server(("127.0.0.1", 0))
print("starting", file=sys.stderr, flush=True)
print("listening on http://127.0.0.1:%d" % server.getsockname()[1], flush=True)
while True:
    connection, _ = server.accept()
    connection.recv(65536)
    body = b'{"error": "invalid_token"}'
    connection.sendall(b"HTTP/1.1 401 x\r\nwww-authenticate: Bearer\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
    connection.close()
"#;

#[tokio::test]
async fn harness_starts_asks_kills_and_restarts_a_node() {
    let dir = tempfile::tempdir().unwrap();
    let binary = dir.path().join("node");
    std::fs::write(&binary, FAKE_NODE).unwrap();
    std::fs::set_permissions(&binary, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut node = Node::start(&binary, &[], &[("DEMO_GIVEN", "yes")]).await;
    for _ in 0..2 {
        let answer = Client::new(node.url()).me("t").await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.error().as_str()), (401, "invalid_token"));
        assert_eq!(answer.header("www-authenticate"), "Bearer");
        let address = node.url().strip_prefix("http://").unwrap().parse().unwrap();
        let raw = send_raw(address, b"\0\xff\r\n", Duration::from_secs(2)).await.unwrap();
        assert_eq!(raw_status(&raw).map(|status| status.as_u16()), Some(401));
        node.log().until("starting", 1).await;
        let id = node.id();
        node.kill();
        assert!(!is_running(id));
        node.restart().await;
        assert_ne!(node.id(), id);
    }
    assert!(!node.terminate().await.success());
}
