//! Measures checks among many tokens: in the in-process cache, the embedded store and MongoDB.

use std::{
    collections::HashMap,
    fs,
    hash::BuildHasher,
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use auth_layer::{
    AuthLayer, SessionId, Subject, TokenId,
    keys::Algorithm,
    store::{
        Admission, MemoryStore, Session, TokenKind, TokenRecord, TokenStatus, TokenStore,
        embedded::EmbeddedStore,
        mongodb::{MongoOptions, MongoStore},
    },
};
use axum::{
    Router,
    body::Body,
    http::{HeaderValue, Request, StatusCode, Uri, header::AUTHORIZATION},
    routing::get,
};
use futures_util::FutureExt;
use tests::servers;
use tower::Service;

use crate::{
    builder,
    key::Key,
    report::{head, median, progress, row, thousands},
    sign_in,
};

/// The number of tokens that are looked up at each size.
const SAMPLE: usize = 1_000;

/// Returns a pseudo-random number below `of` for each step.
fn scattered(step: usize, of: usize) -> usize {
    let hash = foldhash::quality::FixedState::default().hash_one(step);
    usize::try_from(hash % of as u64).expect("it is below one")
}

/// Measures the in-process cache: memory per token, and the cost of a hit, alone and as a request
/// over the bare router. The baseline is a plain hash map from tokens to `Arc`s of the same size.
pub(crate) async fn cache(rounds: usize) {
    head(&[
        "tokens in the in-process cache",
        "over the router, ns",
        "of 1,000",
        "a hit alone, ns",
        "of 1,000",
        "a hash map, ns",
        "of 1,000",
        "bytes a token",
    ]);
    let key = Key::new(Algorithm::Hs256);
    let mut of_few = None;
    for count in [1_000, 10_000, 100_000, 1_000_000] {
        let builder = builder(&key, MemoryStore::new()).local_cache(Duration::from_hours(6));
        let authority = builder.local_cache_limits(count * 2, count << 11).build().expect("it can work");
        // A running service has seen revocations, so this one has too.
        authority.revoke_session(SessionId::generate()).await.expect("the store is in memory");
        progress(&format!("cache: issuing {} tokens", thousands(as_f64(count))));
        let mut tokens = Vec::with_capacity(count);
        for _ in 0..count {
            tokens.push(sign_in(&authority).await.1);
        }
        let before = resident_bytes();
        for token in &tokens {
            authority.verify(token).await.expect("the token is good");
        }
        // With few tokens, resident memory is too coarse.
        let bytes = (count >= 100_000).then(|| (resident_bytes() - before) / as_f64(count));
        let bare = Router::new().route("/me", get(async || "ok")).with_state(());
        let layered = bare.clone().layer(AuthLayer::new(authority.clone()));
        progress(&format!("cache: checking {} tokens", thousands(as_f64(count))));
        // Copies each token first, so that it is in the processor's cache, as after a read from a
        // socket.
        let owned = |at: usize| tokens[at].clone();
        let alone = timed(rounds, count, owned, |token| {
            let claims = authority.verify(&token).now_or_never().expect("it is in the cache");
            black_box(claims.expect("the token is good"));
        });
        let (mut with, mut without) = (layered, bare);
        let over = timed_requests(rounds, &tokens, &mut with) - timed_requests(rounds, &tokens, &mut without);
        let map: HashMap<String, Arc<u64>, foldhash::fast::RandomState> =
            tokens.iter().map(|token| (token.clone(), Arc::new(0))).collect();
        let mapped = timed(rounds, count, owned, |token| drop(black_box(Arc::clone(&map[&token]))));
        let costs = [over, alone, mapped];
        let few = *of_few.get_or_insert(costs);
        let [over, alone, mapped] = costs.map(|cost| format!("{cost:.0}"));
        let [over_growth, alone_growth, mapped_growth] =
            std::array::from_fn(|at| format!("{:.2}", costs[at] / few[at]));
        row(&[
            &thousands(as_f64(count)),
            &over,
            &over_growth,
            &alone,
            &alone_growth,
            &mapped,
            &mapped_growth,
            &bytes.map_or_else(String::new, |bytes| format!("{bytes:.0}")),
        ]);
    }
}

const BATCH: usize = 64;

fn timed_requests(rounds: usize, tokens: &[String], router: &mut Router) -> f64 {
    let request = |at: usize| {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = Uri::from_static("/me");
        let credentials = HeaderValue::try_from(format!("Bearer {}", tokens[at])).expect("tokens are ASCII");
        request.headers_mut().insert(AUTHORIZATION, credentials);
        request
    };
    timed(rounds, tokens.len(), request, |request| {
        let Ok(response) = router.call(request).now_or_never().expect("it is in the cache");
        assert_eq!(black_box(response).status(), StatusCode::OK);
    })
}

/// Returns the median time of `work` in nanoseconds, on what `prepare` makes of scattered numbers
/// below `count`.
fn timed<T>(rounds: usize, count: usize, prepare: impl Fn(usize) -> T, mut work: impl FnMut(T)) -> f64 {
    let mut costs = Vec::new();
    for round in 0..rounds {
        let batch: Vec<T> = (0..BATCH).map(|at| prepare(scattered(round * BATCH + at, count))).collect();
        let begun = Instant::now();
        for one in batch {
            work(one);
        }
        costs.push(begun.elapsed().as_secs_f64() * 1e9 / as_f64(BATCH));
    }
    median(costs)
}

/// Measures stores as they grow.
pub(crate) async fn growth(rounds: usize) {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let store = EmbeddedStore::open(directory.path().join("tokens.redb")).expect("a store can be opened");
    grow(rounds, "embedded", Arc::new(store), &[10_000, 100_000, 1_000_000, 10_000_000]).await;
    let database = servers::mongodb().await;
    let store = MongoStore::connect(&database.uri, &database.name, MongoOptions::default()).await;
    let store = store.expect("MongoDB is there");
    grow(rounds, "MongoDB", Arc::new(store.clone()), &[10_000, 100_000, 1_000_000]).await;
    store.database().drop().await.expect("a database can be dropped");
}

/// Measures a store: a lookup, and a whole check of an uncached token.
async fn grow<S: TokenStore>(rounds: usize, name: &str, store: Arc<S>, sizes: &[usize]) {
    head(&[&format!("tokens in the {name} store"), "a lookup, µs", "of the first", "a check, µs", "of the first"]);
    let key = Key::new(Algorithm::EdDsa);
    let issuer = builder(&key, Arc::clone(&store)).local_cache_limits(0, 0).build().unwrap();
    let template = sign_in(&issuer).await;
    let template = issuer.sessions(template.0).await.expect("the store serves").remove(0);
    let (mut stored, mut first) = (0, None);
    for &size in sizes {
        progress(&format!("{name} store: writing up to {} tokens", thousands(as_f64(size))));
        // Real tokens are spread over the new records, so that lookups reach all of them.
        let (mut tokens, mut ids) = (Vec::new(), Vec::new());
        let step = (size - stored) / SAMPLE;
        for _ in 0..SAMPLE {
            ids.push(fill(&*store, &template, step - 2).await);
            tokens.push(sign_in(&issuer).await.1);
        }
        stored = size;
        progress(&format!("{name} store: checking among {} tokens", thousands(as_f64(size))));
        let (mut lookups, mut checks) = (Vec::new(), Vec::new());
        for round in 0..=rounds {
            for at in 0..SAMPLE {
                let at = scattered(at, SAMPLE);
                let begun = Instant::now();
                let status = store.token_status(ids[at]).await.expect("the store serves");
                let looked_up = begun.elapsed();
                assert!(matches!(status, TokenStatus::Active(_)), "{status:?}");
                let begun = Instant::now();
                issuer.verify(&tokens[at]).await.expect("the token is good");
                let checked = begun.elapsed();
                // The first round reads back what was written out.
                if round > 0 {
                    lookups.push(looked_up.as_secs_f64() * 1e6);
                    checks.push(checked.as_secs_f64() * 1e6);
                }
            }
        }
        let (lookup, check) = (median(lookups), median(checks));
        let (first_lookup, first_check) = *first.get_or_insert((lookup, check));
        row(&[
            &thousands(as_f64(size)),
            &format!("{lookup:.1}"),
            &format!("{:.2}", lookup / first_lookup),
            &format!("{check:.1}"),
            &format!("{:.2}", check / first_check),
        ]);
    }
}

/// Records `count` tokens and returns the id of one.
async fn fill(store: &impl TokenStore, template: &Session, count: usize) -> TokenId {
    let session = Session { session_id: SessionId::generate(), user_id: Subject::generate(), ..template.clone() };
    let record = || TokenRecord {
        token_id: TokenId::generate(),
        user_id: session.user_id.clone(),
        session_id: session.session_id,
        kind: TokenKind::Access,
        issued_at: session.created_at,
        expires_at: session.ends_at,
        jwt_token: None,
    };
    let records: Vec<TokenRecord> = (0..count).map(|_| record()).collect();
    let one = records[count / 2].token_id;
    assert_eq!(store.open_session(session, records, 0).await.expect("the store serves"), Admission::Admitted);
    one
}

/// Returns the resident memory of this process.
fn resident_bytes() -> f64 {
    let status = fs::read_to_string("/proc/self/status").expect("this is Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the kernel tells");
    line.trim().trim_end_matches(" kB").parse::<f64>().expect("a number") * 1024.0
}

fn as_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).expect("counts here are small"))
}
