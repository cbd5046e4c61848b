use std::{future::ready, path::Path, time::Duration};

use auth_layer::{
    Grant, UserId,
    clock::{ManualClock, SystemClock},
    keys::{Keyring, SigningKey},
    store::MemoryStore,
};
use clap::Parser;

use super::*;
use crate::state::Identity;

/// A fleet's node whose MongoDB is down. Nobody listens on port 1.
fn fleet_of_one(directory: &Path) -> Config {
    let (data, keys) = (directory.join("data"), directory.join("keys"));
    Config::parse_from(
        [
            "demo-app",
            "--mongodb-uri",
            "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=100",
            "--data-dir",
            data.to_str().unwrap(),
            "--keys-dir",
            keys.to_str().unwrap(),
        ]
        .iter(),
    )
}

#[tokio::test(start_paused = true)]
async fn start_waiting_for_mongodb_stops_and_leaves_no_data_dir() {
    let directory = tempfile::tempdir().unwrap();
    let config = fleet_of_one(directory.path());
    let data_dir = config.data_dir.clone();
    let begun = Instant::now();
    let stop = tokio::time::sleep(Duration::from_secs(5));
    serve_until(stop, config, SystemClock::new(), PasswordCost::default()).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert!(!data_dir.exists());
}

#[tokio::test(start_paused = true)]
async fn start_waits_thirty_seconds_for_mongodb() {
    let directory = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    let stop = std::future::pending();
    let error = serve_until(stop, fleet_of_one(directory.path()), SystemClock::new(), PasswordCost::default())
        .await
        .unwrap_err();
    assert!(matches!(error, StartError::Store(_)), "{error:?}");
    assert!(begun.elapsed() >= Duration::from_secs(30));
}

#[tokio::test]
async fn start_refuses_contradicting_flags_before_creating_files() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let cases = [("--redis-url", "redis://h"), ("--mongodb-uri", "mongodb+srv://h")];
    for (flag, value) in cases {
        let config = Config::parse_from(["demo-app", "--data-dir", data.to_str().unwrap(), flag, value].iter());
        let error = serve_until(ready(()), config, SystemClock::new(), PasswordCost::default()).await.unwrap_err();
        assert!(matches!(error, StartError::RedisWithoutMongodb | StartError::MongodbSrv), "{error:?}");
        assert!(!data.exists());
    }
}

#[tokio::test]
async fn refresh_ttl_longer_than_default_session_is_honoured() {
    let config = Config::parse_from(["demo-app", "--refresh-ttl", "120d"]);
    let clock = ManualClock::starting_at(chrono::Utc::now());
    let keys = Keyring::new(SigningKey::generate().unwrap());
    let authority = stores::authority(&config, keys, MemoryStore::new(), clock.clone()).unwrap();
    let sign_in = authority.begin_sign_in(UserId::generate()).await.unwrap();
    let identity = Identity { username: "ada".to_owned() };
    let pair = authority.sign_in(sign_in, Grant::new("web").custom(&identity).unwrap()).await.unwrap();
    clock.advance(Duration::from_hours(119 * 24));
    authority.refresh(&pair.refresh_token).await.unwrap();
}

#[tokio::test]
async fn start_fails_without_keys_of_nonempty_store() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let keys = data.join("keys");
    let stores = async || {
        let config = Config::parse_from(["demo-app", "--data-dir", data.to_str().unwrap()].iter());
        let mut dir = KeysDir::new(config.keys_dir(), config.key_publish_delay);
        let keys = match dir.open(SystemTime::now())? {
            Some(ring) => stores::StartKeys::Loaded(ring),
            None => stores::StartKeys::Missing(&mut dir),
        };
        create_data_dir(&config)?;
        stores::open(&config, keys, SystemClock::new()).await
    };
    let first = stores().await.unwrap().authority.keys();
    // No user exists yet, so a new key signs nobody out.
    std::fs::remove_dir_all(&keys).unwrap();
    let opened = stores().await.unwrap();
    let kid = |keys: &Keyring| keys.verifying_keys().next().unwrap().kid().to_owned();
    let second = kid(&opened.authority.keys());
    assert_ne!(second, kid(&first));
    let sign_in = opened.authority.begin_sign_in(UserId::generate()).await.unwrap();
    let identity = Identity { username: "ada".to_owned() };
    opened.authority.sign_in(sign_in, Grant::new("web").custom(&identity).unwrap()).await.unwrap();
    drop(opened);

    std::fs::rename(&keys, directory.path().join("elsewhere")).unwrap();
    let begun = std::time::Instant::now();
    let error = loop {
        match stores().await.map(drop) {
            // The sign-in may still hold the file in the background.
            Err(StartError::Databases(_)) if begun.elapsed() < Duration::from_secs(10) => {
                tokio::task::yield_now().await;
            }
            other => break other.unwrap_err(),
        }
    };
    assert!(matches!(error, StartError::Keys(KeysError::Lost { .. })), "{error:?}");
    assert!(!keys.exists());
    std::fs::rename(directory.path().join("elsewhere"), &keys).unwrap();
    assert_eq!(kid(&stores().await.unwrap().authority.keys()), second);
}
