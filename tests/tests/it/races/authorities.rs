//! Two authorities of one service in this process, on MongoDB and Redis, for calls that the demo
//! has no route for.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use auth_layer::{
    AuthError, Authority, Grant, GrantFault, IssuedPair, RefreshError, SignInError, TokenFault, TokenId, UserId,
    cache::{
        Cached,
        redis::{RedisCache, RedisOptions},
    },
    keys::{Keyring, SigningKey},
    store::{
        StoreError,
        mongodb::{MongoOptions, MongoStore},
    },
};
use tests::{
    client::payload,
    servers::{self, MongoDatabase},
};
use tokio::sync::Semaphore;

/// The number of retries after "unavailable", which a busy machine causes.
const RETRIES: usize = 20;

/// A lease that no test outlives, so that no entry ends by itself.
const LONG_LEASE: Duration = Duration::from_hours(1);

/// Builds two authorities. The first has an in-process cache with this lease, the second asks each
/// time.
async fn two_authorities(database: &MongoDatabase, lease: Duration) -> [Authority; 2] {
    let redis = servers::redis().await;
    let key = SigningKey::generate().unwrap();
    let authority = async |lease| {
        let store = MongoStore::connect(&database.uri, &database.name, MongoOptions::default()).await.unwrap();
        let options = RedisOptions::default().with_key_prefix(&redis.prefix);
        let cache = RedisCache::connect(std::slice::from_ref(&redis.url), options).await.unwrap();
        let keys = Keyring::new(key.clone());
        Authority::builder("https://issuer", Cached::new(store, cache))
            .audience("api")
            .keys(keys)
            .local_cache(lease)
            .build()
            .unwrap()
    };
    [authority(lease).await, authority(Duration::ZERO).await]
}

/// Opens a session of this user.
async fn sign_in(node: &Authority, user: UserId) -> Result<IssuedPair, SignInError> {
    let begun = node.begin_sign_in(user).await?;
    node.sign_in(begun, Grant::new("web")).await
}

/// Opens a session whose access token all caches hold.
async fn cached_session(nodes: &[Authority; 2], user: UserId) -> IssuedPair {
    let pair = sign_in(&nodes[0], user).await.unwrap();
    for node in [&nodes[0], &nodes[1], &nodes[0], &nodes[1]] {
        node.verify(&pair.access_token).await.unwrap();
    }
    pair
}

/// Calls until it succeeds. A retry is safe, and the tests are about what a success promises.
async fn until_done(revoke: impl AsyncFn() -> Result<(), StoreError>) {
    for _ in 0..RETRIES {
        if revoke().await.is_ok() {
            return;
        }
    }
    revoke().await.unwrap();
}

/// Fails unless both nodes refuse the access token as revoked.
async fn assert_access_revoked(nodes: &[Authority; 2], pair: &IssuedPair) {
    for node in nodes {
        let verified = node.verify(&pair.access_token).await;
        assert!(matches!(verified, Err(AuthError::InvalidToken(TokenFault::Revoked))), "{verified:?}");
    }
}

/// Fails unless the refresh is refused because the session is over, and not because the token was
/// used before.
async fn assert_refresh_revoked(nodes: &[Authority; 2], pair: &IssuedPair) {
    for node in nodes {
        let refreshed = node.refresh(&pair.refresh_token).await;
        let fault = GrantFault::Token(TokenFault::Revoked);
        assert!(matches!(refreshed, Err(RefreshError::InvalidGrant(found)) if found == fault), "{refreshed:?}");
    }
}

/// Streams of sign-ins and refreshes beside a revocation. It begins when each stream has been
/// granted something.
struct ConcurrentGrants {
    started: Semaphore,
    sent: AtomicBool,
    over: AtomicBool,
    /// The number of grants after the revocation had begun.
    granted: AtomicUsize,
}

impl ConcurrentGrants {
    /// Creates the state before the revocation.
    fn new() -> Self {
        let no = || AtomicBool::new(false);
        Self { started: Semaphore::new(0), sent: no(), over: no(), granted: AtomicUsize::new(0) }
    }

    /// Counts a grant. `first` is the first of its stream.
    fn record_grant(&self, first: bool) {
        self.granted.fetch_add(usize::from(self.sent.load(Ordering::SeqCst)), Ordering::Relaxed);
        self.started.add_permits(usize::from(first));
    }

    /// Signs in until one try came after the end.
    async fn run_sign_ins(&self, node: &Authority, user: UserId) -> Vec<IssuedPair> {
        let mut opened = Vec::new();
        loop {
            let over = self.over.load(Ordering::SeqCst);
            match sign_in(node, user).await {
                Ok(pair) => {
                    assert!(!over, "signed in after the user was disabled");
                    self.record_grant(opened.is_empty());
                    opened.push(pair);
                }
                Err(SignInError::Fenced | SignInError::Disabled | SignInError::Unavailable(_)) => {}
                Err(other) => panic!("{other:?}"),
            }
            if over {
                return opened;
            }
        }
    }

    /// Refreshes the newest pair until one try came after the end. With `ends_early` it stops after
    /// the beginning, because a refresh of a revoked session finishes the revocation and hides what
    /// was left.
    async fn run_refreshes(&self, node: &Authority, first: IssuedPair, ends_early: bool) -> Vec<IssuedPair> {
        let mut pairs = vec![first];
        loop {
            let sent = self.sent.load(Ordering::SeqCst);
            let over = self.over.load(Ordering::SeqCst);
            match node.refresh(&pairs[pairs.len() - 1].refresh_token).await {
                Ok(pair) => {
                    assert!(!over, "refreshed after the user was disabled");
                    self.record_grant(pairs.len() == 1);
                    pairs.push(pair);
                }
                Err(
                    RefreshError::Unavailable(_)
                    | RefreshError::InvalidGrant(GrantFault::SessionOver | GrantFault::Token(TokenFault::Revoked)),
                ) => {}
                Err(other) => panic!("{other:?}"),
            }
            if over || ends_early && sent {
                return pairs;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn disabled_user_keeps_nothing_made_beside_it_and_enabling_restores_nothing() {
    const ROUNDS: usize = 24;
    let database = servers::mongodb().await;
    let nodes = two_authorities(&database, LONG_LEASE).await;
    let mut granted = 0;
    let mut round = 0;
    while round < ROUNDS || granted == 0 {
        assert!(round < 16 * ROUNDS, "nothing was granted while a user was being disabled");
        let user = UserId::generate();
        let cached = [
            cached_session(&nodes, user).await,
            cached_session(&nodes, user).await,
            cached_session(&nodes, user).await,
        ];
        let early = [nodes[0].begin_sign_in(user).await.unwrap(), nodes[1].begin_sign_in(user).await.unwrap()];

        let grants = ConcurrentGrants::new();
        let disabling = async {
            drop(grants.started.acquire_many(4).await.unwrap());
            grants.sent.store(true, Ordering::SeqCst);
            until_done(async || nodes[0].set_user_disabled(user, true).await).await;
            // Before any news can have come.
            assert_access_revoked(&nodes, &cached[0]).await;
            grants.over.store(true, Ordering::SeqCst);
        };
        let [still, first, second] = cached.clone();
        let ((), opened, more, pairs, others) = tokio::join!(
            disabling,
            grants.run_sign_ins(&nodes[0], user),
            grants.run_sign_ins(&nodes[1], user),
            grants.run_refreshes(&nodes[0], first, true),
            grants.run_refreshes(&nodes[1], second, round % 2 == 0),
        );
        granted += grants.granted.into_inner();
        round += 1;

        let gone = || cached.iter().chain(&opened).chain(&more).chain(&pairs).chain(&others);
        let newest = || opened.iter().chain(&more).chain(pairs.last()).chain(others.last()).chain([&still]);
        let assert_all_revoked = async || {
            for pair in gone() {
                assert_access_revoked(&nodes, pair).await;
            }
            for pair in newest() {
                assert_refresh_revoked(&nodes, pair).await;
            }
        };
        assert_all_revoked().await;
        let [early, late] = early;
        let fenced = nodes[1].sign_in(early, Grant::new("web")).await;
        assert!(matches!(fenced, Err(SignInError::Fenced)), "begun before: {fenced:?}");
        for node in &nodes {
            assert!(node.begin_sign_in(user).await.unwrap().is_disabled());
            let refused = sign_in(node, user).await;
            assert!(matches!(refused, Err(SignInError::Disabled)), "{refused:?}");
        }
        let disabled = nodes[1].begin_sign_in(user).await.unwrap();

        until_done(async || nodes[1].set_user_disabled(user, false).await).await;
        assert_all_revoked().await;
        let fenced = nodes[0].sign_in(late, Grant::new("web")).await;
        assert!(matches!(fenced, Err(SignInError::Fenced)), "begun before, and ended after both: {fenced:?}");
        let refused = nodes[1].sign_in(disabled, Grant::new("web")).await;
        assert!(matches!(refused, Err(SignInError::Disabled)), "begun while it was so: {refused:?}");
        let fresh = cached_session(&nodes, user).await;
        nodes[1].refresh(&fresh.refresh_token).await.unwrap();
        assert_all_revoked().await;
        assert_eq!(nodes[0].sessions(user).await.unwrap().len(), 1);
    }
}

/// Checks run on both nodes all the time, and fill the caches.
#[tokio::test(flavor = "multi_thread")]
async fn revoke_holds_on_both_nodes_with_all_caches_warm() {
    const ROUNDS: usize = 64;
    let database = servers::mongodb().await;
    let nodes = two_authorities(&database, LONG_LEASE).await;
    for round in 0..ROUNDS {
        // The node with the lease revokes. Of the other's revocations it hears within the lease
        // only.
        let user = UserId::generate();
        let (pair, spared) = (cached_session(&nodes, user).await, cached_session(&nodes, user).await);
        let over = AtomicBool::new(false);
        let checking = async |node: &Authority| {
            loop {
                let last = over.load(Ordering::SeqCst);
                let verified = node.verify(&pair.access_token).await;
                let dead = matches!(verified, Err(AuthError::InvalidToken(TokenFault::Revoked)));
                assert!(dead || !last && verified.is_ok(), "{verified:?}");
                if last {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        let access = nodes[1].verify(&pair.access_token).await.unwrap().token_id().unwrap();
        let revoking = async {
            until_done(async || nodes[0].revoke_token(access).await).await;
            over.store(true, Ordering::SeqCst);
        };
        tokio::join!(revoking, checking(&nodes[0]), checking(&nodes[1]));
        assert_access_revoked(&nodes, &pair).await;

        // Revokes the one token, and no more.
        let child = nodes[round % 2].refresh(&pair.refresh_token).await.unwrap();
        for node in [&nodes[0], &nodes[1], &nodes[0], &nodes[1]] {
            node.verify(&child.access_token).await.unwrap();
            node.verify(&spared.access_token).await.unwrap();
        }

        // Revokes the refresh token, and with it the session, cached access tokens included.
        let refresh: TokenId = payload(&child.refresh_token)["jti"].as_str().unwrap().parse().unwrap();
        until_done(async || nodes[0].revoke_token(refresh).await).await;
        for dead in [&pair, &child] {
            assert_access_revoked(&nodes, dead).await;
        }
        assert_refresh_revoked(&nodes, &child).await;
        for id in [access, refresh, TokenId::generate()] {
            until_done(async || nodes[1].revoke_token(id).await).await;
        }
        for dead in [&pair, &child] {
            assert_access_revoked(&nodes, dead).await;
        }
        for node in &nodes {
            node.verify(&spared.access_token).await.unwrap();
        }
    }
}
