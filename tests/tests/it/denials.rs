//! Denials through two handles of one service, as two nodes have them. Redis and MongoDB are healthy,
//! lose data, or are away.

use std::{
    sync::{Arc, Mutex, Weak},
    time::{Duration, Instant},
};

use auth_layer::{
    SessionId,
    cache::{
        Cached, DenialAnswer, StatusCache,
        redis::{RedisCache, RedisOptions},
    },
    store::{
        Denial, HashedKey, RevocationListener, StoreErrorKind, TokenStore,
        mongodb::{MongoOptions, MongoStore},
    },
};
use bson::{Binary, Bson, DateTime, Document, doc, spec::BinarySubtype};
use chrono::Utc;
use futures_util::{TryStreamExt, future::join_all};
use tests::servers::{self, MongoServer, RedisServer};
use tokio::time::sleep;
use uuid::Uuid;

use crate::fleet::store_in;

/// Law 1: how long after the stores' return a denial that failed is finished.
const FINISHED: Duration = Duration::from_secs(15);

/// Within this time the news of a denial arrive, also on a busy machine.
const SOON: Duration = Duration::from_secs(1);

type Store = Cached<MongoStore, RedisCache>;

/// Returns a key that nobody else has.
pub(crate) fn new_key() -> HashedKey {
    HashedKey::of("denials", SessionId::generate().as_bytes())
}

/// Returns a denial that was made so many seconds before a moment in the past, and lives long.
pub(crate) fn denial(seconds: i64) -> Denial {
    let at = |seconds| chrono::DateTime::from_timestamp(seconds, 0).unwrap();
    Denial { denied_at: at(1_700_000_000 - seconds), expires_at: at(4_000_000_000) }
}

/// Opens the store of one node.
async fn node(mongodb: &MongoServer, redis: &RedisServer) -> Store {
    let store = MongoStore::connect(&mongodb.uri(), "auth", MongoOptions::default()).await.unwrap();
    Cached::new(store, RedisCache::connect(&[redis.url()], RedisOptions::default()).await.unwrap())
}

/// Returns the denials of these keys. On a busy machine a store may miss its time limit.
async fn denials(store: &impl TokenStore, keys: &[HashedKey]) -> Vec<Option<Denial>> {
    let begun = Instant::now();
    loop {
        match store.denials(keys.to_vec(), Utc::now()).await {
            Ok(denials) => return denials,
            Err(error) => assert!(begun.elapsed() < FINISHED, "{error:?}"),
        }
    }
}

/// Makes a denial, and repeats it until that succeeds.
async fn deny(store: &impl TokenStore, key: HashedKey, denial: Denial) {
    let begun = Instant::now();
    while let Err(error) = store.deny(key, denial).await {
        assert!(begun.elapsed() < FINISHED, "{error:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until the shared cache has this denial.
async fn until_cached(node: &Store, key: HashedKey, denial: Denial) {
    let begun = Instant::now();
    loop {
        if let Ok((answers, _)) = node.cache().denials(&[key]).await
            && answers == [DenialAnswer::Denied(denial)]
        {
            return;
        }
        assert!(begun.elapsed() < FINISHED, "the cache is not told");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until the shared cache has filled these keys as not denied.
async fn until_not_denied(node: &Store, keys: &[HashedKey]) {
    let begun = Instant::now();
    while !matches!(node.cache().denials(keys).await, Ok((answers, _)) if answers == [DenialAnswer::NotDenied; 2]) {
        assert_eq!(denials(node, keys).await, [None; 2]);
        assert!(begun.elapsed() < FINISHED, "the cache is not filled");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn denial_on_one_node_is_found_on_the_other_at_once() {
    let (mongodb, redis) = (MongoServer::start().await, RedisServer::start(&[]).await);
    let nodes = [node(&mongodb, &redis).await, node(&mongodb, &redis).await];
    for round in 0..20 {
        let keys = [new_key(), new_key(), new_key()];
        if round % 2 == 0 {
            for node in &nodes {
                assert_eq!(denials(node, &keys).await, [None; 3]);
            }
        }
        let (earlier, later) = (denial(5), denial(1));
        for (turn, made) in [earlier, later, earlier].into_iter().enumerate() {
            deny(&nodes[(round + turn) % 2], keys[round % 3], made).await;
            let mut expected = [None; 3];
            expected[round % 3] = Some(if turn == 0 { earlier } else { later });
            for node in &nodes {
                assert_eq!(denials(node, &keys).await, expected, "round {round}, turn {turn}");
            }
        }
    }
}

/// Checks fill the cache beside denials of the same keys.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn denial_beside_checks_is_found_by_every_later_check() {
    let (mongodb, redis) = (MongoServer::start().await, RedisServer::start(&[]).await);
    let nodes = Arc::new([node(&mongodb, &redis).await, node(&mongodb, &redis).await]);
    for round in 0..50 {
        let keys = [new_key(), new_key()];
        let checks: Vec<_> = (0..8)
            .map(|turn| {
                let nodes = Arc::clone(&nodes);
                tokio::spawn(async move { denials(&nodes[turn % 2], &keys).await })
            })
            .collect();
        let made = [denial(9), denial(1)];
        let [first, second] = [0, 1].map(|turn| deny(&nodes[turn], keys[0], made[(round + turn) % 2]));
        tokio::join!(first, second);
        for node in &*nodes {
            assert_eq!(denials(node, &keys).await, [Some(made[1]), None], "round {round}");
        }
        join_all(checks).await.into_iter().for_each(|check| drop(check.unwrap()));
        for node in &*nodes {
            assert_eq!(denials(node, &keys).await, [Some(made[1]), None], "round {round}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn denials_are_found_after_redis_has_lost_them() {
    let (mongodb, mut redis) = (MongoServer::start().await, RedisServer::start(&[]).await);
    let nodes = [node(&mongodb, &redis).await, node(&mongodb, &redis).await];
    for way in ["flushed", "restarted empty", "restarted from an old snapshot"] {
        let keys = [new_key(), new_key()];
        until_not_denied(&nodes[1], &keys).await;
        if way.ends_with("snapshot") {
            // It has both keys as not denied.
            assert_eq!(redis.command(&["SAVE"]), "+OK");
        }
        let (earlier, later) = (denial(9), denial(1));
        for (key, made) in [(keys[0], later), (keys[1], earlier)] {
            deny(&nodes[0], key, made).await;
        }
        if way == "flushed" {
            assert_eq!(redis.command(&["FLUSHALL"]), "+OK");
        } else {
            redis.kill();
            redis.restart().await;
        }
        for node in &nodes {
            assert_eq!(denials(node, &keys).await, [Some(later), Some(earlier)], "{way}");
        }
        // An earlier denial tells nobody that there is no later one.
        deny(&nodes[1], keys[0], earlier).await;
        deny(&nodes[1], keys[1], later).await;
        for node in &nodes {
            assert_eq!(denials(node, &keys).await, [Some(later); 2], "{way}");
        }
        until_cached(&nodes[0], keys[0], later).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn denial_without_redis_fails_is_found_and_reaches_redis_when_it_is_back() {
    let (mongodb, mut redis) = (MongoServer::start().await, RedisServer::start(&[]).await);
    let nodes = [node(&mongodb, &redis).await, node(&mongodb, &redis).await];
    let (keys, made) = ([new_key(), new_key()], denial(0));
    for node in &nodes {
        assert_eq!(denials(node, &keys).await, [None; 2]);
    }
    redis.pause();
    let error = nodes[0].deny(keys[0], made).await.unwrap_err();
    assert_eq!(error.to_string(), "recorded as denied, but the shared cache could not be told");
    for node in &nodes {
        assert_eq!(denials(node, &keys).await, [Some(made), None], "MongoDB answers alone");
    }
    redis.resume();
    until_cached(&nodes[1], keys[0], made).await;
    for node in &nodes {
        assert_eq!(denials(node, &keys).await, [Some(made), None]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn denial_without_mongodb_fails_and_is_finished_when_it_is_back() {
    let (mut mongodb, redis) = (MongoServer::start().await, RedisServer::start(&[]).await);
    let nodes = [node(&mongodb, &redis).await, node(&mongodb, &redis).await];
    let alone = MongoStore::connect(&mongodb.uri(), "auth", MongoOptions::default()).await.unwrap();
    let (held, new, by_mongodb_alone, unknown) = (new_key(), new_key(), new_key(), new_key());
    let made = denial(0);
    deny(&nodes[0], held, made).await;
    assert_eq!(denials(&nodes[0], &[new]).await, [None]);
    mongodb.kill();
    assert_eq!(denials(&nodes[1], &[held, new]).await, [Some(made), None], "Redis answers");
    let asked = nodes[1].denials(vec![held, unknown], Utc::now()).await;
    assert_eq!(asked.unwrap_err().kind(), StoreErrorKind::Unavailable, "one of the keys is not in Redis");
    for error in [nodes[0].deny(new, made).await, alone.deny(by_mongodb_alone, made).await] {
        assert_eq!(error.unwrap_err().kind(), StoreErrorKind::Unavailable);
    }
    mongodb.restart().await;
    until_cached(&nodes[1], new, made).await;
    let begun = Instant::now();
    while denials(&alone, &[new, by_mongodb_alone]).await != [Some(made); 2] {
        assert!(begun.elapsed() < FINISHED, "a denial was not finished");
        sleep(Duration::from_millis(20)).await;
    }
}

/// The ids that it was told.
#[derive(Debug, Default)]
struct Heard(Mutex<Vec<Uuid>>);

impl RevocationListener for Heard {
    fn revoked(&self, id: Uuid) {
        self.0.lock().unwrap().push(id);
    }

    fn gap(&self) {
        // The nil UUID stands for a gap: the listener listens from then on.
        self.0.lock().unwrap().push(Uuid::nil());
    }
}

impl Heard {
    /// Subscribes to a store, and waits until it hears of what others do.
    async fn subscribed(store: &impl TokenStore) -> Arc<Self> {
        let heard = Arc::new(Self::default());
        let listener: Weak<Self> = Arc::downgrade(&heard);
        store.subscribe(listener);
        heard.until(Uuid::nil(), FINISHED).await;
        heard
    }

    async fn until(&self, id: Uuid, limit: Duration) {
        let begun = Instant::now();
        while !self.0.lock().unwrap().contains(&id) {
            assert!(begun.elapsed() < limit, "nothing was heard of {id}");
            sleep(Duration::from_millis(2)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn denial_is_heard_of_on_the_other_node_with_redis_and_with_mongodb_alone() {
    let (mongodb, redis) = (MongoServer::start().await, RedisServer::start(&[]).await);
    let nodes = [node(&mongodb, &redis).await, node(&mongodb, &redis).await];
    let heard = Heard::subscribed(&nodes[1]).await;
    for _ in 0..3 {
        let key = new_key();
        deny(&nodes[0], key, denial(0)).await;
        heard.until(key.tag(), SOON).await;
    }
    let alone = MongoStore::connect(&mongodb.uri(), "auth", MongoOptions::default()).await.unwrap();
    let heard = Heard::subscribed(&alone).await;
    let key = new_key();
    deny(&nodes[0], key, denial(5)).await;
    heard.until(key.tag(), SOON).await;
    heard.0.lock().unwrap().clear();
    deny(&nodes[0], key, denial(1)).await;
    heard.until(key.tag(), SOON).await;
    // By hand, also as a whole document.
    let by_hand = new_key();
    let collection = alone.database().collection::<Document>("denials");
    let document = document_of(by_hand, denial(0));
    collection.insert_one(&document).await.unwrap();
    heard.until(by_hand.tag(), SOON).await;
    heard.0.lock().unwrap().clear();
    collection.replace_one(doc! { "_id": document["_id"].clone() }, document_of(by_hand, denial(-1))).await.unwrap();
    heard.until(by_hand.tag(), SOON).await;
    heard.0.lock().unwrap().clear();
    collection.drop().await.unwrap();
    heard.until(Uuid::nil(), FINISHED).await;
}

/// Returns a denial as MongoDB has it.
fn document_of(key: HashedKey, denial: Denial) -> Document {
    doc! {
        "_id": Binary { subtype: BinarySubtype::Generic, bytes: key.as_bytes().to_vec() },
        "denied_at": DateTime::from_chrono(denial.denied_at),
        "expires_at": DateTime::from_chrono(denial.expires_at),
    }
}

#[tokio::test]
async fn mongodb_document_of_a_denial_has_the_documented_fields() {
    let database = servers::mongodb().await;
    let store = store_in(&database).await;
    let (key, made) = (new_key(), denial(0));
    store.deny(key, made).await.unwrap();
    let documents = store.database().collection::<Document>("denials");
    let found: Vec<Document> = documents.find(doc! {}).await.unwrap().try_collect().await.unwrap();
    assert_eq!(found, [document_of(key, made)]);
    // One that cannot be read lets no token through, and harms no other.
    let odd = new_key();
    for field in ["denied_at", "expires_at"] {
        let mut document = document_of(odd, made);
        document.insert(field, Bson::from("soon"));
        documents.insert_one(&document).await.unwrap();
        let now = Utc::now();
        let (asked, other) = tokio::join!(store.denials(vec![odd, key], now), store.denials(vec![key], now));
        assert_eq!(asked.unwrap_err().kind(), StoreErrorKind::Corrupt, "{field}");
        assert_eq!(other.unwrap(), [Some(made)]);
        documents.delete_one(doc! { "_id": document["_id"].clone() }).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn denials_of_many_checks_share_a_few_commands() {
    const CHECKS: usize = 200;
    let database = servers::mongodb().await;
    let store = store_in(&database).await;
    let made = denial(0);
    let keys: Vec<[HashedKey; 3]> = (0..CHECKS).map(|_| [new_key(), new_key(), new_key()]).collect();
    let documents = keys.iter().map(|keys| document_of(keys[1], made));
    store.database().collection("denials").insert_many(documents).await.unwrap();
    store.database().run_command(doc! { "profile": 2 }).await.unwrap();
    let checks = join_all(keys.iter().map(|keys| store.denials(keys.to_vec(), Utc::now()))).await;
    assert!(checks.into_iter().all(|found| found.unwrap() == [None, Some(made), None]));
    let finds = doc! { "ns": format!("{}.denials", database.name), "command.find": "denials" };
    let profile = store.database().collection::<Document>("system.profile");
    let commands = profile.count_documents(finds).await.unwrap();
    assert!((CHECKS * 3 / 64..=CHECKS * 3 / 20).contains(&usize::try_from(commands).unwrap()), "{commands} commands");
}

/// Its clock tells it that denials are over. That is its own mistake, and nobody else's.
#[tokio::test(flavor = "multi_thread")]
async fn denial_that_is_over_by_the_clock_of_one_node_is_found_by_the_other() {
    let (mongodb, redis) = (MongoServer::start().await, RedisServer::start(&[]).await);
    let nodes = [node(&mongodb, &redis).await, node(&mongodb, &redis).await];
    let (key, made) = (new_key(), denial(0));
    // Recorded without Redis, so that the node with the wrong clock fills it.
    let alone = MongoStore::connect(&mongodb.uri(), "auth", MongoOptions::default()).await.unwrap();
    deny(&alone, key, made).await;
    assert_eq!(nodes[0].denials(vec![key], made.expires_at).await.unwrap(), [None]);
    until_cached(&nodes[0], key, made).await;
    assert_eq!(denials(&nodes[1], &[key]).await, [Some(made)]);
}
