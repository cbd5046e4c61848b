//! What a check costs as there come to be more tokens: in the in-process cache, in the embedded store, in MongoDB.
//!
//! `cargo bench -p tests --bench scale`. A name among the arguments, `cache`, `embedded` or `mongodb`, runs only that part.

mod report;

use std::{
    env, fs,
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use auth_layer::{
    Authority, Grant, SessionId, TokenId, UserId,
    keys::{Keyring, SigningKey},
    store::{
        Admission, MemoryStore, Session, TokenKind, TokenRecord, TokenStatus, TokenStore,
        embedded::EmbeddedStore,
        mongodb::{MongoOptions, MongoStore},
    },
};
use futures_util::FutureExt;
use tests::servers;

use self::report::{head, median, row, thousands};

/// How many tokens of each size are looked at.
const SAMPLE: usize = 1_000;

/// A step of a sequence that comes by everything below `of` before it repeats itself, in an order that no cache can guess.
fn shuffled(step: usize, of: usize) -> usize {
    // A prime far above any size here, so that it has no divisor in common with it.
    step.wrapping_mul(1_000_000_007) % of
}

fn authority(key: SigningKey, store: impl TokenStore, cached: usize) -> Authority {
    Authority::builder("https://issuer.example", "api", Keyring::new(key), store)
        .access_ttl(Duration::from_hours(24))
        .local_cache(Duration::from_hours(6))
        .local_cache_limits(cached, cached << 10)
        .build()
}

async fn sign_in(authority: &Authority) -> (UserId, String) {
    let user = UserId::generate();
    let begun = authority.begin_sign_in(user).await.expect("the store serves");
    let grant = Grant::new("demo-app").scope("profile".parse().expect("a scope"));
    (user, authority.sign_in(begun, grant).await.expect("the store serves").access_token)
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let wanted = |part: &str| {
        let named = |argument: &String| ["cache", "embedded", "mongodb"].contains(&argument.as_str());
        arguments.iter().any(|argument| argument == part) || !arguments.iter().any(named)
    };
    if wanted("cache") {
        cache().await;
    }
    if wanted("embedded") {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let store = EmbeddedStore::open(directory.path().join("tokens.redb")).expect("a store can be opened");
        store_grows("embedded", Arc::new(store), &[10_000, 100_000, 1_000_000, 10_000_000]).await;
    }
    if wanted("mongodb") {
        let database = servers::mongodb().await;
        let store = MongoStore::connect(&database.uri, &database.name, MongoOptions::default()).await;
        let store = store.expect("MongoDB is there");
        store_grows("MongoDB", Arc::new(store.clone()), &[10_000, 100_000, 1_000_000]).await;
        store.database().drop().await.expect("a database can be dropped");
    }
}

/// The in-process cache: what a token takes in memory, and what a hit costs.
async fn cache() {
    head(&["tokens in the in-process cache", "a hit, ns", "of 1,000", "memory a token, bytes"]);
    let secret = || SigningKey::from_secret("shared", &[7; 32]).expect("it is long enough");
    let mut of_few = 0.0;
    for count in [1_000, 10_000, 100_000, 1_000_000] {
        let authority = authority(secret(), MemoryStore::new(), count * 2);
        let mut tokens = Vec::with_capacity(count);
        for _ in 0..count {
            tokens.push(sign_in(&authority).await.1);
        }
        let before = resident_bytes();
        for token in &tokens {
            authority.verify(token).await.expect("the token is good");
        }
        // Of few tokens the pages of memory tell nothing.
        let bytes = (count >= 100_000).then(|| (resident_bytes() - before) / as_f64(count));
        let cost = hit(&authority, &tokens);
        if of_few == 0.0 {
            of_few = cost;
        }
        let bytes = bytes.map_or_else(String::new, |bytes| format!("{bytes:.0}"));
        row(&[&thousands(as_f64(count)), &format!("{cost:.0}"), &format!("{:.2}", cost / of_few), &bytes]);
    }
}

/// What a hit costs, in nanoseconds. Each token is read before, as it is when it has just come from a socket.
fn hit(authority: &Authority, tokens: &[String]) -> f64 {
    const BATCH: usize = 64;
    let mut costs = Vec::new();
    for round in 0..2_000 {
        let batch: Vec<String> =
            (0..BATCH).map(|at| tokens[shuffled(round * BATCH + at, tokens.len())].clone()).collect();
        let begun = Instant::now();
        for token in &batch {
            let claims = authority.verify(token).now_or_never().expect("it is in the cache");
            black_box(claims.expect("the token is good"));
        }
        costs.push(begun.elapsed().as_secs_f64() * 1e9 / as_f64(BATCH));
    }
    median(costs)
}

/// A store: what a look at a record costs, and a whole check of a token that is not cached.
async fn store_grows<S: TokenStore>(name: &str, store: Arc<S>, sizes: &[usize]) {
    head(&[&format!("tokens in the {name} store"), "a lookup, µs", "of the first", "a check, µs", "of the first"]);
    let key = SigningKey::generate().expect("there is randomness");
    let issuer = authority(key.clone(), Arc::clone(&store), 0);
    let template = sign_in(&issuer).await;
    let template = issuer.sessions(template.0).await.expect("the store serves").remove(0);
    let (mut stored, mut first) = (0, None);
    for &size in sizes {
        // Real tokens all over the new ones, so that looking at them comes by everywhere.
        let (mut tokens, mut ids) = (Vec::new(), Vec::new());
        let step = (size - stored) / SAMPLE;
        for _ in 0..SAMPLE {
            ids.push(fill(&*store, &template, step - 2).await);
            tokens.push(sign_in(&issuer).await.1);
        }
        stored = size;
        let checker = authority(key.clone(), Arc::clone(&store), 0);
        let (mut lookups, mut checks) = (Vec::new(), Vec::new());
        for round in 0..5 {
            for at in 0..SAMPLE {
                let at = shuffled(at, SAMPLE);
                let begun = Instant::now();
                let status = store.token_status(ids[at]).await.expect("the store serves");
                let looked_up = begun.elapsed();
                assert!(matches!(status, TokenStatus::Active(_)), "{status:?}");
                let begun = Instant::now();
                checker.verify(&tokens[at]).await.expect("the token is good");
                let checked = begun.elapsed();
                // The first round fetches what has been written out meanwhile.
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

/// Records so many tokens, and gives the identifier of one of them.
async fn fill(store: &impl TokenStore, template: &Session, count: usize) -> TokenId {
    let session = Session { session_id: SessionId::generate(), user_id: UserId::generate(), ..template.clone() };
    let record = || TokenRecord {
        token_id: TokenId::generate(),
        user_id: session.user_id,
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

/// How much memory this process has.
fn resident_bytes() -> f64 {
    let status = fs::read_to_string("/proc/self/status").expect("this is Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the kernel tells");
    line.trim().trim_end_matches(" kB").parse::<f64>().expect("a number") * 1024.0
}

fn as_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).expect("counts here are small"))
}
