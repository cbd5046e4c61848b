//! Redis.

use std::time::{Duration, Instant};

use auth_layer::cache::{
    CacheErrorKind,
    redis::{EvictionPolicy, RedisCache, RedisOptions},
};
use http::StatusCode;
use tests::{
    client::Client,
    servers::{self, RedisServer},
};
use tokio::time::sleep;

use super::refused_start;
use crate::{
    fleet::{Fleet, PASSWORD, node, username},
    redis_cache::cluster,
};

/// The time within which a running node notices a setting of its Redis.
const NOTICED: Duration = Duration::from_secs(10);

/// Returns the line with which a node refuses this URL.
async fn refused_redis_url(url: &str) -> String {
    let database = servers::mongodb().await;
    let env = [("MONGODB_URI", &*database.uri), ("MONGODB_DATABASE", &database.name), ("REDIS_URL", url)];
    let line = refused_start(&[], &env).await;
    assert!(line.contains("--redis-url"), "{line}");
    line
}

#[tokio::test]
async fn settings_of_redis_that_cannot_work_end_the_start_at_once() {
    let (primary, replica) = (RedisServer::start(&[]).await, RedisServer::start(&[]).await);
    assert_eq!(replica.command(&["REPLICAOF", "127.0.0.1", &primary.port().to_string()]), "+OK");
    let rules: [(&str, &[&str]); 5] = [
        ("noget", &["~*", "&*", "+@all", "-get"]),
        ("noinfo", &["~*", "&*", "+@all", "-info"]),
        ("nopublish", &["~*", "&*", "+@all", "-publish"]),
        ("nokeys", &["~other:*", "&*", "+@all"]),
        ("nochannels", &["~*", "resetchannels", "+@all"]),
    ];
    for (name, rule) in rules {
        assert_eq!(primary.command(&[&["ACL", "SETUSER", name, "on", ">s3cret"], rule].concat()), "+OK");
    }
    let with = |user: &str| primary.url().replace("redis://", &format!("redis://{user}@"));
    for (url, expected) in [
        (with(":s3cret"), "refuses the user name or the password"),
        (with("nobody:s3cret"), "refuses the user name or the password"),
        (with("noget:s3cret"), "'get'"),
        (with("noinfo:s3cret"), "'info'"),
        (with("nopublish:s3cret"), "'publish'"),
        (with("nokeys:s3cret"), "keys"),
        (with("nochannels:s3cret"), "channels"),
        (primary.url() + "/99", "has no database of the number"),
        (replica.url(), "is a replica"),
        (format!("{},{}", primary.url(), replica.url()), "is in no cluster"),
        (primary.url().replace("redis://", "http://"), "Redis URL is not understood"),
    ] {
        let line = refused_redis_url(&url).await;
        assert!(line.contains(expected), "{url}: {line}");
    }
    assert_eq!(primary.command(&["CONFIG", "SET", "requirepass", "s3cret"]), "+OK");
    let line = refused_redis_url(&primary.url()).await;
    assert!(line.contains("wants a password"), "{line}");
    let members = cluster().await;
    let line = refused_redis_url(&members[0].url()).await;
    assert!(line.contains("is a member of a cluster"), "{line}");
}

#[tokio::test]
async fn settings_of_redis_are_tried_at_the_start_and_nothing_is_left_behind() {
    let server = RedisServer::start(&[]).await;
    let rules = ["~auth:*", "resetchannels", "&auth:*", "-@all", "+get", "+mget", "+set", "+eval", "+time", "+info"];
    let rules =
        [&["ACL", "SETUSER", "least", "on", ">pw"], &rules[..], &["+ping", "+unwatch", "+publish", "+subscribe"]];
    assert_eq!(server.command(&rules.concat()), "+OK");
    let url = server.url().replace("redis://", "redis://least:pw@");
    let monitor = server.monitor();
    RedisCache::probe(&[url], &RedisOptions::default()).await.unwrap();
    for command in ["GET", "MGET", "SET", "EVAL", "TIME", "INFO", "PING", "UNWATCH", "PUBLISH", "SUBSCRIBE"] {
        assert!(!monitor.commands_with(&format!("\"{command}\"")).await.is_empty(), "{command}");
    }
    let begun = Instant::now();
    while server.command(&["DBSIZE"]) != ":0" {
        assert!(begun.elapsed() < NOTICED, "a key is left behind");
        sleep(Duration::from_millis(10)).await;
    }
    // Members of a cluster redirect to others, which is no refusal.
    let members = cluster().await.map(|server| (server.url(), server));
    let urls: Vec<String> = members.iter().map(|(url, _)| url.clone()).collect();
    RedisCache::probe(&urls, &RedisOptions::default()).await.unwrap();
    let away = RedisCache::probe(&["redis://127.0.0.1:1".to_owned()], &RedisOptions::default()).await.unwrap_err();
    assert_eq!(away.kind(), CacheErrorKind::Unavailable);
}

#[tokio::test]
async fn settings_of_a_redis_that_is_away_let_a_node_start_and_are_logged() {
    let mut server = RedisServer::start(&[]).await;
    server.kill();
    let database = servers::mongodb().await;
    let env = [("MONGODB_URI", &*database.uri), ("MONGODB_DATABASE", &database.name), ("REDIS_URL", &server.url())];
    let node = node(&[], &env).await;
    node.log().until("starting without Redis", 1).await;
    assert!(!node.log().contains("set its maxmemory-policy"));
    let client = Client::new(node.url());
    let tokens = client.sign_up(&username(), PASSWORD).await.unwrap();
    assert_eq!(client.get("/readyz", None).await.unwrap().json()["status"], "degraded");
    server.restart().await;
    let begun = Instant::now();
    while client.get("/readyz", None).await.unwrap().json()["status"] != "ok" {
        assert!(begun.elapsed() < NOTICED);
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(client.logout(&tokens.access).await.unwrap().status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn settings_of_a_redis_reconfigured_while_a_node_runs_are_logged_once() {
    let mongodb = servers::MongoServer::start().await;
    let redis = RedisServer::start(&[]).await;
    let fleet = Fleet::on_servers(1, &mongodb, Some(&redis), &[]).await;
    let log = fleet.nodes[0].log();
    log.until("connected to Redis", 1).await;
    assert_eq!(redis.command(&["CONFIG", "SET", "requirepass", "s3cret"]), "+OK");
    assert_eq!(redis.command(&["CONFIG", "SET", "timeout", "0"]), "-NOAUTH Authentication required.");
    let kill = format!("{}/", redis.url()).replace("redis://", "redis://:s3cret@");
    let client = deadpool_redis::redis::Client::open(kill).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut command = deadpool_redis::redis::cmd("CLIENT");
    command.arg("KILL").arg("TYPE").arg("normal").arg("SKIPME").arg("yes");
    command.query_async::<()>(&mut connection).await.unwrap();
    log.until("wants a password", 1).await;
    // Both connections have tried a few times more.
    let refusals = || async {
        let mut stats = deadpool_redis::redis::cmd("INFO");
        stats.arg("stats");
        let stats: deadpool_redis::redis::InfoDict = stats.query_async(&mut connection.clone()).await.unwrap();
        stats.get::<u64>("total_connections_received").unwrap()
    };
    let (before, begun) = (refusals().await, Instant::now());
    while refusals().await < before + 6 {
        assert!(begun.elapsed() < NOTICED);
        sleep(Duration::from_millis(50)).await;
    }
    let said = log.lines().into_iter().filter(|line| line.contains("wants a password")).count();
    assert_eq!(said, 1, "{}", log.tail());
}

#[tokio::test]
async fn settings_of_a_redis_that_evicts_are_warned_about_in_the_log_and_in_readyz() {
    let mongodb = servers::MongoServer::start().await;
    let redis = RedisServer::start(&["--maxmemory-policy", "allkeys-lru"]).await;
    let fleet = Fleet::on_servers(1, &mongodb, Some(&redis), &[]).await;
    let log = fleet.nodes[0].log();
    log.until("set its maxmemory-policy to noeviction", 1).await;
    let client = Client::new(fleet.nodes[0].url());
    let ready = client.get("/readyz", None).await.unwrap();
    assert_eq!(ready.status, StatusCode::OK);
    let warning = ready.json()["warnings"][0].to_string();
    assert!(warning.contains("allkeys-lru") && warning.contains("noeviction"), "{warning}");
    assert_eq!(redis.command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]), "+OK");
    let begun = Instant::now();
    while client.get("/readyz", None).await.unwrap().json().get("warnings").is_some() {
        assert!(begun.elapsed() < NOTICED);
        sleep(Duration::from_millis(50)).await;
    }
    let said = log.lines().into_iter().filter(|line| line.contains("to noeviction")).count();
    assert_eq!(said, 1, "{}", log.tail());
}

#[tokio::test]
async fn settings_of_a_cluster_with_a_member_that_evicts_are_seen() {
    let members = cluster().await;
    members[1].command(&["CONFIG", "SET", "maxmemory-policy", "volatile-lru"]);
    let urls: Vec<String> = members.iter().map(RedisServer::url).collect();
    let begun = Instant::now();
    loop {
        // Connects anew each time: a cache that connected before the cluster was formed knows half
        // of it.
        let cache = RedisCache::connect(&urls, RedisOptions::default()).await.unwrap();
        let found = cache.eviction_policy();
        if found == Some(EvictionPolicy::Evicts("volatile-lru".to_owned())) {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{found:?}");
        sleep(Duration::from_millis(50)).await;
    }
}
