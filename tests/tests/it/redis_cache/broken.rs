//! With a server that is away, stalled, full, restarted or replaced.

use super::*;

/// Within which a replica has what its primary has: it tries once a second, and copies everything.
const REPLICATION: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_restarted_redis_is_never_handed_a_fill_that_was_read_before() {
    let mut server = RedisServer::start(&[]).await;
    let cache = cache(&server).await;
    let id = TokenId::generate();
    let read_before = miss(&cache, id).await;
    bury(&cache, id).await;
    server.kill();
    server.restart().await;
    serves_again(&cache).await;
    cache.fill(read_before, id, token()).await.unwrap_err();
    miss(&cache, id).await;
}

#[tokio::test]
async fn an_active_entry_that_came_back_from_a_snapshot_is_not_believed() {
    let mut server = RedisServer::start(&[]).await;
    let cache = cache(&server).await;
    let (alive, dead) = (TokenId::generate(), TokenId::generate());
    fill(&cache, alive, token()).await;
    bury(&cache, dead).await;
    assert_eq!(server.command(&["SAVE"]), "+OK");
    bury(&cache, alive).await;
    server.kill();
    server.restart().await;
    serves_again(&cache).await;
    assert_eq!(server.command(&["EXISTS", &format!("auth:{alive}")]), ":1", "the snapshot was read");
    miss(&cache, alive).await;
    assert!(matches!(cache.get(dead).await.unwrap(), CacheAnswer::Dead));
}

/// A tombstone that only the first primary had is lost when that follows the second, which never had it; what it is given back is
/// the entry of its own that the tombstone had overwritten.
#[tokio::test]
async fn an_active_entry_that_came_back_by_failing_over_and_back_is_not_believed() {
    let options = ["--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0"];
    let (first, second) = (RedisServer::start(&options).await, RedisServer::start(&options).await);
    let follow = |server: &RedisServer, other: &RedisServer| {
        assert_eq!(server.command(&["REPLICAOF", "127.0.0.1", &other.port().to_string()]), "+OK");
    };
    let stand_alone = |server: &RedisServer| assert_eq!(server.command(&["REPLICAOF", "NO", "ONE"]), "+OK");
    follow(&second, &first);
    assert_eq!(first.command(&["SET", "mark", "1"]), "+OK");
    until("the replica follows", REPLICATION, || async { second.command(&["EXISTS", "mark"]) == ":1" }).await;
    // Only now, for with its first replica a primary begins a new history.
    let cache = cache(&first).await;
    let id = TokenId::generate();
    fill(&cache, id, token()).await;
    assert!(matches!(cache.get(id).await.unwrap(), CacheAnswer::Active(_)));
    let key = format!("auth:{id}");
    let entry = first.command(&["STRLEN", &key]);
    let holds = |server: &RedisServer| server.command(&["STRLEN", &key]) == entry;
    until("the replica has the entry", REPLICATION, || async { holds(&second) }).await;

    stand_alone(&second);
    bury(&cache, id).await;
    assert!(!holds(&first) && holds(&second));
    follow(&first, &second);
    until("the first has what the second has", REPLICATION, || async { holds(&first) }).await;
    stand_alone(&first);
    // A connection that has been through all this does not know before its next check.
    until("who the server is was asked again", RECOVERY, || async {
        matches!(cache.get(id).await, Ok(CacheAnswer::Miss(_)))
    })
    .await;
    serves_again(&cache).await;
    miss(&cache, id).await;
    assert!(holds(&first), "it is there, and not believed");
}

#[tokio::test]
async fn a_fill_that_lay_in_a_stalled_redis_until_its_end_is_dead_on_arrival() {
    let mut server = RedisServer::start(&[]).await;
    let options = RedisOptions::default().with_active_ttl(Duration::from_millis(600));
    let cache = RedisCache::connect(&[server.url()], options).await.unwrap();
    let id = TokenId::generate();
    let read_before = miss(&cache, id).await;
    let since = Instant::now();
    server.pause();
    cache.fill(read_before, id, token()).await.unwrap_err();
    until("the entry's end has passed", RECOVERY, || async { since.elapsed() > Duration::from_millis(700) }).await;
    server.resume();
    // The server's own view, before any connection of the cache's is replaced.
    assert_eq!(server.command(&["GET", &format!("auth:{id}")]), "$-1");
    serves_again(&cache).await;
    miss(&cache, id).await;
}

#[tokio::test]
async fn a_redis_that_is_away_at_first_is_an_error_at_once_and_is_found_when_it_comes() {
    let mut server = RedisServer::start(&[]).await;
    server.kill();
    let cache = cache(&server).await;
    let (answer, took) = timed(cache.get(TokenId::generate())).await;
    assert_eq!(answer.unwrap_err().to_string(), "no connection to Redis");
    assert!(took < SLACK, "{took:?}");
    server.restart().await;
    serves_again(&cache).await;
}

#[tokio::test]
async fn a_redis_that_stalls_costs_a_check_its_time_limit_and_no_more() {
    let mut server = RedisServer::start(&[]).await;
    let cache = cache(&server).await;
    let id = TokenId::generate();
    server.pause();
    let (answer, took) = timed(cache.get(id)).await;
    assert_eq!(answer.unwrap_err().to_string(), "Redis did not answer");
    assert!(took < RedisOptions::default().response_timeout + SLACK, "{took:?}");
    let (outcome, took) = timed(cache.bury(&[(id, token().expires_at)], Utc::now())).await;
    assert_eq!(outcome.unwrap_err().to_string(), "Redis did not take the tombstones");
    assert!(took < Duration::from_secs(1) + SLACK, "{took:?}");
    until("stalled connections are withdrawn", RECOVERY, || async {
        let (answer, took) = timed(cache.get(id)).await;
        answer.is_err() && took < Duration::from_millis(20)
    })
    .await;
    server.resume();
    serves_again(&cache).await;
}

#[tokio::test]
async fn a_redis_that_is_killed_is_an_error_at_once_and_serves_again_when_it_is_back() {
    let mut server = RedisServer::start(&[]).await;
    let cache = cache(&server).await;
    for _ in 0..2 {
        server.kill();
        let (answer, took) = timed(cache.get(TokenId::generate())).await;
        answer.unwrap_err();
        assert!(took < RedisOptions::default().response_timeout + SLACK, "{took:?}");
        cache.ping().await.unwrap_err();
        server.restart().await;
        serves_again(&cache).await;
        cache.ping().await.unwrap();
    }
}

#[tokio::test]
async fn a_full_redis_takes_no_tombstones_and_says_so() {
    let server = RedisServer::start(&[]).await;
    let cache = cache(&server).await;
    assert_eq!(server.command(&["CONFIG", "SET", "maxmemory", "1"]), "+OK");
    let outcome = cache.bury(&[(TokenId::generate(), token().expires_at)], Utc::now()).await;
    assert_eq!(outcome.unwrap_err().to_string(), "Redis did not take the tombstones");
    assert_eq!(server.command(&["CONFIG", "SET", "maxmemory", "0"]), "+OK");
    serves_again(&cache).await;
}

#[tokio::test]
async fn a_redis_that_becomes_a_replica_is_withdrawn() {
    let server = RedisServer::start(&[]).await;
    let cache = cache(&server).await;
    let id = TokenId::generate();
    fill(&cache, id, token()).await;
    assert_eq!(server.command(&["REPLICAOF", "127.0.0.1", "1"]), "+OK");
    // Nothing but checks, which a replica answers: the keeper notices by itself.
    until("a replica is not asked", RECOVERY, || async { cache.get(id).await.is_err() }).await;
    cache.bury(&[(id, token().expires_at)], Utc::now()).await.unwrap_err();
    assert_eq!(server.command(&["REPLICAOF", "NO", "ONE"]), "+OK");
    serves_again(&cache).await;
}
