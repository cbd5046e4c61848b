//! Measures checks that ask a server, the time until another node hears of a revocation, what open
//! streams cost and when they end, and the cost of a check as tokens accumulate.
//!
//! Run it with `cargo bench --profile dist -p benchmarks --bench stores`. Arguments:
//!
//! - `redis`, `mongodb`, `news`, `streams`, `cache` or `growth` runs only that part.
//! - `--rounds N` measures N rounds, in place of 15 (`redis`, `mongodb`), 300 (`news`, `streams`),
//!   3,000 (`cache`) and 4 (`growth`). Writing the tokens of `cache` and `growth` takes as long as ever.
//! - `--plot FILE` makes `news` draw a revocation over time as SVG, and for dark backgrounds beside
//!   it. The path is relative to this package.

mod each_time;
#[path = "../peers/key.rs"]
mod key;
mod news;
#[path = "../plot/mod.rs"]
mod plot;
#[path = "../report/mod.rs"]
mod report;
mod scale;
mod streams;
mod timeline;

use std::{env, time::Duration};

use auth_layer::{Authority, Grant, UserId, authority::AuthorityBuilder, store::TokenStore};

use tokio::runtime::Builder;

use self::{
    key::{AUDIENCE, ISSUER, Key},
    report::{number_of, value_of},
};

const PARTS: [&str; 6] = ["redis", "mongodb", "news", "streams", "cache", "growth"];

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let named: Vec<&str> = PARTS.into_iter().filter(|part| arguments.iter().any(|argument| argument == part)).collect();
    let rounds = number_of(&arguments, "--rounds").map(|count| count.get().into());
    for part in if named.is_empty() { PARTS.to_vec() } else { named } {
        let several = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        match part {
            "redis" => {
                several.block_on(each_time::redis(64, 600, rounds.unwrap_or(15)));
                // One thread: whether a task shares a thread with its connection would matter more
                // than the measured difference.
                let one = Builder::new_current_thread().enable_all().build().expect("a runtime");
                one.block_on(each_time::redis(1, 3_000, rounds.unwrap_or(15)));
            }
            "mongodb" => several.block_on(each_time::mongodb(rounds.unwrap_or(15))),
            "news" => several.block_on(async {
                news::spread(rounds.unwrap_or(300)).await;
                if let Some(file) = value_of(&arguments, "--plot") {
                    timeline::plot(file).await;
                }
            }),
            "streams" => several.block_on(streams::open(rounds.unwrap_or(300))),
            "cache" => several.block_on(scale::cache(rounds.unwrap_or(3_000))),
            _ => several.block_on(scale::growth(rounds.unwrap_or(4))),
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
