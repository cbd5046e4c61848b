//! With the channel cut the lease holds, and news flow again when it is back.

use std::sync::{Arc, Mutex, Weak};

use auth_layer::{
    TokenId,
    cache::{
        StatusCache,
        redis::{RedisCache, RedisOptions},
    },
    store::{RevocationListener, TokenStore},
};
use chrono::Utc;
use tests::servers::{MongoServer, RedisServer};
use tokio::time::sleep;
use uuid::Uuid;

use super::*;

use crate::fleet::store_in;

/// So short that the lease, not the news, ends the entry.
const LEASE: Duration = Duration::from_secs(1);
/// A lease of [`LEASE`].
const SHORT_LEASE: [&str; 4] = ["--local-cache", "1s", "--rate-limit", "off"];

/// The time within which a node notices that it hears nothing, with some slack.
const NOTICED: Duration = Duration::from_secs(4);

/// Records the ids that it hears of, and counts the gaps.
#[derive(Debug, Default)]
struct RecordingListener(Mutex<(Vec<Uuid>, usize)>);

impl RevocationListener for RecordingListener {
    fn revoked(&self, id: Uuid) {
        self.0.lock().unwrap().0.push(id);
    }

    fn gap(&self) {
        self.0.lock().unwrap().1 += 1;
    }
}

impl RecordingListener {
    /// Returns a listener that is subscribed.
    fn subscribed(subscribe: impl FnOnce(Weak<dyn RevocationListener>)) -> Arc<Self> {
        let heard = Arc::new(Self::default());
        let listener: Weak<Self> = Arc::downgrade(&heard);
        subscribe(listener);
        heard
    }

    /// Returns the ids so far.
    fn ids(&self) -> Vec<Uuid> {
        self.0.lock().unwrap().0.clone()
    }

    /// Returns the number of gaps so far.
    fn gaps(&self) -> usize {
        self.0.lock().unwrap().1
    }

    /// Waits until `holds` is true, for `limit` at most.
    async fn until(&self, what: &str, limit: Duration, holds: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !holds(self) {
            assert!(begun.elapsed() < limit, "after {limit:?} still not so: {what}; {self:?}");
            sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Returns a cache, and a listener that has heard only that it listens.
async fn listening_cache(server: &RedisServer) -> (RedisCache, Arc<RecordingListener>) {
    let cache = RedisCache::connect(&[server.url()], RedisOptions::default()).await.unwrap();
    let heard = RecordingListener::subscribed(|listener| cache.subscribe(listener));
    heard.until("it listens", LISTENING, |heard| heard.gaps() == 1).await;
    (cache, heard)
}

/// Puts the tombstones of these tokens.
async fn put_tombstones(cache: &RedisCache, ids: &[TokenId]) {
    let end = Utc::now() + Duration::from_mins(15);
    let tombstones: Vec<_> = ids.iter().map(|id| (*id, end)).collect();
    cache.put_tombstones(&tombstones, Utc::now()).await.unwrap();
}

#[tokio::test]
async fn news_of_a_large_revocation_arrive_whole_and_garbage_is_ignored() {
    let server = RedisServer::start(&[]).await;
    let (cache, heard) = listening_cache(&server).await;
    for garbage in ["", "x", "seventeen bytes..", "revoked: everything, and at once"] {
        assert_eq!(server.command(&["PUBLISH", "auth:revoked", garbage]), ":1");
    }
    let ids: Vec<TokenId> = (0..1_000).map(|_| TokenId::generate()).collect();
    put_tombstones(&cache, &ids).await;
    let last = Uuid::from(ids[999]);
    heard.until("the last is heard of", SOON, |heard| heard.ids().contains(&last)).await;
    let heard_ids = heard.ids();
    // A message as long as two ids cannot be told from two ids.
    let heard_ids: Vec<Uuid> =
        heard_ids.into_iter().filter(|id| ids.iter().any(|sent| Uuid::from(*sent) == *id)).collect();
    assert_eq!(heard_ids, ids.into_iter().map(Uuid::from).collect::<Vec<_>>());
    assert_eq!(heard.gaps(), 1);
}

#[tokio::test]
async fn news_cost_a_revocation_no_round_trip_and_a_check_nothing() {
    let server = RedisServer::start(&[]).await;
    let (cache, heard) = listening_cache(&server).await;
    let monitor = server.monitor();
    let ids: Vec<TokenId> = (0..3).map(|_| TokenId::generate()).collect();
    put_tombstones(&cache, &ids).await;
    heard.until("they are heard of", SOON, |heard| heard.ids().len() == 3).await;
    let commands = monitor.commands_with("auth:").await;
    let of_tombstones: Vec<&String> =
        commands.iter().filter(|line| !line.contains("probe") && !line.contains("news")).collect();
    assert_eq!(of_tombstones.len(), 4, "{commands:#?}");
    assert!(of_tombstones[3].contains("PUBLISH"), "after the tombstones: {commands:#?}");
    // `MONITOR` names the connection in brackets: the message went with the tombstones.
    let connection = |line: &str| line.split(['[', ']']).nth(1).unwrap().to_owned();
    assert_eq!(connection(of_tombstones[0]), connection(of_tombstones[3]));
}

#[tokio::test]
async fn news_forbidden_by_redis_leave_tombstones_working() {
    let server = RedisServer::start(&[]).await;
    let rules = ["ACL", "SETUSER", "quiet", "on", ">pw", "~*", "+@all", "resetchannels"];
    assert_eq!(server.command(&rules), "+OK");
    let url = server.url().replace("redis://", "redis://quiet:pw@");
    let cache = RedisCache::connect(&[url], RedisOptions::default()).await.unwrap();
    let heard = RecordingListener::subscribed(|listener| cache.subscribe(listener));
    let id = TokenId::generate();
    put_tombstones(&cache, &[id]).await;
    assert_eq!(server.command(&["EXISTS", &format!("auth:{id}")]), ":1");
    assert_eq!(heard.gaps(), 0, "it never listened");
}

#[tokio::test]
async fn news_of_tokens_on_any_server_of_a_cluster_arrive() {
    let servers = crate::redis_cache::cluster().await;
    let mut urls: Vec<String> = servers.iter().map(RedisServer::url).collect();
    let mut caches = Vec::new();
    for _ in 0..2 {
        let cache = RedisCache::connect(&urls, RedisOptions::default()).await.unwrap();
        let heard = RecordingListener::subscribed(|listener| cache.subscribe(listener));
        caches.push((cache, heard));
        // The second node tries the other server first.
        urls.reverse();
    }
    let end = Utc::now() + Duration::from_mins(15);
    let begun = Instant::now();
    // Until the servers agree on the cluster, many commands fail.
    loop {
        let tombstones: Vec<_> = (0..16).map(|_| (TokenId::generate(), end)).collect();
        let last = tombstones[15].0.into();
        let written = caches[0].0.put_tombstones(&tombstones, Utc::now()).await.is_ok();
        if written && caches.iter().all(|(_, heard)| heard.ids().contains(&last)) {
            break;
        }
        assert!(begun.elapsed() < 2 * LISTENING, "the cluster is not formed, or nothing is heard in it");
        sleep(Duration::from_millis(20)).await;
    }
    let ids: Vec<TokenId> = (0..100).map(|_| TokenId::generate()).collect();
    put_tombstones(&caches[0].0, &ids).await;
    for (_, heard) in &caches {
        let all = |heard: &RecordingListener| {
            let heard_ids = heard.ids();
            ids.iter().all(|id| heard_ids.contains(&(*id).into()))
        };
        heard.until("all are heard of", SOON, all).await;
    }
    for server in &servers {
        assert_ne!(server.command(&["DBSIZE"]), ":0", "both keep some");
    }
}

#[tokio::test]
async fn news_channel_that_is_lost_and_back_is_a_gap_each_time() {
    let mut server = RedisServer::start(&[]).await;
    let (cache, heard) = listening_cache(&server).await;
    let mut gaps = 1;
    for way in ["the connection is closed", "the server is restarted", "the server hangs"] {
        match way {
            "the connection is closed" => assert_eq!(server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]), ":1"),
            "the server is restarted" => {
                server.kill();
                server.restart().await;
            }
            _ => {
                server.pause();
                heard.until(way, NOTICED, |heard| heard.gaps() == gaps + 1).await;
                server.resume();
            }
        }
        gaps += 2;
        heard.until(way, LISTENING, |heard| heard.gaps() == gaps).await;
        let id = TokenId::generate();
        put_tombstones(&cache, &[id]).await;
        heard.until("news flow again", SOON, |heard| heard.ids().contains(&id.into())).await;
    }
}

#[tokio::test]
async fn news_channel_that_is_cut_leaves_the_lease_and_flows_again() {
    let (mongodb, mut redis) = (MongoServer::start().await, RedisServer::start(&[]).await);
    let fleet = Fleet::on_servers(2, &mongodb, Some(&redis), &SHORT_LEASE).await;
    let (a, b, name) = listening_nodes(&fleet).await;
    for _ in 0..3 {
        let tokens = a.login(&name, PASSWORD).await.unwrap().tokens();
        cache_token(&b, &tokens).await;
        redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        assert_eq!(a.logout(&tokens.access).await.unwrap().status, StatusCode::NO_CONTENT);
        refused_after(&b, &tokens.access, Instant::now(), LEASE).await;
    }
    let tokens = a.login(&name, PASSWORD).await.unwrap().tokens();
    cache_token(&b, &tokens).await;
    redis.pause();
    // The logout cannot be promised, and is recorded nevertheless.
    assert_eq!(a.logout(&tokens.access).await.unwrap().status, StatusCode::SERVICE_UNAVAILABLE);
    refused_after(&b, &tokens.access, Instant::now(), LEASE).await;
    redis.resume();
    until_news_flow(&a, &b, &name).await;
    redis.kill();
    redis.restart().await;
    until_news_flow(&a, &b, &name).await;
}

#[tokio::test]
async fn news_channel_that_is_silent_cuts_a_long_lease_short() {
    let (mongodb, mut redis) = (MongoServer::start().await, RedisServer::start(&[]).await);
    let fleet = Fleet::on_servers(2, &mongodb, Some(&redis), &LONG_LEASE).await;
    let (a, b, name) = listening_nodes(&fleet).await;
    let tokens = a.login(&name, PASSWORD).await.unwrap().tokens();
    cache_token(&b, &tokens).await;
    redis.pause();
    assert_eq!(a.logout(&tokens.access).await.unwrap().status, StatusCode::SERVICE_UNAVAILABLE);
    refused_after(&b, &tokens.access, Instant::now(), NOTICED).await;
}

#[tokio::test]
async fn news_of_a_change_stream_resume_when_mongodb_is_back() {
    let mut mongodb = MongoServer::start().await;
    let fleet = Fleet::on_servers(2, &mongodb, None, &LONG_LEASE).await;
    let (a, b, name) = listening_nodes(&fleet).await;
    for hangs in [false, true] {
        if hangs {
            mongodb.pause();
            // Long enough for the stream to fall behind.
            sleep(NOTICED).await;
            mongodb.resume();
        } else {
            mongodb.kill();
            mongodb.restart().await;
        }
        let begun = Instant::now();
        while a.login(&name, PASSWORD).await.unwrap().status != StatusCode::OK {
            assert!(begun.elapsed() < LISTENING, "no recovery");
        }
        until_news_flow(&a, &b, &name).await;
    }
}

#[tokio::test]
async fn news_of_a_dropped_collection_are_a_gap_and_a_new_beginning() {
    let database = tests::servers::mongodb().await;
    let store = store_in(&database).await;
    let heard = RecordingListener::subscribed(|listener| store.subscribe(listener));
    heard.until("it listens", LISTENING, |heard| heard.gaps() == 1).await;
    let records = store.database().collection::<Document>("tokens");
    let revoke = async || {
        let id = bson::Uuid::new();
        records.insert_one(doc! { "_id": id, "revoked": false }).await.unwrap();
        records.update_one(doc! { "_id": id }, doc! { "$set": { "revoked": true } }).await.unwrap();
        Uuid::from(id)
    };
    let id = revoke().await;
    heard.until("it is heard of", SOON, |heard| heard.ids() == [id]).await;
    records.drop().await.unwrap();
    heard.until("a gap", LISTENING, |heard| heard.gaps() == 2).await;
    let id = revoke().await;
    heard.until("it is heard of", SOON, |heard| heard.ids().last() == Some(&id)).await;
    // The stream ends with the store.
    drop(store);
    let client = mongodb::Client::with_uri_str(&database.uri).await.unwrap();
    let admin = client.database("admin");
    let begun = Instant::now();
    loop {
        // The namespace of a stream on a whole database.
        let ours = doc! { "currentOp": 1, "ns": format!("{}.$cmd.aggregate", database.name), "$all": true };
        let open = admin.run_command(ours).await.unwrap();
        if open.get_array("inprog").unwrap().is_empty() {
            break;
        }
        assert!(begun.elapsed() < NOTICED, "the stream goes on: {open}");
        sleep(Duration::from_millis(20)).await;
    }
}
