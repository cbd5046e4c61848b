//! The memory cost of a check of a cached token and of an open stream, in allocations of the test's
//! own thread.

use std::time::Duration;

use auth_layer::{
    AuthLayer, Authority, Claims, Grant, Trust, UserId,
    keys::{Algorithm, Keyring, SigningKey},
    store::MemoryStore,
    trust::Issuer,
};
use axum::{Router, body::Body, http::Request, routing::get};
use futures_util::FutureExt;
use http::{StatusCode, header::AUTHORIZATION};
use tower::{Service, util::MapRequestLayer};

async fn good_token(authority: &Authority) -> String {
    let sign_in = authority.begin_sign_in(UserId::generate()).await.unwrap();
    authority.sign_in(sign_in, Grant::new("web").scope("profile".parse().unwrap())).await.unwrap().access_token
}

fn secret() -> SigningKey {
    SigningKey::from_secret("shared", b"a secret of more than 32 bytes, as HS256 demands").unwrap()
}

#[tokio::test]
async fn check_within_the_lease_allocates_only_what_extensions_do() {
    for key in [
        secret(),
        SigningKey::generate_for(Algorithm::EdDsa).unwrap(),
        SigningKey::generate_for(Algorithm::Es256).unwrap(),
        SigningKey::generate_for(Algorithm::Rs256).unwrap(),
        SigningKey::generate_for(Algorithm::Ps256).unwrap(),
    ] {
        let algorithm = key.algorithm();
        let other = Issuer::with_keys("https://issuer", key.verifying_key()).audience("api");
        let other =
            Trust::builder(MemoryStore::new()).issuer(other).local_cache(Duration::from_mins(5)).build().unwrap();
        let authority: Authority = Authority::builder("https://issuer", MemoryStore::new())
            .audience("api")
            .keys(Keyring::new(key))
            .local_cache(Duration::from_mins(5))
            .build()
            .unwrap();
        let token = good_token(&authority).await;
        let claims = authority.verify(&token).await.unwrap();
        // As another issuer's token, which has no record.
        other.verify(&token).await.unwrap();
        let request = || {
            let request = Request::get("/me").header(AUTHORIZATION, format!("Bearer {token}"));
            request.body(Body::empty()).unwrap()
        };
        let cost_of = |mut app: Router| {
            let request = request();
            let allocated = allocation_counter::measure(|| {
                let Ok(response) = app.call(request).now_or_never().unwrap();
                assert_eq!(response.status(), StatusCode::OK);
            });
            allocated.count_total
        };
        let app = || Router::new().route("/me", get(async |_: Claims| ()));
        let inserted = cost_of(app().layer(MapRequestLayer::new(move |mut request: Request<Body>| {
            request.extensions_mut().insert(claims.clone());
            request
        })));
        for trust in [Trust::from(authority), other] {
            let named = AuthLayer::builder(&trust).issuers(["https://issuer"]).build();
            for layer in [AuthLayer::new(trust), named] {
                assert_eq!(cost_of(app().layer(layer)), inserted, "{algorithm:?}");
            }
        }
        assert!(inserted > 0, "the allocations are counted");
    }
}

#[tokio::test]
async fn streams_hold_about_a_kilobyte_each_and_less_when_they_share_a_session() {
    const STREAMS: usize = 10_000;
    let mut bytes_each = Vec::new();
    for sessions in [STREAMS, 1] {
        let keys = Keyring::new(secret());
        let authority = Authority::builder("https://issuer", MemoryStore::new()).audience("api").keys(keys);
        let authority = authority.build().unwrap();
        let trust = Trust::from(&authority);
        let mut claims = Vec::new();
        for _ in 0..sessions {
            claims.push(authority.verify(&good_token(&authority).await).await.unwrap());
        }
        let mut streams = Vec::with_capacity(STREAMS);
        let opened = allocation_counter::measure(|| {
            streams.extend(claims.iter().cycle().take(STREAMS).map(|claims| trust.revoked(claims)));
        });
        bytes_each.push(opened.bytes_current / i64::try_from(STREAMS).unwrap());
    }
    assert!((500..1_200).contains(&bytes_each[0]), "{bytes_each:?} bytes");
    assert!((100..500).contains(&bytes_each[1]), "{bytes_each:?} bytes");
}
