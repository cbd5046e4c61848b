//! What a known token costs in memory. A binary of its own: it counts every allocation of the process.

use std::{convert::Infallible, future::ready, time::Duration};

use auth_layer::{
    AuthLayer, Authority, Claims, Grant, UserId,
    keys::{Algorithm, Keyring, SigningKey},
    store::MemoryStore,
};
use dhat::HeapStats;
use futures_util::FutureExt;
use http::{Request, Response, header::AUTHORIZATION};
use http_body_util::Empty;
use tower::{Layer, Service, service_fn};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

type Body = Empty<bytes::Bytes>;

fn blocks(during: impl FnOnce()) -> u64 {
    let before = HeapStats::get().total_blocks;
    during();
    HeapStats::get().total_blocks - before
}

async fn good_token(authority: &Authority) -> String {
    let sign_in = authority.begin_sign_in(UserId::generate()).await.unwrap();
    authority.sign_in(sign_in, Grant::new("web").scope("profile".parse().unwrap())).await.unwrap().access_token
}

fn secret() -> SigningKey {
    SigningKey::from_secret("shared", b"a secret of more than 32 bytes, as HS256 demands").unwrap()
}

#[tokio::test]
async fn within_the_lease_a_check_allocates_what_the_extensions_do_and_nothing_else() {
    let _profiler = dhat::Profiler::builder().testing().build();
    for key in [
        secret(),
        SigningKey::generate_for(Algorithm::EdDsa).unwrap(),
        SigningKey::generate_for(Algorithm::Es256).unwrap(),
        SigningKey::generate_for(Algorithm::Rs256).unwrap(),
        SigningKey::generate_for(Algorithm::Ps256).unwrap(),
    ] {
        let algorithm = key.algorithm();
        let authority: Authority = Authority::builder("https://issuer", "api", Keyring::new(key), MemoryStore::new())
            .local_cache(Duration::from_mins(5))
            .build();
        let token = good_token(&authority).await;
        let claims = authority.verify(&token).await.unwrap();
        let request = || {
            let request = Request::get("/me").header(AUTHORIZATION, format!("Bearer {token}"));
            request.body(Body::new()).unwrap()
        };
        let inner = |request: Request<Body>| {
            assert!(request.extensions().get::<Claims>().is_some());
            ready(Ok::<_, Infallible>(Response::new(Body::new())))
        };

        let by_hand = request();
        let inserted = blocks(|| {
            let mut request = by_hand;
            request.extensions_mut().insert(claims.clone());
            drop(inner(request));
        });
        let mut service = AuthLayer::new(authority).layer(service_fn(inner));
        let checked = request();
        let cost = blocks(|| drop(service.call(checked).now_or_never().unwrap().unwrap()));
        assert_eq!(cost, inserted, "{algorithm:?}");
        assert!(inserted > 0, "the allocations are counted");
    }
}
