//! Streams that end with their sessions, on two nodes: two connections to MongoDB and Redis.
//!
//! [`Channel`] says what the nodes hear of each other. With a long lease nothing but news ends a
//! stream in time; without news nothing but the questions do.

use std::time::{Duration, Instant};

use auth_layer::{
    Authority, Claims, Grant, GrantFault, IssuedPair, RefreshError, Trust, UserId,
    authority::AuthorityBuilder,
    cache::{
        Cached,
        redis::{RedisCache, RedisOptions},
    },
    clock::ManualClock,
    keys::{Keyring, SigningKey},
    store::{
        DynStore,
        mongodb::{MongoOptions, MongoStore},
    },
    stream::{Revoked, StreamEnd},
};
use chrono::Utc;
use tests::servers::{self, MongoServer, RedisServer};
use tokio::time::{sleep, timeout};

/// So long that only news end a stream in time.
const LONG_LEASE: Duration = Duration::from_secs(30);

/// The time within which news arrive, also on a busy machine.
const SOON: Duration = Duration::from_secs(1);

/// The time within which nodes listen.
const LISTENING: Duration = Duration::from_secs(15);

/// What is promised without news: the interval of the questions. A busy machine may take a while to
/// answer one.
const BY_ASKING: Duration = Duration::from_secs(3);

/// The databases of two nodes.
#[derive(Clone)]
struct Servers {
    mongodb: String,
    database: String,
    redis: Option<(String, String)>,
}

impl Servers {
    async fn shared(with_redis: bool) -> Self {
        let database = servers::mongodb().await;
        let redis = servers::redis().await;
        let redis = with_redis.then_some((redis.url, redis.prefix));
        Self { mongodb: database.uri.clone(), database: database.name.clone(), redis }
    }

    fn own(mongodb: &MongoServer, redis: Option<&RedisServer>) -> Self {
        let redis = redis.map(|redis| (redis.url(), "auth:".to_owned()));
        Self { mongodb: mongodb.uri(), database: "auth".to_owned(), redis }
    }

    /// Starts two nodes.
    async fn nodes(&self, settings: impl Fn(AuthorityBuilder) -> AuthorityBuilder) -> [Authority; 2] {
        let keys = Keyring::new(SigningKey::generate().unwrap());
        let build = |store| -> Authority {
            settings(Authority::builder("https://issuer", store).audience("api").keys(keys.clone())).build().unwrap()
        };
        [build(self.store().await), build(self.store().await)]
    }

    async fn store(&self) -> DynStore {
        let store = MongoStore::connect(&self.mongodb, &self.database, MongoOptions::default()).await.unwrap();
        let Some((url, prefix)) = &self.redis else { return DynStore::new(store) };
        let options = RedisOptions::default().with_key_prefix(prefix);
        let cache = RedisCache::connect(std::slice::from_ref(url), options).await.unwrap();
        DynStore::new(Cached::new(store, cache))
    }
}

async fn sign_in(node: &Authority, user: UserId) -> IssuedPair {
    let begun = node.begin_sign_in(user).await.unwrap();
    node.sign_in(begun, Grant::new("web")).await.unwrap()
}

/// Opens a stream of a new session on the second node.
async fn open(nodes: &[Authority; 2], user: UserId) -> (IssuedPair, Claims, Revoked) {
    let pair = sign_in(&nodes[0], user).await;
    let claims = nodes[1].verify(&pair.access_token).await.unwrap();
    let revoked = Trust::from(&nodes[1]).revoked(&claims);
    (pair, claims, revoked)
}

/// Waits until the second node hears of what the first revokes.
async fn until_news_flow(nodes: &[Authority; 2]) {
    let begun = Instant::now();
    loop {
        let (pair, _, revoked) = open(nodes, UserId::generate()).await;
        // The first question is answered.
        sleep(Duration::from_millis(50)).await;
        nodes[0].revoke_session(pair.session_id).await.unwrap();
        if timeout(SOON, revoked).await.is_ok() {
            return;
        }
        assert!(begun.elapsed() < LISTENING, "nothing is heard of revocations");
    }
}

/// Makes each kind of revocation on the first node while a stream is open on the second.
async fn assert_every_kind_ends_a_stream(nodes: &[Authority; 2], within: Duration) {
    let [a, _] = nodes;
    for way in 0..6 {
        let user = UserId::generate();
        let (pair, claims, revoked) = open(nodes, user).await;
        let (_other, _, mut others) = open(nodes, UserId::generate()).await;
        sleep(Duration::from_millis(50)).await;
        match way {
            0 => a.revoke_token(claims.token_id().unwrap()).await.unwrap(),
            1 => a.revoke_session(pair.session_id).await.unwrap(),
            2 => a.revoke_user(user, None).await.unwrap(),
            3 => a.set_user_disabled(user, true).await.unwrap(),
            4 => a.revoke(&pair.refresh_token).await.unwrap(),
            _ => {
                let second = a.refresh(&pair.refresh_token).await.unwrap();
                a.refresh(&second.refresh_token).await.unwrap();
                let reuse = a.refresh(&pair.refresh_token).await;
                assert!(matches!(reuse, Err(RefreshError::InvalidGrant(GrantFault::Reused))), "{reuse:?}");
            }
        }
        assert_eq!(timeout(within, revoked).await, Ok(StreamEnd::Revoked), "{way}");
        assert!(timeout(Duration::from_millis(50), &mut others).await.is_err(), "another user's, {way}");
    }
}

#[tokio::test]
async fn streams_end_by_news_of_every_kind_of_revocation_with_redis() {
    let nodes = Servers::shared(true).await.nodes(|builder| builder.local_cache(LONG_LEASE)).await;
    until_news_flow(&nodes).await;
    assert_every_kind_ends_a_stream(&nodes, SOON).await;
}

#[tokio::test]
async fn streams_end_by_news_of_every_kind_of_revocation_with_mongodb_alone() {
    let nodes = Servers::shared(false).await.nodes(|builder| builder.local_cache(LONG_LEASE)).await;
    until_news_flow(&nodes).await;
    assert_every_kind_ends_a_stream(&nodes, SOON).await;
}

/// No token of the session is alive that a tombstone could name.
#[tokio::test]
async fn streams_whose_token_has_expired_end_by_news() {
    for with_redis in [true, false] {
        let clock = ManualClock::starting_at(Utc::now());
        let settings = |builder: AuthorityBuilder| builder.local_cache(LONG_LEASE).clock(clock.clone());
        let nodes = Servers::shared(with_redis).await.nodes(settings).await;
        until_news_flow(&nodes).await;
        for way in 0..3 {
            let user = UserId::generate();
            let pair = sign_in(&nodes[0], user).await;
            let claims = nodes[1].verify(&pair.access_token).await.unwrap();
            clock.advance(Duration::from_hours(1));
            let revoked = Trust::from(&nodes[1]).revoked(&claims);
            sleep(Duration::from_millis(100)).await;
            match way {
                0 => nodes[0].revoke_session(pair.session_id).await.unwrap(),
                1 => nodes[0].revoke_user(user, None).await.unwrap(),
                _ => nodes[0].revoke(&pair.refresh_token).await.unwrap(),
            }
            assert_eq!(timeout(SOON, revoked).await, Ok(StreamEnd::Revoked), "{way}, Redis: {with_redis}");
        }
    }
}

#[tokio::test]
async fn streams_end_by_asking_when_news_are_cut() {
    let (mongodb, redis) = (MongoServer::start().await, RedisServer::start(&[]).await);
    let rules = ["ACL", "SETUSER", "quiet", "on", ">pw", "~*", "+@all", "resetchannels"];
    assert_eq!(redis.command(&rules), "+OK");
    let mut servers = Servers::own(&mongodb, Some(&redis));
    servers.redis = servers.redis.map(|(url, prefix)| (url.replace("redis://", "redis://quiet:pw@"), prefix));
    let nodes = servers.nodes(|builder| builder.local_cache(Duration::from_secs(1))).await;
    assert_every_kind_ends_a_stream(&nodes, BY_ASKING).await;
}

#[tokio::test]
async fn streams_outlive_redis_and_end_without_it() {
    let (mongodb, mut redis) = (MongoServer::start().await, RedisServer::start(&[]).await);
    let nodes = Servers::own(&mongodb, Some(&redis)).nodes(|builder| builder).await;
    for hangs in [true, false] {
        let (doomed, claims, revoked) = open(&nodes, UserId::generate()).await;
        let (_, _, mut lasting) = open(&nodes, UserId::generate()).await;
        sleep(Duration::from_millis(50)).await;
        if hangs {
            redis.pause();
        } else {
            redis.kill();
        }
        // Recorded, though it cannot be promised.
        nodes[0].revoke_session(doomed.session_id).await.unwrap_err();
        assert_eq!(timeout(BY_ASKING, revoked).await, Ok(StreamEnd::Revoked), "hangs: {hangs}");
        assert!(nodes[1].verify(&doomed.access_token).await.is_err(), "{claims:?}");
        assert!(timeout(BY_ASKING, &mut lasting).await.is_err());
        if hangs {
            redis.resume();
        } else {
            redis.restart().await;
        }
    }
}

#[tokio::test]
async fn streams_outlive_a_short_outage_of_mongodb_and_end_in_a_long_one() {
    let mut mongodb = MongoServer::start().await;
    let nodes = Servers::own(&mongodb, None).nodes(|builder| builder).await;
    let short = |builder: AuthorityBuilder| {
        builder.deadline(Duration::from_secs(1)).stream_outage_limit(Duration::from_secs(1))
    };
    let hasty = Servers::own(&mongodb, None).nodes(short).await;
    let (pair, _, mut lasting) = open(&nodes, UserId::generate()).await;
    let (_, _, ended) = open(&hasty, UserId::generate()).await;
    sleep(Duration::from_millis(100)).await;
    mongodb.kill();
    let down = Instant::now();
    // Interval, limit and spread: 7 s.
    assert_eq!(timeout(Duration::from_secs(8), ended).await, Ok(StreamEnd::Unavailable));
    assert!(down.elapsed() >= Duration::from_secs(1), "{:?}", down.elapsed());
    mongodb.restart().await;
    assert!(timeout(BY_ASKING, &mut lasting).await.is_err(), "it was away for {:?}", down.elapsed());
    while nodes[0].revoke_session(pair.session_id).await.is_err() {
        assert!(down.elapsed() < Duration::from_secs(30), "no recovery");
    }
    assert_eq!(timeout(BY_ASKING, lasting).await, Ok(StreamEnd::Revoked));
}

/// Each question reads its session from MongoDB. Those of many streams share queries.
#[tokio::test]
async fn streams_of_many_sessions_share_queries() {
    const SESSIONS: usize = 300;
    // Its own server, whose counter no other test moves.
    let mongodb = MongoServer::start().await;
    let servers = Servers::own(&mongodb, None);
    let clock = ManualClock::starting_at(Utc::now());
    let nodes = servers.nodes(|builder| builder.clock(clock.clone())).await;
    let mut claims = Vec::new();
    for _ in 0..SESSIONS {
        let pair = sign_in(&nodes[0], UserId::generate()).await;
        claims.push(nodes[1].verify(&pair.access_token).await.unwrap());
    }
    clock.advance(Duration::from_hours(1));
    let commands = async || {
        let client = mongodb::Client::with_uri_str(&servers.mongodb).await.unwrap();
        let status = client.database(&servers.database).run_command(bson::doc! { "serverStatus": 1 }).await.unwrap();
        let aggregates = status.get_document("metrics").unwrap().get_document("commands").unwrap();
        aggregates.get_document("aggregate").unwrap().get_i64("total").unwrap()
    };
    let before = commands().await;
    let streams: Vec<Revoked> = claims.iter().map(|claims| Trust::from(&nodes[1]).revoked(claims)).collect();
    sleep(Duration::from_millis(500)).await;
    let asked = commands().await - before;
    assert!(asked < 60, "{asked} queries for {SESSIONS} sessions");
    drop(streams);
}
