//! Denials in Redis, healthy and broken.

use auth_layer::{
    cache::DenialAnswer,
    store::{Denial, HashedKey},
};
use chrono::DateTime;

use super::*;

/// Returns a key that nobody else has. It is text, for Redis's commands.
fn new_key() -> HashedKey {
    HashedKey::from_digest(*uuid::Uuid::new_v4().simple().to_string().as_bytes().first_chunk().unwrap())
}

/// Returns a denial that was made these milliseconds after a moment in the past, and ends these
/// milliseconds after one in the future.
fn denial(denied_at: i64, expires_at: i64) -> Denial {
    let [past, future] = [1_700_000_000_000, 4_000_000_000_000];
    let at = |millis| DateTime::from_timestamp_millis(millis).unwrap();
    Denial { denied_at: at(past + denied_at), expires_at: at(future + expires_at) }
}

/// Returns what the cache knows of these keys. On a busy machine a server may miss its time limit.
async fn known(cache: &RedisCache, keys: &[HashedKey]) -> (Vec<DenialAnswer>, Miss) {
    let begun = Instant::now();
    loop {
        match cache.denials(keys).await {
            Ok(found) => return found,
            Err(error) => assert!(begun.elapsed() < RECOVERY, "{error:?}"),
        }
        sleep(SLACK / 10).await;
    }
}

/// Returns what the cache knows of one key.
async fn answer(cache: &RedisCache, key: HashedKey) -> DenialAnswer {
    known(cache, &[key]).await.0[0]
}

/// Puts a denial after a miss.
async fn put(cache: &RedisCache, key: HashedKey, denial: Denial) {
    let (_, miss) = known(cache, &[key]).await;
    cache.put_denials(miss, &[(key, denial)]).await.unwrap();
}

/// Fills after a miss.
async fn fill_denial(cache: &RedisCache, key: HashedKey, read: Option<Denial>) {
    let (_, miss) = known(cache, &[key]).await;
    cache.put_denials_if_absent(miss, &[(key, read)]).await.unwrap();
}

/// Returns the name of the key in Redis.
fn name(key: HashedKey) -> String {
    format!("auth:d:{}", std::str::from_utf8(key.as_bytes()).unwrap())
}

#[tokio::test]
async fn redis_denial_is_found_by_another_node_and_no_fill_replaces_it() {
    let keys = servers::redis().await;
    let options = RedisOptions::default().with_key_prefix(keys.prefix);
    let node = RedisCache::connect(std::slice::from_ref(&keys.url), options.clone()).await.unwrap();
    let other = RedisCache::connect(&[keys.url], options).await.unwrap();
    let [token, session, subject] = [new_key(), new_key(), new_key()];
    let all = [token, session, subject];
    let (answers, first) = known(&node, &all).await;
    assert_eq!(answers, [DenialAnswer::Miss; 3]);
    let (_, late) = known(&other, &all).await;
    node.put_denials_if_absent(first, &[(token, None), (session, None), (subject, Some(denial(1, 1)))]).await.unwrap();
    let expected = [DenialAnswer::NotDenied, DenialAnswer::NotDenied, DenialAnswer::Denied(denial(1, 1))];
    assert_eq!(known(&other, &all).await.0, expected);

    put(&other, session, denial(2, 2)).await;
    put(&other, subject, denial(2, 0)).await;
    let expected = [DenialAnswer::NotDenied, DenialAnswer::Denied(denial(2, 2)), DenialAnswer::Denied(denial(2, 1))];
    assert_eq!(known(&node, &all).await.0, expected);
    other.put_denials_if_absent(late, &all.map(|key| (key, None))).await.unwrap();
    assert_eq!(known(&node, &all).await.0, expected, "a late fill");
    assert_eq!(known(&node, &[subject, token, subject]).await.0, [expected[2], expected[0], expected[2]]);
}

#[tokio::test]
async fn redis_denial_keeps_the_later_of_each_time_and_replaces_what_is_none() {
    let server = RedisServer::start(&[]).await;
    let cache = cache(&server).await;
    let far = denial(0, 8_000_000_000_000_001);
    for (made, expected) in [
        ([denial(5, 7), denial(6, 6)], denial(6, 7)),
        ([denial(6, 6), denial(5, 7)], denial(6, 7)),
        // Longer or shorter as text.
        ([denial(-1_700_000_000_001, 0), denial(-1_699_999_999_000, 0)], denial(-1_699_999_999_000, 0)),
        ([denial(0, 7), far], far),
        ([far, denial(0, 8_000_000_000_000_000)], far),
    ] {
        let key = new_key();
        for made in made {
            put(&cache, key, made).await;
        }
        assert_eq!(answer(&cache, key).await, DenialAnswer::Denied(expected), "{made:?}");
    }
    for garbage in [["SET", "x"], ["SET", "D"], ["SET", "D01234567x,y"], ["RPUSH", "1"]] {
        let key = new_key();
        server.command(&[garbage[0], &name(key), garbage[1]]);
        assert_eq!(answer(&cache, key).await, DenialAnswer::Miss, "{garbage:?}");
        fill_denial(&cache, key, None).await;
        assert_eq!(answer(&cache, key).await, DenialAnswer::Miss, "{garbage:?}: a fill replaces nothing");
        put(&cache, key, denial(1, 1)).await;
        assert_eq!(answer(&cache, key).await, DenialAnswer::Denied(denial(1, 1)), "{garbage:?}");
    }
}

#[tokio::test]
async fn redis_denials_of_all_keys_of_a_check_are_one_command() {
    let server = RedisServer::start(&[]).await;
    let cache = cache(&server).await;
    let keys = [new_key(), new_key(), new_key()];
    let monitor = server.monitor();
    let (_, miss) = known(&cache, &keys).await;
    cache.put_denials_if_absent(miss, &keys.map(|key| (key, None))).await.unwrap();
    for _ in 0..10 {
        assert_eq!(known(&cache, &keys).await.0, [DenialAnswer::NotDenied; 3]);
    }
    put(&cache, keys[0], denial(1, 1)).await;
    let commands = monitor.commands_with("auth:").await;
    let of_ours = commands.iter().filter(|line| !line.contains("probe") && !line.contains(" lua]"));
    let names: Vec<&str> = of_ours.map(|line| line.split('"').nth(1).unwrap()).collect();
    let expected = [&["MGET"][..], &["SET"; 3], &["MGET"; 10], &["MGET", "EVAL", "PUBLISH"]].concat();
    assert_eq!(names, expected, "{commands:#?}");
    let first = commands.iter().find(|line| line.contains("MGET")).unwrap();
    assert!(keys.iter().all(|&key| first.contains(&name(key))), "{first}");
}

#[tokio::test]
async fn redis_denials_end_when_they_should() {
    let server = RedisServer::start(&[]).await;
    let options = RedisOptions::default().with_active_ttl(Duration::from_millis(400));
    let cache = RedisCache::connect(&[server.url()], options).await.unwrap();
    let keys = [new_key(), new_key(), new_key()];
    let (_, late) = known(&cache, &keys).await;
    let read = Instant::now();
    fill_denial(&cache, keys[0], None).await;
    fill_denial(&cache, keys[1], Some(denial(1, 1))).await;
    put(&cache, keys[2], denial(1, 1)).await;
    let put_at = Instant::now();
    until("all entries have ended", RECOVERY, || async {
        let (answers, _) = known(&cache, &keys).await;
        let is_held = answers[2] != DenialAnswer::Miss;
        assert!(is_held || put_at.elapsed() >= Duration::from_millis(350), "so early a fill from before might come");
        answers == [DenialAnswer::Miss; 3]
    })
    .await;
    assert!(read.elapsed() >= Duration::from_millis(400));
    cache.put_denials_if_absent(late, &keys.map(|key| (key, None))).await.unwrap();
    assert_eq!(known(&cache, &keys).await.0, [DenialAnswer::Miss; 3], "a fill that is too late");
}

/// The command waits in the socket of a server that hangs. Both ways of writing say when they end.
#[tokio::test]
async fn redis_denial_that_arrives_too_late_is_not_written() {
    let mut server = RedisServer::start(&[]).await;
    let options = RedisOptions::default().with_active_ttl(Duration::from_millis(1_200));
    let cache = RedisCache::connect(&[server.url()], options).await.unwrap();
    let (denied, filled) = (new_key(), new_key());
    let (_, put_miss) = known(&cache, &[denied]).await;
    let (_, fill_miss) = known(&cache, &[filled]).await;
    let since = Instant::now();
    server.pause();
    cache.put_denials_if_absent(fill_miss, &[(filled, None)]).await.unwrap_err();
    cache.put_denials(put_miss, &[(denied, denial(1, 1))]).await.unwrap_err();
    until("it is too late", RECOVERY, || async { since.elapsed() > Duration::from_millis(1_300) }).await;
    server.resume();
    for key in [denied, filled] {
        assert_eq!(server.command(&["GET", &name(key)]), "$-1");
    }
    until_keys_are_served(&cache).await;
    assert_eq!(known(&cache, &[denied, filled]).await.0, [DenialAnswer::Miss; 2]);
}

/// Redis takes no entries. Denials are told nevertheless.
#[tokio::test]
async fn redis_without_entries_is_told_of_denials() {
    let server = RedisServer::start(&[]).await;
    let options = RedisOptions::default().with_active_ttl(Duration::ZERO);
    let cache = RedisCache::connect(&[server.url()], options).await.unwrap();
    let monitor = server.monitor();
    let key = new_key();
    put(&cache, key, denial(1, 1)).await;
    fill_denial(&cache, key, Some(denial(1, 1))).await;
    assert_eq!(answer(&cache, key).await, DenialAnswer::Miss);
    assert_eq!(monitor.commands_with("auth:revoked").await.len(), 1);
}

/// Waits until both connections are to the server that runs.
async fn until_keys_are_served(cache: &RedisCache) {
    until("the cache serves again", RECOVERY, || async {
        let mut served = true;
        for byte in 0..16 {
            let key = HashedKey::from_digest([byte; 32]);
            let Ok((_, miss)) = cache.denials(&[key]).await else { return false };
            served &= cache.put_denials(miss, &[(key, denial(0, 0))]).await.is_ok();
        }
        served
    })
    .await;
}

#[tokio::test]
async fn redis_that_restarted_takes_no_denial_and_no_fill_that_was_read_before() {
    let mut server = RedisServer::start(&[]).await;
    let cache = cache(&server).await;
    let key = new_key();
    let (_, put_miss) = known(&cache, &[key]).await;
    let (_, fill_miss) = known(&cache, &[key]).await;
    put(&cache, key, denial(9, 9)).await;
    server.kill();
    server.restart().await;
    until_keys_are_served(&cache).await;
    cache.put_denials(put_miss, &[(key, denial(1, 1))]).await.unwrap_err();
    cache.put_denials_if_absent(fill_miss, &[(key, None)]).await.unwrap_err();
    assert_eq!(answer(&cache, key).await, DenialAnswer::Miss, "the later denial is lost, and nothing hides that");
}

/// A connection that was lost is no reason to fail while the server is the same.
#[tokio::test]
async fn redis_connection_that_is_lost_costs_no_denial() {
    let server = RedisServer::start(&[]).await;
    let cache = cache(&server).await;
    let key = new_key();
    let (_, miss) = known(&cache, &[key]).await;
    server.command(&["CLIENT", "KILL", "TYPE", "normal"]);
    cache.put_denials(miss, &[(key, denial(1, 1))]).await.unwrap();
    assert_eq!(answer(&cache, key).await, DenialAnswer::Denied(denial(1, 1)));
}

#[tokio::test]
async fn redis_denials_restored_from_a_snapshot_are_ignored() {
    let mut server = RedisServer::start(&[]).await;
    let cache = cache(&server).await;
    let (session, subject) = (new_key(), new_key());
    fill_denial(&cache, session, None).await;
    put(&cache, subject, denial(1, 1)).await;
    assert_eq!(server.command(&["SAVE"]), "+OK");
    for key in [session, subject] {
        put(&cache, key, denial(2, 2)).await;
    }
    server.kill();
    server.restart().await;
    until_keys_are_served(&cache).await;
    assert_eq!(known(&cache, &[session, subject]).await.0, [DenialAnswer::Miss; 2]);
    // What is put now is believed, and is no less for what was restored.
    put(&cache, subject, denial(2, 0)).await;
    assert_eq!(answer(&cache, subject).await, DenialAnswer::Denied(denial(2, 1)));
}

#[tokio::test]
async fn redis_that_is_full_or_a_replica_takes_no_denial_and_says_so() {
    let server = RedisServer::start(&[]).await;
    let cache = cache(&server).await;
    let key = new_key();
    let (_, miss) = known(&cache, &[key]).await;
    assert_eq!(server.command(&["CONFIG", "SET", "maxmemory", "1"]), "+OK");
    let full = cache.put_denials(miss, &[(key, denial(1, 1))]).await;
    assert_eq!(full.unwrap_err().to_string(), "Redis did not take the denials");
    assert_eq!(server.command(&["CONFIG", "SET", "maxmemory", "0"]), "+OK");
    until_keys_are_served(&cache).await;
    let (_, miss) = known(&cache, &[key]).await;
    assert_eq!(server.command(&["REPLICAOF", "127.0.0.1", "1"]), "+OK");
    cache.put_denials(miss, &[(key, denial(1, 1))]).await.unwrap_err();
    until("a replica is not asked", RECOVERY, || async { cache.denials(&[key]).await.is_err() }).await;
}

#[tokio::test]
async fn redis_cluster_serves_denials_of_keys_on_any_member() {
    let servers = cluster().await;
    let urls: Vec<String> = servers.iter().map(RedisServer::url).collect();
    let cache = RedisCache::connect(&urls, RedisOptions::default()).await.unwrap();
    let keys: Vec<HashedKey> = (0..30).map(|_| new_key()).collect();
    until("the cluster is formed", Duration::from_secs(20), || async {
        cache.ping().await.is_ok() && cache.denials(&keys).await.is_ok()
    })
    .await;
    for keys in keys.chunks(3) {
        let (answers, miss) = known(&cache, keys).await;
        assert_eq!(answers, [DenialAnswer::Miss; 3]);
        let fills: Vec<_> = keys.iter().map(|key| (*key, None)).collect();
        cache.put_denials_if_absent(miss, &fills).await.unwrap();
        assert_eq!(known(&cache, keys).await.0, [DenialAnswer::NotDenied; 3]);
    }
    let (_, miss) = known(&cache, &keys).await;
    let made: Vec<_> = keys.iter().zip(0..).map(|(key, at)| (*key, denial(at, at))).collect();
    cache.put_denials(miss, &made).await.unwrap();
    let expected: Vec<_> = made.iter().map(|(_, denial)| DenialAnswer::Denied(*denial)).collect();
    assert_eq!(known(&cache, &keys).await.0, expected);
    for server in &servers {
        assert_ne!(server.command(&["DBSIZE"]), ":0", "both members hold some");
    }
}
