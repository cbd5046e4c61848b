//! The Redis cache with a server that is away, stalled, full, restarted or replaced.

use super::*;

/// The time within which a replica catches up with its primary. It tries once a second, and copies
/// everything.
const REPLICATION: Duration = Duration::from_secs(20);

#[tokio::test]
async fn redis_that_restarted_gets_no_fill_that_was_read_before() {
    let mut server = RedisServer::start(&[]).await;
    let cache = cache(&server).await;
    let id = TokenId::generate();
    let read_before = miss(&cache, id).await;
    put_tombstones(&cache, id).await;
    server.kill();
    server.restart().await;
    until_serving(&cache).await;
    cache.put_active_if_absent(read_before, id, active_token()).await.unwrap_err();
    miss(&cache, id).await;
}

#[tokio::test]
async fn redis_entry_restored_from_a_snapshot_is_ignored() {
    let mut server = RedisServer::start(&[]).await;
    let cache = cache(&server).await;
    let (alive, dead) = (TokenId::generate(), TokenId::generate());
    fill(&cache, alive, active_token()).await;
    put_tombstones(&cache, dead).await;
    assert_eq!(server.command(&["SAVE"]), "+OK");
    put_tombstones(&cache, alive).await;
    server.kill();
    server.restart().await;
    until_serving(&cache).await;
    assert_eq!(server.command(&["EXISTS", &format!("auth:{alive}")]), ":1", "the snapshot was read");
    miss(&cache, alive).await;
    assert!(matches!(cache.get(dead).await.unwrap(), CacheAnswer::Dead));
}

/// The first primary alone has a tombstone. It loses the tombstone when it follows the second, and
/// gets back the entry that the tombstone had overwritten.
#[tokio::test]
async fn redis_entry_that_came_back_by_failing_over_and_back_is_ignored() {
    let options = ["--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0"];
    let (first, second) = (RedisServer::start(&options).await, RedisServer::start(&options).await);
    let follow = |server: &RedisServer, other: &RedisServer| {
        assert_eq!(server.command(&["REPLICAOF", "127.0.0.1", &other.port().to_string()]), "+OK");
    };
    let stand_alone = |server: &RedisServer| assert_eq!(server.command(&["REPLICAOF", "NO", "ONE"]), "+OK");
    follow(&second, &first);
    assert_eq!(first.command(&["SET", "mark", "1"]), "+OK");
    until("the replica follows", REPLICATION, || async { second.command(&["EXISTS", "mark"]) == ":1" }).await;
    // Only now, because a primary begins a new history with its first replica.
    let cache = cache(&first).await;
    let id = TokenId::generate();
    fill(&cache, id, active_token()).await;
    assert!(matches!(cache.get(id).await.unwrap(), CacheAnswer::Active(_)));
    let key = format!("auth:{id}");
    let entry = first.command(&["STRLEN", &key]);
    let holds = |server: &RedisServer| server.command(&["STRLEN", &key]) == entry;
    until("the replica has the entry", REPLICATION, || async { holds(&second) }).await;

    stand_alone(&second);
    put_tombstones(&cache, id).await;
    assert!(!holds(&first) && holds(&second));
    follow(&first, &second);
    until("the first has what the second has", REPLICATION, || async { holds(&first) }).await;
    stand_alone(&first);
    // A connection that was there all along does not know before its next check.
    until("who the server is was asked again", RECOVERY, || async {
        matches!(cache.get(id).await, Ok(CacheAnswer::Miss(_)))
    })
    .await;
    until_serving(&cache).await;
    miss(&cache, id).await;
    assert!(holds(&first), "it is there, and not believed");
}

#[tokio::test]
async fn redis_fill_delayed_until_its_end_has_expired_on_arrival() {
    let mut server = RedisServer::start(&[]).await;
    let options = RedisOptions::default().with_active_ttl(Duration::from_millis(600));
    let cache = RedisCache::connect(&[server.url()], options).await.unwrap();
    let id = TokenId::generate();
    let read_before = miss(&cache, id).await;
    let since = Instant::now();
    server.pause();
    cache.put_active_if_absent(read_before, id, active_token()).await.unwrap_err();
    until("the entry's end has passed", RECOVERY, || async { since.elapsed() > Duration::from_millis(700) }).await;
    server.resume();
    // The server's own view, before the cache replaces any connection.
    assert_eq!(server.command(&["GET", &format!("auth:{id}")]), "$-1");
    until_serving(&cache).await;
    miss(&cache, id).await;
}

#[tokio::test]
async fn redis_that_is_away_at_first_fails_at_once_and_is_found_later() {
    let mut server = RedisServer::start(&[]).await;
    server.kill();
    let cache = cache(&server).await;
    let (answer, took) = timed(cache.get(TokenId::generate())).await;
    assert_eq!(answer.unwrap_err().to_string(), "no connection to Redis");
    assert!(took < SLACK, "{took:?}");
    server.restart().await;
    until_serving(&cache).await;
}

#[tokio::test]
async fn redis_that_stalls_costs_a_check_its_time_limit_and_no_more() {
    let mut server = RedisServer::start(&[]).await;
    let cache = cache(&server).await;
    let id = TokenId::generate();
    server.pause();
    let (answer, took) = timed(cache.get(id)).await;
    assert_eq!(answer.unwrap_err().to_string(), "Redis did not answer");
    assert!(took < RedisOptions::default().response_timeout + SLACK, "{took:?}");
    let (outcome, took) = timed(cache.put_tombstones(&[(id, active_token().expires_at)], Utc::now())).await;
    assert_eq!(outcome.unwrap_err().to_string(), "Redis did not take the tombstones");
    assert!(took < Duration::from_secs(1) + SLACK, "{took:?}");
    until("stalled connections are withdrawn", RECOVERY, || async {
        let (answer, took) = timed(cache.get(id)).await;
        answer.is_err() && took < Duration::from_millis(20)
    })
    .await;
    server.resume();
    until_serving(&cache).await;
}

#[tokio::test]
async fn redis_that_is_killed_fails_at_once_and_serves_again_when_back() {
    let mut server = RedisServer::start(&[]).await;
    let cache = cache(&server).await;
    for _ in 0..2 {
        server.kill();
        let (answer, took) = timed(cache.get(TokenId::generate())).await;
        answer.unwrap_err();
        assert!(took < RedisOptions::default().response_timeout + SLACK, "{took:?}");
        cache.ping().await.unwrap_err();
        server.restart().await;
        until_serving(&cache).await;
        cache.ping().await.unwrap();
    }
}

#[tokio::test]
async fn redis_that_is_full_takes_no_tombstones_and_says_so() {
    let server = RedisServer::start(&[]).await;
    let cache = cache(&server).await;
    assert_eq!(server.command(&["CONFIG", "SET", "maxmemory", "1"]), "+OK");
    let outcome = cache.put_tombstones(&[(TokenId::generate(), active_token().expires_at)], Utc::now()).await;
    assert_eq!(outcome.unwrap_err().to_string(), "Redis did not take the tombstones");
    assert_eq!(server.command(&["CONFIG", "SET", "maxmemory", "0"]), "+OK");
    until_serving(&cache).await;
}

#[tokio::test]
async fn redis_that_becomes_a_replica_is_not_used() {
    let server = RedisServer::start(&[]).await;
    let cache = cache(&server).await;
    let id = TokenId::generate();
    fill(&cache, id, active_token()).await;
    assert_eq!(server.command(&["REPLICAOF", "127.0.0.1", "1"]), "+OK");
    // Only checks, which a replica answers: the health check must notice by itself.
    until("a replica is not asked", RECOVERY, || async { cache.get(id).await.is_err() }).await;
    cache.put_tombstones(&[(id, active_token().expires_at)], Utc::now()).await.unwrap_err();
    assert_eq!(server.command(&["REPLICAOF", "NO", "ONE"]), "+OK");
    until_serving(&cache).await;
}
