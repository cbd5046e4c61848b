//! The databases of the servers under test.

use std::time::{Duration, Instant};

use bson::{Document, doc};
use deadpool_redis::redis;
use futures_util::future::join_all;
use mongodb::options::{Acknowledgment, CollectionOptions, WriteConcern};
use tests::servers::{MongoServer, RedisServer};

use crate::cpu::processor_time;

/// The commands of MongoDB that read or write documents. The others keep connections alive.
const COMMANDS: [&str; 7] = ["aggregate", "bulkWrite", "delete", "find", "findAndModify", "insert", "update"];

/// One MongoDB and one Redis. They are bound to no core.
pub(crate) struct Databases {
    pub(crate) mongodb: MongoServer,
    pub(crate) redis: RedisServer,
    /// A client of the MongoDB.
    pub(crate) client: mongodb::Client,
}

/// How much the databases have done.
#[derive(Clone, Copy, Default)]
pub(crate) struct DatabaseWork {
    /// Processor time in seconds.
    pub(crate) mongodb: f64,
    pub(crate) redis: f64,
    /// Commands.
    pub(crate) mongodb_commands: f64,
    pub(crate) redis_commands: f64,
}

impl Databases {
    pub(crate) async fn start() -> Self {
        let (mongodb, redis) = (MongoServer::start().await, RedisServer::start(&[]).await);
        let client = mongodb::Client::with_uri_str(mongodb.uri()).await.expect("the URI is well formed");
        Self { mongodb, redis, client }
    }

    /// Returns their processor time in seconds.
    pub(crate) fn processor_time(&self) -> f64 {
        processor_time(self.mongodb.id()) + processor_time(self.redis.id())
    }

    /// Returns how many documents a second MongoDB takes, one by one, with this number in flight. A
    /// majority has each on disk.
    pub(crate) async fn inserts(&self, in_flight: u32, lasting: Duration) -> f64 {
        let durable = WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build();
        let options = CollectionOptions::builder().write_concern(durable).build();
        let collection = self.client.database("limits").collection_with_options("inserted", options);
        let begun = Instant::now();
        let inserting = (0..in_flight).map(async |_| {
            let mut inserted = 0_u32;
            while begun.elapsed() < lasting {
                collection.insert_one(doc! { "payload": "a".repeat(200) }).await.expect("MongoDB is there");
                inserted += 1;
            }
            inserted
        });
        let inserted: u32 = join_all(inserting).await.into_iter().sum();
        f64::from(inserted) / begun.elapsed().as_secs_f64()
    }

    /// Returns what they have done since their start.
    pub(crate) async fn work(&self) -> DatabaseWork {
        let status = self.client.database("admin").run_command(doc! { "serverStatus": 1 }).await;
        let status = status.expect("MongoDB is there");
        let commands = status.get_document("metrics").and_then(|metrics| metrics.get_document("commands"));
        let commands = commands.expect("MongoDB counts its commands");
        let total = |name: &str| {
            commands.get_document(name).map_or(0, |counts: &Document| counts.get_i64("total").unwrap_or(0))
        };
        DatabaseWork {
            mongodb: processor_time(self.mongodb.id()),
            redis: processor_time(self.redis.id()),
            mongodb_commands: COMMANDS.iter().map(|name| as_f64(total(name))).sum(),
            redis_commands: self.redis_commands().await,
        }
    }

    async fn redis_commands(&self) -> f64 {
        let client = redis::Client::open(self.redis.url()).expect("a URL");
        let mut connection = client.get_multiplexed_async_connection().await.expect("Redis is there");
        let stats: String =
            redis::cmd("INFO").arg("commandstats").query_async(&mut connection).await.expect("it answers");
        let calls = |line: &str| {
            let (name, counts) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
            // These keep connections alive, or are ours.
            if ["client", "config", "info", "ping"].contains(&name) {
                return None;
            }
            counts.split(',').next()?.parse::<f64>().ok()
        };
        stats.lines().filter_map(calls).sum()
    }
}

impl DatabaseWork {
    /// Returns what was done since `before`.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            mongodb: self.mongodb - before.mongodb,
            redis: self.redis - before.redis,
            mongodb_commands: self.mongodb_commands - before.mongodb_commands,
            redis_commands: self.redis_commands - before.redis_commands,
        }
    }
}

fn as_f64(count: i64) -> f64 {
    f64::from(u32::try_from(count).expect("it counts less than four billion commands"))
}
