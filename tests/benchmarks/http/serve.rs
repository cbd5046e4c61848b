//! The servers under test, each in its own process.

use std::{
    collections::HashMap,
    io::Write as _,
    process,
    sync::{Arc, RwLock},
    time::{Duration, Instant},
};

use auth_layer::{
    AuthLayer, Authority, Grant, SessionId, UserId,
    authority::AuthorityBuilder,
    cache::{
        Cached,
        redis::{RedisCache, RedisOptions},
    },
    keys::Algorithm,
    store::{MemoryStore, TokenStore},
    trust::CheckOrder,
};
use axum::{
    Router, ServiceExt,
    extract::{Request, State},
    http::{StatusCode, header::AUTHORIZATION},
    middleware::{Next, from_fn_with_state},
    response::Response,
};
use deadpool_redis::{Pool, PoolConfig, Runtime, redis::AsyncCommands};
use jsonwebtoken::{DecodingKey, Validation};
use tokio::net::TcpListener;
use tower::{Layer, util::MapRequestLayer};

use crate::{
    CONNECTIONS,
    peers::{
        self,
        key::{AUDIENCE, ISSUER, Key},
    },
};

/// The place of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the router, with `Router::layer`.
    Inside,
    /// Around the whole router.
    Around,
}

impl Place {
    fn name(self) -> &'static str {
        match self {
            Self::Inside => "",
            Self::Around => ", around the router",
        }
    }
}

/// The way in which a server lets requests in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Bare,
    /// A layer that only puts a number into the request's extensions: the least that tells a
    /// handler something.
    Floor(Place),
    /// Like `Floor`, and looks the token up in a hash map without eviction, revocation or
    /// protection against collisions.
    Lookup(Place),
    /// This crate with a lease of one second.
    Lease(Place),
    /// This crate without a lease: it asks Redis on each request.
    Redis,
    ByHand,
    /// Like `ByHand`, and then a lookup in Redis through a pool.
    ByHandAndRedis,
    AxumJwtAuth,
    /// This crate with Redis, a lease of one second, this check order and this many lookups per
    /// second for forged tokens.
    Flooded(CheckOrder, u32),
}

impl Way {
    /// Returns the place of its layer; in the router if that makes no difference.
    pub(crate) fn place(self) -> Place {
        match self {
            Self::Floor(place) | Self::Lookup(place) | Self::Lease(place) => place,
            _ => Place::Inside,
        }
    }

    pub(crate) fn name(self) -> String {
        match self {
            Self::Bare => "bare router".into(),
            Self::Floor(place) => format!("a layer that only adds an extension{}", place.name()),
            Self::Lookup(place) => format!("and looks the token up in a hash map{}", place.name()),
            Self::Lease(place) => format!("auth-layer, lease 1 s{}", place.name()),
            Self::Redis => "auth-layer, Redis each time".into(),
            Self::ByHand => "jsonwebtoken by hand".into(),
            Self::ByHandAndRedis => "by hand, Redis by a pool".into(),
            Self::AxumJwtAuth => "axum-jwt-auth".into(),
            Self::Flooded(order, u32::MAX) => format!("{order:?}, lookups unbounded"),
            Self::Flooded(order, most) => format!("{order:?}, {most} lookups/s"),
        }
    }
}

/// Serves until the process is killed. Prints its process id, a good token and its address.
pub(crate) async fn serve(way: Way, algorithm: Algorithm, redis: &str) {
    let key = Key::new(algorithm);
    let authority = authority(way, &key, redis).await;
    // A running service has seen revocations, so this one has too.
    authority.revoke_session(SessionId::generate()).await.expect("the stores serve");
    let token = token(&authority).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
    let address = listener.local_addr().expect("it listens");
    writeln!(std::io::stdout(), "process {}\ntoken {token}\nlistening on http://{address}", process::id())
        .expect("the parent reads");
    let served = match way {
        Way::Floor(Place::Around) => {
            let app = add_extension().layer(peers::bare());
            axum::serve(listener, ServiceExt::<Request>::into_make_service(app)).await
        }
        Way::Lookup(Place::Around) => {
            let app = look_up(&token).layer(peers::bare());
            axum::serve(listener, ServiceExt::<Request>::into_make_service(app)).await
        }
        Way::Lease(Place::Around) => {
            let app = AuthLayer::new(authority).layer(peers::bare());
            axum::serve(listener, ServiceExt::<Request>::into_make_service(app)).await
        }
        _ => axum::serve(listener, router(way, &key, &authority, &token, redis)).await,
    };
    served.expect("it serves");
}

async fn authority(way: Way, key: &Key, redis: &str) -> Authority {
    const LEASE: Duration = Duration::from_secs(1);
    match way {
        Way::Redis => builder(key, on_redis(redis).await).build().unwrap(),
        Way::Flooded(order, lookups) => {
            let builder = builder(key, on_redis(redis).await);
            builder.local_cache(LEASE).check_order(order).forged_lookups(lookups).build().unwrap()
        }
        _ => builder(key, MemoryStore::new()).local_cache(LEASE).build().unwrap(),
    }
}

fn router(way: Way, key: &Key, authority: &Authority, token: &str, redis: &str) -> Router {
    match way {
        Way::Bare => peers::bare(),
        Way::Floor(_) => peers::bare().layer(add_extension()),
        Way::Lookup(_) => peers::bare().layer(look_up(token)),
        Way::Lease(_) | Way::Redis | Way::Flooded(..) => peers::layered(authority),
        Way::ByHand => peers::hand_written(key),
        Way::ByHandAndRedis => {
            let mut config = deadpool_redis::Config::from_url(redis);
            config.pool = Some(PoolConfig::new(CONNECTIONS));
            let pool = config.create_pool(Some(Runtime::Tokio1)).expect("a Redis URL");
            peers::bare().layer(from_fn_with_state(Arc::new((key.decoding(), pool)), check_by_hand_and_redis))
        }
        Way::AxumJwtAuth => peers::axum_jwt_auth(key),
    }
}

fn look_up(token: &str) -> MapRequestLayer<impl Fn(Request) -> Request + Clone + use<>> {
    let mut known: HashMap<Vec<u8>, (Instant, Arc<u64>), foldhash::fast::RandomState> = HashMap::default();
    known.insert(format!("Bearer {token}").into(), (Instant::now() + Duration::from_hours(1), Arc::new(0)));
    let known = Arc::new(RwLock::new(known));
    MapRequestLayer::new(move |mut request: Request| {
        let known = known.read().expect("nobody panics");
        let (end, claims) = &known[request.headers()[AUTHORIZATION].as_bytes()];
        assert!(Instant::now() < *end, "the token has ended");
        let claims = Arc::clone(claims);
        drop(known);
        request.extensions_mut().insert(claims);
        request
    })
}

fn add_extension() -> MapRequestLayer<fn(Request) -> Request> {
    MapRequestLayer::new(|mut request: Request| {
        request.extensions_mut().insert(Arc::new(0_u64));
        request
    })
}

fn builder(key: &Key, store: impl TokenStore) -> AuthorityBuilder {
    Authority::builder(ISSUER, store).audience(AUDIENCE).keys(key.ring()).access_ttl(Duration::from_hours(1))
}

async fn on_redis(url: &str) -> Cached<MemoryStore, RedisCache> {
    let cache = RedisCache::connect(&[url.to_owned()], RedisOptions::default()).await.expect("a Redis URL");
    Cached::new(MemoryStore::new(), cache)
}

async fn token(authority: &Authority) -> String {
    let sign_in = authority.begin_sign_in(UserId::generate()).await.expect("the store is in memory");
    let grant = Grant::new("demo-app").scope("profile".parse().expect("a scope"));
    authority.sign_in(sign_in, grant).await.expect("the store is in memory").access_token
}

/// Checks as one does by hand: a key in Redis marks a revoked token.
async fn check_by_hand_and_redis(
    State(state): State<Arc<((DecodingKey, Validation), Pool)>>,
    mut request: Request,
    next: Next,
) -> Result<Response, StatusCode> {
    let (decoding, pool) = &*state;
    let claims = peers::decode_by_hand(&request, decoding)?;
    let mut redis = pool.get().await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    let revoked = redis.exists(format!("revoked:{}", claims.jti)).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    if revoked {
        return Err(StatusCode::UNAUTHORIZED);
    }
    request.extensions_mut().insert(Arc::new(claims));
    Ok(next.run(request).await)
}
