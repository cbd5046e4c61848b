//! Other issuers' tokens on two nodes with MongoDB and Redis.

use std::time::{Duration, Instant};

use auth_layer::{
    AuthError, Claims, TokenFault, Trust,
    cache::{
        Cached,
        redis::{RedisCache, RedisOptions},
    },
    store::mongodb::{MongoOptions, MongoStore},
    stream::StreamEnd,
    trust::{Issuer, TrustBuilder},
};
use chrono::Utc;
use tests::servers::{MongoServer, RedisServer};
use tokio::time::{sleep, timeout};

use crate::vendors::{self, Vendor};

/// Law 1: how long after the stores' return a denial that failed is finished.
const FINISHED: Duration = Duration::from_secs(15);

/// How long a node with an in-process cache believes that a token is not denied.
const LEASE: Duration = Duration::from_secs(1);

/// What two nodes share.
struct Servers {
    mongodb: MongoServer,
    redis: RedisServer,
}

impl Servers {
    async fn start() -> Self {
        Self { mongodb: MongoServer::start().await, redis: RedisServer::start(&[]).await }
    }

    /// Starts two nodes that trust these issuers. Each has connections of its own.
    async fn nodes(&self, lease: Duration, issuers: impl Fn() -> Vec<Issuer>) -> [Trust; 2] {
        [self.node(lease, issuers()).await, self.node(lease, issuers()).await]
    }

    async fn node(&self, lease: Duration, issuers: Vec<Issuer>) -> Trust {
        let store = MongoStore::connect(&self.mongodb.uri(), "auth", MongoOptions::default()).await.unwrap();
        let cache = RedisCache::connect(&[self.redis.url()], RedisOptions::default()).await.unwrap();
        let builder = Trust::builder(Cached::new(store, cache)).local_cache(lease);
        issuers.into_iter().fold(builder, TrustBuilder::issuer).build().unwrap()
    }
}

/// Checks a token of any of the issuers. On a busy machine a store may miss its time limit.
async fn check(trust: &Trust, token: &str) -> Result<Claims, TokenFault> {
    let begun = Instant::now();
    let policy = auth_layer::Policy::builder().issuers(trust.issuers().map(str::to_owned)).build();
    let request = http::Request::get("/").header("authorization", format!("Bearer {token}")).body(()).unwrap();
    loop {
        match trust.authenticate(&policy, &request).await {
            Ok(auth_layer::trust::Authenticated::Claims(claims)) => return Ok(claims),
            Err(AuthError::InvalidToken(fault)) => return Err(fault),
            Err(AuthError::Unavailable(_)) if begun.elapsed() < FINISHED => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Denies what belongs to a token in one of three ways. Returns false if it has no session.
async fn deny(trust: &Trust, way: usize, token: &str, claims: &Claims) -> bool {
    let begun = Instant::now();
    loop {
        let denied = match (way, &claims.sid) {
            (0, _) => trust.deny_token(token).await,
            (1, Some(session)) => trust.deny_session(&claims.iss, session).await,
            (1, None) => return false,
            _ => trust.deny_subject(&claims.iss, &claims.sub).await,
        };
        match denied {
            Ok(()) => return true,
            Err(error) => assert!(begun.elapsed() < FINISHED, "{error:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn issuer_tokens_of_each_vendor_are_refused_on_the_other_node_once_denied() {
    let (servers, vendors) = (Servers::start().await, Vendor::all());
    let issuers = || vendors.iter().map(Vendor::trusted).collect();
    let asking = servers.nodes(Duration::ZERO, issuers).await;
    let leasing = servers.nodes(LEASE, issuers).await;
    for vendor in &vendors {
        for way in 0..3 {
            // A subject of its own: an earlier denial of it would cover the tokens of the next round.
            let subject = format!("{way}");
            let token = vendor.token_with(Utc::now(), |claims| {
                claims["sub"] = subject.as_str().into();
                for session in ["sid", "origin_jti"] {
                    if claims.get(session).is_some() {
                        claims[session] = subject.as_str().into();
                    }
                }
            });
            let case = format!("{} {way}", vendor.name);
            let claims = check(&asking[0], &token).await.unwrap_or_else(|fault| panic!("{case}: {fault}"));
            for node in asking.iter().chain(&leasing) {
                check(node, &token).await.unwrap();
            }
            if !deny(&asking[0], way, &token, &claims).await {
                continue;
            }
            let denied = Instant::now();
            for node in &asking {
                assert_eq!(check(node, &token).await.unwrap_err(), TokenFault::Revoked, "{case}");
            }
            for node in &leasing {
                while check(node, &token).await.is_ok() {
                    assert!(denied.elapsed() < LEASE + Duration::from_millis(500), "{case}");
                    sleep(Duration::from_millis(5)).await;
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn issuer_tokens_are_served_and_denied_by_mongodb_while_redis_is_away() {
    let (mut servers, vendor) = (Servers::start().await, vendors::keycloak());
    let nodes = servers.nodes(Duration::ZERO, || vec![vendor.trusted()]).await;
    let token = vendor.token(Utc::now());
    let claims = check(&nodes[1], &token).await.unwrap();
    servers.redis.kill();
    check(&nodes[0], &token).await.unwrap();
    // Recorded, but other nodes may still be told by Redis that it is not denied.
    let session = claims.sid.as_ref().unwrap();
    assert!(matches!(nodes[0].deny_session(vendor.issuer, session).await, Err(AuthError::Unavailable(_))));
    assert_eq!(check(&nodes[1], &token).await.unwrap_err(), TokenFault::Revoked);
    servers.redis.restart().await;
    let returned = Instant::now();
    while nodes[0].deny_session(vendor.issuer, session).await.is_err() {
        assert!(returned.elapsed() < FINISHED);
        sleep(Duration::from_millis(50)).await;
    }
    for node in &nodes {
        assert_eq!(check(node, &token).await.unwrap_err(), TokenFault::Revoked);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn issuer_tokens_stream_on_the_other_node_ends_with_a_denial() {
    let (servers, vendor) = (Servers::start().await, vendors::entra());
    let nodes = servers.nodes(Duration::ZERO, || vec![vendor.trusted()]).await;
    for way in 0..3 {
        let subject = format!("{way}");
        let token = vendor.token_with(Utc::now(), |claims| {
            (claims["sub"], claims["sid"]) = (subject.as_str().into(), subject.as_str().into());
        });
        let claims = check(&nodes[1], &token).await.unwrap();
        let mut revoked = nodes[1].revoked(&claims);
        assert!(timeout(Duration::from_millis(100), &mut revoked).await.is_err());
        assert!(deny(&nodes[0], way, &token, &claims).await);
        let end = timeout(Duration::from_secs(5), revoked).await.unwrap();
        assert_eq!(end, StreamEnd::Revoked, "{way}");
    }
}
