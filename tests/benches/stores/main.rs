//! Measures checks that ask a server, the time until another node hears of a revocation, and the
//! cost of a check as tokens accumulate.
//!
//! Run it with `cargo bench -p tests --bench stores`. Arguments select parts: `redis`, `mongodb`,
//! `news`, `cache`, `growth`.

mod each_time;
#[path = "../../../auth-layer/benches/peers/key.rs"]
mod key;
mod news;
#[path = "../report/mod.rs"]
mod report;
mod scale;

use std::{env, time::Duration};

use auth_layer::{Authority, Grant, UserId, authority::AuthorityBuilder, store::TokenStore};

use tokio::runtime::Builder;

use self::key::{AUDIENCE, ISSUER, Key};

const PARTS: [&str; 5] = ["redis", "mongodb", "news", "cache", "growth"];

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let named: Vec<&str> = PARTS.into_iter().filter(|part| arguments.iter().any(|argument| argument == part)).collect();
    for part in if named.is_empty() { PARTS.to_vec() } else { named } {
        let several = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        match part {
            "redis" => {
                several.block_on(each_time::redis(64, 600));
                // One thread: whether a task shares a thread with its connection would matter more
                // than the measured difference.
                let one = Builder::new_current_thread().enable_all().build().expect("a runtime");
                one.block_on(each_time::redis(1, 3_000));
            }
            "mongodb" => several.block_on(each_time::mongodb()),
            "news" => several.block_on(news::spread()),
            "cache" => several.block_on(scale::cache()),
            _ => several.block_on(scale::growth()),
        }
    }
}

fn builder(key: &Key, store: impl TokenStore) -> AuthorityBuilder {
    Authority::builder(ISSUER, store).audience(AUDIENCE).keys(key.ring()).access_ttl(Duration::from_hours(24))
}

async fn sign_in(authority: &Authority) -> (UserId, String) {
    let user = UserId::generate();
    let begun = authority.begin_sign_in(user).await.expect("the store serves");
    let grant = Grant::new("demo-app").scope("profile".parse().expect("a scope"));
    (user, authority.sign_in(begun, grant).await.expect("the store serves").access_token)
}
