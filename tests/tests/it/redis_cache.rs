//! The Redis cache against a real Redis, healthy and broken.

mod denials;
mod server_faults;
mod with_store;

use std::{
    future::Future,
    time::{Duration, Instant},
};

use auth_layer::{
    Authority, Grant, SessionId, Subject, TokenId,
    cache::{
        CacheAnswer, Cached, StatusCache,
        redis::{Miss, RedisCache, RedisOptions},
    },
    keys::{Keyring, SigningKey},
    store::{ActiveToken, MemoryStore, TokenKind},
};
use chrono::{SubsecRound, Utc};
use tests::servers::{self, RedisServer};
use tokio::time::sleep;

/// The time within which a cache must serve once its server does.
const RECOVERY: Duration = Duration::from_secs(2);

/// What a call may take beyond its time limit on a busy machine.
const SLACK: Duration = Duration::from_millis(400);

/// Returns an access token that expires in 15 minutes.
fn active_token() -> ActiveToken {
    ActiveToken {
        user_id: Subject::generate(),
        session_id: SessionId::generate(),
        kind: TokenKind::Access,
        expires_at: (Utc::now() + Duration::from_mins(15)).trunc_subsecs(3),
    }
}

/// Connects a cache to this server.
async fn cache(server: &RedisServer) -> RedisCache {
    RedisCache::connect(&[server.url()], RedisOptions::default()).await.unwrap()
}

/// Looks the token up. Fails unless it is a miss. On a busy machine a server may miss its time limit.
async fn miss(cache: &RedisCache, id: TokenId) -> Miss {
    let begun = Instant::now();
    loop {
        match cache.get(id).await {
            Ok(CacheAnswer::Miss(miss)) => return miss,
            Err(error) if begun.elapsed() > RECOVERY => panic!("{error:?}"),
            Err(_) => sleep(SLACK / 10).await,
            Ok(answer) => panic!("a miss was expected, not {answer:?}"),
        }
    }
}

/// Puts an active entry after a miss.
async fn fill(cache: &RedisCache, id: TokenId, token: ActiveToken) {
    let miss = miss(cache, id).await;
    cache.put_active_if_absent(miss, id, token).await.unwrap();
}

/// Puts the tombstone of one token.
async fn put_tombstones(cache: &RedisCache, id: TokenId) {
    cache.put_tombstones(&[(id, active_token().expires_at)], Utc::now()).await.unwrap();
}

/// Runs `call` and returns its result and how long it took.
async fn timed<T>(call: impl Future<Output = T>) -> (T, Duration) {
    let begun = Instant::now();
    let outcome = call.await;
    (outcome, begun.elapsed())
}

/// Waits until `holds` is true, for `limit` at most.
async fn until<F: Future<Output = bool>>(what: &str, limit: Duration, mut holds: impl FnMut() -> F) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < limit, "after {limit:?} still not so: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until each connection of the cache takes tombstones and answers.
async fn until_serving(cache: &RedisCache) {
    let tombstones: Vec<_> = (0..16).map(|_| (TokenId::generate(), active_token().expires_at)).collect();
    until("the cache serves again", RECOVERY, || async {
        let mut served = cache.put_tombstones(&tombstones, Utc::now()).await.is_ok();
        for &(id, _) in &tombstones {
            served = served && matches!(cache.get(id).await, Ok(CacheAnswer::Dead));
        }
        served
    })
    .await;
}

#[tokio::test]
async fn redis_entry_is_found_until_its_tombstone_and_no_fill_replaces_that() {
    let keys = servers::redis().await;
    let options = RedisOptions::default().with_key_prefix(keys.prefix);
    let node = RedisCache::connect(std::slice::from_ref(&keys.url), options.clone()).await.unwrap();
    let other = RedisCache::connect(&[keys.url], options).await.unwrap();
    for user_id in [Subject::generate(), "auth0|n\u{e4}her".parse().unwrap()] {
        let (id, token) = (TokenId::generate(), ActiveToken { user_id, ..active_token() });
        let (first, late) = (miss(&node, id).await, miss(&other, id).await);
        node.put_active_if_absent(first, id, token.clone()).await.unwrap();
        assert!(matches!(other.get(id).await.unwrap(), CacheAnswer::Active(found) if found == token));
        other.put_tombstones(&[(id, token.expires_at)], Utc::now()).await.unwrap();
        assert!(matches!(node.get(id).await.unwrap(), CacheAnswer::Dead));
        other.put_active_if_absent(late, id, token).await.unwrap();
        assert!(matches!(node.get(id).await.unwrap(), CacheAnswer::Dead));
    }
}

#[tokio::test]
async fn redis_check_is_one_command() {
    let server = RedisServer::start(&[]).await;
    let cache = cache(&server).await;
    let (id, token) = (TokenId::generate(), active_token());
    fill(&cache, id, token).await;
    let monitor = server.monitor();
    for _ in 0..10 {
        assert!(matches!(cache.get(id).await.unwrap(), CacheAnswer::Active(_)));
    }
    let commands = monitor.commands_with("").await;
    let of_checks = commands.iter().filter(|line| line.contains(&id.to_string())).count();
    assert_eq!(of_checks, 10, "{commands:#?}");
    // The only other commands are the health checks, one a second on each connection.
    let rest = commands.iter().filter(|line| !line.contains(&id.to_string()));
    for line in rest {
        assert!(["\"TIME\"", "\"INFO\"", "auth:probe"].iter().any(|known| line.contains(known)), "{line}");
    }
}

#[tokio::test]
async fn redis_entries_end_when_they_should() {
    let server = RedisServer::start(&[]).await;
    let cache = cache(&server).await;
    let (id, token) = (TokenId::generate(), active_token());
    let key = format!("auth:{id}");
    let ttl = || server.command(&["PTTL", &key]).strip_prefix(':').unwrap().parse::<i64>().unwrap();
    fill(&cache, id, token).await;
    let left = ttl();
    assert!((50_000..=60_000).contains(&left), "an active entry lives for active_ttl, not {left} ms");
    // Leeway and margin, 30 s and 5 min.
    let since = Utc::now() - Duration::from_secs(330);
    cache.put_tombstones(&[(id, since + Duration::from_secs(1_230))], since).await.unwrap();
    let left = ttl();
    assert!((1_220_000..=1_230_000).contains(&left), "a tombstone outlives exp by leeway and margin, not {left} ms");
    let (expired, old) = (TokenId::generate(), TokenId::generate());
    cache.put_tombstones(&[(expired, since + Duration::from_secs(30)), (old, since)], since).await.unwrap();
    assert!(matches!(cache.get(expired).await.unwrap(), CacheAnswer::Dead));
    assert!(matches!(cache.get(old).await.unwrap(), CacheAnswer::Miss(_)), "no clock takes it for valid");
}

/// A tombstone lives as long as any node may accept the token, and no longer.
#[tokio::test]
async fn redis_tombstone_outlives_its_token_by_leeway_and_margin() {
    let server = RedisServer::start(&[]).await;
    let store = Cached::new(MemoryStore::new(), cache(&server).await);
    let keys = Keyring::new(SigningKey::generate().unwrap());
    let authority: Authority = Authority::builder("https://issuer", store)
        .audience("api")
        .keys(keys)
        .access_ttl(Duration::from_mins(15))
        .leeway(Duration::from_mins(1))
        .clock_skew_margin(Duration::from_mins(10))
        .build()
        .unwrap();
    let sign_in = authority.begin_sign_in(Subject::generate()).await.unwrap();
    let pair = authority.sign_in(sign_in, Grant::new("web")).await.unwrap();
    let id = authority.verify(&pair.access_token).await.unwrap().token_id().unwrap();
    authority.revoke_session(pair.session_id).await.unwrap();
    let left: i64 = server.command(&["PTTL", &format!("auth:{id}")]).strip_prefix(':').unwrap().parse().unwrap();
    assert!((1_530_000..=1_560_000).contains(&left), "26 minutes, not {left} ms");
}

#[tokio::test]
async fn redis_entry_of_another_program_is_an_error_and_harms_nothing_else() {
    let server = RedisServer::start(&[]).await;
    let cache = cache(&server).await;
    let (text, list) = (TokenId::generate(), TokenId::generate());
    server.command(&["SET", &format!("auth:{text}"), "active"]);
    server.command(&["RPUSH", &format!("auth:{list}"), "1"]);
    assert_eq!(cache.get(text).await.unwrap_err().to_string(), "Redis holds an entry that is not understood");
    assert_eq!(cache.get(list).await.unwrap_err().to_string(), "Redis did not answer");
    fill(&cache, TokenId::generate(), active_token()).await;
    put_tombstones(&cache, text).await;
    assert!(matches!(cache.get(text).await.unwrap(), CacheAnswer::Dead));
}

#[tokio::test]
async fn redis_takes_every_tombstone_of_a_large_revocation() {
    let server = RedisServer::start(&[]).await;
    let cache = cache(&server).await;
    let tokens: Vec<_> = (0..5_000).map(|_| (TokenId::generate(), active_token().expires_at)).collect();
    cache.put_tombstones(&tokens, Utc::now()).await.unwrap();
    for (id, _) in tokens.iter().step_by(97).chain(tokens.last()) {
        assert!(matches!(cache.get(*id).await.unwrap(), CacheAnswer::Dead));
    }
    assert_eq!(server.command(&["DEL", "auth:probe"]), ":1");
    assert_eq!(server.command(&["DBSIZE"]), ":5000");
}

#[tokio::test]
async fn redis_url_is_never_shown() {
    let secret = "hunter2";
    let options = RedisOptions::default().with_connect_timeout(Duration::from_millis(50));
    let url = format!("redis://:{secret}@127.0.0.1:1");
    let cache = RedisCache::connect(std::slice::from_ref(&url), options.clone()).await.unwrap();
    let error = cache.get(TokenId::generate()).await.unwrap_err();
    for text in [format!("{cache:?}"), format!("{error:?}")] {
        assert!(!text.contains(secret), "{text}");
    }
    for bad in
        ["", "http://:hunter2@h", "redis://:hunter2@h:port", "redis://:hunter2@h/db", "redis+sentinel://:hunter2@h"]
    {
        for urls in [vec![bad.to_owned()], vec![url.clone(), bad.to_owned()]] {
            let error = RedisCache::connect(&urls, options.clone()).await.unwrap_err();
            assert_eq!(error.to_string(), "a Redis URL is not understood", "{bad}");
            assert!(!format!("{error:?}").contains(secret), "{error:?}");
        }
    }
    let error = RedisCache::connect(&[], options).await.unwrap_err();
    assert_eq!(error.to_string(), "no Redis URL is given");
}

/// Starts two servers and forms a cluster of them, which takes a moment.
pub(crate) async fn cluster() -> [RedisServer; 2] {
    let servers = [
        RedisServer::start(&["--cluster-enabled", "yes"]).await,
        RedisServer::start(&["--cluster-enabled", "yes"]).await,
    ];
    for (server, slots) in servers.iter().zip([0..8192, 8192..16384]) {
        let slots: Vec<String> = slots.map(|slot: u32| slot.to_string()).collect();
        let command: Vec<&str> = ["CLUSTER", "ADDSLOTS"].into_iter().chain(slots.iter().map(String::as_str)).collect();
        assert_eq!(server.command(&command), "+OK");
    }
    servers[0].command(&["CLUSTER", "MEET", "127.0.0.1", &servers[1].port().to_string()]);
    servers
}

#[tokio::test]
async fn redis_cluster_serves_as_one_cache() {
    let servers = cluster().await;
    let urls: Vec<String> = servers.iter().map(RedisServer::url).collect();
    let cache = RedisCache::connect(&urls, RedisOptions::default()).await.unwrap();
    let ids: Vec<_> = (0..100).map(|_| TokenId::generate()).collect();
    until("the cluster is formed", Duration::from_secs(20), || async {
        cache.put_tombstones(&[(TokenId::generate(), active_token().expires_at)], Utc::now()).await.is_ok()
            && cache.ping().await.is_ok()
    })
    .await;
    for &id in &ids {
        fill(&cache, id, active_token()).await;
        assert!(matches!(cache.get(id).await.unwrap(), CacheAnswer::Active(_)));
    }
    let tombstones: Vec<_> = ids.iter().map(|&id| (id, active_token().expires_at)).collect();
    cache.put_tombstones(&tombstones, Utc::now()).await.unwrap();
    for &id in &ids {
        assert!(matches!(cache.get(id).await.unwrap(), CacheAnswer::Dead));
    }
    for server in &servers {
        assert_ne!(server.command(&["DBSIZE"]), ":0", "both nodes hold some");
    }
}

#[tokio::test]
async fn redis_ping_writes_nothing() {
    const ASKED: usize = 200;
    let server = RedisServer::start(&[]).await;
    let cache = cache(&server).await;
    let monitor = server.monitor();
    for _ in 0..ASKED {
        cache.ping().await.unwrap();
    }
    assert!(monitor.commands_with("\"PING\"").await.len() >= ASKED);
    // Each connection is checked about once a second, and that check is a write.
    let writes = monitor.commands_with("\"SET\"").await;
    assert!(writes.len() < ASKED / 2, "{} writes", writes.len());
}
