//! The Redis cache with a store of record behind it.

use std::sync::Arc;

use auth_layer::{
    cache::Cached,
    store::{MemoryStore, Pair, Payload, Session, TokenRecord, TokenStatus, TokenStore},
};

use super::*;

/// Returns a cached store with one session in it.
async fn cached(server: &RedisServer) -> (Cached<MemoryStore, RedisCache>, Session) {
    let now = Utc::now();
    let expires_at = now + Duration::from_mins(15);
    let session = Session {
        session_id: SessionId::generate(),
        user_id: Subject::generate(),
        created_at: now,
        last_used_at: now,
        ends_at: expires_at,
        revoked: false,
        current: Pair {
            access_id: TokenId::generate(),
            refresh_id: TokenId::generate(),
            issued_at: now,
            access_expires_at: expires_at,
            refresh_expires_at: expires_at,
            payload: Payload::new(),
        },
        previous: None,
        payload: Payload::new(),
    };
    let access = TokenRecord {
        token_id: session.current.access_id,
        user_id: session.user_id.clone(),
        session_id: session.session_id,
        kind: TokenKind::Access,
        issued_at: now,
        expires_at,
        jwt_token: None,
    };
    let cached = Cached::new(MemoryStore::new(), cache(server).await);
    let _ = cached.open_session(session.clone(), vec![access], 0).await.unwrap();
    (cached, session)
}

#[tokio::test]
async fn redis_outage_fails_revocations_and_tombstones_follow_when_it_is_back() {
    let mut server = RedisServer::start(&[]).await;
    let (cached, session) = cached(&server).await;
    let id = session.current.access_id;
    assert!(matches!(cached.token_status(id).await.unwrap(), TokenStatus::Active(_)));
    server.kill();
    let (status, took) = timed(cached.token_status(id)).await;
    assert!(matches!(status.unwrap(), TokenStatus::Active(_)));
    assert!(took < RedisOptions::default().response_timeout + SLACK, "{took:?}");
    let error = cached.revoke_session(session.session_id, Utc::now()).await.unwrap_err();
    assert_eq!(error.to_string(), "recorded as revoked, but the shared cache could not be told");
    assert_eq!(cached.token_status(id).await.unwrap(), TokenStatus::Revoked);
    server.restart().await;
    until("the tombstone is written", RECOVERY, || async {
        matches!(cached.cache().get(id).await, Ok(CacheAnswer::Dead))
    })
    .await;
    let _ = cached.revoke_session(session.session_id, Utc::now()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn check_that_begins_after_a_revocation_refuses_beside_any_other_call() {
    let server = RedisServer::start(&[]).await;
    for _ in 0..100 {
        let (cached, session) = cached(&server).await;
        let cached = Arc::new(cached);
        let id = session.current.access_id;
        let checks: Vec<_> = (0..8)
            .map(|_| {
                let cached = Arc::clone(&cached);
                tokio::spawn(async move { cached.token_status(id).await.unwrap() })
            })
            .collect();
        let _ = cached.revoke_session(session.session_id, Utc::now()).await.unwrap();
        assert_eq!(cached.token_status(id).await.unwrap(), TokenStatus::Revoked);
        for check in checks {
            check.await.unwrap();
        }
        assert_eq!(cached.token_status(id).await.unwrap(), TokenStatus::Revoked);
    }
}
