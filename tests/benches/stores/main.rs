//! What a check costs that asks a server, beside what the server itself can do; how long a revocation takes to reach the other node; and
//! what a check costs as there come to be more tokens.
//!
//! `cargo bench -p tests --bench stores`. Names among the arguments run only these parts: `redis`, `mongodb`, `news`, `cache`,
//! `growth`.

mod each_time;
#[path = "../../../auth-layer/benches/peers/key.rs"]
mod key;
mod news;
#[path = "../report/mod.rs"]
mod report;
mod scale;

use std::{env, time::Duration};

use auth_layer::{Authority, Grant, UserId, authority::AuthorityBuilder, store::TokenStore};

use self::key::{AUDIENCE, ISSUER, Key};

const PARTS: [&str; 5] = ["redis", "mongodb", "news", "cache", "growth"];

#[tokio::main(worker_threads = 2)]
async fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let named: Vec<&str> = PARTS.into_iter().filter(|part| arguments.iter().any(|argument| argument == part)).collect();
    for part in if named.is_empty() { PARTS.to_vec() } else { named } {
        match part {
            "redis" => each_time::redis().await,
            "mongodb" => each_time::mongodb().await,
            "news" => news::spread().await,
            "cache" => scale::cache().await,
            _ => scale::growth().await,
        }
    }
}

fn builder(key: &Key, store: impl TokenStore) -> AuthorityBuilder<auth_layer::NoCustomClaims> {
    Authority::builder(ISSUER, AUDIENCE, key.ring(), store).access_ttl(Duration::from_hours(24))
}

async fn sign_in(authority: &Authority) -> (UserId, String) {
    let user = UserId::generate();
    let begun = authority.begin_sign_in(user).await.expect("the store serves");
    let grant = Grant::new("demo-app").scope("profile".parse().expect("a scope"));
    (user, authority.sign_in(begun, grant).await.expect("the store serves").access_token)
}
